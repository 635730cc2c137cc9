//! Between our words and those of the schema.

use super::v1;
use crate::time::CaptureTimeSource;

impl From<CaptureTimeSource> for v1::CaptureTimeSource {
    fn from(source: CaptureTimeSource) -> v1::CaptureTimeSource {
        match source {
            CaptureTimeSource::Arrival => v1::CaptureTimeSource::Arrival,
            CaptureTimeSource::Driver => v1::CaptureTimeSource::Driver,
            CaptureTimeSource::Rtcp => v1::CaptureTimeSource::Rtcp,
            CaptureTimeSource::Ptp => v1::CaptureTimeSource::Ptp,
            CaptureTimeSource::Recording => v1::CaptureTimeSource::Recording,
            CaptureTimeSource::Simulated => v1::CaptureTimeSource::Simulated,
        }
    }
}

/// At most `limit` bytes of a text, cut between characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(super::cut("aéb", 2), "a");
        assert_eq!(super::cut("aéb", 3), "aé");
        assert_eq!(super::cut("ab", 200), "ab");
    }
}
