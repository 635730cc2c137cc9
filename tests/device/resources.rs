//! What each kernel takes of a multiprocessor is a table in the repository; and what the compiler makes of the arithmetic
//! is what the plain loops do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use maskcast::device::nvrtc::{ARCHITECTURES, compile_all, ptx};
use maskcast::pipeline::kernel_sources;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Registers a kernel may gain before someone looks at it.
const SLACK: u32 = 0;

#[test]
fn every_kernel_of_the_tree_is_listed() {
    let mut files = Vec::new();
    find(&root().join("src"), &mut files);
    let texts: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let sources = kernel_sources();
    for (file, text) in files.iter().zip(&texts) {
        let listed = sources.iter().any(|source| source.text == text);
        assert!(listed, "{} is not in kernel_sources()", file.display());
    }
    assert_eq!(files.len(), sources.len());
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "cu") {
            files.push(path);
        }
    }
}

/// No local memory and no spills anywhere; registers and shared memory as in the table. MASKCAST_BLESS=1 writes it anew.
#[test]
fn kernels_take_what_the_table_says() {
    let sources = kernel_sources();
    let compiled = compile_all(&sources, &ARCHITECTURES).unwrap();
    let mut faults = Vec::new();
    let mut table: BTreeMap<String, Vec<(u32, u32)>> = BTreeMap::new();
    for one in &compiled {
        for entry in one.source.entry_points() {
            if !one.kernels.iter().any(|kernel| kernel.kernel == entry) {
                faults.push(format!("{}/{entry} is missing for sm_{}", one.source.name, one.sm));
            }
        }
        for kernel in &one.kernels {
            let name = format!("{}/{}", one.source.name, kernel.kernel);
            if kernel.stack_bytes + kernel.spill_store_bytes + kernel.spill_load_bytes > 0 {
                faults.push(format!("{name} for sm_{} uses local memory: {kernel:?}", one.sm));
            }
            let row = table.entry(name).or_default();
            row.push((kernel.registers, kernel.shared_bytes));
        }
    }
    let mut text = String::from("# kernel, shared bytes, registers a thread on sm");
    let shown = ARCHITECTURES.map(|sm| sm.to_string()).join(" ");
    let _ = writeln!(text, " {shown}");
    for (name, row) in &table {
        let shared = row.iter().map(|(_, shared)| *shared).max().unwrap_or(0);
        let registers: Vec<String> = row.iter().map(|(registers, _)| registers.to_string()).collect();
        let _ = writeln!(text, "{name} {shared} {}", registers.join(" "));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let path = root().join("tests/data/kernel_resources.txt");
    if std::env::var_os("MASKCAST_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let differences = differences(&known, &text);
    assert!(
        differences.is_empty(),
        "{differences:#?}\nrun again with MASKCAST_BLESS=1 where that is meant"
    );
}

/// Kernels that came, went, or take more than before.
fn differences(known: &str, found: &str) -> Vec<String> {
    let rows = |text: &str| -> BTreeMap<String, Vec<u32>> {
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| {
            let (name, numbers) = line.split_once(' ')?;
            Some((
                name.to_owned(),
                numbers.split(' ').map(|n| n.parse().unwrap()).collect(),
            ))
        })
        .collect()
    };
    let (known, found) = (rows(known), rows(found));
    let mut differences = Vec::new();
    for (name, now) in &found {
        match known.get(name) {
            None => differences.push(format!("{name} is new: {now:?}")),
            Some(before) => {
                let worse =
                    now.len() != before.len() || now.iter().zip(before).any(|(now, before)| *now > before + SLACK);
                if worse {
                    differences.push(format!("{name}: {before:?} became {now:?}"));
                }
            }
        }
    }
    let gone = known.keys().filter(|name| !found.contains_key(*name));
    differences.extend(gone.map(|name| format!("{name} is gone")));
    differences
}

/// Only correctly rounded arithmetic, and fused only where a source says fmaf: then host and device give the same bits.
#[test]
fn arithmetic_is_rounded_as_on_the_host() {
    for source in kernel_sources() {
        let text = ptx(&source, 90).unwrap();
        let fused = source.text.contains("fmaf") || source.headers.iter().any(|(_, text)| text.contains("fmaf("));
        for line in text.lines().map(str::trim) {
            let operation = line
                .trim_start_matches(['@', '%'])
                .split_whitespace()
                .next()
                .unwrap_or("");
            let float = operation.contains(".f32") || operation.contains(".f64");
            let loose = [".approx", ".ftz", ".full"].iter().any(|word| operation.contains(word));
            assert!(!loose, "{}: {line}", source.name);
            let arithmetic = ["add.", "sub.", "mul.", "div.", "sqrt.", "rcp."]
                .iter()
                .any(|word| operation.starts_with(word));
            if float && arithmetic {
                // Towards zero is what round() is made of; each of the four is exact to the last bit.
                let rounded = [".rn", ".rz", ".rm", ".rp"].iter().any(|word| operation.contains(word));
                assert!(rounded, "{}: {line}", source.name);
            }
            assert!(fused || !operation.starts_with("fma."), "{}: {line}", source.name);
            let inexact = ["sin.", "cos.", "ex2.", "lg2.", "tanh.", "rsqrt."]
                .iter()
                .any(|word| operation.starts_with(word));
            assert!(!inexact, "{}: {line}", source.name);
        }
    }
}
