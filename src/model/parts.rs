//! Any network of this family as its runner sees it: three dense parts, and the settings of the ops between them.
//!
//! trunk: image [N,3,H,W] -> features of each level RoIs are pooled from [N,h,w,C], then objectness [N,h,w,A] of each level
//! of the region proposal network, then as many deltas [N,h,w,4A]. Box head: RoIs [R,S,S,C] -> logits [R,K+1], deltas
//! [R,4(K+1)]. Mask head: RoIs [R,S,S,C] -> logits [R,K+1,M,M].

use std::path::Path;

use super::infer::ModelError;
use super::mask_rcnn::PyramidLayers;
use super::mask_rcnn2go;
use super::recipe::{Channels, Network, Recipe, RecipeError, TestSettings};
use super::weights::Weights;
use crate::engine::graph::{Dim, Element, Graph};
use crate::geometry::{ImageSize, Letterbox};
use crate::ops::detections::HeadSettings;
use crate::ops::proposals::RpnSettings;
use crate::ops::roi_align::RoiAlign;

pub(super) const IMAGE: &str = "image";
pub(super) const ROIS: &str = "rois";

/// [N, H, W, C] -> [N, C, H, W].
pub(super) const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// [N, C, H, W] -> [N, H, W, C].
pub(super) const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// Of a head whose RoIs are counted at run time.
pub(super) const ROWS: Dim = Dim::Named("r");

/// Where a recipe's trunk has no size of its own, it is described for a picture of this one.
const DESCRIBED_FOR: ImageSize = ImageSize::new(640, 480);

/// What runs between the dense parts.
#[derive(Debug, Clone)]
pub(super) struct Between {
    /// Feature px in a network px, of each level RoIs are pooled from.
    pub roi_scales: Vec<f32>,
    pub proposals: RpnSettings,
    pub box_pool: RoiAlign,
    pub select: HeadSettings,
    pub mask_pool: RoiAlign,
    /// M.
    pub mask_side: usize,
}

/// The dense parts with their weights.
#[derive(Debug, Clone)]
pub(super) enum Layers {
    Pyramid(PyramidLayers),
    MaskRcnn2Go(mask_rcnn2go::Layers),
}

impl Layers {
    pub(super) fn take(recipe: &Recipe, mut weights: Weights) -> Result<Layers, ModelError> {
        let classes = recipe.classes.len();
        if recipe.input.channels == Channels::Bgr {
            // The input is always RGB.
            weights.reverse_inputs(match recipe.network {
                Network::Pyramid(_) => PyramidLayers::FIRST_LAYER,
                Network::MaskRcnn2Go => mask_rcnn2go::Layers::FIRST_LAYER,
            });
        }
        Ok(match &recipe.network {
            Network::Pyramid(network) => Layers::Pyramid(PyramidLayers::take(network, classes, weights)?),
            Network::MaskRcnn2Go => Layers::MaskRcnn2Go(mask_rcnn2go::Layers::take(weights)?),
        })
    }

    /// All parts, as text and digests are of them: the trunk for one picture of [`described_size`], the box head, and the
    /// mask head where there is one. A tensor that none of them takes is refused.
    pub(super) fn described(&mut self, recipe: &Recipe, features: Element) -> Result<Vec<Graph>, ModelError> {
        let trunk = self.trunk(described_size(recipe), 1, features)?;
        self.weights().finish()?;
        let heads = [Some(self.box_head(ROWS, features)?), self.mask_head(ROWS, features)?];
        Ok(std::iter::once(trunk).chain(heads.into_iter().flatten()).collect())
    }

    pub(super) fn trunk(&mut self, size: ImageSize, batch: usize, features: Element) -> Result<Graph, ModelError> {
        match self {
            Layers::Pyramid(layers) => layers.trunk(size, batch, features),
            Layers::MaskRcnn2Go(layers) => layers.trunk(size, batch, features),
        }
    }

    pub(super) fn box_head(&self, rows: Dim, features: Element) -> Result<Graph, ModelError> {
        match self {
            Layers::Pyramid(layers) => layers.box_head(rows, features),
            Layers::MaskRcnn2Go(layers) => layers.box_head(rows, features),
        }
    }

    /// `None` for a network without masks.
    pub(super) fn mask_head(&self, rows: Dim, features: Element) -> Result<Option<Graph>, ModelError> {
        match self {
            Layers::Pyramid(layers) => layers.mask_head(rows, features),
            Layers::MaskRcnn2Go(layers) => layers.mask_head(rows, features).map(Some),
        }
    }

    pub(super) fn between(&self, test: &TestSettings) -> Between {
        match self {
            Layers::Pyramid(layers) => layers.between(test),
            Layers::MaskRcnn2Go(layers) => layers.between(test),
        }
    }

    pub(super) fn weights(&self) -> &Weights {
        match self {
            Layers::Pyramid(layers) => layers.weights(),
            Layers::MaskRcnn2Go(layers) => layers.weights(),
        }
    }
}

/// A recipe and the weights it names, which belong together.
pub(super) fn read(path: &Path) -> Result<(Recipe, Weights), ModelError> {
    let recipe = Recipe::read(path)?;
    let Some(sha256) = recipe.weights.sha256 else {
        return Err(ModelError::Recipe(RecipeError::NotImported {
            path: path.to_owned(),
            command: recipe.weights.command,
        }));
    };
    let weights = Weights::read(&recipe.weights.file)?;
    weights.check_digest(sha256)?;
    Ok((recipe, weights))
}

/// The input size that the network's text and digest are for.
fn described_size(recipe: &Recipe) -> ImageSize {
    Letterbox::of(DESCRIBED_FOR, &recipe.input.sizing).map_or(DESCRIBED_FOR, |fit| fit.network)
}

/// One line a layer of the dense parts, with shapes and parameters; needs no weights.
pub fn describe(recipe: &Recipe) -> Result<String, ModelError> {
    let graphs = Layers::take(recipe, Weights::blank())?.described(recipe, Element::F32)?;
    Ok(graphs.iter().map(Graph::to_text).collect())
}

/// The dense parts for `batch` pictures of `size` (network px), and heads of so many RoIs: every dimension is fixed.
pub fn dense_parts(
    recipe: &Recipe,
    weights: Weights,
    size: ImageSize,
    batch: usize,
    [box_rois, mask_rois]: [usize; 2],
) -> Result<Vec<Graph>, ModelError> {
    let mut layers = Layers::take(recipe, weights)?;
    let features = Element::F32;
    let trunk = layers.trunk(size, batch, features)?;
    let box_head = layers.box_head(Dim::Fixed(box_rois), features)?;
    let mask_head = layers.mask_head(Dim::Fixed(mask_rois), features)?;
    Ok([Some(trunk), Some(box_head), mask_head].into_iter().flatten().collect())
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
