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

/// An error of zenoh without the source lines (` at /.../tcp.rs:61.`) that it strews into its texts.
pub fn without_source_lines(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some(at) = rest.find(" at /") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let line = after.find(".rs:").map(|i| i + 4);
        let end = line.map(|i| {
            i + after[i..]
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len() - i)
        });
        let Some(end) = end else {
            rest = after;
            break;
        };
        rest = after[end..].strip_prefix('.').unwrap_or(&after[end..]);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn source_lines_are_left_out() {
        let text = "No listener: [in use (os error 98) at /a/src/tcp.rs:61.] at /b/unicast.rs:338.";
        assert_eq!(
            super::without_source_lines(&text),
            "No listener: [in use (os error 98)]"
        );
        for plain in ["no path", "", "meet at /noon", "x at /a.rs:"] {
            super::without_source_lines(&plain);
        }
        assert_eq!(super::without_source_lines(&"meet at /noon"), "meet at /noon");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(super::cut("aéb", 2), "a");
        assert_eq!(super::cut("aéb", 3), "aé");
        assert_eq!(super::cut("ab", 200), "ab");
    }
}
