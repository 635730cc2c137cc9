//! What a cubin says of its kernels: the image given to the driver must be one, for this device, and must hold what is
//! asked of it. Read as an ELF file; the records of `.nv.info` by what NVIDIA's own tools print of them.

use std::collections::BTreeMap;
use std::ffi::c_int;

use crate::status::{INVALID_IMAGE, NO_BINARY_FOR_GPU};

/// The architecture this device says it has.
pub const SM: u32 = 90;

/// Shared memory that sm_90 keeps for itself of each block's.
const RESERVED_SHARED: u64 = 1024;

const MACHINE_CUDA: u16 = 190;

/// One kernel as the compiler made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelFacts {
    /// Threads of a block at most (`__launch_bounds__`); 0 where the source does not say.
    pub most_threads: u32,
    /// Bytes of shared memory without asking at launch.
    pub shared_bytes: u32,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
}

struct Section<'a> {
    name: &'a str,
    bytes: &'a [u8],
    size: u64,
}

/// The kernels of the image at `start` by name.
///
/// # Safety
/// `start` is that of a whole image in memory, as cuModuleLoadData takes it.
pub unsafe fn kernels(start: *const u8) -> Result<BTreeMap<String, KernelFacts>, c_int> {
    if start.is_null() {
        return Err(INVALID_IMAGE);
    }
    // SAFETY: the caller's image; four bytes tell whether there is more, 64 are an ELF header.
    let magic = unsafe { std::slice::from_raw_parts(start, 4) };
    if magic != b"\x7fELF" {
        return Err(INVALID_IMAGE);
    }
    // SAFETY: as above.
    let header = unsafe { std::slice::from_raw_parts(start, 64) };
    let sections_at = number(header, 40, 8)?;
    let count = number(header, 60, 2)?;
    let end = sections_at + count * number(header, 58, 2)?;
    // SAFETY: the section table stands at the end of the image that the header describes; section contents before it.
    let image = unsafe { std::slice::from_raw_parts(start, usize::try_from(end).map_err(|_| INVALID_IMAGE)?) };
    if number(header, 18, 2)? != u64::from(MACHINE_CUDA) {
        return Err(INVALID_IMAGE);
    }
    if number(header, 48, 4)? >> 8 & 0xff != u64::from(SM) {
        return Err(NO_BINARY_FOR_GPU);
    }
    let sections = sections(image)?;
    let size = |name: String| {
        sections
            .iter()
            .find(|section| section.name == name)
            .map_or(0, |section| section.size)
    };
    let mut kernels = BTreeMap::new();
    for section in &sections {
        let Some(kernel) = section.name.strip_prefix(".nv.info.") else {
            continue;
        };
        let mut facts = facts(section.bytes)?;
        let shared = size(format!(".nv.shared.{kernel}")).saturating_sub(RESERVED_SHARED);
        facts.shared_bytes = u32::try_from(shared).map_err(|_| INVALID_IMAGE)?;
        if size(format!(".text.{kernel}")) == 0 {
            return Err(INVALID_IMAGE);
        }
        kernels.insert(kernel.to_owned(), facts);
    }
    Ok(kernels)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64, c_int> {
    let part = bytes.get(at..at + length).ok_or(INVALID_IMAGE)?;
    Ok(part.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn sections(image: &[u8]) -> Result<Vec<Section<'_>>, c_int> {
    let place = |n: u64| usize::try_from(n).map_err(|_| INVALID_IMAGE);
    let (table, entry, count) = (
        place(number(image, 40, 8)?)?,
        place(number(image, 58, 2)?)?,
        number(image, 60, 2)?,
    );
    let names_header = table + entry * place(number(image, 62, 2)?)?;
    let names = image
        .get(place(number(image, names_header + 24, 8)?)?..)
        .ok_or(INVALID_IMAGE)?;
    let mut sections = Vec::new();
    for index in 0..place(count)? {
        let header = table + entry * index;
        let name = names.get(place(number(image, header, 4)?)?..).ok_or(INVALID_IMAGE)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let (offset, size) = (place(number(image, header + 24, 8)?)?, number(image, header + 32, 8)?);
        let without_bytes = number(image, header + 4, 4)? == 8;
        let bytes = if without_bytes {
            &[][..]
        } else {
            image.get(offset..offset + place(size)?).ok_or(INVALID_IMAGE)?
        };
        sections.push(Section {
            name: std::str::from_utf8(name).map_err(|_| INVALID_IMAGE)?,
            bytes,
            size,
        });
    }
    Ok(sections)
}

/// Records: format, attribute, 16 bits of value or, in format 4, of length.
fn facts(mut records: &[u8]) -> Result<KernelFacts, c_int> {
    const WITH_BYTES: u8 = 4;
    const MOST_THREADS: u8 = 0x05;
    const PARAMETER: u8 = 0x17;
    let mut facts = KernelFacts::default();
    let mut parameters = BTreeMap::new();
    while records.len() >= 4 {
        let (format, attribute) = (records[0], records[1]);
        let length = if format == WITH_BYTES {
            number(records, 2, 2)? as usize
        } else {
            0
        };
        let value = records.get(4..4 + length).ok_or(INVALID_IMAGE)?;
        match attribute {
            MOST_THREADS if format == WITH_BYTES => {
                facts.most_threads = (number(value, 0, 4)? * number(value, 4, 4)? * number(value, 8, 4)?) as u32;
            }
            // index, ordinal, offset, and a word whose upper 14 bits are the size
            PARAMETER if format == WITH_BYTES => {
                parameters.insert(number(value, 4, 2)?, (number(value, 8, 4)? >> 18) as usize);
            }
            _ => {}
        }
        records = &records[4 + length..];
    }
    facts.parameters = parameters.into_values().collect();
    Ok(facts)
}
