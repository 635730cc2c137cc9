//! A folder of pictures as a source: PNG and JPEG files in natural name order (`img2` before `img10`).

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::capture_clock::CaptureClock;
use super::pacer::{Pacer, Wait};
use super::{Captured, Fault, Nature, Orientation, Read, Source, SourceError, read_still};
use crate::config::{Camera, Pace, Repeat};
use crate::frame::Image;
use crate::time::{Clocks, Pts};

/// Rate of a folder, which has none of its own.
pub(super) const FRAMES_PER_SECOND: u32 = 10;

pub(super) struct ImagesSource {
    files: Vec<PathBuf>,
    waiting: VecDeque<PathBuf>,
    /// Whether this round through the folder gave a picture: one that never does must not turn for ever.
    any_good: bool,
    dir: PathBuf,
    camera: Camera,
    /// Read, waiting for its time.
    next: Option<Result<Image, String>>,
    shown: i64,
    pacer: Option<Pacer>,
    clock: CaptureClock,
}

impl ImagesSource {
    pub(super) fn open(camera: &Camera, dir: &Path, clocks: &Arc<dyn Clocks>) -> Result<ImagesSource, SourceError> {
        let files = pictures(dir).map_err(|fault| fault.of(camera))?;
        Ok(ImagesSource {
            camera: camera.clone(),
            dir: dir.to_owned(),
            any_good: false,
            waiting: files.iter().cloned().collect(),
            files,
            next: None,
            shown: 0,
            pacer: (camera.pace == Pace::RealTime).then(|| Pacer::new(clocks.clone())),
            clock: CaptureClock::new(clocks.clone(), camera.arrival_delay),
        })
    }
}

fn period() -> Duration {
    Duration::from_secs(1) / FRAMES_PER_SECOND
}

impl Source for ImagesSource {
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError> {
        if self.next.is_none() {
            if self.waiting.is_empty() {
                if !std::mem::take(&mut self.any_good) {
                    let path = self.dir.clone();
                    return Err(Fault::NoGoodPicture { path }.of(&self.camera));
                }
                if self.camera.repeat == Repeat::Loop {
                    self.waiting.extend(self.files.iter().cloned());
                }
            }
            let Some(path) = self.waiting.pop_front() else {
                // Asked again, it says so again.
                self.any_good = true;
                return Ok(Read::End);
            };
            let loaded = load(&path).map_err(|e| format!("{}: {e}", path.display()));
            self.any_good |= loaded.is_ok();
            self.next = Some(loaded);
        }
        let arrival = match self.pacer.as_mut().map(|pacer| pacer.wait(timeout, period())) {
            Some(Wait::NotYet) => return Ok(Read::Idle),
            Some(Wait::Due { .. }) | None => self.clock.now(),
        };
        let pts = Pts {
            nanos: self.shown * 1_000_000_000 / i64::from(FRAMES_PER_SECOND),
        };
        self.shown += 1;
        Ok(match self.next.take() {
            Some(Ok(image)) => Read::Frame(Captured {
                image,
                pts: Some(pts),
                capture_time: self.clock.arrival(arrival),
                arrival_mono_nanos: arrival,
                decoded_mono_nanos: arrival,
            }),
            Some(Err(detail)) => Read::Damaged { detail },
            None => Read::Idle,
        })
    }

    fn nominal_period(&self) -> Option<Duration> {
        Some(period())
    }

    fn nature(&self) -> Nature {
        Nature::Stored
    }

    fn clock_steps(&self) -> u64 {
        self.clock.steps()
    }
}

fn pictures(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let path = dir.to_owned();
    if !dir.exists() {
        return Err(Fault::Absent { path });
    }
    if !dir.is_dir() {
        return Err(Fault::FileNotFolder { path });
    }
    let unreadable = |e: std::io::Error| Fault::Unreadable {
        path: dir.to_owned(),
        detail: e.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_picture = file
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["png", "jpg", "jpeg"].contains(&e.to_ascii_lowercase().as_str()));
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_picture && !is_hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Fault::EmptyFolder { path });
    }
    files.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(files)
}

/// Runs of digits compare as numbers; equal so far, the plain order decides.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(&p), Some(&q)) = (x.first(), y.first()) {
        let order = if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, n) = (digits(&mut x), digits(&mut y));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            x = &x[1..];
            y = &y[1..];
            p.cmp(&q)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

/// Takes the leading digits, without their zeros.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let zeros = number.iter().take_while(|b| **b == b'0').count();
    &number[zeros..]
}

fn load(path: &Path) -> Result<Image, String> {
    read_still(path, Orientation::Upright).map_err(|e| e.to_string())
}
