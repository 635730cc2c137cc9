//! NMS on a GPU: the device functions that proposals and detections share.

/// Tiles of 64 boxes.
pub(in crate::ops) const NMS: (&str, &str) = ("nms.cuh", include_str!("../nms.cuh"));
/// The best of many, in order.
pub(in crate::ops) const SELECT: (&str, &str) = ("select.cuh", include_str!("../select.cuh"));

/// `TILE` of nms.cuh.
pub(in crate::ops) const TILE: usize = 64;
/// `SELECT_THREADS` of select.cuh.
pub(in crate::ops) const SELECT_THREADS: u32 = 1024;
/// `SELECT_BINS` of select.cuh.
pub(in crate::ops) const SELECT_BINS: usize = 2048;
/// `SELECT_ROOM` of select.cuh.
pub(in crate::ops) const SELECT_ROOM: usize = 4096;

/// What a kernel compares an IoU with: an f32 is above the one exactly when it is above the other.
pub(in crate::ops) fn iou_threshold(threshold: f64) -> f32 {
    super::fast::at_most(threshold)
}
