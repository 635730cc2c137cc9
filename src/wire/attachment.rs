//! The 33 bytes beside every sample: who sent it, which number, which time. Read before the payload is parsed.
//!
//! Layout of rmw_zenoh: i64 LE sequence, i64 LE UNIX nanoseconds, byte 16, 16 bytes id.

use super::SessionId;

/// What rides beside a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// The message's own number: `result_number`, `status_number`, `health_number`.
    pub sequence: i64,
    /// Capture time where there is a frame, else publish time.
    pub unix_nanos: i64,
    pub session_id: SessionId,
}

/// Why bytes are no attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    #[error("attachment: expected 33 bytes, got {0}")]
    Length(usize),
    #[error("attachment: expected an id of 16 bytes, got a length byte of {0}")]
    IdLength(u8),
    #[error("attachment: negative sequence {0}")]
    Sequence(i64),
}

impl Attachment {
    pub const BYTES: usize = 33;

    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [16u8; Self::BYTES];
        out[..8].copy_from_slice(&self.sequence.to_le_bytes());
        out[8..16].copy_from_slice(&self.unix_nanos.to_le_bytes());
        out[17..].copy_from_slice(self.session_id.as_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Attachment, AttachmentError> {
        let whole: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| AttachmentError::Length(bytes.len()))?;
        let word = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| whole[at + i]));
        if whole[16] != 16 {
            return Err(AttachmentError::IdLength(whole[16]));
        }
        let sequence = word(0);
        if sequence < 0 {
            return Err(AttachmentError::Sequence(sequence));
        }
        Ok(Attachment {
            sequence,
            unix_nanos: word(8),
            session_id: SessionId::from_bytes(std::array::from_fn(|i| whole[17 + i])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_known_answer() {
        // tests/conformance: sequence 7, time 0x0102030405060708, id 16 x 0xab.
        let it = Attachment {
            sequence: 7,
            unix_nanos: 0x0102_0304_0506_0708,
            session_id: SessionId::from_bytes([0xab; 16]),
        };
        let hex: String = it.encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            format!("07000000000000000807060504030201{}{}", "10", "ab".repeat(16))
        );
        assert_eq!(Attachment::decode(&it.encode()), Ok(it));
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = Attachment {
            sequence: 1,
            unix_nanos: 2,
            session_id: SessionId::from_bytes([0; 16]),
        }
        .encode();
        assert_eq!(Attachment::decode(&good[..32]), Err(AttachmentError::Length(32)));
        assert_eq!(Attachment::decode(&[]), Err(AttachmentError::Length(0)));
        let mut bad = good;
        bad[16] = 15;
        assert_eq!(Attachment::decode(&bad), Err(AttachmentError::IdLength(15)));
        let mut bad = good;
        bad[7] = 0x80;
        assert!(matches!(Attachment::decode(&bad), Err(AttachmentError::Sequence(_))));
    }
}
