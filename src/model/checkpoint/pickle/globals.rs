//! The functions and classes that a pickle may name, and what calling them makes: descriptions of storages, tensors and
//! arrays, nothing else. Storages are looked up and copied later, in `state_dict`.

use super::super::Fault;
use super::super::element::Element;
use super::super::torch;
use super::value::{Array, Object, Place, Storage, Strided, Value, object, text};
use super::{Beside, Machine};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Global {
    /// An empty dict.
    Dict,
    /// What it is given.
    Size,
    /// Nothing of use here.
    Opaque,
    /// A class of storages; None: untyped.
    Storage(Option<Element>),
    /// `torch.float32` and its like.
    Type(Element),
    Tensor,
    TensorOfType,
    Parameter,
    LoadFromBytes,
    Ndarray,
    NumpyReconstruct,
    NumpyType,
    NumpyScalar,
    NumpyFromBuffer,
    Encode,
    /// Empty ones: how protocol 2 writes them.
    Bytes,
}

impl Global {
    pub fn find(module: &str, name: &str) -> Option<Global> {
        // numpy 2 moved its private modules.
        let module = match module.strip_prefix("numpy._core") {
            Some(rest) => &format!("numpy.core{rest}"),
            None => module,
        };
        Some(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict") => Global::Dict,
            ("collections", "Counter") | ("argparse", "Namespace") | ("torch", "device") => Global::Opaque,
            ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "dict" | "int" | "float") => Global::Opaque,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TensorOfType,
            ("torch._utils", "_rebuild_parameter") => Global::Parameter,
            ("torch.storage", "_load_from_bytes") => Global::LoadFromBytes,
            ("torch.storage" | "torch", "UntypedStorage") => Global::Storage(None),
            ("torch", _) => return of_torch(name),
            ("numpy", "ndarray") => Global::Ndarray,
            ("numpy", "dtype") => Global::NumpyType,
            ("numpy.core.multiarray", "_reconstruct") => Global::NumpyReconstruct,
            ("numpy.core.multiarray", "scalar") => Global::NumpyScalar,
            ("numpy.core.numeric", "_frombuffer") => Global::NumpyFromBuffer,
            ("_codecs", "encode") => Global::Encode,
            ("builtins" | "__builtin__", "bytes") => Global::Bytes,
            _ => return None,
        })
    }
}

fn of_torch(name: &str) -> Option<Global> {
    if let Some(storage) = name.strip_suffix("Storage") {
        return Some(Global::Storage(Some(match storage {
            "Double" => Element::F64,
            "Float" => Element::F32,
            "Half" => Element::F16,
            "BFloat16" => Element::Bf16,
            "Long" => Element::I64,
            "Int" => Element::I32,
            "Short" => Element::I16,
            "Char" => Element::I8,
            "Byte" => Element::U8,
            "Bool" => Element::Bool,
            _ => return None,
        })));
    }
    Some(Global::Type(match name {
        "float64" => Element::F64,
        "float32" => Element::F32,
        "float16" => Element::F16,
        "bfloat16" => Element::Bf16,
        "int64" => Element::I64,
        "int32" => Element::I32,
        "int16" => Element::I16,
        "int8" => Element::I8,
        "uint64" => Element::U64,
        "uint32" => Element::U32,
        "uint16" => Element::U16,
        "uint8" => Element::U8,
        "bool" => Element::Bool,
        _ => return None,
    }))
}

/// numpy's letters without the byte order.
fn of_numpy(code: &str) -> Option<Element> {
    Some(match code {
        "f8" => Element::F64,
        "f4" => Element::F32,
        "f2" => Element::F16,
        "i8" => Element::I64,
        "i4" => Element::I32,
        "i2" => Element::I16,
        "i1" => Element::I8,
        "u8" => Element::U64,
        "u4" => Element::U32,
        "u2" => Element::U16,
        "u1" => Element::U8,
        "b1" => Element::Bool,
        _ => return None,
    })
}

/// The storage that the persistent id ('storage', class, key, device, element count) means.
pub(super) fn persistent<'a>(machine: &mut Machine<'a>, id: Value<'a>) -> Result<Value<'a>, Fault> {
    if machine.beside != Beside::Storages {
        return Err(machine.fault("expected a pickle that stands alone, got a persistent id"));
    }
    let items = items(machine, id)?;
    let storage = match *items.as_slice() {
        [
            word,
            Value::Global(Global::Storage(element)),
            key,
            _,
            Value::Int(count),
            ref view @ ..,
        ] => match (text(word), text(key), u64::try_from(count), view) {
            (Some("storage"), Some(key), Ok(count), [] | [Value::None]) => Some(Storage {
                place: Place::Key(key),
                element,
                count,
            }),
            _ => None,
        },
        _ => None,
    };
    match storage {
        Some(storage) => Ok(machine.new_object(Object::Storage(storage))),
        None => Err(machine.fault("expected the persistent id of a whole storage, got another")),
    }
}

