//! Caffe2 nets that fill blobs with constants, as MaskRCNN2Go ships its weights: protobuf `NetDef { op = 2 }`,
//! `OperatorDef { output = 2, type = 4, arg = 5 }`, `Argument { name = 1, f = 2, i = 3, s = 4, floats = 5, ints = 6 }`.
//! Field by field, where the bytes lie: an empty operator costs two bytes in a file and a hundred as a struct.
//!
//! Int8 values are (stored - zero point) * scale. Int8 weights are [O, kH, kW, I / groups] (NHWC) and become
//! [O, I / groups, kH, kW]; so a transposed convolution's [I, kH, kW, O] becomes [I, O, kH, kW], as torch has it.

use std::collections::BTreeMap;

use super::element::{Budget, count};
use super::{Fault, Tensor};

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
    /// 8 bytes that no field of ours has.
    Other,
}

/// Takes the next field's number and content off `rest`.
fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<(u64, Field<'a>)>, Fault> {
    if rest.is_empty() {
        return Ok(None);
    }
    let bad = || Fault::format("a Caffe2 net (protobuf)", "bytes that are none");
    let key = varint(rest).ok_or_else(bad)?;
    let field = match key & 7 {
        0 => varint(rest).map(Field::Number),
        1 => rest.split_first_chunk::<8>().map(|(_, after)| {
            *rest = after;
            Field::Other
        }),
        2 => {
            let length = varint(rest).and_then(|n| usize::try_from(n).ok());
            length.and_then(|n| rest.split_at_checked(n)).map(|(bytes, after)| {
                *rest = after;
                Field::Bytes(bytes)
            })
        }
        5 => rest.split_first_chunk::<4>().map(|(bytes, after)| {
            *rest = after;
            Field::Fixed32(*bytes)
        }),
        _ => None,
    };
    Ok(Some((key >> 3, field.ok_or_else(bad)?)))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The arguments a fill has.
#[derive(Default)]
struct Fill<'a> {
    shape: Vec<u64>,
    scale: Option<f32>,
    zero_point: i64,
    /// `values`, a message still.
    values: &'a [u8],
}

pub(super) fn tensors(net: &[u8]) -> Result<BTreeMap<String, Tensor>, Fault> {
    let mut budget = Budget::of_file(net.len());
    let mut tensors = BTreeMap::new();
    let mut rest = net;
    while let Some((number, field)) = next_field(&mut rest)? {
        if let (2, Field::Bytes(operator)) = (number, field)
            && let Some((name, tensor)) = read_operator(operator, &mut budget)?
            && tensors.insert(name.clone(), tensor).is_some()
        {
            return Err(Fault::tensor(&name, "one fill", "two"));
        }
    }
    if tensors.is_empty() {
        return Err(Fault::format("a Caffe2 net that fills blobs", "one that fills none"));
    }
    Ok(tensors)
}

fn read_operator(operator: &[u8], budget: &mut Budget) -> Result<Option<(String, Tensor)>, Fault> {
    let (mut output, mut kind) = (None, "");
    let mut fill = Fill::default();
    let mut rest = operator;
    while let Some((number, field)) = next_field(&mut rest)? {
        match (number, field) {
            (2, Field::Bytes(name)) => output = output.or(Some(text(name)?)),
            (4, Field::Bytes(name)) => kind = text(name)?,
            (5, Field::Bytes(argument)) => read_argument(argument, &mut fill)?,
            _ => {}
        }
    }
    let name = output.ok_or_else(|| Fault::format("operators with an output", format_args!("{kind:?} without")))?;
    let wanted = count(name, &fill.shape)?;
    let mut values: Vec<f32> = match kind {
        "Int8GivenTensorFill" => {
            let stored = bytes_of(fill.values)?;
            budget.spend(name, stored.len() as u64)?;
            dequantised(name, &fill, stored.iter().map(|&q| i64::from(q)))?
        }
        "Int8GivenIntTensorFill" => {
            budget.spend(name, fill.values.len() as u64)?;
            dequantised(name, &fill, integers(fill.values)?.into_iter())?
        }
        "GivenTensorFill" => floats(fill.values)?,
        "GivenTensorIntFill" | "GivenTensorInt64Fill" => {
            budget.spend(name, fill.values.len() as u64)?;
            integers(fill.values)?.into_iter().map(|v| v as f32).collect()
        }
        other => {
            let got = format!("the operator {other:?}");
            return Err(Fault::tensor(name, "a fill with given values", got));
        }
    };
    if values.len() as u64 != wanted {
        let expected = format!("{wanted} values for shape {:?}", fill.shape);
        return Err(Fault::tensor(name, expected, values.len()));
    }
    let mut shape: Vec<usize> = fill.shape.iter().map(|&s| s as usize).collect();
    if let ("Int8GivenTensorFill", &[o, h, w, i]) = (kind, shape.as_slice()) {
        values = channels_first(&values, [o, h * w, i]);
        shape = vec![o, i, h, w];
    }
    Ok(Some((name.to_owned(), Tensor { shape, values })))
}

