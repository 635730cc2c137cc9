//! What a pickle stream builds: plain values, and objects in one table, so that a hostile stream can neither nest them
//! deeper than the stack nor make dropping them recurse.

use super::super::element::Element;
use super::globals::Global;

pub(in super::super) type ObjectId = u32;

/// A value of a stream that outlives it (`'a`).
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// An integer of more than 8 bytes, little-endian two's complement.
    Long(&'a [u8]),
    Text(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    Object(ObjectId),
}

#[derive(Debug)]
pub(in super::super) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(Strided),
    Array(Array<'a>),
    NumpyType(Element),
    /// Text that stands for bytes, one a character below 256: how protocol 2 writes bytes.
    Latin1(&'a str),
    /// Harmless and of no use here: a set, a device, an argument list.
    Opaque,
}

/// A piece of memory that tensors look into.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Storage<'a> {
    pub place: Place<'a>,
    /// None: untyped, the tensor says what it is.
    pub element: Option<Element>,
    /// In elements; in bytes where untyped.
    pub count: u64,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Place<'a> {
    /// Beside the pickle, under this key.
    Key(&'a str),
    /// In the pickle.
    Here(&'a [u8]),
}

/// A torch tensor. Sizes, strides and offset count elements.
#[derive(Debug)]
pub(in super::super) struct Strided {
    pub storage: ObjectId,
    pub element: Element,
    pub offset: u64,
    pub sizes: Vec<u64>,
    pub strides: Vec<u64>,
}

/// A numpy array.
#[derive(Debug)]
pub(in super::super) struct Array<'a> {
    /// None until it was filled.
    pub element: Option<Element>,
    pub sizes: Vec<u64>,
    pub column_major: bool,
    /// Bytes, or an object of kind `Latin1`.
    pub data: Value<'a>,
}

/// What one stream left behind.
#[derive(Debug)]
pub(in super::super) struct Pickle<'a> {
    pub objects: Vec<Object<'a>>,
    pub root: Value<'a>,
    /// Bytes of the input that belong to it.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    pub fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        object(&self.objects, value)
    }

    /// A key or a name; Python 2 wrote names as bytes.
    pub fn text(&self, value: Value<'a>) -> Option<&'a str> {
        text(value)
    }

    /// For errors.
    pub fn kind(&self, value: Value<'a>) -> &'static str {
        kind(&self.objects, value)
    }
}

pub(super) fn object<'o, 'a>(objects: &'o [Object<'a>], value: Value<'a>) -> Option<&'o Object<'a>> {
    match value {
        Value::Object(id) => objects.get(id as usize),
        _ => None,
    }
}

pub(super) fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(super) fn kind(objects: &[Object<'_>], value: Value<'_>) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Long(_) => "an integer",
        Value::Float => "a float",
        Value::Text(_) => "a string",
        Value::Bytes(_) => "bytes",
        Value::Global(_) => "a function or a class",
        Value::Object(_) => match object(objects, value) {
            Some(Object::Tuple(_)) => "a tuple",
            Some(Object::List(_)) => "a list",
            Some(Object::Dict(_)) => "a dict",
            Some(Object::Storage(_)) => "a storage",
            Some(Object::Tensor(_)) => "a tensor",
            Some(Object::Array(_)) => "a numpy array",
            Some(Object::NumpyType(_)) => "a numpy type",
            Some(Object::Latin1(_)) => "bytes",
            Some(Object::Opaque) | None => "some object",
        },
    }
}
