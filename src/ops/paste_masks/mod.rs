//! Paste: from the network's grid of probabilities to set pixels. The rule and its plain loops are `instances::soft`, since
//! every client may have to paste; [`Paster`] gives the same pixels without visiting each. [`paste_torchvision`] follows
//! another rule, for comparison alone.

pub mod bitmaps;
pub mod check;
pub mod launch;

mod fast;
mod torchvision;

pub use fast::Paster;
pub use torchvision::paste_torchvision;