fn dequantised(name: &str, fill: &Fill<'_>, stored: impl Iterator<Item = i64>) -> Result<Vec<f32>, Fault> {
    let Some(scale) = fill.scale else {
        return Err(Fault::tensor(name, "a scale", "none"));
    };
    Ok(stored.map(|q| q.wrapping_sub(fill.zero_point) as f32 * scale).collect())
}

/// [O, P, I] -> [O, I, P].
fn channels_first(values: &[f32], [outputs, plane, inputs]: [usize; 3]) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for kernel in values.chunks_exact((plane * inputs).max(1)).take(outputs) {
        for input in 0..inputs {
            turned.extend(kernel.iter().skip(input).step_by(inputs));
        }
    }
    turned
}

fn read_argument<'a>(argument: &'a [u8], fill: &mut Fill<'a>) -> Result<(), Fault> {
    let mut name = "";
    let (mut number, mut float) = (0i64, 0.0);
    let mut rest = argument;
    while let Some((tag, field)) = next_field(&mut rest)? {
        match (tag, field) {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (2, Field::Fixed32(bytes)) => float = f32::from_le_bytes(bytes),
            (3, Field::Number(value)) => number = value.cast_signed(),
            _ => {}
        }
    }
    match name {
        "shape" => {
            let sizes = integers(argument)?;
            fill.shape = sizes
                .into_iter()
                .map(|n| u64::try_from(n).unwrap_or(u64::MAX))
                .collect();
        }
        "values" => fill.values = argument,
        "Y_scale" => fill.scale = Some(float),
        "Y_zero_point" => fill.zero_point = number,
        _ => {}
    }
    Ok(())
}

/// The field `s` of an argument.
fn bytes_of(mut argument: &[u8]) -> Result<&[u8], Fault> {
    let mut found: &[u8] = &[];
    while let Some((number, field)) = next_field(&mut argument)? {
        if let (4, Field::Bytes(bytes)) = (number, field) {
            found = bytes;
        }
    }
    Ok(found)
}

/// The field `ints`, packed or not.
fn integers(mut argument: &[u8]) -> Result<Vec<i64>, Fault> {
    let mut values = Vec::new();
    while let Some((number, field)) = next_field(&mut argument)? {
        match (number, field) {
            (6, Field::Number(value)) => values.push(value.cast_signed()),
            (6, Field::Bytes(mut packed)) => {
                while let Some(value) = varint(&mut packed) {
                    values.push(value.cast_signed());
                }
            }
            _ => {}
        }
    }
    Ok(values)
}

/// The field `floats`, packed or not.
fn floats(mut argument: &[u8]) -> Result<Vec<f32>, Fault> {
    let mut values = Vec::new();
    while let Some((number, field)) = next_field(&mut argument)? {
        match (number, field) {
            (5, Field::Fixed32(bytes)) => values.push(f32::from_le_bytes(bytes)),
            (5, Field::Bytes(packed)) => values.extend(packed.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
            _ => {}
        }
    }
    Ok(values)
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::format("names in UTF-8", "other bytes"))
}
