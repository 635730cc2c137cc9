//! The room `record` of a build without GStreamer: the same names, and every recording is refused.

mod error;
mod snapshot;

pub use error::RecordError;
pub use snapshot::{RecorderSnapshot, RecordingInfo, Still};

use std::convert::Infallible;
use std::sync::Arc;

use super::{Demand, Outlet, Report};
use crate::config::AnnotatedVideo;
use crate::names::CameraId;
use crate::time::Clocks;

/// There is none: [`AnnotatedVideoOutlet::open`] always fails.
#[derive(Debug)]
pub struct AnnotatedVideoOutlet(Infallible);

/// There are none.
#[derive(Debug, Clone)]
pub struct RecorderStatuses(Infallible);

impl AnnotatedVideoOutlet {
    pub fn open(
        _: &AnnotatedVideo,
        _: &[CameraId],
        _: RecordingInfo,
        _: Arc<dyn Clocks>,
    ) -> Result<AnnotatedVideoOutlet, RecordError> {
        Err(RecordError::BuiltWithoutGstreamer)
    }

    pub fn status(&self) -> RecorderStatuses {
        match self.0 {}
    }
}

impl RecorderStatuses {
    pub fn snapshot(&self) -> Vec<RecorderSnapshot> {
        match self.0 {}
    }

    pub fn best_still(&self, _: &CameraId) -> Option<Still> {
        match self.0 {}
    }
}

impl Outlet for AnnotatedVideoOutlet {
    fn name(&self) -> &str {
        match self.0 {}
    }

    fn demand(&self, _: &CameraId) -> Demand {
        match self.0 {}
    }

    fn deliver(&mut self, _: &Arc<Report>) {
        match self.0 {}
    }

    fn finish(&mut self) {
        match self.0 {}
    }
}
