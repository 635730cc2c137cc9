//! GIF files as a source. Not through GStreamer: its only GIF demuxer (gst-libav 1.22) is told of the end of a file as
//! of a read of no bytes, and reads on for ever, at full load.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod};

use super::capture_clock::CaptureClock;
use super::pacer::{Pacer, Wait};
use super::period::PeriodEstimate;
use super::{Captured, Fault, Nature, Read, Source, SourceError};
use crate::config::{Camera, Pace, Repeat};
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::time::{Clocks, Pts, nanos};

/// What everybody shows frames for that say 0 or 10 ms.
const HASTY: u16 = 1;
const HASTY_SHOWN_FOR: Duration = Duration::from_millis(100);

pub(super) struct GifSource {
    camera: Camera,
    path: PathBuf,
    film: Film,
    /// Read, waiting for its time; shown for.
    next: Option<(Image, Duration)>,
    /// Of this pass.
    shown: u64,
    pts: i64,
    period: PeriodEstimate,
    pacer: Option<Pacer>,
    clock: CaptureClock,
}

/// Whether a file is one, by its first bytes.
pub(super) fn is_gif(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok()) && &magic == b"GIF8"
}

impl GifSource {
    pub(super) fn open(camera: &Camera, path: &Path, clocks: &Arc<dyn Clocks>) -> Result<GifSource, SourceError> {
        Ok(GifSource {
            film: Film::open(path).map_err(|fault| fault.of(camera))?,
            path: path.to_owned(),
            camera: camera.clone(),
            next: None,
            shown: 0,
            pts: 0,
            period: PeriodEstimate::default(),
            pacer: (camera.pace == Pace::RealTime).then(|| Pacer::new(clocks.clone())),
            clock: CaptureClock::new(clocks.clone(), camera.arrival_delay),
        })
    }

    /// The next frame, or none at the end of a GIF that is read once.
    fn advance(&mut self) -> Result<Option<(Image, Duration)>, Fault> {
        loop {
            match self.film.next() {
                Ok(Some(next)) => return Ok(Some(next)),
                Ok(None) if self.shown == 0 => return Err(Fault::NoFrames),
                Ok(None) if self.camera.repeat == Repeat::Once => return Ok(None),
                Err(e) if self.shown == 0 || self.camera.repeat == Repeat::Once => {
                    let detail = format!("{} after frame {}: {e}", self.path.display(), self.shown);
                    return Err(Fault::Stream { detail });
                }
                Ok(None) | Err(_) => {
                    self.film = Film::open(&self.path)?;
                    self.shown = 0;
                }
            }
        }
    }
}

impl Source for GifSource {
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError> {
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.advance().map_err(|fault| fault.of(&self.camera))?,
        };
        let Some((image, shown_for)) = next else {
            return Ok(Read::End);
        };
        if let Some(Wait::NotYet) = self.pacer.as_mut().map(|pacer| pacer.wait(timeout, shown_for)) {
            self.next = Some((image, shown_for));
            return Ok(Read::Idle);
        }
        let pts = self.pts;
        self.pts = self.pts.saturating_add(nanos(shown_for));
        self.shown += 1;
        self.period.frame(pts);
        let now = self.clock.now();
        Ok(Read::Frame(Captured {
            image,
            pts: Some(Pts { nanos: pts }),
            capture_time: self.clock.arrival(now),
            arrival_mono_nanos: now,
            decoded_mono_nanos: now,
        }))
    }

    fn nominal_period(&self) -> Option<Duration> {
        self.period.period()
    }

    fn nature(&self) -> Nature {
        Nature::Stored
    }

    fn clock_steps(&self) -> u64 {
        self.clock.steps()
    }
}

/// One pass through the file: each frame is drawn onto what the ones before it left.
struct Film {
    decoder: Decoder<File>,
    size: ImageSize,
    /// Tight RGB8; what is transparent over nothing is black.
    canvas: Vec<u8>,
}

/// Left, top, width and height in pixels, cut to the canvas.
#[derive(Clone, Copy)]
struct Patch {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// A forged header must not take the memory of the machine: 65535x65535 would need 17 GB.
const MOST_PIXELS: u64 = 1 << 26;

impl Film {
    fn open(path: &Path) -> Result<Film, Fault> {
        let unreadable = |detail: String| Fault::Unreadable {
            path: path.to_owned(),
            detail,
        };
        let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let decoder = options.read_info(file).map_err(|e| unreadable(e.to_string()))?;
        let size = ImageSize::new(u32::from(decoder.width()), u32::from(decoder.height()));
        if size.area() == 0 || size.area() > MOST_PIXELS {
            return Err(unreadable(format!(
                "its size is {size}, at most {MOST_PIXELS} pixels are read"
            )));
        }
        Ok(Film {
            decoder,
            canvas: vec![0; 3 * size.area() as usize],
            size,
        })
    }

