//! The running whole: sources push frames in, one engine thread looks at them, one publishing thread hands the outcome
//! of every expected frame to the outlets, in order.
//!
//! Belongs here: queues and their policies, order, deadlines, threads, metrics, shutdown. Not here: what a frame, a
//! network or a message is.
//!
//! ```text
//! source/<camera> --Intake (1 a camera: newest wins, or waits when unpaced)--> engine --+
//!       |                                                                               | Desk (bounded 256, waits)
//!       +--Expected, state, stalls, damaged frames--------------------------------------+--> publish --> outlets
//! ```

mod admission;
mod assemble;
mod device_segmenter;
mod engine;
mod engine_loop;
mod events;
mod intake;
mod ledger;
mod metrics;
mod publishing;
mod segmenter;
mod service;

pub use assemble::{CameraStateSink, OpenSource, Parts, Pipeline, PipelineError};
pub use device_segmenter::DeviceSegmenter;
pub use engine::{Choice, Engine, LoadError};
pub use engine_loop::{Asked, Capacity, MaskBranch, Segmented, Segmenter, Ticket};
pub use metrics::{CameraSnapshot, Latency, Snapshot};
pub use segmenter::{MaskRcnnSegmenter, SegmentError, Unrounded};
pub use service::{Service, ServiceError, looks_like_recipe};

/// Every kernel source of this program.
pub fn kernel_sources() -> Vec<crate::device::KernelSource> {
    let others = [crate::preprocess::launch::SOURCE, crate::engine::cudnn::SOURCE];
    crate::ops::KERNEL_SOURCES.iter().copied().chain(others).collect()
}

#[cfg(test)]
mod tests;
