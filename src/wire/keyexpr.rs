//! Keys, built and parsed here and nowhere else. Typed: a key that cannot be written cannot be asked for.
//!
//! Keys are ASCII and canonical. `{prefix}/v1/...`, one prefix a daemon.

use std::fmt;
use std::sync::Arc;

use zenoh::key_expr::OwnedKeyExpr;

use super::{Form, SessionId};
use crate::names::CameraId;

const VERSION: &str = "v1";

/// The first chunks of all keys of a daemon, default `maskcast`; a fleet sets e.g. `cell7/maskcast`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyPrefix(Arc<str>);

/// A key of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// Token of the daemon.
    Alive(SessionId),
    Health,
    Info,
    Schema,
    Camera(CameraId, CameraKey),
}

/// A key of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CameraKey {
    /// Token, held only while the camera is STREAMING.
    Alive(SessionId),
    Status,
    Result(Form),
    Labels,
}

/// What one subscription or query may name at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Tokens of all daemons of the prefix.
    DaemonTokens,
    /// Tokens of a camera, of whatever session.
    CameraTokens(Cameras),
    Status(Cameras),
    Result(Cameras, Form),
    Labels(Cameras),
}

/// One camera or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cameras {
    One(CameraId),
    All,
}

/// Why a text is no key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("key prefix {0:?}: expected 1 to 8 chunks of 1 to 64 letters, digits, '_', '-', '.' separated by '/'")]
    Prefix(String),
    #[error("key {key:?} is not below {prefix:?}")]
    Foreign { key: String, prefix: String },
    #[error("key {0:?} is none of maskcast v1")]
    Unknown(String),
    #[error("key {key:?} is refused by zenoh: {why}")]
    Zenoh { key: String, why: String },
}

/// At most this much of a hostile text goes into an error.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

impl KeyPrefix {
    /// Letters, digits, `_`, `-` and `.` only, so that no prefix holds a wildcard, a verbatim chunk (`@`), a DSL
    /// character or anything that two parties could spell in two ways.
    pub fn new(text: &str) -> Result<KeyPrefix, KeyError> {
        let chunk = |c: &str| {
            (1..=64).contains(&c.len())
                && c.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if text.split('/').count() <= 8 && text.split('/').all(chunk) {
            Ok(KeyPrefix(text.into()))
        } else {
            Err(KeyError::Prefix(shortened(text)))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a key.
    pub fn text(&self, key: &Key) -> String {
        match key {
            Key::Alive(session) => self.below(&format!("alive/{session}")),
            Key::Health => self.below("health"),
            Key::Info => self.below("info"),
            Key::Schema => self.below("schema"),
            Key::Camera(camera, key) => self.camera(camera.as_str(), &key.tail()),
        }
    }

    /// The key as zenoh takes it.
    pub fn expr(&self, key: &Key) -> Result<OwnedKeyExpr, KeyError> {
        checked(self.text(key))
    }

    /// The key expression of a pattern.
    pub fn pattern(&self, pattern: &Pattern) -> Result<OwnedKeyExpr, KeyError> {
        let camera = |cameras: &Cameras, tail: &str| match cameras {
            Cameras::One(id) => self.camera(id.as_str(), tail),
            Cameras::All => self.camera("*", tail),
        };
        checked(match pattern {
            Pattern::DaemonTokens => self.below("alive/*"),
            Pattern::CameraTokens(cameras) => camera(cameras, "alive/*"),
            Pattern::Status(cameras) => camera(cameras, &CameraKey::Status.tail()),
            Pattern::Result(cameras, form) => camera(cameras, &CameraKey::Result(*form).tail()),
            Pattern::Labels(cameras) => camera(cameras, &CameraKey::Labels.tail()),
        })
    }

    /// The key a text stands for. Total: any text gives a key or an error.
    pub fn parse(&self, text: &str) -> Result<Key, KeyError> {
        let rest = text
            .strip_prefix(self.as_str())
            .and_then(|t| t.strip_prefix('/'))
            .and_then(|t| t.strip_prefix(VERSION))
            .and_then(|t| t.strip_prefix('/'))
            .ok_or_else(|| KeyError::Foreign {
                key: shortened(text),
                prefix: self.to_string(),
            })?;
        let chunks: Vec<&str> = rest.splitn(6, '/').collect();
        let of_camera = |id: &str, key: CameraKey| CameraId::new(id).ok().map(|id| Key::Camera(id, key));
        let key = match chunks.as_slice() {
            ["alive", session] => session.parse().ok().map(Key::Alive),
            ["health"] => Some(Key::Health),
            ["info"] => Some(Key::Info),
            ["schema"] => Some(Key::Schema),
            ["cam", id, "alive", session] => session
                .parse()
                .ok()
                .and_then(|session| of_camera(id, CameraKey::Alive(session))),
            ["cam", id, "status"] => of_camera(id, CameraKey::Status),
            ["cam", id, "labels"] => of_camera(id, CameraKey::Labels),
            ["cam", id, "result"] => of_camera(id, CameraKey::Result(Form::Rle)),
            ["cam", id, "result", "boxes"] => of_camera(id, CameraKey::Result(Form::Boxes)),
            _ => None,
        };
        key.ok_or_else(|| KeyError::Unknown(shortened(text)))
    }

    fn below(&self, tail: &str) -> String {
        format!("{}/{VERSION}/{tail}", self.0)
    }

    fn camera(&self, camera: &str, tail: &str) -> String {
        self.below(&format!("cam/{camera}/{tail}"))
    }
}

impl CameraKey {
    fn tail(&self) -> String {
        match self {
            CameraKey::Alive(session) => format!("alive/{session}"),
            CameraKey::Status => "status".to_owned(),
            CameraKey::Labels => "labels".to_owned(),
            CameraKey::Result(Form::Rle) => "result".to_owned(),
            CameraKey::Result(Form::Boxes) => "result/boxes".to_owned(),
        }
    }
}

fn checked(key: String) -> Result<OwnedKeyExpr, KeyError> {
    OwnedKeyExpr::new(key.as_str()).map_err(|why: zenoh::Error| KeyError::Zenoh {
        key,
        why: why.to_string(),
    })
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPrefix({})", self.0)
    }
}

#[cfg(test)]
mod tests;
