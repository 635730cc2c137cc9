//! The networks and their weights. Belongs here: recipes, weights under torchvision's names, which layers make a network,
//! and the run of one picture through its parts. Not here: layers and executors (`engine`), what runs between the dense
//! parts (`ops`), pictures (`preprocess`), source px (`instances::decode`).

mod backbone;
mod batches;
mod build;
pub mod checkpoint;
pub mod device_net;
mod identity;
mod import;
mod infer;
mod mask_rcnn;
mod mask_rcnn2go;
mod parts;
mod recipe;
mod roi_heads;
mod rpn;
mod weights;

pub use build::{Build, BuildError, Built};
pub use identity::EngineIdentity;
pub use import::{Import, ImportError, Imported, store_self_test};
pub use infer::{
    CalibrateError, Deviation, Inference, MaskRcnn, Masks, ModelError, Options, SelfTest, SelfTestError, Spent,
};
pub use parts::{dense_parts, describe};
pub use recipe::{
    Channels, Conventions, Depth, Figure, Input, Layout, MaskBranch, Network, Origin, Pyramid, Recipe, RecipeError,
    Source, TestSettings,
};
pub use weights::{Weights, WeightsError};

/// A small engine made from seeds, for tests of other rooms.
#[cfg(test)]
pub(crate) use infer::tests::golden;
