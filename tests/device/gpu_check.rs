//! `maskcast gpu-check` as a GPU machine runs it, on the stand-in: every kernel gives the bytes it gave where the hashes in
//! tests/data were written, and nothing is said to have been measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn record(folder: &Path, step: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(step).with_extension("json")).expect("a record");
    serde_json::from_str(&text).expect("a whole record")
}

#[test]
fn kernels_give_the_bytes_they_gave_elsewhere_and_the_table_shows_no_time() {
    let out = tempfile::tempdir().expect("dir");
    let root =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let ran = Command::new(env!("CARGO_BIN_EXE_maskcast"))
        .args(["gpu-check", "--only", "kernels,table", "--out"])
        .arg(out.path())
        .env(
            "LD_LIBRARY_PATH",
            std::env::var_os("MASKCAST_CUDA_STANDIN").expect("set by make test"),
        )
        .current_dir(&root)
        .output()
        .expect("the program runs");
    assert!(ran.status.success(), "{ran:?}");

    let kernels = record(out.path(), "kernels");
    assert_eq!(kernels["stand_in"], true);
    let rows = kernels["rows"].as_array().expect("rows");
    let got: BTreeMap<&str, &str> = rows
        .iter()
        .map(|row| {
            (
                row["name"].as_str().expect("named"),
                row["hash"].as_str().expect("hash"),
            )
        })
        .collect();
    let known = std::fs::read_to_string(root.join("tests/data/kernel_hashes.json")).expect("hashes");
    let known: BTreeMap<&str, &str> = serde_json::from_str(&known).expect("hashes by name");
    assert_eq!(
        got, known,
        "run `maskcast gpu-check --only kernels --bless --out DIR` where a change of bytes is meant"
    );

    let table = record(out.path(), "table");
    let verdicts: Vec<_> = table
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["verdict"])
        .collect();
    assert_eq!(
        verdicts.iter().filter(|verdict| **verdict == "met").count(),
        1,
        "{table}"
    );
    assert!(
        verdicts[1..].iter().all(|verdict| *verdict == "not_yet_measured"),
        "{table}"
    );
    let shown = String::from_utf8(ran.stdout).expect("text");
    assert!(shown.contains("stand-in: no timings"), "{shown}");
}
