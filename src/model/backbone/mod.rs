//! What turns a picture into features: a ResNet, and the pyramid over it.

mod fpn;
mod resnet;

pub(super) use fpn::{Levels, feature_pyramid};
pub(super) use resnet::resnet;
