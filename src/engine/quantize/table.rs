//! The committed result of a calibration, one TOML file a model (`calibration/int8/NAME.toml`): the range of each
//! activation, and which layers stay float. Any executor derives its own scales from it. Unknown keys are refused and
//! numbers checked, both with their line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Method;
use crate::engine::graph::Graph;
use crate::engine::{Digest, place_in, replace};

/// What a calibration found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleTable {
    /// Of the weights file the ranges were seen with.
    pub weights_sha256: Digest,
    /// [`Digest::of_layers`] of the parts.
    pub network_sha256: Digest,
    pub method: Method,
    pub data: Data,
    /// `part/layer` -> why it is not quantised.
    #[serde(default)]
    pub keep_float: BTreeMap<String, String>,
    /// `part/tensor` -> its range.
    pub activations: BTreeMap<String, Range>,
}

/// The pictures that were shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A folder or the command that makes the pictures.
    pub source: String,
    pub frames: u32,
    /// Of the choice or the making of the pictures.
    pub seed: u64,
}

/// What 8 bits have to stand for: `low <= 0 <= high`, both finite.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "WrittenRange")]
pub struct Range {
    low: f32,
    high: f32,
}

/// Why a scale table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("scale table {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}:{column}: {reason}")]
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        reason: String,
    },
    #[error("{path}: made for {what} {expected}, got {got}: calibrate again")]
    Digest {
        path: PathBuf,
        /// `weights` or `network`.
        what: &'static str,
        expected: Digest,
        got: Digest,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRange {
    low: f32,
    high: f32,
}

impl ScaleTable {
    pub fn read(path: &Path) -> Result<ScaleTable, TableError> {
        let text = std::fs::read_to_string(path).map_err(|source| TableError::Read {
            path: path.to_owned(),
            source,
        })?;
        ScaleTable::parse(&text, path)
    }

    /// `path` names the table in errors.
    pub fn parse(text: &str, path: &Path) -> Result<ScaleTable, TableError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let (line, column) = place_in(text, &error);
            TableError::Syntax {
                path: path.to_owned(),
                line,
                column,
                reason: error.message().to_owned(),
            }
        })
    }

    /// Refuses weights and graphs other than those calibrated with: ranges of one network clip another's values silently.
    pub fn check(&self, path: &Path, weights_sha256: [u8; 32], parts: &[&Graph]) -> Result<(), TableError> {
        let pairs = [
            ("weights", self.weights_sha256, Digest(weights_sha256)),
            ("network", self.network_sha256, Digest::of_layers(parts)),
        ];
        for (what, expected, got) in pairs {
            if expected != got {
                return Err(TableError::Digest {
                    path: path.to_owned(),
                    what,
                    expected,
                    got,
                });
            }
        }
        Ok(())
    }

    /// Of [`Self::to_toml`]: comments and spaces of a file do not matter.
    pub fn digest(&self) -> Digest {
        Digest(<sha2::Sha256 as sha2::Digest>::digest(self.to_toml()).into())
    }

    /// There is never half a table.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        replace(path, self.to_toml().as_bytes())
    }

    /// As TOML, a tensor a line. Equal tables give equal text.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "weights_sha256 = \"{}\"", self.weights_sha256);
        let _ = writeln!(out, "network_sha256 = \"{}\"", self.network_sha256);
        let _ = writeln!(out, "method = \"{}\"", self.method);
        let Data { source, frames, seed } = &self.data;
        let _ = writeln!(out, "\n[data]\nsource = {}", quoted(source));
        let _ = writeln!(out, "frames = {frames}\nseed = {seed}");
        let _ = writeln!(out, "\n[keep_float]");
        for (layer, reason) in &self.keep_float {
            let _ = writeln!(out, "{} = {}", quoted(layer), quoted(reason));
        }
        let _ = writeln!(out, "\n[activations]");
        for (tensor, Range { low, high }) in &self.activations {
            // Debug of a float reads back as the same float.
            let _ = writeln!(out, "{} = {{ low = {low:?}, high = {high:?} }}", quoted(tensor));
        }
        out
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Range {
    pub const ZERO: Range = Range { low: 0.0, high: 0.0 };

    /// The smallest range that holds `low`, `high` and zero. Both must be finite.
    pub fn around_zero(low: f32, high: f32) -> Range {
        Range {
            low: low.min(0.0),
            high: high.max(0.0),
        }
    }

    pub fn low(self) -> f32 {
        self.low
    }

    pub fn high(self) -> f32 {
        self.high
    }

    /// `(scale, zero_point)` of u8: what has no values below zero, as after a ReLU, has zero point 0 and all 256 steps above
    /// it. Where nothing but zero was ever seen, 1 a step.
    pub fn to_u8(self) -> (f32, u8) {
        // In f64: the distance of two finite f32 is always finite there.
        let scale = ((f64::from(self.high) - f64::from(self.low)) / 255.0) as f32;
        if scale < f32::MIN_POSITIVE {
            return (1.0, 0);
        }
        let zero_point = (-f64::from(self.low) / f64::from(scale)).round();
        (scale, zero_point.clamp(0.0, 255.0) as u8)
    }
}

impl TryFrom<WrittenRange> for Range {
    type Error = String;
    fn try_from(WrittenRange { low, high }: WrittenRange) -> Result<Range, String> {
        if low.is_finite() && high.is_finite() && low <= 0.0 && high >= 0.0 {
            return Ok(Range { low, high });
        }
        Err(format!("a range of {low} to {high}: expected finite low <= 0 <= high"))
    }
}

impl Digest {
    /// Of the names, windows and sizes of the layers with weights: what the numbers in them are has a digest of its own, and
    /// how a graph takes and gives values, and how many at once, does not matter to their ranges.
    pub fn of_layers(parts: &[&Graph]) -> Digest {
        let mut hash = <sha2::Sha256 as sha2::Digest>::new();
        for graph in parts {
            for node in graph.nodes.iter().filter(|node| node.parameters > 0) {
                let line = format!(
                    "{}/{} {} {} {}\n",
                    graph.name, node.name, node.op, node.detail, node.parameters
                );
                sha2::Digest::update(&mut hash, line);
            }
        }
        Digest(sha2::Digest::finalize(hash).into())
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
