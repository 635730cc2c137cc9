//! From what a pickle left behind to tensors by name.

use std::collections::BTreeMap;

use super::element::{Budget, View, count};
use super::pickle::{Array, Object, Pickle, Place, Value};
use super::torch::Storages;
use super::{Fault, Tensor};

/// Under which training scripts keep the weights; first come, first served.
const WEIGHTS_KEYS: [&str; 3] = ["model", "state_dict", "model_state_dict"];

const MAX_NAME_BYTES: usize = 1024;

/// All tensors of the state dict, under their stored names.
pub(super) fn tensors(
    pickle: &Pickle<'_>,
    storages: &Storages<'_>,
    budget: &mut Budget,
) -> Result<BTreeMap<String, Tensor>, Fault> {
    let mut tensors = BTreeMap::new();
    for &(key, value) in state_dict(pickle)? {
        let Some(name) = pickle.text(key) else {
            return Err(Fault::format("names of tensors", pickle.kind(key)));
        };
        // One long text can be the name of a million empty tensors.
        if name.len() > MAX_NAME_BYTES {
            let got = format!("one of {} bytes", name.len());
            return Err(Fault::format(format!("names of at most {MAX_NAME_BYTES} bytes"), got));
        }
        let tensor = match pickle.object(value) {
            Some(Object::Tensor(tensor)) => {
                let Some(Object::Storage(storage)) = pickle.objects.get(tensor.storage as usize) else {
                    return Err(Fault::tensor(name, "a storage", "none"));
                };
                let content = match storage.place {
                    Place::Here(content) => Some(content),
                    Place::Key(key) => storages.get(key).copied(),
                };
                let bytes = storage.element.map_or(1, |e| e.size()) as u64;
                let said = storage.count.checked_mul(bytes);
                match content {
                    Some(content) if said.is_some_and(|said| said <= content.len() as u64) => View {
                        element: tensor.element,
                        offset: tensor.offset,
                        sizes: &tensor.sizes,
                        strides: &tensor.strides,
                    }
                    .read(name, content, budget)?,
                    _ => {
                        let got = content.map_or_else(|| "none".to_owned(), |c| format!("{} bytes", c.len()));
                        let expected = format!("a storage of {} times {bytes} bytes", storage.count);
                        return Err(Fault::tensor(name, expected, got));
                    }
                }
            }
            Some(Object::Array(array)) => read_array(name, pickle, array, budget)?,
            _ => return Err(Fault::tensor(name, "a tensor or an array", pickle.kind(value))),
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

type Entries<'p, 'a> = &'p [(Value<'a>, Value<'a>)];

fn state_dict<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<Entries<'p, 'a>, Fault> {
    let dict = |value| match pickle.object(value) {
        Some(Object::Dict(entries)) => Some(entries.as_slice()),
        _ => None,
    };
    let Some(root) = dict(pickle.root) else {
        return Err(Fault::format("a state dict", pickle.kind(pickle.root)));
    };
    for wanted in WEIGHTS_KEYS {
        let under = root.iter().find(|(key, _)| pickle.text(*key) == Some(wanted));
        if let Some(entries) = under.and_then(|&(_, value)| dict(value)) {
            return Ok(entries);
        }
    }
    let is_tensor = |value| matches!(pickle.object(value), Some(Object::Tensor(_) | Object::Array(_)));
    if root.is_empty() || !root.iter().any(|&(_, value)| is_tensor(value)) {
        let keys: Vec<&str> = root.iter().filter_map(|(key, _)| pickle.text(*key)).take(8).collect();
        let expected = format!("tensors, or one of the keys {}", WEIGHTS_KEYS.join(", "));
        return Err(Fault::format(expected, format_args!("the keys {keys:?}")));
    }
    Ok(root)
}

fn read_array(name: &str, pickle: &Pickle<'_>, array: &Array<'_>, budget: &mut Budget) -> Result<Tensor, Fault> {
    let Some(element) = array.element else {
        return Err(Fault::tensor(name, "an array", "one without a state"));
    };
    let wanted = count(name, &array.sizes)?.checked_mul(element.size() as u64);
    let unpacked: Vec<u8>;
    let content = match (array.data, pickle.object(array.data)) {
        (Value::Bytes(bytes), _) => bytes,
        (_, Some(Object::Latin1(text))) => {
            let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
            unpacked = bytes.map_err(|_| Fault::tensor(name, "bytes as latin-1", "other characters"))?;
            &unpacked
        }
        _ => return Err(Fault::tensor(name, "an array of bytes", pickle.kind(array.data))),
    };
    if wanted != Some(content.len() as u64) {
        let expected = format!("{:?} of {} bytes each", array.sizes, element.size());
        return Err(Fault::tensor(name, expected, format_args!("{} bytes", content.len())));
    }
    let mut strides = vec![1; array.sizes.len()];
    let mut step = 1;
    let axes: Vec<usize> = (0..array.sizes.len()).collect();
    let fastest_first: Vec<usize> = if array.column_major {
        axes
    } else {
        axes.into_iter().rev().collect()
    };
    for axis in fastest_first {
        if let (Some(stride), Some(size)) = (strides.get_mut(axis), array.sizes.get(axis)) {
            *stride = step;
            step *= (*size).max(1);
        }
    }
    View {
        element,
        offset: 0,
        sizes: &array.sizes,
        strides: &strides,
    }
    .read(name, content, budget)
}
