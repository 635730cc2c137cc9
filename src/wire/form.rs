//! The forms in which an answer is published.

use std::fmt;
use std::str::FromStr;

use super::v1;

/// A published form of an answer; each has a key of its own and is encoded only while somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// Boxes and crop-local COCO compressed RLE, key `result`: the default for robots.
    Rle,
    /// No masks, key `result/boxes`. Measured on boxes even when masks happen to exist.
    Boxes,
}

/// Why a text names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no form of a result: expected rle or boxes")]
pub struct FormError(pub String);

impl Form {
    pub const ALL: [Form; 2] = [Form::Rle, Form::Boxes];

    /// Whether instances carry masks.
    pub fn has_masks(self) -> bool {
        self == Form::Rle
    }
}

impl From<Form> for v1::Form {
    fn from(form: Form) -> v1::Form {
        match form {
            Form::Rle => v1::Form::Rle,
            Form::Boxes => v1::Form::Boxes,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Rle => "rle",
            Form::Boxes => "boxes",
        })
    }
}

impl FromStr for Form {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Form, FormError> {
        Form::ALL
            .into_iter()
            .find(|form| form.to_string() == text)
            .ok_or_else(|| FormError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_parsed_as_printed() {
        for form in Form::ALL {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        assert_eq!("RLE".parse::<Form>(), Err(FormError("RLE".to_owned())));
    }
}
