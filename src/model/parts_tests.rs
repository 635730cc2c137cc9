//! The layers of every bundled engine, as files to look at: `tests/snapshots/NAME.txt`. After a change that is meant:
//!
//!     MASKCAST_BLESS=1 cargo test --lib bundled_engine

use std::path::{Path, PathBuf};

use super::*;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn recipes() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(repository().join("engines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    found.sort();
    found
}

/// Lines that one text has and the other has not, by position from where they first differ.
fn difference(expected: &str, got: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let shown = |sign: char, lines: &[&str]| -> String {
        let lines = lines.iter().skip(same).take(6);
        lines.map(|line| format!("{sign}{line}\n")).collect()
    };
    format!(
        "line {} on ({} lines, {} expected):\n{}{}",
        same + 1,
        new.len(),
        old.len(),
        shown('-', &old),
        shown('+', &new)
    )
}

#[test]
fn every_bundled_engine_has_the_layers_it_had() {
    let bless = std::env::var_os("MASKCAST_BLESS").is_some();
    let folder = repository().join("tests/snapshots");
    let mut stems = Vec::new();
    let mut faults = String::new();
    for path in recipes() {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = folder.join(&stem).with_extension("txt");
        let got = describe(&Recipe::read(&path).unwrap()).unwrap();
        if bless {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if got != expected {
            faults += &format!("{}: {}", file.display(), difference(&expected, &got));
        }
        stems.push(stem);
    }
    assert!(faults.is_empty(), "{faults}MASKCAST_BLESS=1 writes them anew");
    assert!(stems.len() >= 8, "{stems:?}");
    let stored: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for name in stored {
        assert!(stems.contains(&name), "tests/snapshots/{name}.txt belongs to no engine");
    }
}

/// Numbers of the last column: weights and biases, batch norm folded into them.
fn parameters(text: &str) -> usize {
    text.lines()
        .filter_map(|line| line.split_whitespace().last()?.parse::<usize>().ok())
        .sum()
}

#[test]
fn the_snapshots_count_the_published_parameters() {
    let counted = |stem: &str| {
        let file = repository().join("tests/snapshots").join(stem).with_extension("txt");
        parameters(&std::fs::read_to_string(file).unwrap())
    };
    let recipe = |stem: &str| Recipe::read(&repository().join("engines").join(stem).with_extension("toml")).unwrap();
    for (stem, published) in [
        ("coco-resnet50", 44_401_393),
        ("coco-resnet50-v2", 46_359_409),
        ("coco-faster-resnet50", 41_755_286),
        ("coco-faster-resnet50-v2", 43_712_278),
    ] {
        let recipe = recipe(stem);
        let mut layers = Layers::take(&recipe, Weights::blank()).unwrap();
        layers.described(&recipe, Element::F32).unwrap();
        let asked = layers.weights().taken();
        let count = |end: &str| -> usize {
            let of_norms = asked.iter().filter(|(name, _)| {
                let norm = name.rsplit_once('.').map(|(norm, _)| format!("{norm}.running_mean"));
                norm.is_some_and(|norm| asked.contains_key(&norm)) && name.ends_with(end)
            });
            of_norms.map(|(_, shape)| shape.iter().product::<usize>()).sum()
        };
        let all: usize = asked.values().map(|shape| shape.iter().product::<usize>()).sum();
        // Frozen norms are no parameters; trained ones are, without their statistics. Folded, a norm leaves its bias.
        let (statistics, trained) = (
            count(".running_mean") + count(".running_var"),
            count(".weight") + count(".bias"),
        );
        let frozen = !asked.contains_key("backbone.fpn.inner_blocks.0.1.weight");
        assert_eq!(all - statistics - if frozen { trained } else { 0 }, published, "{stem}");
        // The RPN's head is written once a level, five times, and the text counts it each time.
        let head: usize = asked
            .iter()
            .filter(|(name, _)| name.starts_with("rpn.head."))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        let folded = all - statistics - count(".weight");
        assert_eq!(counted(stem), folded + 4 * head, "{stem}");
    }
}
