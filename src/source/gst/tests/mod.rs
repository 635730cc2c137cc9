//! Files made on the spot, an RTSP server on loopback, real footage where there is some.

mod bad_input;
mod cost;
mod files;
mod media;
mod real_footage;
mod rtsp;

pub(super) use super::super::tests::{Outcome, Stopwatch, camera, drain, drain_camera, system_clocks};
