//! The house rules a compiler does not know: who may import whom, who owns which crate, where `unsafe` may stand, how
//! long files may grow. To change a rule, change the table here; each violation is printed as `file:line: what`.
//!
//! Sources are read as text with comments, strings and test modules blanked out: tests may import what they like.

#[path = "architecture/source_text.rs"]
mod source_text;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use source_text::{Source, code_files, text_files};

/// Room -> rooms it may import. A room may always import itself and what stands in [`EVERYWHERE`].
const ROOMS: &[(&str, &[&str])] = &[
    // Vocabulary: what a robot links.
    ("time", &[]),
    ("geometry", &[]),
    ("names", &[]),
    ("instances", &["time", "geometry"]),
    ("wire", &["time", "geometry", "instances"]),
    ("client", &["wire", "instances", "geometry", "time"]),
    // Pipeline, in flow order.
    ("config", &["time", "geometry"]),
    ("device", &[]),
    ("frame", &["time", "geometry", "device"]),
    (
        "source",
        &["frame", "device", "time", "config", "geometry", "instances"],
    ),
    ("ops", &["device", "geometry", "instances"]),
    ("preprocess", &["frame", "ops", "device", "geometry"]),
    ("engine", &["device", "ops"]),
    (
        "model",
        &["engine", "ops", "geometry", "config", "instances", "time", "device"],
    ),
    (
        "outlets",
        &[
            "frame",
            "instances",
            "wire",
            "ops",
            "device",
            "geometry",
            "time",
            "config",
        ],
    ),
    ("evaluate", &["instances", "geometry"]),
    (
        "pipeline",
        &[
            "time",
            "geometry",
            "instances",
            "wire",
            "client",
            "config",
            "device",
            "frame",
            "source",
            "ops",
            "preprocess",
            "engine",
            "model",
            "outlets",
            "evaluate",
        ],
    ),
    (
        "cli",
        &[
            "time",
            "geometry",
            "instances",
            "wire",
            "client",
            "config",
            "device",
            "frame",
            "source",
            "ops",
            "preprocess",
            "engine",
            "model",
            "outlets",
            "evaluate",
            "pipeline",
        ],
    ),
    ("main", &["cli"]),
];

/// Rooms that every room may import.
const EVERYWHERE: &[&str] = &["names"];

/// Crates -> the only places under src/ that may name them. `x` covers x.rs and x/**; `*` is one path part.
const CRATES: &[(&[&str], &[&str])] = &[
    (&["cudarc"], &["device", "engine/cudnn"]),
    (
        &["gstreamer", "gstreamer_app", "gstreamer_video", "gstreamer_allocators"],
        // The device room maps GStreamer's CUDA memory: that takes foreign calls, which source has none of.
        &[
            "source",
            "outlets/record",
            "cli/doctor",
            "device/gst_cuda",
            "device/share",
        ],
    ),
    (&["zenoh"], &["outlets/publish", "client", "wire/keyexpr", "cli/doctor"]),
    // Results are encoded and decoded in wire alone; heartbeats, queries and their answers where they are sent and
    // received. ONNX files are protobuf too.
    (
        &["prost", "prost_types"],
        &["wire", "client", "outlets/publish", "engine/graph"],
    ),
    (&["openvino", "openvino_sys"], &["engine/openvino"]),
    (&["clap", "anyhow"], &["cli", "main"]),
    (&["indicatif", "comfy_table", "tracing_subscriber"], &["cli", "main"]),
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "device",
    "ops/*/launch",
    "ops/device",
    "ops/lanes",
    "preprocess/launch",
    "engine/openvino",
    "engine/cudnn",
    "engine/tensorrt",
];

/// Texts that must not stand in code, where they may, and what to write instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    (".unwrap()", &[], "errors travel as values"),
    (".unwrap_err()", &[], "errors travel as values"),
    ("Instant::now", &[], "read clocks through time::Clocks"),
    ("SystemTime::now", &[], "read clocks through time::Clocks"),
    ("clock_gettime", &["time"], "read clocks through time::Clocks"),
    (
        "thread::spawn(",
        &[],
        "name the thread: thread::Builder::new().name(room/camera)",
    ),
    ("mpsc::channel(", &[], "queues are bounded"),
    ("unbounded()", &[], "queues are bounded"),
];

