//! What the training program says of an engine, held against what maskcast says: torch is not needed, its figures are recorded.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command_line::{maskcast, path, root, text};

fn answer(args: &[&str]) -> Vec<u8> {
    let output = maskcast(args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

/// The engine as it was trained: in f32, by no scale table.
fn in_f32(engine: &Path, folder: &Path) -> PathBuf {
    let told = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        !["scale_table", "self_test", "precision", "file"].contains(&key)
    };
    let text = std::fs::read_to_string(engine).expect("a recipe");
    let weights = engine.with_extension("safetensors");
    let text = text.lines().filter(told).collect::<Vec<_>>().join("\n");
    let text = text.replace("[weights]", &format!("[weights]\nfile = {weights:?}"));
    let text = text.replace("[executor]", "[executor]\nprecision = \"f32\"");
    let path = folder.join("f32.toml");
    std::fs::write(&path, text).expect("writes");
    path
}

#[test]
fn the_bundled_engine_is_as_good_as_where_it_was_trained() {
    let recorded = std::fs::read_to_string(root().join("tests/data/training_ap.json")).expect("recorded figures");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let engine = root().join(recorded["engine"].as_str().expect("a recipe"));
    let meant = maskcast::model::Recipe::read(&engine).unwrap_or_else(|e| panic!("{e}"));
    let digest = meant.weights.sha256.expect("a digest");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        recorded["weights_sha256"].as_str(),
        Some(digest.as_str()),
        "tests/data/training_ap.json is of other weights; to be made again by: {}",
        recorded["made_by"]
    );
    let dir = tempfile::tempdir().expect("folder");
    let synth = &recorded["synth"];
    answer(&[
        "synth",
        "--seed",
        &synth["seed"].to_string(),
        "--count",
        &synth["count"].to_string(),
        "--size",
        synth["size"].as_str().expect("a size"),
        "--out",
        path(dir.path()),
    ]);
    let scores = answer(&[
        "eval",
        "--json",
        "--engine",
        path(&in_f32(&engine, dir.path())),
        "--coco",
        path(&dir.path().join("annotations.json")),
        "--images",
        path(&dir.path().join("images")),
    ]);
    let scores: Value = serde_json::from_slice(&scores).expect("JSON");
    for (kind, key) in [("boxes", "box_ap"), ("masks", "mask_ap")] {
        let got = scores[kind]["stats"][0].as_f64().expect("a number");
        let expected = recorded[key].as_f64().expect("a number");
        // 0.2 points; measured 0.03 on a hundred pictures.
        assert!((got - expected).abs() <= 0.002, "{key} {got}, in Python {expected}");
    }
}
