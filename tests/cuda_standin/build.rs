//! Compiles every `*.cu` of the tree for the host, with a table of its entry points: their names, parameter sizes, and
//! whether they have barriers, read off the words KERNEL and BLOCK_KERNEL.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../src");
    let root = root.canonicalize().expect("the tree has src/");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=emu");
    println!("cargo:rerun-if-env-changed=CUDA_STANDIN_CXXFLAGS");
    let mut sources = Vec::new();
    find(&root, &mut sources);
    sources.sort();
    let mut build = cc::Build::new();
    let mut rows = String::new();
    for (index, source) in sources.iter().enumerate() {
        let text = std::fs::read_to_string(source).expect("a kernel source");
        let mut unit = format!("#include \"{}\"\n#include \"entries.h\"\n", source.display());
        let _ = writeln!(unit, "extern \"C\" const CuemuRow cuemu_rows_{index}[] = {{");
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
            let _ = writeln!(unit, "CUEMU_ROW({name}, {barriers})");
        }
        unit.push_str("{nullptr, nullptr, 0, nullptr}};\n");
        let path = out.join(format!("unit_{index}.cpp"));
        std::fs::write(&path, unit).expect("OUT_DIR can be written");
        build.file(&path);
        let _ = writeln!(rows, "X({index})");
    }
    std::fs::write(out.join("units.inc"), rows).expect("OUT_DIR can be written");
    build
        .cpp(true)
        .std("c++17")
        .define("CUEMU", None)
        .include("emu")
        .include(root.join("ops"))
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
    println!("cargo:rustc-check-cfg=cfg(sanitizer)");
    for flag in std::env::var("CUDA_STANDIN_CXXFLAGS")
        .unwrap_or_default()
        .split_whitespace()
    {
        build.flag(flag);
        if flag.starts_with("-fsanitize=") {
            println!("cargo:rustc-cfg=sanitizer");
        }
    }
    build.compile("cuemu_kernels");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
}

fn find(dir: &Path, sources: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, sources);
        } else if path.extension().is_some_and(|e| e == "cu") {
            sources.push(path);
        }
    }
}