/// Lines of a file: none above the first; nine in ten at most the second.
const LONGEST_FILE: usize = 800;
const LONG_FILE: usize = 500;

/// Absolute paths that may stand in the tree although they look like those of one machine.
const ALLOWED_PATHS: &[&str] = &[];

/// cargo names the package at run time too: a built test can be run over another checkout.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// All of src/, as code without tests.
fn sources() -> Vec<Source> {
    source_text::sources(&root().join("src"))
}

/// Whether `path` (relative to src/) lies in one of `places`.
fn within(path: &Path, places: &[&str]) -> bool {
    let parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    places.iter().any(|place| {
        let wanted: Vec<&str> = place.split('/').collect();
        wanted.len() <= parts.len() && wanted.iter().zip(&parts).all(|(w, p)| *w == "*" || w == p)
    })
}

fn assert_none(rule: &str, violations: &[String]) {
    let list = violations.iter().fold(String::new(), |mut list, v| {
        let _ = writeln!(list, "  {v}");
        list
    });
    assert!(
        violations.is_empty(),
        "{rule}, violated {} times:\n{list}",
        violations.len()
    );
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut violations = Vec::new();
    for source in sources() {
        let room = source.room();
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            violations.push(format!("{}:1: room `{room}` is not in the table", source.shown()));
            continue;
        };
        for (line, imported) in source.imported_rooms() {
            let known = ROOMS.iter().any(|(name, _)| *name == imported);
            if imported == room || EVERYWHERE.contains(&imported.as_str()) || allowed.contains(&imported.as_str()) {
                continue;
            }
            let why = if known {
                "must not import"
            } else {
                "imports the unknown room"
            };
            violations.push(format!("{}:{line}: `{room}` {why} `{imported}`", source.shown()));
        }
    }
    assert_none("who may import whom", &violations);
}

#[test]
fn the_table_has_no_circle() {
    // A room that is listed before another must not import it, but for `main`: the table is in flow order.
    let place = |room: &str| ROOMS.iter().position(|(name, _)| *name == room);
    for (i, (room, allowed)) in ROOMS.iter().enumerate() {
        for imported in *allowed {
            let j =
                place(imported).unwrap_or_else(|| panic!("`{room}` imports `{imported}`, which is not in the table"));
            assert!(j < i, "`{room}` imports `{imported}`, which comes later");
        }
    }
}

#[test]
fn crates_are_named_by_their_owners_only() {
    let mut violations = Vec::new();
    for source in sources() {
        for (crates, places) in CRATES {
            if within(&source.path, places) {
                continue;
            }
            for name in *crates {
                for line in source.lines_naming_crate(name) {
                    violations.push(format!("{}:{line}: `{name}` belongs to {places:?}", source.shown()));
                }
            }
        }
    }
    assert_none("one owner a crate", &violations);
}

#[test]
fn unsafe_stands_in_marked_rooms_only() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|s| !within(&s.path, UNSAFE)) {
        for line in source.lines_with_word("unsafe") {
            violations.push(format!("{}:{line}: `unsafe` outside {UNSAFE:?}", source.shown()));
        }
    }
    assert_none("unsafe only where marked", &violations);
}

#[test]
fn banned_calls_do_not_occur() {
    let mut violations = Vec::new();
    for source in sources() {
        for (text, places, instead) in BANNED {
            if !within(&source.path, places) {
                for line in source.lines_containing(text) {
                    violations.push(format!("{}:{line}: `{text}`: {instead}", source.shown()));
                }
            }
        }
    }
    assert_none("banned calls", &violations);
}

#[test]
fn every_room_starts_with_its_charter() {
    let mut violations = Vec::new();
    for entry in std::fs::read_dir(root().join("src")).expect("src").flatten() {
        let file = match entry.path() {
            dir if dir.is_dir() => dir.join("mod.rs"),
            file => file,
        };
        if file.file_name().is_some_and(|name| name == "main.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if !text.starts_with("//! ") {
            violations.push(format!("{}:1: no `//!` charter", file.display()));
        }
    }
    assert_none("charters", &violations);
}

