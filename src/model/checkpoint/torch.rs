//! What torch.save writes: since torch 1.6 a zip archive of `*/data.pkl` and one stored entry a storage, before that (and
//! in torchvision's files of 2019) five pickles followed by the storages, each after its element count.

use std::collections::BTreeMap;
use std::io::Cursor;

use zip::{CompressionMethod, ZipArchive};

use super::Fault;
use super::element::Element;
use super::pickle::{self, Beside, Object, Pickle, Place, Storage, Value};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

pub(super) type Storages<'a> = BTreeMap<String, &'a [u8]>;

/// The entry `data.pkl` and every storage of an archive.
pub(super) fn archive(bytes: &[u8]) -> Result<(&[u8], Storages<'_>), Fault> {
    let zip_fault = |e: zip::result::ZipError| Fault::format("a zip archive of torch.save", e);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(zip_fault)?;
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(zip_fault)?;
        let name = entry.name().map_err(zip_fault)?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            let got = format!("{name:?} compressed or encrypted");
            return Err(Fault::format("an archive of stored entries, as torch writes", got));
        }
        // The bytes where they lie, without a copy; torch can be told to leave the check sums out, a digest is better.
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let content = start.zip(usize::try_from(entry.size()).ok()).and_then(|(start, size)| {
            let end = start.checked_add(size)?;
            bytes.get(start..end)
        });
        let Some(content) = content else {
            return Err(Fault::format(
                "a whole archive",
                format_args!("{name:?} beyond the end of the file"),
            ));
        };
        entries.insert(name, content);
    }

    let mut roots = entries
        .keys()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|root| root.is_empty() || root.ends_with('/'));
    let (Some(root), None) = (roots.next().map(str::to_owned), roots.next()) else {
        let got = format!("{} entries without it or with several", entries.len());
        return Err(Fault::format("an archive of torch.save with one entry data.pkl", got));
    };
    if entries.contains_key(&format!("{root}constants.pkl")) {
        return Err(Fault::format(
            "a state dict saved by torch.save",
            "a TorchScript program",
        ));
    }
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && *order != b"little"
    {
        let got = format!(
            "byte order {:?}",
            String::from_utf8_lossy(order.get(..16).unwrap_or(order))
        );
        return Err(Fault::format("little-endian storages", got));
    }
    let pickle = entries.remove(&format!("{root}data.pkl")).unwrap_or_default();
    let prefix = format!("{root}data/");
    let storages = entries
        .into_iter()
        .filter_map(|(name, content)| Some((name.strip_prefix(&prefix)?.to_owned(), content)))
        .collect();
    Ok((pickle, storages))
}

/// Whether the file starts with torch's magic number as a pickle.
pub(super) fn is_stream(bytes: &[u8]) -> bool {
    matches!(
        pickle::read(bytes.get(..64).unwrap_or(bytes), Beside::Nothing),
        Ok(Pickle {
            root: Value::Long(number),
            ..
        }) if *number == MAGIC
    )
}

/// The object and the storages of a file in the older format.
pub(super) fn stream(bytes: &[u8]) -> Result<(Pickle<'_>, Storages<'_>), Fault> {
    let mut at = 0;
    let mut next = |beside| {
        let rest = bytes.get(at..).unwrap_or_default();
        let pickle = pickle::read(rest, beside).map_err(|fault| fault.after(at))?;
        at += pickle.length;
        Ok::<_, Fault>((pickle, at))
    };
    let (magic, _) = next(Beside::Nothing)?;
    let (protocol, _) = next(Beside::Nothing)?;
    if !matches!(magic.root, Value::Long(number) if *number == MAGIC) || !matches!(protocol.root, Value::Int(PROTOCOL))
    {
        return Err(Fault::format("torch's magic number and protocol 1001", "other numbers"));
    }
    let (system, _) = next(Beside::Nothing)?;
    if let Some(Object::Dict(facts)) = system.object(system.root) {
        let big = |(key, value): &(Value<'_>, Value<'_>)| {
            system.text(*key) == Some("little_endian") && matches!(value, Value::Bool(false))
        };
        if facts.iter().any(big) {
            return Err(Fault::format("little-endian storages", "big-endian ones"));
        }
    }
    let (object, _) = next(Beside::Storages)?;
    let (keys, mut at) = next(Beside::Nothing)?;
    let Some(Object::List(keys_in_order)) = keys.object(keys.root) else {
        return Err(Fault::format("a list of storages", keys.kind(keys.root)));
    };

    let sizes = element_sizes(&object)?;
    let mut storages = BTreeMap::new();
    for key in keys_in_order {
        let (Some(key), Some(size)) = (keys.text(*key), keys.text(*key).and_then(|key| sizes.get(key).copied())) else {
            return Err(Fault::format("storages that the object names", "one that it does not"));
        };
        let whole = |at: usize| {
            let (count, rest) = bytes.get(at..)?.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*count)).ok()?.checked_mul(size)?;
            rest.get(..length)
        };
        let Some(content) = whole(at) else {
            return Err(Fault::format(
                "a whole file",
                format_args!("the end within storage {key:?}, which starts at byte {at}"),
            ));
        };
        at += 8 + content.len();
        storages.insert(key.to_owned(), content);
    }
    Ok((object, storages))
}

/// Bytes of an element, by storage key.
fn element_sizes<'a>(object: &Pickle<'a>) -> Result<BTreeMap<&'a str, usize>, Fault> {
    let mut sizes = BTreeMap::new();
    for held in &object.objects {
        if let Object::Storage(Storage {
            place: Place::Key(key),
            element,
            ..
        }) = held
        {
            let size = element.map_or(1, Element::size);
            if sizes.insert(*key, size).is_some_and(|other| other != size) {
                return Err(Fault::format("one type a storage", format_args!("two for {key:?}")));
            }
        }
    }
    Ok(sizes)
}

/// A storage in a stream of its own, as plain pickles hold it.
pub(super) fn storage_alone(bytes: &[u8]) -> Result<Storage<'_>, Fault> {
    let (object, storages) = stream(bytes)?;
    if let Some(Object::Storage(
        storage @ Storage {
            place: Place::Key(key), ..
        },
    )) = object.object(object.root)
        && let Some(content) = storages.get(*key)
    {
        return Ok(Storage {
            place: Place::Here(content),
            ..*storage
        });
    }
    Err(Fault::format("a storage", object.kind(object.root)))
}
