//! Processor, cores and disk.

use std::path::{Path, PathBuf};

use super::report::{Finding, Group};

/// Features of a processor that inference is faster with, as /proc/cpuinfo spells them, and what they are for.
const FEATURES: [(&str, &str); 9] = [
    ("avx2", "fp32"),
    ("avx512f", "fp32"),
    ("avx_vnni", "int8"),
    ("avx512_vnni", "int8"),
    ("avx512_bf16", "bf16"),
    ("amx_bf16", "bf16"),
    ("amx_int8", "int8"),
    ("bf16", "bf16"),
    ("i8mm", "int8"),
];

pub(super) fn probe(recordings: &Path, findings: &mut Vec<Finding>) {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    findings.push(Finding::fact("cpu", Group::Machine, "Processor", processor(&cpuinfo)));
    findings.push(Finding::fact(
        "cpu.features",
        Group::Machine,
        "For inference",
        features(&cpuinfo),
    ));
    let cores = std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string());
    findings.push(Finding::fact("cpu.cores", Group::Machine, "Cores to use", cores));
    findings.push(Finding::fact(
        "disk",
        Group::Machine,
        "Disk for recordings",
        disk(recordings),
    ));
}

fn processor(cpuinfo: &str) -> String {
    let name = value_of(cpuinfo, "model name").or_else(|| value_of(cpuinfo, "Model"));
    match name {
        Some(name) => name.to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

fn features(cpuinfo: &str) -> String {
    let flags = value_of(cpuinfo, "flags").or_else(|| value_of(cpuinfo, "Features"));
    let present: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    let list: Vec<String> = FEATURES
        .iter()
        .filter(|(flag, _)| present.contains(flag))
        .map(|(flag, kind)| format!("{flag} ({kind})"))
        .collect();
    match list.is_empty() {
        true => "no features that speed it up".to_owned(),
        false => list.join(", "),
    }
}

fn value_of<'a>(cpuinfo: &'a str, key: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Free space of the disk that holds `dir`, or would hold it.
fn disk(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let existing: Option<PathBuf> = absolute.ancestors().find(|a| a.exists()).map(Path::to_owned);
    match existing.as_deref().map(|d| (d, rustix::fs::statvfs(d))) {
        Some((d, Ok(v))) => {
            let (free, total) = (
                v.f_bavail.saturating_mul(v.f_frsize),
                v.f_blocks.saturating_mul(v.f_frsize),
            );
            // 4 Mbit/s, the default of annotated video
            let hours = free / (4_000_000 / 8) / 3600;
            format!(
                "{} free of {} at {}, {hours} h of annotated video at 4 Mbit/s",
                gibibytes(free),
                gibibytes(total),
                d.display()
            )
        }
        Some((d, Err(e))) => format!("{}: {e}", d.display()),
        None => format!("{}: no such folder", dir.display()),
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x86_and_arm_are_read() {
        let x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx\n";
        assert_eq!(processor(x86), "Some CPU @ 2 GHz");
        assert_eq!(features(x86), "avx2 (fp32), avx512f (fp32), avx512_bf16 (bf16)");
        let arm = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\nModel\t\t: Some Board\n";
        assert_eq!(
            (processor(arm).as_str(), features(arm).as_str()),
            ("Some Board", "bf16 (bf16), i8mm (int8)")
        );
        assert_eq!(features(""), "no features that speed it up");
        assert_eq!(processor(""), std::env::consts::ARCH);
    }

    #[test]
    fn the_disk_of_a_folder_that_does_not_exist_yet_is_that_of_its_parent() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = disk(&dir.path().join("not/yet/there"));
        assert!(text.contains(&format!("at {}", dir.path().display())), "{text}");
        assert!(text.contains("GiB free of"), "{text}");
    }
}
