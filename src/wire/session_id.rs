//! The identity of one run of the daemon.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

/// 16 bytes, new at each daemon start, written as 32 hex digits. A change means: forget numbers and track ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

/// Why bytes or a text are no session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionIdError {
    #[error("session id {0:?}: expected 32 lower-case hex digits")]
    Text(String),
    #[error("session id: expected 16 bytes, got {0}")]
    Length(usize),
}

impl SessionId {
    /// From the kernel's random numbers.
    pub fn random() -> io::Result<SessionId> {
        let mut bytes = [0u8; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(SessionId(bytes))
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> SessionId {
        SessionId(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for SessionId {
    type Error = SessionIdError;
    fn try_from(bytes: &[u8]) -> Result<SessionId, SessionIdError> {
        bytes
            .try_into()
            .map(SessionId)
            .map_err(|_| SessionIdError::Length(bytes.len()))
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;
    fn from_str(text: &str) -> Result<SessionId, SessionIdError> {
        let wrong = || SessionIdError::Text(text.chars().take(64).collect());
        // One spelling only: the text is a key chunk, and keys are compared as texts.
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16)
            .map(|v| SessionId(v.to_be_bytes()))
            .map_err(|_| wrong())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_hex_in_byte_order() {
        let id = SessionId::from_bytes(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId::try_from(&[1u8; 15][..]), Err(SessionIdError::Length(15)));
        let mut bad = vec![
            "".to_owned(),
            "0".repeat(31),
            "A".repeat(32),
            "é".repeat(16),
            "+".repeat(32),
        ];
        bad.push(format!("+{}", "0".repeat(31)));
        for text in bad {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_random_ids_differ() {
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
    }
}
