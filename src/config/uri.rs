//! Source URIs as written: parsed here, and shown here, without their passwords.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{SimulatedScene, SourceUri};
use crate::geometry::ImageSize;

/// What a simulated camera shows unless its URI says otherwise.
pub const DEFAULT_SCENE: SimulatedScene = SimulatedScene {
    seed: 7,
    objects: 12,
    size: ImageSize::new(640, 480),
    fps: 30.0,
};

/// Why a text is no source URI. `text` is redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceUriError {
    #[error("{text:?} has no scheme: a file is written file://{text}, a folder of pictures images://{text}")]
    NoScheme { text: String },
    #[error(
        "{text:?}: no such source as {scheme:?}; use rtsp://, rtsps://, file://, v4l2://, images://, gst: or sim://"
    )]
    UnknownScheme { text: String, scheme: String },
    #[error("{text:?} names no {wanted}, as in {example}")]
    Incomplete {
        text: String,
        wanted: &'static str,
        example: &'static str,
    },
    #[error("{text:?}: no such scene as {scene:?}; use sim://conveyor")]
    UnknownScene { text: String, scene: String },
    #[error("{text:?}: unknown key {key:?}; use seed, objects, size and fps")]
    UnknownKey { text: String, key: String },
    #[error("{text:?}: {key} is {value:?}, wanted {wanted}")]
    Value {
        text: String,
        key: String,
        value: String,
        wanted: &'static str,
    },
}

impl FromStr for SourceUri {
    type Err = SourceUriError;

    /// Paths of `file://` and `images://` may hold `%20` and the like; after two slashes they are relative, after
    /// three absolute.
    fn from_str(text: &str) -> Result<Self, SourceUriError> {
        if let Some(description) = text.strip_prefix("gst:") {
            let description = description.trim();
            if description.is_empty() {
                return Err(incomplete(text, "pipeline", "gst:videotestsrc is-live=true"));
            }
            return Ok(SourceUri::Gst(description.to_owned()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(SourceUriError::NoScheme { text: redact(text) });
        };
        match scheme {
            "rtsp" | "rtsps" => {
                let authority = rest.split(['/', '?']).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                if host.is_empty() || host.starts_with(':') {
                    return Err(incomplete(text, "host", "rtsp://192.0.2.7/stream"));
                }
                Ok(SourceUri::Rtsp(text.to_owned()))
            }
            "file" => Ok(SourceUri::File(path(text, rest, "file", "file:///data/belt.mp4")?)),
            "v4l2" => Ok(SourceUri::V4l2(path(text, rest, "device", "v4l2:///dev/video0")?)),
            "images" => Ok(SourceUri::Images(path(text, rest, "folder", "images://pictures")?)),
            "sim" => scene(text, rest).map(SourceUri::Simulated),
            _ => Err(SourceUriError::UnknownScheme {
                text: redact(text),
                scheme: scheme.to_owned(),
            }),
        }
    }
}

impl SourceUri {
    /// The URI without its passwords: the only form for logs, errors and messages.
    pub fn redacted(&self) -> String {
        redact(&self.in_full())
    }

    fn in_full(&self) -> String {
        match self {
            SourceUri::Rtsp(uri) => uri.clone(),
            SourceUri::File(path) => format!("file://{}", path.display()),
            SourceUri::V4l2(path) => format!("v4l2://{}", path.display()),
            SourceUri::Images(path) => format!("images://{}", path.display()),
            SourceUri::Gst(description) => format!("gst:{description}"),
            SourceUri::Simulated(s) => format!(
                "sim://conveyor?seed={}&objects={}&size={}&fps={}",
                s.seed, s.objects, s.size, s.fps
            ),
        }
    }
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// As [`SourceUri::redacted`]: a derived one would put passwords into logs.
impl fmt::Debug for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUri({:?})", self.redacted())
    }
}

fn incomplete(text: &str, wanted: &'static str, example: &'static str) -> SourceUriError {
    SourceUriError::Incomplete {
        text: redact(text),
        wanted,
        example,
    }
}

fn path(text: &str, rest: &str, wanted: &'static str, example: &'static str) -> Result<PathBuf, SourceUriError> {
    if rest.is_empty() {
        return Err(incomplete(text, wanted, example));
    }
    Ok(PathBuf::from(percent_decoded(rest)))
}

/// `%41` becomes `A`; what is no such escape, or would be no UTF-8, stays as written.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn scene(text: &str, rest: &str) -> Result<SimulatedScene, SourceUriError> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    if name.trim_end_matches('/') != "conveyor" {
        return Err(SourceUriError::UnknownScene {
            text: text.to_owned(),
            scene: name.to_owned(),
        });
    }
    let mut scene = DEFAULT_SCENE;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |wanted| SourceUriError::Value {
            text: text.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            wanted,
        };
        match key {
            "seed" => {
                scene.seed = value
                    .parse()
                    .map_err(|_| wrong("a whole number, 0 to 18446744073709551615"))?;
            }
            "objects" => {
                let objects = value.parse().ok().filter(|n| *n <= 64u32);
                scene.objects = objects.ok_or_else(|| wrong("a whole number, 0 to 64"))?;
            }
            "size" => {
                let fits = |s: &ImageSize| (64..=4096).contains(&s.width) && (64..=4096).contains(&s.height);
                let size = value.parse().ok().filter(fits);
                scene.size = size.ok_or_else(|| wrong("a size such as 640x480, each side 64 to 4096"))?;
            }
            "fps" => {
                let fps = value.parse().ok().filter(|fps: &f64| (0.01..=240.0).contains(fps));
                scene.fps = fps.ok_or_else(|| wrong("frames a second, 0.01 to 240"))?;
            }
            _ => {
                return Err(SourceUriError::UnknownKey {
                    text: text.to_owned(),
                    key: key.to_owned(),
                });
            }
        }
    }
    Ok(scene)
}

