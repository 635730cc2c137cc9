//! Rooms together: each module runs the real thing over loopback or on files.

// Helpers outside of #[test] functions are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command_line;
mod engines;
mod launch;
mod nuclei;
mod photographs;
mod publish;
mod rtsp;
mod training;
mod whole;
