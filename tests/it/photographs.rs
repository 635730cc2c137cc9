//! The bundled engines of photographs, judged on photographs they never saw.

use serde_json::Value;

use super::command_line::{data, maskcast, path, root, text};

fn run(args: &[&str]) -> Vec<u8> {
    let output = maskcast(args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

/// (AP, AP50) of the masks.
fn masks(args: &[&str]) -> (f64, f64) {
    let mut all = vec!["eval", "--json"];
    all.extend(args);
    let scores: Value = serde_json::from_slice(&run(&all)).expect("JSON");
    let number = |i: usize| scores["masks"]["stats"][i].as_f64().expect("a number");
    (number(0), number(1))
}

#[test]
fn nuclei_are_found_in_microscope_pictures() {
    let Some(folder) = data("nuclei") else { return };
    let dir = tempfile::tempdir().expect("folder");
    let coco = dir.path().join("val.json");
    let list = root().join("engines/training/nuclei_validation.txt");
    let (labels, images) = (folder.join("labels"), folder.join("images"));
    run(&[
        "coco",
        "--labels",
        path(&labels),
        "--class",
        "nucleus",
        "--only",
        path(&list),
        "--out",
        path(&coco),
    ]);
    let engine = root().join("engines/nuclei.toml");
    let mut args = vec![
        "--engine",
        path(&engine),
        "--coco",
        path(&coco),
        "--images",
        path(&images),
    ];
    args.extend([
        "--tile",
        "512",
        "--overlap",
        "64",
        "--max-detections",
        "400",
        "--limit",
        "40",
    ]);
    let (ap, ap50) = masks(&args);
    assert!(ap >= 0.55 && ap50 >= 0.80, "{ap} {ap50}"); // all 116: 0.644, 0.908
}

#[test]
fn things_on_tables_are_found_in_photographs_by_an_engine_that_never_saw_one() {
    let Some(folder) = data("tabletop_photos/data") else {
        return;
    };
    let engine = root().join("engines/object.toml");
    let (coco, images) = (folder.join("trainval.json"), folder.join("images"));
    let (ap, ap50) = masks(&[
        "--engine",
        path(&engine),
        "--one-class",
        "--coco",
        path(&coco),
        "--images",
        path(&images),
    ]);
    assert!(ap >= 0.65 && ap50 >= 0.80, "{ap} {ap50}"); // 0.711, 0.853
}
