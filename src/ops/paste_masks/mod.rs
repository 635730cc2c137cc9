//! Paste: from the network's grid of probabilities to set pixels. The rule and its plain loops are `instances::soft`, since
//! every client may have to paste; [`Paster`] gives the same pixels without visiting each.

mod fast;

pub use fast::Paster;
