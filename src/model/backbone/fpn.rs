//! The feature pyramid: 1x1 laterals, nearest top-down sums, 3x3 outputs, and a last level by subsampling P5.

use super::resnet::Stage;
use crate::engine::graph::{Array, Graph, Tensor, Window};
use crate::model::infer::ModelError;
use crate::model::recipe::{Layout, Pyramid};
use crate::model::weights::{Weights, WeightsError};

/// P2 P3 P4 P5 and pool, [N, width, H/4 .. H/64, W/4 .. W/64].
pub(in crate::model) type Levels = [Tensor; 5];

/// C2..C5 -> P2..P5 and pool. The input's sides are multiples of 32, so each level is exactly twice the next: the
/// interpolation "to the size of the lower level" is a doubling.
pub(in crate::model) fn feature_pyramid(
    g: &mut Graph,
    weights: &mut Weights,
    stages: [Stage; 4],
    network: &Pyramid,
) -> Result<Levels, ModelError> {
    let width = network.fpn_width;
    let mut levels = stages.map(|stage| stage.features);
    let mut above: Option<Tensor> = None;
    for (i, stage) in stages.into_iter().enumerate().rev() {
        let inner = format!("backbone.fpn.inner_blocks.{i}");
        let (w, b) = take(weights, network, &inner, &[width, stage.channels, 1, 1])?;
        let lateral = g.conv(&inner, stage.features, w, b, Window::new(1, 1, 0))?;
        let merged = match above {
            None => lateral,
            Some(above) => {
                let up = g.upsample_nearest_2x(&format!("backbone.fpn.up.{i}"), above)?;
                g.add(&format!("backbone.fpn.add.{i}"), lateral, up)?
            }
        };
        above = Some(merged);
        let outer = format!("backbone.fpn.layer_blocks.{i}");
        let (w, b) = take(weights, network, &outer, &[width, width, 3, 3])?;
        levels[i] = g.conv(&outer, merged, w, b, Window::new(3, 1, 1))?;
    }
    let [p2, p3, p4, p5] = levels;
    let pool = g.max_pool("backbone.fpn.pool", p5, Window::new(1, 2, 0))?;
    Ok([p2, p3, p4, p5, pool])
}

/// The convolution of one block, with its batch norm where there is one.
fn take(
    weights: &mut Weights,
    network: &Pyramid,
    block: &str,
    shape: &[usize],
) -> Result<(Array, Array), WeightsError> {
    let conv = format!("{block}.0");
    match network.layout {
        Layout::V1 => weights.take_layer(&conv, shape, 0),
        Layout::V2 => weights.take_normed(&conv, &format!("{block}.1"), shape, network.batch_norm_eps),
    }
}
