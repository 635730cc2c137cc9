//! Any text: an error, or a key that is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maskcast::wire::keyexpr::KeyPrefix;

fuzz_target!(|text: &str| {
    let _ = KeyPrefix::new(text);
    let prefix = KeyPrefix::new("maskcast").expect("a prefix");
    if let Ok(key) = prefix.parse(text) {
        assert_eq!(prefix.text(&key), text);
    }
});
