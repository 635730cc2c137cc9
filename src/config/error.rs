//! Errors of a configuration file: they point at the line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong with a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub path: PathBuf,
    /// Line and column, from 1, and the text of that line; `None` when the whole file is meant.
    pub at: Option<Place>,
    pub message: String,
}

/// A place in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    pub text: String,
    /// Characters to underline.
    pub length: usize,
}

impl ConfigError {
    pub fn whole(path: &Path, message: impl Into<String>) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            at: None,
            message: message.into(),
        }
    }

    /// `span`: bytes of `text` that are at fault.
    pub fn at(path: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            at: Some(Place::of(text, span)),
            message: message.into(),
        }
    }

    /// A parse error of the `toml` crate.
    pub fn toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
        match error.span() {
            Some(span) => ConfigError::at(path, text, span, error.message()),
            None => ConfigError::whole(path, error.message()),
        }
    }
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Place {
        let start = (0..=span.start.min(text.len()))
            .rev()
            .find(|&i| text.is_char_boundary(i))
            .unwrap_or(0);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line_text = text[line_start..].lines().next().unwrap_or("");
        let column = before[line_start..].chars().count() + 1;
        let in_line = line_text.chars().count() + 1 - column.min(line_text.chars().count() + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column,
            text: line_text.to_owned(),
            length: span.len().clamp(1, in_line.max(1)),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            None => write!(f, "{}: {}", self.path.display(), self.message),
            Some(p) => {
                writeln!(f, "{}:{}:{}: {}", self.path.display(), p.line, p.column, self.message)?;
                writeln!(f, "{:5} | {}", p.line, p.text)?;
                write!(f, "      | {}{}", " ".repeat(p.column - 1), "^".repeat(p.length))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
