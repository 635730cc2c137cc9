//! (room)
pub mod doctor;
pub mod eval;
