//! (room)
pub mod segment;
