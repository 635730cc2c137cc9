//! Engines of others, from their published files to what a robot receives.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use maskcast::client::{ConnectConfig, Event, Maskcast};
use maskcast::config;
use maskcast::model::checkpoint::Format;
use maskcast::model::{Import, Recipe};
use maskcast::pipeline::Service;
use maskcast::time::SystemClocks;
use maskcast::wire::Form;

use super::command_line::{data, maskcast, path, root, text};

/// MaskRCNN2Go, imported from its published file into `folder`.
fn maskrcnn2go(folder: &Path) -> Option<PathBuf> {
    let published = data("maskrcnn2go/model_int8_model_init.pb")?;
    let import = Import {
        files: &[published],
        format: Format::MaskRcnn2Go,
        recipe: &root().join("engines/maskrcnn2go.toml"),
        folder,
        classes: None,
    };
    Some(import.run().unwrap_or_else(|e| panic!("{e}")).recipe)
}

#[test]
fn a_really_trained_network_finds_what_is_on_photographs() {
    let Some(photos) = data("coco_permissive") else { return };
    let dir = tempfile::tempdir().expect("folder");
    let Some(engine) = maskrcnn2go(dir.path()) else { return };
    let output = maskcast(&[
        "eval",
        "--json",
        "--engine",
        path(&engine),
        "--coco",
        path(&photos.join("annotations/instances_val2017.json")),
        "--images",
        path(&photos.join("val2017")),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let scores: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let ap = |kind: &str| scores[kind]["stats"][0].as_f64().expect("a number");
    // In Python, by the net's own rules: 0.305 and 0.269.
    assert!(ap("boxes") >= 0.24, "box AP {}", ap("boxes"));
    assert!(ap("masks") >= 0.20, "mask AP {}", ap("masks"));
}

#[test]
fn a_person_in_a_video_is_a_person_on_the_wire() {
    let Some(clip) = data("video/intel_one-by-one-person-detection.mp4") else {
        return;
    };
    let dir = tempfile::tempdir().expect("folder");
    let Some(engine) = maskrcnn2go(dir.path()) else { return };
    let launch = format!(
        "engine = {engine:?}\n[[camera]]\nid = \"door\"\nuri = \"file://{}\"\npace = \"unpaced\"\n\
         [publish]\nkey_prefix = \"go\"\nscore_threshold = 0.7\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n",
        clip.display()
    );
    let launch = config::parse(Path::new("test.toml"), &launch).unwrap_or_else(|e| panic!("{e}"));
    let service = Service::start(&launch, Arc::new(SystemClocks)).unwrap_or_else(|e| panic!("{e}"));
    let connect = ConnectConfig {
        endpoints: service.publisher.listening(),
        prefix: "go".to_owned(),
        ..Default::default()
    };
    let mut eye = Maskcast::connect(&connect)
        .expect("connects")
        .camera("door")
        .form(Form::Rle)
        .max_age(Duration::from_secs(60))
        .open()
        .expect("opens");
    let classes = Recipe::read(&engine).unwrap_or_else(|e| panic!("{e}")).classes;
    let person = classes.iter().position(|c| c == "person").expect("a class") as u32;
    let start = Instant::now();
    let found = loop {
        assert!(start.elapsed() < Duration::from_secs(90), "nobody was seen");
        let Event::Answer(answer) = eye.next(Duration::from_millis(500)) else {
            continue;
        };
        let seen = answer.instances().find(|i| i.class_id == person);
        if let Some(person) = seen {
            let mask = person.mask.as_ref().expect("a mask");
            break (person.bounds.to_px(), mask.area());
        }
    };
    service.stop();
    let (bounds, area) = found;
    let box_area = (bounds.x1 - bounds.x0) * (bounds.y1 - bounds.y0);
    let share = area as f32 / box_area;
    assert!(box_area > 2000.0, "{bounds:?}");
    // A person fills between a quarter and nearly all of the box.
    assert!((0.25..0.95).contains(&share), "{share} of {bounds:?}");
}

/// Answers each request with `body`, on a port of its own.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

#[test]
fn an_engine_is_fetched_checked_and_imported() {
    let dir = tempfile::tempdir().expect("folder");
    let weights = std::fs::read(root().join("engines/conveyor.safetensors")).expect("bundled weights");
    let server = serve(weights);
    let bundled = std::fs::read_to_string(root().join("engines/conveyor.toml")).expect("bundled recipe");
    let digest = bundled
        .lines()
        .find_map(|l| l.strip_prefix("sha256 = \""))
        .and_then(|l| l.strip_suffix('"'))
        .expect("a digest");
    let recipe = |prefix: &str| {
        let kept: String = bundled
            .lines()
            .filter(|l| !l.starts_with("sha256") && !l.starts_with("self_test") && !l.starts_with("scale_table"))
            .map(|l| format!("{l}\n"))
            .collect();
        format!(
            "{kept}[source]\nurl = \"{server}/models/belt.safetensors\"\nfrom = \"safetensors\"\nsha256_prefix = \"{prefix}\"\n"
        )
    };
    let (recipes, out) = (dir.path().join("recipes"), dir.path().join("out"));
    std::fs::create_dir(&recipes).expect("folder");
    std::fs::write(recipes.join("belt.toml"), recipe(&digest[..8])).expect("writes");
    std::fs::write(recipes.join("other.toml"), recipe("01234567")).expect("writes");
    let fetch = |name: &str| {
        maskcast(&[
            "engine",
            "fetch",
            name,
            "--recipes",
            path(&recipes),
            "--out",
            path(&out),
        ])
    };

    // A template cannot be run before its weights are there, and says how to get them.
    let early = maskcast(&["segment", "--engine", path(&recipes.join("belt.toml")), "no.png"]);
    assert!(
        text(&early.stderr).contains("its weights were not imported yet: make train MODEL=conveyor"),
        "{}",
        text(&early.stderr)
    );

    let wrong = fetch("other");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("expected SHA-256 01234567") && text(&wrong.stderr).contains(digest),
        "{}",
        text(&wrong.stderr)
    );
    let files = |folder: &Path| -> Vec<_> { std::fs::read_dir(folder).into_iter().flatten().flatten().collect() };
    assert!(
        files(&out.join("downloads")).is_empty() && files(&out).len() <= 1,
        "{:?}",
        files(&out)
    );

    let unknown = fetch("nothing");
    assert!(
        text(&unknown.stderr).contains("(to be fetched there: belt, other)"),
        "{}",
        text(&unknown.stderr)
    );

    let right = fetch("belt");
    assert!(right.status.success(), "{}", text(&right.stderr));
    let said = text(&right.stdout);
    assert!(said.contains("resnet18, 8 classes, with masks: "), "{said}");
    let engine = out.join("belt.toml");
    let tested = maskcast(&["engine", "self-test", path(&engine)]);
    assert!(
        text(&tested.stdout).starts_with("passed in "),
        "{}",
        text(&tested.stderr)
    );
}

#[test]
fn a_network_is_printed_for_review_without_its_weights() {
    let output = maskcast(&["engine", "inspect", "engines/coco-resnet50.toml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("graph trunk\n  in  image [1, 3, 800, 1088]\n"),
        "{said}"
    );
    assert!(said.contains("graph mask_head"), "{said}");
    let boxes = maskcast(&["engine", "inspect", "engines/coco-faster-resnet50.toml"]);
    assert!(!text(&boxes.stdout).contains("mask_head"));
}
