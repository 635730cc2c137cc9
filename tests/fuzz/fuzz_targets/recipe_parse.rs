//! Engine recipes and scale tables as anybody may write them: parsed or refused, never a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use maskcast::engine::quantize::ScaleTable;
use maskcast::model::Recipe;

fuzz_target!(|text: &str| {
    let path = Path::new("fuzz.toml");
    let _ = Recipe::parse(text, path);
    let _ = ScaleTable::parse(text, path);
});