#[test]
fn files_stay_short() {
    let lengths: Vec<(PathBuf, usize)> = code_files(&root())
        .into_iter()
        .map(|path| {
            let lines = std::fs::read_to_string(root().join(&path))
                .unwrap_or_default()
                .lines()
                .count();
            (path, lines)
        })
        .collect();
    assert!(!lengths.is_empty());
    let list = |limit: usize| -> Vec<String> {
        let above = lengths.iter().filter(|(_, n)| *n > limit);
        above
            .map(|(path, n)| format!("{}:{n}: more than {limit} lines", path.display()))
            .collect()
    };
    assert_none("no file is longer than this", &list(LONGEST_FILE));
    let long = list(LONG_FILE);
    if long.len() * 10 > lengths.len() {
        assert_none("nine files in ten are shorter than this", &long);
    }
}

#[test]
fn files_carry_no_licence_header() {
    let mut violations = Vec::new();
    for path in code_files(&root()) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        for (number, line) in text.lines().take(5).enumerate() {
            if line.contains("SPDX-") || line.contains("Copyright") {
                violations.push(format!(
                    "{}:{}: the licence stands in LICENSE alone",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    assert_none("no licence headers", &violations);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    // Put together here, so that this file is not its own violation.
    let places: Vec<String> = ["home", "work", "root", "Users"]
        .iter()
        .map(|d| format!("/{d}/"))
        .collect();
    let mut violations = Vec::new();
    for path in text_files(&root()) {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue; // not text
        };
        for (number, line) in text.lines().enumerate() {
            for place in &places {
                for (at, _) in line.match_indices(place.as_str()) {
                    let (before, found) = line.split_at(at);
                    if starts_a_path(before) && !ALLOWED_PATHS.iter().any(|a| found.starts_with(a)) {
                        let shown: String = found.chars().take(40).collect();
                        violations.push(format!("{}:{}: {shown}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert_none("no absolute paths of a machine", &violations);
}

/// Whether what follows `before` is the beginning of a path, not its middle.
fn starts_a_path(before: &str) -> bool {
    before.ends_with("file://") || !before.ends_with(|c: char| c.is_alphanumeric() || "_-./~*$}<>".contains(c))
}

#[test]
fn the_reader_sees_what_it_should() {
    let text = r##"
        //! crate::cli in a comment
        use crate::{names::CameraId, wire::{self, v1}};
        /* crate::cli /* nested */ */
        const S: &str = "crate::cli"; const R: &str = r#"crate::"cli"#; const C: char = '"';
        fn f<'a>(x: &'a crate::time::Pts) { super::super::geometry::g(); super::inner(); unsafe { gst::x() } }
        use gstreamer as gst;
        use crate::engine::openvino::probe;
        #[cfg(test)]
        mod tests { use crate::cli; fn g() { zenoh::open(); let s = "}"; } }
        #[cfg(test)]
        use crate::pipeline;
        fn after() { crate::client::now() }
    "##;
    let source = Source::parse(Path::new("outlets/record/encode.rs"), text);
    let rooms: Vec<String> = source.imported_rooms().into_iter().map(|(_, room)| room).collect();
    let expected = ["names", "wire", "time", "geometry", "engine", "client"];
    let mut sorted: Vec<&str> = rooms.iter().map(String::as_str).collect();
    sorted.sort_by_key(|r| expected.iter().position(|e| e == r));
    assert_eq!(
        sorted,
        ["names", "wire", "time", "engine", "client"],
        "`super::super` ends in outlets here"
    );
    assert_eq!(source.imported_rooms().first(), Some(&(3, "names".to_owned())));
    assert_eq!(source.lines_naming_crate("gstreamer"), [7]);
    assert!(source.lines_naming_crate("openvino").is_empty() && source.lines_naming_crate("zenoh").is_empty());
    assert_eq!(source.lines_with_word("unsafe"), [6]);

    let top = Source::parse(
        Path::new("outlets/mod.rs"),
        "use super::frame::Frame;\nuse super::{time, wire::v1};\n",
    );
    let rooms = top.imported_rooms();
    assert_eq!(
        rooms,
        [(1, "frame".to_owned()), (2, "time".to_owned()), (2, "wire".to_owned())]
    );
    assert!(within(Path::new("ops/roi_align/launch.rs"), UNSAFE) && !within(Path::new("ops/nms/cpu.rs"), UNSAFE));
    assert!(starts_a_path("= \"") && starts_a_path("file://") && !starts_a_path("https://example.org"));
}
