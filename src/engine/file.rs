//! What the files of an engine have in common: digests as text, the place of a mistake in TOML, and being replaced whole.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// SHA-256, written as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Digest, String> {
        let wrong = || format!("{text:?} is no SHA-256: expected 64 hex digits");
        let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
        let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
        let bytes = digits.ok_or_else(wrong)?;
        let pairs: Vec<u8> = bytes
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |sum, d| sum << 4 | d))
            .collect();
        match (text.len(), pairs.try_into()) {
            (64, Ok(bytes)) => Ok(Digest(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `(line, column)` of a mistake, counted from 1, in characters.
pub fn place_in(text: &str, error: &toml::de::Error) -> (usize, usize) {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

/// Writes beside `path` and renames: whoever reads sees the old file or the new one, never half of one.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.part"));
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&part); // the first error is the one that matters
    })
}
