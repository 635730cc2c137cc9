//! The program as people meet it: exit codes, messages, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub fn maskcast(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_maskcast"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard error of a command that must fail with status 1.
fn refused(args: &[&str]) -> String {
    let output = maskcast(args);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    text(&output.stderr)
}

pub fn path(p: &Path) -> &str {
    p.to_str().expect("UTF-8")
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the test data; `None`, said aloud, where it is absent.
pub fn data(name: &str) -> Option<PathBuf> {
    let data = std::env::var_os("MASKCAST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let found = data.join(name);
    if found.exists() {
        return Some(found);
    }
    eprintln!("not run: no data at {}", found.display());
    None
}

/// Pictures of the simulated camera in a fresh folder, with their annotations.
fn pictures(count: u64, size: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("folder");
    let count = count.to_string();
    let output = maskcast(&[
        "synth",
        "--seed",
        "900000000",
        "--count",
        &count,
        "--size",
        size,
        "--out",
        path(dir.path()),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir
}

#[test]
fn an_absent_launch_file_and_a_recipe_in_its_place_are_named() {
    assert!(refused(&["run", "launch/nowhere.toml"]).contains("launch/nowhere.toml: cannot read: "));
    let said = refused(&["run", "engines/conveyor.toml"]);
    assert!(said.contains("this is an engine recipe, not a launch file"), "{said}");
}

#[test]
fn a_mistake_in_a_launch_file_is_shown_at_its_line() {
    let dir = tempfile::tempdir().expect("folder");
    let file = dir.path().join("bad.toml");
    let launch =
        "engine = \"engines/conveyor.toml\"\n[[camera]]\nid = \"a\"\nuri = \"sim://conveyor\"\nvalid_for_ms = 3\n";
    std::fs::write(&file, launch).expect("writes");
    let said = refused(&["run", path(&file)]);
    assert!(
        said.contains("bad.toml:5:1: unknown key `valid_for_ms`: did you mean `valid_for_millis`?"),
        "{said}"
    );
    assert!(
        said.contains("    5 | valid_for_ms = 3\n      | ^^^^^^^^^^^^"),
        "{said}"
    );
}

#[test]
fn check_prints_the_file_as_meant_and_no_password() {
    let dir = tempfile::tempdir().expect("folder");
    let file = dir.path().join("ok.toml");
    let launch =
        "engine = \"engines/conveyor.toml\"\n[[camera]]\nid = \"a\"\nuri = \"rtsp://user:secret@192.0.2.7/s\"\n";
    std::fs::write(&file, launch).expect("writes");
    let output = maskcast(&["run", "--check", path(&file)]);
    assert!(output.status.success());
    let said = text(&output.stdout);
    assert!(
        said.contains("valid_for: 300ms") && said.contains("192.0.2.7"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn synth_writes_the_same_bytes_twice() {
    let (a, b) = (pictures(3, "160x120"), pictures(3, "160x120"));
    for file in [
        "annotations.json",
        "images/000001.jpg",
        "images/000002.jpg",
        "images/000003.jpg",
    ] {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).expect(file);
        assert_eq!(read(&a), read(&b), "{file}");
    }
    let text = std::fs::read_to_string(a.path().join("annotations.json")).expect("annotations");
    let coco: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(coco["images"].as_array().map(Vec::len), Some(3));
    assert_eq!(coco["categories"].as_array().map(Vec::len), Some(8));
}

#[test]
fn segment_says_which_picture_is_bad_and_does_the_others() {
    let dir = pictures(2, "321x241");
    let image = |name: &str| dir.path().join(name);
    let good = image("images/000001.jpg");
    let whole = std::fs::read(&good).expect("reads");
    std::fs::write(image("cut.jpg"), &whole[..whole.len() / 3]).expect("writes");
    std::fs::write(image("empty.png"), b"").expect("writes");
    let (json, annotated) = (image("out.json"), image("annotated"));
    std::fs::create_dir(&annotated).expect("folder");
    let (cut, empty, absent) = (image("cut.jpg"), image("empty.png"), image("absent.png"));
    let second = image("images/000002.jpg");
    let said = refused(&[
        "segment",
        path(&cut),
        path(&good),
        path(&empty),
        path(&absent),
        path(&second),
        "--engine",
        "engines/conveyor.toml",
        "--json",
        path(&json),
        "--annotated",
        path(&annotated),
    ]);
    for bad in [&cut, &empty, &absent] {
        assert!(said.contains(path(bad)), "{} is not named in: {said}", bad.display());
    }
    let results: Value = serde_json::from_slice(&std::fs::read(&json).expect("reads")).expect("JSON");
    let results = results.as_array().expect("a list");
    let named: Vec<&str> = results.iter().filter_map(|r| r["image"].as_str()).collect();
    assert_eq!(named, vec![path(&good), path(&second)]);
    for result in results {
        assert_eq!(
            (result["width"].as_u64(), result["height"].as_u64()),
            (Some(321), Some(241))
        );
        for instance in result["instances"].as_array().expect("instances") {
            assert_eq!(instance["mask"]["size"], serde_json::json!([241, 321]));
            assert!(instance["score"].as_f64().expect("score") >= 0.5);
            assert_eq!(instance["box"].as_array().map(Vec::len), Some(4));
        }
    }
    let drawn: Vec<PathBuf> = std::fs::read_dir(&annotated)
        .expect("reads")
        .map(|e| e.expect("entry").path())
        .collect();
    assert_eq!(drawn.len(), 2, "{drawn:?}");
}

#[test]
fn tiles_that_cannot_be_are_wrong_arguments() {
    for (line, said) in [
        (
            "--tile 512 --overlap 512",
            "error: an overlap of 512 px: expected less than the 512 px of a tile",
        ),
        ("--tile 63", "63 is not in 64..=16384"),
        ("--tile 512 --paste torchvision", "cannot be used with"),
        ("--tile 512 --batch 2", "cannot be used with"),
    ] {
        let mut words = vec!["segment", "x.png", "--engine", "engines/conveyor.toml"];
        words.extend(line.split(' '));
        let output = maskcast(&words);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let message = text(&output.stderr);
        assert!(
            message.contains(said) && message.contains("--help"),
            "{line}: {message}"
        );
    }
    for command in ["segment", "eval"] {
        let help = text(&maskcast(&[command, "--help"]).stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" "); // lines break where the terminal wants
        assert!(
            help.contains("--tile <PX>") && help.contains("Example: --tile 512"),
            "{help}"
        );
    }
}

#[test]
fn eval_scores_an_engine_over_a_data_set() {
    let dir = pictures(6, "320x240");
    let annotations = dir.path().join("annotations.json");
    let images = dir.path().join("images");
    let output = maskcast(&[
        "eval",
        "--engine",
        "engines/conveyor.toml",
        "--coco",
        path(&annotations),
        "--images",
        path(&images),
        "--json",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let scores: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = find_number(&scores, "ap50").expect("an AP50");
    assert!(
        found > 0.5,
        "the bundled model finds most objects of the simulator, got AP50 {found}"
    );
}

fn find_number(value: &Value, key: &str) -> Option<f64> {
    match value {
        Value::Object(map) => map
            .iter()
            .find_map(|(k, v)| if k == key { v.as_f64() } else { find_number(v, key) }),
        Value::Array(list) => list.iter().find_map(|v| find_number(v, key)),
        _ => None,
    }
}

#[test]
fn weights_that_are_not_the_recipe_s_are_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let recipe = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/conveyor.toml"));
    std::fs::write(dir.path().join("conveyor.toml"), recipe.expect("recipe")).expect("writes");
    // One flipped bit in the last tensor: a good file, of other weights.
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/conveyor.safetensors");
    let mut bytes = std::fs::read(weights).expect("weights");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(dir.path().join("conveyor.safetensors"), bytes).expect("writes");
    let image = dir.path().join("x.png");
    std::fs::write(&image, b"").expect("writes");
    let engine = dir.path().join("conveyor.toml");
    let said = refused(&[
        "segment",
        path(&image),
        "--engine",
        path(&engine),
        "--json",
        "/dev/null",
    ]);
    assert!(
        said.contains("conveyor.safetensors") && said.contains("expected the file with SHA-256"),
        "{said}"
    );
}

#[test]
fn nobody_reading_is_no_reason_to_stop_and_a_full_answer_is_an_error() {
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    let dir = tempfile::tempdir().expect("folder");
    let launch = dir.path().join("launch.toml");
    let text = "engine = \"engines/conveyor.toml\"\n[[camera]]\nid = \"a\"\nuri = \"sim://conveyor?size=160x120&fps=10\"\n\
                [publish]\nkey_prefix = \"full-stderr\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n";
    std::fs::write(&launch, text).expect("writes");
    let run = Command::new(env!("CARGO_BIN_EXE_maskcast"))
        .args(["run", path(&launch), "--seconds", "2"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(full())
        .status()
        .expect("starts");
    assert_eq!(run.code(), Some(0), "a full log disk does not stop the daemon");
    let check = Command::new(env!("CARGO_BIN_EXE_maskcast"))
        .args(["run", path(&launch), "--check"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(full())
        .output()
        .expect("starts");
    assert_eq!(check.status.code(), Some(1));
    assert!(
        text_of(&check).contains("cannot write to standard output"),
        "{}",
        text_of(&check)
    );
}

fn text_of(output: &Output) -> String {
    text(&output.stderr)
}

#[test]
fn every_subcommand_explains_itself() {
    for command in [
        "run",
        "demo",
        "watch",
        "segment",
        "eval",
        "calibrate",
        "coco",
        "synth",
        "engine",
        "doctor",
    ] {
        let output = maskcast(&[command, "--help"]);
        assert!(output.status.success());
        assert!(
            text(&output.stdout).lines().count() > 5,
            "{command} --help is too short"
        );
    }
    assert_eq!(maskcast(&["fly"]).status.code(), Some(2));
}
