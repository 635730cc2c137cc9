//! The simulated camera as a source: [`simulated::Scene`] paced by the clocks.
//!
//! The picture of frame number n is the scene's frame n - 1, always: whoever has the number can have the truth. A
//! machine that renders slower than the frame rate gets its frames later, not fewer.

use std::sync::Arc;
use std::time::Duration;

use super::capture_clock::CaptureClock;
use super::pacer::{Pacer, Wait};
use super::simulated::{Scene, SceneConfig};
use super::{Captured, Fault, Nature, Read, Source, SourceError};
use crate::config::{Camera, Pace, SimulatedScene};
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::time::{Clocks, Pts};

/// Pictures of a scene, rendered before anything is timed and shown again and again: cameras faster than the renderer.
#[derive(Debug, Clone)]
pub struct Film(Arc<[Image]>);

impl Film {
    /// The scene's first `frames` frames; at least one.
    pub fn render(scene: &SimulatedScene, frames: u64) -> Result<Film, Fault> {
        let mut renderer = Scene::new(config(scene)).map_err(|e| Fault::Scene { detail: e.to_string() })?;
        let images = (0..frames.max(1)).map(|index| picture(&mut renderer, scene.size, index));
        Ok(Film(images.collect::<Result<Vec<Image>, Fault>>()?.into()))
    }

    /// The picture of frame `index`, from 0.
    pub fn image(&self, index: u64) -> Image {
        let place = index as usize % self.0.len();
        self.0[place].clone()
    }
}

pub(super) struct SimulatedCamera {
    camera: Camera,
    pictures: Pictures,
    size: ImageSize,
    fps: f64,
    frame_index: u64,
    /// Rendered, waiting for its time.
    rendered: Option<Image>,
    pacer: Option<Pacer>,
    clock: CaptureClock,
}

enum Pictures {
    Rendered(Box<Scene>),
    Film(Film),
}

impl SimulatedCamera {
    /// Renders each picture; with a film, shows that instead.
    pub(super) fn open(
        camera: &Camera,
        scene: &SimulatedScene,
        film: Option<Film>,
        clocks: &Arc<dyn Clocks>,
    ) -> Result<SimulatedCamera, SourceError> {
        let fault = |e: super::simulated::SceneError| Fault::Scene { detail: e.to_string() }.of(camera);
        Ok(SimulatedCamera {
            pictures: match film {
                Some(film) => Pictures::Film(film),
                None => Pictures::Rendered(Box::new(Scene::new(config(scene)).map_err(fault)?)),
            },
            camera: camera.clone(),
            size: scene.size,
            fps: scene.fps,
            frame_index: 0,
            rendered: None,
            pacer: (camera.pace == Pace::RealTime).then(|| Pacer::new(clocks.clone())),
            clock: CaptureClock::new(clocks.clone(), Duration::ZERO),
        })
    }

    fn pts(&self) -> Pts {
        Pts {
            nanos: (self.frame_index as f64 * 1e9 / self.fps).round() as i64,
        }
    }
}

fn config(scene: &SimulatedScene) -> SceneConfig {
    SceneConfig {
        seed: scene.seed,
        objects: scene.objects,
        width: scene.size.width,
        height: scene.size.height,
        fps: scene.fps,
    }
}

fn picture(scene: &mut Scene, size: ImageSize, index: u64) -> Result<Image, Fault> {
    Image::packed(PixelFormat::Rgb8, size, scene.render(index).rgb)
        .map_err(|e| Fault::Picture { detail: e.to_string() })
}

impl Source for SimulatedCamera {
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError> {
        // Rendered ahead of its time, so that it is there when it is due, as light is.
        let image = match self.rendered.take() {
            Some(image) => image,
            None => match &mut self.pictures {
                Pictures::Film(film) => film.image(self.frame_index),
                Pictures::Rendered(scene) => {
                    picture(scene, self.size, self.frame_index).map_err(|fault| fault.of(&self.camera))?
                }
            },
        };
        let period = Duration::from_secs_f64(1.0 / self.fps);
        let captured_mono = match self.pacer.as_mut().map(|pacer| pacer.wait(timeout, period)) {
            Some(Wait::NotYet) => {
                self.rendered = Some(image);
                return Ok(Read::Idle);
            }
            Some(Wait::Due { mono_nanos }) => mono_nanos,
            None => self.clock.now(),
        };
        let pts = self.pts();
        self.frame_index += 1;
        let now = self.clock.now();
        Ok(Read::Frame(Captured {
            image,
            pts: Some(pts),
            capture_time: self.clock.simulated(captured_mono),
            arrival_mono_nanos: now,
            decoded_mono_nanos: now,
        }))
    }

    fn nominal_period(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(1.0 / self.fps))
    }

    fn nature(&self) -> Nature {
        Nature::Stored
    }

    fn clock_steps(&self) -> u64 {
        self.clock.steps()
    }
}
