//! The feature pyramid: 1x1 laterals, nearest top-down sums, 3x3 outputs, and a last level by subsampling P5.

use super::resnet::Stage;
use crate::engine::graph::{Graph, Tensor, Window};
use crate::model::infer::ModelError;
use crate::model::weights::Weights;

/// P2 P3 P4 P5 pool, [1, width, H/4 .. H/64, W/4 .. W/64].
pub(in crate::model) type Pyramid = [Tensor; 5];

/// C2..C5 -> P2..P5 and pool. The input's sides are multiples of 32, so each level is exactly twice the next: the
/// interpolation "to the size of the lower level" is a doubling.
pub(in crate::model) fn feature_pyramid(
    g: &mut Graph,
    weights: &mut Weights,
    stages: [Stage; 4],
    width: usize,
) -> Result<Pyramid, ModelError> {
    let mut levels = stages.map(|stage| stage.features);
    let mut above: Option<Tensor> = None;
    for (i, stage) in stages.into_iter().enumerate().rev() {
        let inner = format!("backbone.fpn.inner_blocks.{i}");
        let stored = format!("{inner}.0");
        let stored = weights.known_name([&stored, &inner]).to_owned();
        let (w, b) = weights.take_layer(&stored, &[width, stage.channels, 1, 1], 0)?;
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
        let stored = format!("{outer}.0");
        let stored = weights.known_name([&stored, &outer]).to_owned();
        let (w, b) = weights.take_layer(&stored, &[width, width, 3, 3], 0)?;
        levels[i] = g.conv(&outer, merged, w, b, Window::new(3, 1, 1))?;
    }
    let [p2, p3, p4, p5] = levels;
    let pool = g.max_pool("backbone.fpn.pool", p5, Window::new(1, 2, 0))?;
    Ok([p2, p3, p4, p5, pool])
}
