//! Step `kernels`: every kernel against its plain loop on this machine, and against what they gave where the program was
//! made.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

use super::record::{Record, Row};
use crate::device::{Device, DeviceError, KernelSource, Kernels};
use crate::ops::device::Check;
use crate::ops::{detections, encode_rle, mask_select, overlay, paste_masks, proposals, roi_align, roi_pool};
use crate::preprocess;

type CheckAll = fn(&Device, &Kernels) -> Result<Vec<Check>, DeviceError>;

/// Every room or op with a check, and the sources it launches; the first names it. See the test below.
const CHECKED: &[(&[KernelSource], CheckAll)] = &[
    (&[preprocess::launch::SOURCE], preprocess::check::check),
    (&[proposals::launch::SOURCE], proposals::check::check),
    (&[roi_align::launch::SOURCE], roi_align::check::check),
    (&[roi_pool::launch::SOURCE], roi_pool::check::check),
    (&[detections::launch::SOURCE], detections::check::check),
    (&[mask_select::launch::SOURCE], mask_select::check::check),
    (&[paste_masks::launch::SOURCE], paste_masks::check::check),
    (
        &[encode_rle::launch::SOURCE, paste_masks::launch::SOURCE],
        encode_rle::check::check,
    ),
    (
        &[overlay::launch::SOURCE, paste_masks::launch::SOURCE],
        overlay::check::check,
    ),
];

/// The hashes of a run elsewhere, by name of the check.
type Hashes = BTreeMap<String, String>;

/// What of `kernels` was different, or failed.
pub(super) fn run(device: &Device, hashes: &Path, bless: bool, record: &mut Record) -> anyhow::Result<usize> {
    let known = match std::fs::read_to_string(hashes) {
        Ok(text) => serde_json::from_str::<Hashes>(&text).with_context(|| hashes.display().to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Hashes::new(),
        Err(error) => return Err(error).with_context(|| hashes.display().to_string()),
    };
    let mut seen = Hashes::new();
    let mut bad = 0;
    for (sources, check) in CHECKED {
        let name = sources.first().map_or("", |source| source.name);
        let checks = Kernels::load(device, sources).and_then(|kernels| check(device, &kernels));
        let checks = match checks {
            Ok(checks) => checks,
            Err(error) => {
                bad += 1;
                record.add(Row::missing(name, "values", error.to_string()))?;
                continue;
            }
        };
        let (of, before) = (checks.len(), bad);
        for mut check in checks {
            check.what = unique(format!("{name}: {}", check.what), &seen);
            let row = row_of(&check, known.get(&check.what), bless);
            seen.insert(check.what, format!("{:016x}", check.hash));
            match row.note == EQUAL {
                true => record.keep(row)?,
                false => {
                    bad += 1;
                    record.add(row)?;
                }
            }
        }
        say!("  {name:<16} {} of {of} checks equal", of - (bad - before));
    }
    record.finish()?;
    if bless && bad == 0 {
        let text = serde_json::to_string_pretty(&seen)? + "\n";
        std::fs::write(hashes, text).with_context(|| hashes.display().to_string())?;
    }
    Ok(bad)
}

/// `name`, numbered when it was there before.
fn unique(name: String, seen: &Hashes) -> String {
    let numbered = |n: usize| if n == 1 { name.clone() } else { format!("{name} ({n})") };
    (1..)
        .map(numbered)
        .find(|name| !seen.contains_key(name))
        .unwrap_or(name.clone())
}

const EQUAL: &str = "equal";

/// `different values` of a check; its note says whether all is as it must be.
fn row_of(check: &Check, known: Option<&String>, bless: bool) -> Row {
    let hash = format!("{:016x}", check.hash);
    let note = match known {
        _ if check.different > 0 => format!("DIFFERENT: {} of {} values", check.different, check.values),
        _ if bless => EQUAL.to_owned(),
        Some(known) if *known == hash => EQUAL.to_owned(),
        Some(known) => format!("DIFFERENT from the host that made it: {hash}, there {known}"),
        None => "no hash of the host that made it: run --bless there".to_owned(),
    };
    Row {
        hash: Some(hash),
        note,
        ..Row::measured(check.what.clone(), "different values", check.different as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_equal_when_both_the_plain_loop_and_the_other_host_agree() {
        let check = |different| Check {
            what: "nms".to_owned(),
            values: 9,
            different,
            hash: 0xab,
        };
        let here = "00000000000000ab".to_owned();
        assert_eq!(row_of(&check(0), Some(&here), false).note, EQUAL);
        assert_eq!(row_of(&check(2), Some(&here), false).note, "DIFFERENT: 2 of 9 values");
        let there = "00000000000000ac".to_owned();
        assert!(
            row_of(&check(0), Some(&there), false)
                .note
                .starts_with("DIFFERENT from")
        );
        assert!(row_of(&check(0), None, false).note.starts_with("no hash"));
        assert_eq!(row_of(&check(0), None, true).note, EQUAL);
        assert_ne!(row_of(&check(1), None, true).note, EQUAL);
    }

    /// Every `check.rs` beside a kernel is called.
    #[test]
    fn no_kernel_is_left_out() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![src.join("preprocess")];
        folders.extend(
            std::fs::read_dir(src.join("ops"))
                .expect("reads")
                .map(|e| e.expect("entry").path()),
        );
        folders.push(src.join("engine/cudnn"));
        let checks = |dir: &std::path::PathBuf| {
            let text = std::fs::read_to_string(dir.join("check.rs")).unwrap_or_default();
            text.contains("pub fn check(")
                .then(|| dir.file_name().expect("named").to_owned())
        };
        let there: std::collections::BTreeSet<_> = folders.iter().filter_map(checks).collect();
        let called = CHECKED.iter().map(|(sources, _)| sources[0].name.into()).collect();
        assert_eq!(there, called);
    }
}
