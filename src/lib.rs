//! `maskcast`: cameras in, instance masks out, to robots, in real time.
//!
//! The map, in the order a frame flows. A robot links only the vocabulary (`default-features = false`).
//!
//! ```text
//! every frame   source -> frame -> preprocess -> engine -> instances -> outlets (publish | record | overlay)
//! once          weights -> model -> graph -> engine
//! ```

// Vocabulary: what every client links.
pub mod client; // a robot's side: subscribe, age limit, health
pub mod geometry; // sizes, boxes, letterbox: pixels and the spaces they live in
pub mod instances; // what was seen: box, class, score, mask, and the mask codecs
pub mod names; // camera ids
pub mod time; // capture time with its provenance, and the only clocks
pub mod wire; // messages and keys

// Pipeline: everything else, in flow order.
#[cfg(feature = "pipeline")]
pub mod config; // launch files and engine recipes: as written, then as meant
#[cfg(feature = "pipeline")]
pub mod device; // CUDA driver: what this machine has
#[cfg(feature = "pipeline")]
pub mod engine; // graph -> ONNX -> an executor; knows nothing of Mask R-CNN
#[cfg(feature = "pipeline")]
pub mod evaluate; // COCO AP against ground truth
#[cfg(feature = "pipeline")]
pub mod frame; // one picture of one camera
#[cfg(feature = "pipeline")]
pub mod model; // the networks and their weights
#[cfg(feature = "pipeline")]
pub mod ops; // what runs between the dense parts: proposals, RoIAlign, NMS, decode, paste
#[cfg(feature = "pipeline")]
pub mod outlets; // where results go: zenoh, recordings, overlays
#[cfg(feature = "pipeline")]
pub mod pipeline; // queues, order, threads, shutdown
#[cfg(feature = "pipeline")]
pub mod preprocess; // colour, resize, normalise: picture -> network input
#[cfg(feature = "pipeline")]
pub mod source; // cameras

#[cfg(feature = "pipeline")]
pub mod cli; // one file a subcommand