/// Replaces passwords in any text by `***`: of `user:password@`, of query values such as `password=`, and of
/// rtspsrc's `user-pw=`.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        // A password may hold '/', '?' and '@' though it should not: the last '@' of the word ends it.
        let word = after
            .find(|c: char| c.is_whitespace() || c == '"' || c == '\'')
            .unwrap_or(after.len());
        rest = after;
        if let Some(at) = after[..word].rfind('@') {
            if let Some(colon) = after[..at].find(':') {
                out.push_str(&after[..colon]);
                out.push_str(":***");
            } else {
                out.push_str(&after[..at]);
            }
            rest = &after[at..];
        }
    }
    out.push_str(rest);
    for key in [
        "password=",
        "passwd=",
        "pass=",
        "pwd=",
        "token=",
        "user-pw=",
        "proxy-pw=",
    ] {
        out = redact_value(&out, key);
    }
    out
}

fn redact_value(text: &str, key: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower[from..].find(key) {
        let value = from + found + key.len();
        out.push_str(&text[from..value]);
        // A quoted value ends at its quote, any other at the next separator.
        let quote = text[value..].chars().next().filter(|c| matches!(c, '"' | '\''));
        let end = match quote {
            Some(quote) => text[value + 1..].find(quote).map(|n| value + n + 2),
            None => text[value..]
                .find(|c: char| c == '&' || c.is_whitespace() || matches!(c, '"' | '\''))
                .map(|n| value + n),
        }
        .unwrap_or(text.len());
        if end > value {
            out.push_str("***");
        }
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> SourceUri {
        text.parse().expect(text)
    }

    #[test]
    fn every_scheme_is_understood() {
        assert_eq!(
            parsed("rtsp://192.0.2.7/stream"),
            SourceUri::Rtsp("rtsp://192.0.2.7/stream".into())
        );
        assert!(matches!(parsed("rtsps://u:p@cam:8555/a?b=c"), SourceUri::Rtsp(uri) if uri.ends_with("a?b=c")));
        assert_eq!(parsed("file:///data/a.mp4"), SourceUri::File("/data/a.mp4".into()));
        assert_eq!(parsed("file://videos/a.mp4"), SourceUri::File("videos/a.mp4".into()));
        assert_eq!(parsed("file://../a b.mp4"), SourceUri::File("../a b.mp4".into()));
        assert_eq!(parsed("file:///a%20b%25.mp4"), SourceUri::File("/a b%.mp4".into()));
        assert_eq!(parsed("file:///50%.mp4"), SourceUri::File("/50%.mp4".into()));
        assert_eq!(parsed("v4l2:///dev/video0"), SourceUri::V4l2("/dev/video0".into()));
        assert_eq!(parsed("images://some/dir"), SourceUri::Images("some/dir".into()));
        assert_eq!(
            parsed("gst:videotestsrc ! video/x-raw,format=NV12"),
            SourceUri::Gst("videotestsrc ! video/x-raw,format=NV12".into())
        );
        assert_eq!(parsed("sim://conveyor"), SourceUri::Simulated(DEFAULT_SCENE));
        assert_eq!(
            parsed("sim://conveyor?seed=9&objects=3&size=320x240&fps=12.5"),
            SourceUri::Simulated(SimulatedScene {
                seed: 9,
                objects: 3,
                size: ImageSize::new(320, 240),
                fps: 12.5
            })
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "rtsp://cam/1",
            "file:///a.mp4",
            "v4l2:///dev/video2",
            "images://d",
            "gst:videotestsrc",
            "sim://conveyor?seed=1&objects=2&size=64x64&fps=5",
        ] {
            assert_eq!(parsed(text).to_string(), text);
            assert_eq!(parsed(&parsed(text).to_string()), parsed(text));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<SourceUri>().expect_err(text).to_string();
        assert!(error("/data/a.mp4").contains("file:///data/a.mp4"));
        assert!(error("a.mp4").contains("file://a.mp4"));
        assert!(error("http://x/y").contains("\"http\""));
        assert!(error("file://").contains("names no file"));
        assert!(error("rtsp://").contains("names no host"));
        assert!(error("rtsp:///path").contains("names no host"));
        assert!(error("gst: ").contains("names no pipeline"));
        assert!(error("sim://moon").contains("\"moon\""));
        assert!(error("sim://conveyor?sead=7").contains("unknown key \"sead\""));
        assert!(error("sim://conveyor?seed=-1").contains("seed is \"-1\""));
        assert!(error("sim://conveyor?size=10x10").contains("each side 64 to 4096"));
        assert!(error("sim://conveyor?fps=0").contains("fps is \"0\""));
        assert!(error("sim://conveyor?fps=1e-30").contains("0.01 to 240"));
        assert!(error("sim://conveyor?fps=NaN").contains("fps is \"NaN\""));
        assert!(error("sim://conveyor?objects=65").contains("0 to 64"));
    }

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("rtsp://u:p@h/s", "rtsp://u:***@h/s"),
            ("rtsp://u@h/s", "rtsp://u@h/s"),
            ("rtsp://u:p@ss/w@h:554/s", "rtsp://u:***@h:554/s"),
            (
                "rtsp://h/s?user=a&password=secret&c=1",
                "rtsp://h/s?user=a&password=***&c=1",
            ),
            ("rtsp://h:554/s", "rtsp://h:554/s"),
        ] {
            assert_eq!(parsed(text).redacted(), shown);
            assert_eq!(format!("{:?}", parsed(text)), format!("SourceUri({shown:?})"));
        }
        assert_eq!(
            parsed("gst:rtspsrc location=rtsp://u:p@h/s user-pw=\"a b\" ! decodebin").redacted(),
            "gst:rtspsrc location=rtsp://u:***@h/s user-pw=*** ! decodebin"
        );
        assert_eq!(
            redact("could not open rtsp://a:b@c/d and rtsp://e:f@g/h"),
            "could not open rtsp://a:***@c/d and rtsp://e:***@g/h"
        );
    }
}
