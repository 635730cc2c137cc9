//! The simulated camera: a conveyor belt with objects on it, seen from above, and the exact truth about them.
//!
//! Belongs here: scenes, their rendering in software, their truth, and data sets made of them.
//! Does not: anything that knows of a network (model), pacing frames to a clock (source), drawing results (outlets).
//!
//! A frame is a pure function of (`SceneConfig`, frame index): any frame can be had without the ones before it,
//! and its bytes are the same on every machine.

mod backdrop;
mod belt;
mod camera;
mod compositor;
mod look;
mod mesh;
mod num;
mod paint;
mod placement;
mod pose;
mod raster;
mod scene;
mod sensor;
mod shade;
mod shadow;
mod shapes;
pub mod synth;
mod tabletop;
#[cfg(test)]
mod tests;
mod texture;
mod truth;

use std::fmt;

pub use scene::Scene;
pub use truth::TruthInstance;

/// The conveyor's classes by class id.
pub const CLASS_NAMES: [&str; 8] = ["box", "bottle", "can", "mug", "ball", "bolt", "bag", "cone"];

/// What the camera looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SceneKind {
    /// A moving belt with objects of the classes in `CLASS_NAMES`.
    #[default]
    Conveyor,
    /// Any things on any table, each picture another; one class, `object`.
    Tabletop,
}

impl SceneKind {
    /// Names by class id.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            SceneKind::Conveyor => &CLASS_NAMES,
            SceneKind::Tabletop => &["object"],
        }
    }
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneConfig {
    /// Decides everything about the scene: camera, light, belt, objects.
    pub seed: u64,
    /// Mean number of objects in view, 0..=64.
    pub objects: u32,
    /// Pixels, 64..=4096. The field of view across the width is the scene's own, whatever the width.
    pub width: u32,
    pub height: u32,
    /// Frames a second, above 0, up to 240.
    pub fps: f64,
}

impl Default for SceneConfig {
    fn default() -> Self {
        SceneConfig {
            seed: 0,
            objects: 12,
            width: 640,
            height: 480,
            fps: 30.0,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq)]
pub enum SceneError {
    Size { width: u32, height: u32 },
    Objects { objects: u32 },
    Fps { fps: f64 },
}

impl fmt::Display for SceneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SceneError::Size { width, height } => {
                write!(
                    f,
                    "simulated camera: size {width}x{height}, each side must be 64..=4096"
                )
            }
            SceneError::Objects { objects } => {
                write!(f, "simulated camera: {objects} objects in view, must be 0..=64")
            }
            SceneError::Fps { fps } => {
                write!(
                    f,
                    "simulated camera: {fps} frames a second, must be above 0 and at most 240"
                )
            }
        }
    }
}

impl std::error::Error for SceneError {}

impl SceneConfig {
    pub fn validate(&self) -> Result<(), SceneError> {
        let side = 64..=4096;
        if !side.contains(&self.width) || !side.contains(&self.height) {
            return Err(SceneError::Size {
                width: self.width,
                height: self.height,
            });
        }
        if self.objects > 64 {
            return Err(SceneError::Objects { objects: self.objects });
        }
        if !(self.fps > 0.0 && self.fps <= 240.0) {
            return Err(SceneError::Fps { fps: self.fps });
        }
        Ok(())
    }
}

/// A picture and the truth about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenderedFrame {
    pub width: u32,
    pub height: u32,
    /// Tight RGB8 rows.
    pub rgb: Vec<u8>,
    pub truth: Vec<TruthInstance>,
}
