//! Compiles every `*.cu` of the tree for the host, with a table of its entry points: their names, parameter sizes, and
//! whether they have barriers, read off the words KERNEL and BLOCK_KERNEL. Each barrier gets a number, by which a test
//! takes it out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../src");
    let root = root.canonicalize().expect("the tree has src/");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=emu");
    println!("cargo:rerun-if-env-changed=CUDA_STANDIN_CXXFLAGS");
    println!("cargo:rustc-check-cfg=cfg(sanitizer)");
    let mut build = cc::Build::new();
    let mut files = Vec::new();
    find(&root, &mut files);
    // Stores out of bounds on purpose, to see that they are named.
    files.push(
        PathBuf::from("emu/faulty.cu")
            .canonicalize()
            .expect("a kernel of the stand-in"),
    );
    files.sort();
    let mut rows = String::new();
    let mut barriers = Vec::new();
    let mut names = BTreeSet::new();
    for (index, file) in files.iter().enumerate() {
        let text = std::fs::read_to_string(file).expect("a kernel source");
        let shown = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        // Headers lie side by side, as the sources include them.
        let header = file.extension().is_some_and(|e| e == "cuh");
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let copy = out.join(if header { name } else { format!("unit_{index}.cpp") });
        let mut unit = if header {
            String::from("#pragma once\n")
        } else {
            String::new()
        };
        let _ = writeln!(unit, "#line 1 \"{}\"", file.display());
        unit.push_str(&numbered(&text, &shown, &mut barriers));
        if !header {
            unit.push_str(&entries(&text, index, &mut names));
            let _ = writeln!(rows, "X({index})");
        }
        std::fs::write(&copy, unit).expect("OUT_DIR can be written");
        if !header {
            build.file(&copy);
        }
    }
    std::fs::write(out.join("units.inc"), rows).expect("OUT_DIR can be written");
    std::fs::write(out.join("barriers.inc"), barriers.join("\n")).expect("OUT_DIR can be written");
    build
        .cpp(true)
        .std("c++17")
        .define("CUEMU", None)
        .include("emu")
        .include(&out)
        .flag("-ffp-contract=off")
        .flag("-fno-math-errno")
        .flag("-fno-strict-aliasing")
        .flag("-fwrapv")
        .flag_if_supported("-mfma")
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .opt_level(2)
        .file("emu/table.cpp");
    for flag in std::env::var("CUDA_STANDIN_CXXFLAGS")
        .unwrap_or_default()
        .split_whitespace()
    {
        build.flag(flag);
        if flag.starts_with("-fsanitize=") {
            println!("cargo:rustc-cfg=sanitizer");
            println!("cargo:rustc-cdylib-link-arg={flag}");
            build.debug(true);
        }
    }
    build.compile("cuemu_kernels");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
}

/// Rows of the table for the entry points of `text`.
fn entries(text: &str, index: usize, names: &mut BTreeSet<String>) -> String {
    let mut rows = format!("\n#include \"entries.h\"\nextern \"C\" const CuemuRow cuemu_rows_{index}[] = {{\n");
    for line in text.lines() {
        let (rest, barriers) = match (line.strip_prefix("KERNEL("), line.strip_prefix("BLOCK_KERNEL(")) {
            (Some(rest), _) => (rest, 0),
            (_, Some(rest)) => (rest, 1),
            _ => continue,
        };
        let name = rest
            .split_once(')')
            .and_then(|(_, rest)| rest.split('(').next())
            .unwrap_or("")
            .trim();
        assert!(names.insert(name.to_owned()), "two kernels are called {name}");
        let _ = writeln!(rows, "CUEMU_ROW({name}, {barriers})");
    }
    rows + "{nullptr, nullptr, 0, nullptr}};\n"
}

/// `text` with each barrier numbered, lines as they were. `known` gets `file:line:column` of each.
fn numbered(text: &str, shown: &str, known: &mut Vec<String>) -> String {
    let mut numbered = String::new();
    for (line, words) in text.lines().enumerate() {
        let code = words.split("//").next().unwrap_or_default().len();
        let mut rest = words;
        while let Some(at) = rest.find("__sync").filter(|at| words.len() - rest.len() + at < code) {
            let Some(end) = rest[at..].find(')').map(|end| at + end + 1) else {
                break;
            };
            let column = words.len() - rest.len() + at + 1;
            let _ = write!(
                numbered,
                "{}CUEMU_BARRIER({}, {})",
                &rest[..at],
                known.len(),
                &rest[at..end]
            );
            known.push(format!("B({shown}:{}:{column})", line + 1));
            rest = &rest[end..];
        }
        numbered.push_str(rest);
        numbered.push('\n');
    }
    numbered
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "cu" || e == "cuh") {
            files.push(path);
        }
    }
}
