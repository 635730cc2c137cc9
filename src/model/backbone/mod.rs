//! What turns a picture into features: a ResNet and the pyramid over it; the block of mobile networks.

mod fpn;
mod inverted_residual;
mod resnet;

pub(super) use fpn::{Levels, feature_pyramid};
pub(super) use inverted_residual::{BlockShape, InvertedResidual, take_folded};
pub(super) use resnet::resnet;