    fn next(&mut self) -> Result<Option<(Image, Duration)>, DecodingError> {
        let (columns, rows) = (self.size.width as usize, self.size.height as usize);
        let Some(frame) = self.decoder.read_next_frame()? else {
            return Ok(None);
        };
        let (left, top) = (usize::from(frame.left).min(columns), usize::from(frame.top).min(rows));
        let patch = Patch {
            left,
            top,
            width: usize::from(frame.width).min(columns - left),
            height: usize::from(frame.height).min(rows - top),
        };
        let before = (frame.dispose == DisposalMethod::Previous).then(|| self.canvas.clone());
        let row_bytes = 4 * usize::from(frame.width);
        for (y, row) in frame
            .buffer
            .chunks_exact(row_bytes.max(1))
            .take(patch.height)
            .enumerate()
        {
            let at = 3 * ((patch.top + y) * columns + patch.left);
            let onto = self.canvas[at..at + 3 * patch.width].chunks_exact_mut(3);
            for (pixel, rgba) in onto.zip(row.chunks_exact(4)) {
                if rgba[3] != 0 {
                    pixel.copy_from_slice(&rgba[..3]);
                }
            }
        }
        let shown_for = match frame.delay {
            0..=HASTY => HASTY_SHOWN_FOR,
            hundredths => Duration::from_millis(10 * u64::from(hundredths)),
        };
        let picture = self.canvas.clone();
        match (frame.dispose, before) {
            (DisposalMethod::Previous, Some(before)) => self.canvas = before,
            (DisposalMethod::Background, _) => clear(&mut self.canvas, columns, patch),
            _ => {}
        }
        let image = Image::packed(PixelFormat::Rgb8, self.size, picture)
            .map_err(|e| DecodingError::Io(std::io::Error::other(e)))?;
        Ok(Some((image, shown_for)))
    }
}

fn clear(canvas: &mut [u8], columns: usize, patch: Patch) {
    for y in patch.top..patch.top + patch.height {
        let at = 3 * (y * columns + patch.left);
        canvas[at..at + 3 * patch.width].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{camera, drain, drain_camera};
    use super::*;
    use crate::time::SimulatedClocks;

    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    /// 3x1 red for 50 ms; then its middle blue, put back; then its left blue, cleared; then nothing new.
    fn write(path: &Path) {
        let palette = [RED, BLUE].concat();
        let mut encoder = gif::Encoder::new(File::create(path).expect("creates"), 3, 1, &palette).expect("begins");
        let frame = |left, pixels: &'static [u8], dispose, delay| gif::Frame {
            left,
            width: pixels.len() as u16,
            height: 1,
            buffer: pixels.into(),
            dispose,
            delay,
            ..gif::Frame::default()
        };
        for frame in [
            frame(0, &[0, 0, 0], DisposalMethod::Keep, 5),
            frame(1, &[1], DisposalMethod::Previous, 5),
            frame(0, &[1], DisposalMethod::Background, 0),
            frame(2, &[0], DisposalMethod::Keep, 5),
        ] {
            encoder.write_frame(&frame).expect("writes");
        }
    }

    #[test]
    fn frames_are_drawn_onto_what_was_left() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.gif");
        write(&path);
        let got = drain_camera(&camera(&format!("file://{}", path.display())));
        assert_eq!(got.error, None);
        let rows: Vec<&[u8]> = got.frames.iter().map(|f| f.image.row(0, 0)).collect();
        assert_eq!(rows[0], [RED, RED, RED].concat());
        assert_eq!(rows[1], [RED, BLUE, RED].concat());
        assert_eq!(rows[2], [BLUE, RED, RED].concat());
        assert_eq!(rows[3], [[0, 0, 0], RED, RED].concat());
        let pts: Vec<i64> = got
            .frames
            .iter()
            .filter_map(|f| f.pts)
            .map(|p| p.nanos / 1_000_000)
            .collect();
        assert_eq!(pts, [0, 50, 100, 200]);
    }

    #[test]
    fn a_gif_is_paced_by_its_delays_and_looped() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.gif");
        write(&path);
        let clocks = Arc::new(SimulatedClocks::new(0, 0));
        let shared: Arc<dyn Clocks> = clocks.clone();
        let mut camera = camera(&format!("file://{}", path.display()));
        camera.pace = Pace::RealTime;
        camera.repeat = Repeat::Loop;
        let mut source = super::super::open(&camera, &shared).expect("opens");
        let frames = drain(source.as_mut(), 6).frames;
        let at: Vec<i64> = frames.iter().map(|f| f.arrival_mono_nanos / 1_000_000).collect();
        assert_eq!(at, [0, 50, 100, 200, 250, 300]);
    }

    #[test]
    fn a_cut_gif_gives_its_frames_and_then_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.gif");
        write(&path);
        let bytes = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &bytes[..bytes.len() - 12]).expect("writes");
        let got = drain_camera(&camera(&format!("file://{}", path.display())));
        assert_eq!(got.frames.len(), 3);
        let said = got.error.expect("error").to_string();
        assert!(said.contains("a.gif after frame 3"), "{said}");
    }
}
