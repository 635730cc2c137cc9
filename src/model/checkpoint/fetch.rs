//! One file over HTTP(S), written beside its destination and renamed there only when its digest is right.

use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::engine;

const CHUNK_BYTES: usize = 64 * 1024;
/// Fewer would be met by chance.
const SHORTEST_PREFIX: usize = 8;

/// The first hex digits, or all 64, of a SHA-256; torchvision's file names carry 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl FromStr for DigestPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<DigestPrefix, String> {
        let digits = text.to_ascii_lowercase();
        if !(SHORTEST_PREFIX..=64).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "expected {SHORTEST_PREFIX} to 64 hex digits of a SHA-256, got {text:?}"
            ));
        }
        Ok(DigestPrefix(digits))
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DigestPrefix {
    pub fn matches(&self, sha256: &[u8; 32]) -> bool {
        engine::Digest(*sha256).to_string().starts_with(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
    /// To connect, and to the first byte of the answer.
    pub answer: Duration,
    /// Without a byte.
    pub silence: Duration,
    /// For everything.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 2 << 30,
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            whole: Duration::from_secs(3600),
        }
    }
}

/// What to fetch and where to put it.
#[derive(Debug, Clone)]
pub struct Download<'a> {
    pub url: &'a str,
    /// Its folder is made where there is none.
    pub destination: &'a Path,
    pub sha256: DigestPrefix,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    pub bytes: u64,
    pub sha256: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("fetch {url}: {source}")]
    Http { url: String, source: Box<ureq::Error> },
    #[error("fetch {url}: after {done} bytes: {source}")]
    Broken { url: String, done: u64, source: io::Error },
    #[error("fetch {url}: expected {expected} bytes, got {got}")]
    Short { url: String, expected: u64, got: u64 },
    #[error("fetch {url}: expected at most {limit} bytes, got more")]
    Large { url: String, limit: u64 },
    #[error("fetch {url}: expected SHA-256 {expected}, got {got}")]
    Digest { url: String, expected: String, got: String },
    #[error("fetch {url}: write {path}: {source}")]
    Write {
        url: String,
        path: PathBuf,
        source: io::Error,
    },
}

impl Download<'_> {
    /// `progress` is told the bytes so far and in all, where the server says.
    pub fn run(&self, mut progress: impl FnMut(u64, Option<u64>)) -> Result<Fetched, FetchError> {
        let http = |source| FetchError::Http {
            url: self.url.to_owned(),
            source: Box::new(source),
        };
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_connect(Some(self.limits.answer))
                .timeout_recv_response(Some(self.limits.answer))
                .timeout_per_read(Some(self.limits.silence))
                .timeout_global(Some(self.limits.whole))
                .user_agent(concat!("maskcast/", env!("CARGO_PKG_VERSION")))
                .build(),
        );
        let mut answer = agent.get(self.url).call().map_err(http)?;
        let total = answer.body().content_length();
        if total.is_some_and(|total| total > self.limits.bytes) {
            return Err(self.too_large());
        }
        let mut part = Part::create(self.destination).map_err(|(path, e)| self.write_fault(path, e))?;
        let mut body = answer.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut digest = Sha256::new();
        let mut done = 0;
        progress(0, total);
        loop {
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let url = self.url.to_owned();
                    return Err(FetchError::Broken { url, done, source });
                }
            };
            done += count as u64;
            if done > self.limits.bytes {
                return Err(self.too_large());
            }
            let bytes = chunk.get(..count).unwrap_or_default();
            digest.update(bytes);
            part.file
                .write_all(bytes)
                .map_err(|e| self.write_fault(part.path.clone(), e))?;
            progress(done, total);
        }
        if let Some(expected) = total
            && expected != done
        {
            let url = self.url.to_owned();
            return Err(FetchError::Short {
                url,
                expected,
                got: done,
            });
        }
        let sha256: [u8; 32] = digest.finalize().into();
        if !self.sha256.matches(&sha256) {
            return Err(FetchError::Digest {
                url: self.url.to_owned(),
                expected: self.sha256.to_string(),
                got: engine::Digest(sha256).to_string(),
            });
        }
        part.finish(self.destination)
            .map_err(|e| self.write_fault(self.destination.to_owned(), e))?;
        Ok(Fetched { bytes: done, sha256 })
    }

    fn too_large(&self) -> FetchError {
        FetchError::Large {
            url: self.url.to_owned(),
            limit: self.limits.bytes,
        }
    }

    fn write_fault(&self, path: PathBuf, source: io::Error) -> FetchError {
        FetchError::Write {
            url: self.url.to_owned(),
            path,
            source,
        }
    }
}

/// The file in the making; gone unless finished.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// In the destination's folder, so that renaming does not copy; under a name of its own, so that two downloads of the
    /// same file do not mix.
    fn create(destination: &Path) -> Result<Part, (PathBuf, io::Error)> {
        let folder = match destination.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(|e| (folder.to_owned(), e))?;
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let random = RandomState::new().hash_one(&name);
        let path = folder.join(format!(".{name}.{random:016x}.part"));
        match File::create_new(&path) {
            Ok(file) => Ok(Part { path, file }),
            Err(e) => Err((path, e)),
        }
    }

    fn finish(&self, destination: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, destination)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