pub(super) fn call<'a>(machine: &mut Machine<'a>, global: Global, arguments: Value<'a>) -> Result<Value<'a>, Fault> {
    let arguments = items(machine, arguments)?;
    let wrong = |machine: &Machine<'a>| machine.fault(format_args!("expected the arguments of {global:?}, got others"));
    let made = match (global, arguments.as_slice()) {
        // Without arguments, but for the factory of a defaultdict.
        (Global::Dict, _) => Object::Dict(Vec::new()),
        (Global::Opaque, _) => Object::Opaque,
        (Global::Size | Global::Parameter, &[same, ..]) => return Ok(same),
        (Global::Bytes, []) => return Ok(Value::Bytes(&[])),
        (Global::Tensor, &[storage, offset, sizes, strides, ..]) => {
            tensor(machine, storage, offset, sizes, strides, None)?
        }
        (
            Global::TensorOfType,
            &[
                storage,
                offset,
                sizes,
                strides,
                _,
                _,
                Value::Global(Global::Type(element)),
                ..,
            ],
        ) => tensor(machine, storage, offset, sizes, strides, Some(element))?,
        (Global::LoadFromBytes, &[Value::Bytes(bytes)]) if machine.beside == Beside::Streams => {
            let Some(left) = machine.nested_left.checked_sub(bytes.len()) else {
                return Err(machine.fault("expected each storage once, got more bytes of them than the file has"));
            };
            machine.nested_left = left;
            let storage = torch::storage_alone(bytes);
            Object::Storage(storage.map_err(|fault| machine.fault(format_args!("in the storage given: {fault}")))?)
        }
        (Global::NumpyReconstruct, [Value::Global(Global::Ndarray), ..]) => Object::Array(Array {
            element: None,
            sizes: Vec::new(),
            column_major: false,
            data: Value::None,
        }),
        (Global::NumpyType, &[code, ..]) => {
            let code = text(code).unwrap_or_default();
            match of_numpy(code) {
                Some(element) => Object::NumpyType(element),
                None => return Err(machine.fault(format_args!("expected a numpy type of numbers, got {code:?}"))),
            }
        }
        (Global::NumpyScalar, &[element, data]) => Object::Array(Array {
            element: Some(numpy_type(machine, element)?),
            sizes: Vec::new(),
            column_major: false,
            data: byte_string(machine, data)?,
        }),
        (Global::NumpyFromBuffer, &[data, element, sizes, order, ..]) => Object::Array(Array {
            element: Some(numpy_type(machine, element)?),
            sizes: numbers(machine, sizes)?,
            column_major: text(order) == Some("F"),
            data: byte_string(machine, data)?,
        }),
        (Global::Encode, &[Value::Text(latin), encoding]) if matches!(text(encoding), Some("latin1" | "latin-1")) => {
            Object::Latin1(latin)
        }
        _ => return Err(wrong(machine)),
    };
    Ok(machine.new_object(made))
}

/// What the opcode BUILD does to `built`.
pub(super) fn build<'a>(machine: &mut Machine<'a>, built: Value<'a>, state: Value<'a>) -> Result<(), Fault> {
    let filled = match object(&machine.objects, built) {
        // Attributes of a dict or an object: torch's `_metadata`.
        Some(Object::Dict(_) | Object::Opaque) => return Ok(()),
        Some(Object::NumpyType(element)) => {
            let order = items(machine, state)?.get(1).copied().and_then(text);
            if !matches!(order, Some("<" | "|" | "=")) {
                return Err(machine.fault(format_args!("expected little-endian numbers, got the order {order:?}")));
            }
            Object::NumpyType(*element)
        }
        Some(Object::Array(_)) => match *items(machine, state)?.as_slice() {
            [_, sizes, element, Value::Bool(column_major), data] => Object::Array(Array {
                element: Some(numpy_type(machine, element)?),
                sizes: numbers(machine, sizes)?,
                column_major,
                data: byte_string(machine, data)?,
            }),
            _ => return Err(machine.fault("expected the state of a numpy array, got another")),
        },
        _ => return Err(machine.unfit("something that has a state", built)),
    };
    if let Some(object) = machine.object_mut(built) {
        *object = filled;
    }
    Ok(())
}

fn tensor<'a>(
    machine: &Machine<'a>,
    storage: Value<'a>,
    offset: Value<'a>,
    sizes: Value<'a>,
    strides: Value<'a>,
    element: Option<Element>,
) -> Result<Object<'a>, Fault> {
    let (Value::Object(id), Some(Object::Storage(held))) = (storage, object(&machine.objects, storage)) else {
        return Err(machine.unfit("the storage of a tensor", storage));
    };
    let Some(element) = element.or(held.element) else {
        return Err(machine.fault("expected a tensor with a type, got one of untyped bytes"));
    };
    Ok(Object::Tensor(Strided {
        storage: id,
        element,
        offset: number(machine, offset)?,
        sizes: numbers(machine, sizes)?,
        strides: numbers(machine, strides)?,
    }))
}

fn numpy_type<'a>(machine: &Machine<'a>, value: Value<'a>) -> Result<Element, Fault> {
    match object(&machine.objects, value) {
        Some(Object::NumpyType(element)) => Ok(*element),
        _ => Err(machine.unfit("a numpy type", value)),
    }
}

fn byte_string<'a>(machine: &Machine<'a>, value: Value<'a>) -> Result<Value<'a>, Fault> {
    match (value, object(&machine.objects, value)) {
        (Value::Bytes(_), _) | (_, Some(Object::Latin1(_))) => Ok(value),
        _ => Err(machine.unfit("the bytes of an array", value)),
    }
}

fn items<'a>(machine: &Machine<'a>, value: Value<'a>) -> Result<Vec<Value<'a>>, Fault> {
    match object(&machine.objects, value) {
        // No call of ours has more arguments; a hostile tuple is not copied a million times.
        Some(Object::Tuple(items)) if items.len() <= 16 => Ok(items.clone()),
        _ => Err(machine.unfit("a short tuple", value)),
    }
}

fn numbers<'a>(machine: &Machine<'a>, value: Value<'a>) -> Result<Vec<u64>, Fault> {
    items(machine, value)?
        .into_iter()
        .map(|item| number(machine, item))
        .collect()
}

fn number<'a>(machine: &Machine<'a>, value: Value<'a>) -> Result<u64, Fault> {
    match value {
        Value::Int(n) => {
            u64::try_from(n).map_err(|_| machine.fault(format_args!("expected no negative size, got {n}")))
        }
        _ => Err(machine.unfit("a size", value)),
    }
}
