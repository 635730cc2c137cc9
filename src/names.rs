//! Names that cross every border. Belongs here: identifiers that are a key chunk and a file name at once. Not here:
//! keys (`wire::keyexpr`), paths (`config`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A camera's id: a key chunk, a file name part and a thread name, hence `[a-z0-9_-]{1,32}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CameraId(Arc<str>);

/// Why a text is no camera id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("camera id {0:?} is not allowed: use 1 to 32 of a-z, 0-9, '_' and '-'")]
pub struct CameraIdError(pub String);

impl CameraId {
    pub fn new(text: &str) -> Result<CameraId, CameraIdError> {
        let fits = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if fits {
            Ok(CameraId(text.into()))
        } else {
            Err(CameraIdError(text.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CameraId {
    type Err = CameraIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CameraId::new(text)
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_key_chunks() {
        assert_eq!(
            CameraId::new("dock-3").map(|id| id.to_string()),
            Ok("dock-3".to_owned())
        );
        let longest = "a".repeat(32);
        assert!(CameraId::new(&longest).is_ok());
        for bad in ["", "Dock", "a/b", "a*", "@img", "é", &format!("{longest}a")] {
            assert_eq!(CameraId::new(bad), Err(CameraIdError(bad.to_owned())));
        }
    }
}
