//! (room)

pub mod doctor;
pub mod eval;
pub mod segment;
