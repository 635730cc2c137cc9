//! The self-test of an engine on a GPU: the same picture, RoIs and samples as on a processor.

use std::collections::BTreeMap;

use super::plan::{InputStage, Plan};
use super::{Core, DeviceNetError};
use crate::device::{CudaStream, Device, DeviceBuffer, DeviceError, TensorView, TensorViewMut};
use crate::engine::Precision;
use crate::geometry::ImageSize;
use crate::model::infer::{Deviation, ModelError, self_test};

/// A network input that is ready, f16 [H, W, 8].
pub struct ReadyInput(DeviceBuffer<half::f16>);

impl ReadyInput {
    /// `values` [3, H, W], for each of `batch` pictures.
    pub fn new(device: &Device, size: ImageSize, batch: usize, values: &[f32]) -> Result<ReadyInput, DeviceError> {
        let plane = size.area() as usize;
        crate::device::expect_at_least("network input", 3 * plane, values.len())?;
        let mut last = vec![half::f16::ZERO; 8 * plane];
        for (pixel, to) in last.chunks_exact_mut(8).enumerate() {
            for channel in 0..3 {
                to[channel] = half::f16::from_f32(values[channel * plane + pixel]);
            }
        }
        Ok(ReadyInput(device.upload("network input", &last.repeat(batch))?))
    }
}

impl InputStage for ReadyInput {
    fn enqueue(&self, stream: &CudaStream, input: TensorViewMut<'_>) -> Result<(), DeviceError> {
        stream.copy_tensor(self.0.slice(), input)
    }
}

/// Holds this engine against its stored self-test; `None` when its recipe names none.
pub(super) fn check(core: &mut Core, precision: Precision) -> Result<Option<Deviation>, DeviceNetError> {
    let Some(path) = core.recipe.self_test.clone() else {
        return Ok(None);
    };
    let stored = self_test::SelfTest::read(&path).map_err(ModelError::SelfTest)?;
    let size = self_test::input_size(&core.recipe);
    let values = self_test::picture(size, core.recipe.rgb_mean_std());
    let input = ReadyInput::new(&core.device, size, 1, &values)?;
    let mut plan = Plan::new(core, size, 1, input)?;
    let rois: Vec<[f32; 4]> = self_test::rois(size).iter().map(|b| [b.x0, b.y0, b.x1, b.y1]).collect();
    plan.run_parts(core, &rois)?;
    let mut outputs = BTreeMap::new();
    let trunk = plan.trunk();
    for (index, name) in plan.output_names().iter().enumerate() {
        let view = trunk.output(index)?;
        outputs.insert(
            format!("trunk/{name}"),
            sampled(&core.device, view, view.positions, |i| i)?,
        );
    }
    let (box_head, mask_head) = plan.heads();
    for (index, name) in ["logits", "deltas"].into_iter().enumerate() {
        let view = box_head.output(index)?;
        outputs.insert(
            format!("box_head/{name}"),
            sampled(&core.device, view, rois.len(), |i| i)?,
        );
    }
    if let Some(head) = mask_head {
        let view = head.output(0)?;
        let cells = core.between.mask_side * core.between.mask_side;
        // Stored as [R, K, M, M].
        let channels = view.channels;
        let place = |i: usize| {
            let (roi, channel, cell) = (i / (channels * cells), i / cells % channels, i % cells);
            (roi * cells + cell) * channels + channel
        };
        outputs.insert(
            "mask_head/logits".to_owned(),
            sampled(&core.device, view, rois.len() * cells, place)?,
        );
    }
    let now = self_test::SelfTest::of(outputs);
    let deviation = stored.compare(&now, precision, &path).map_err(ModelError::SelfTest)?;
    Ok(Some(deviation))
}

/// The self-test's samples of the first `positions` of an output; `place` says where value `i` of the stored order lies in
/// [positions, channels].
fn sampled(
    device: &Device,
    view: TensorView<'_>,
    positions: usize,
    place: impl Fn(usize) -> usize,
) -> Result<Vec<f32>, DeviceNetError> {
    let values = device.read_tensor(view)?;
    let count = positions.min(view.positions) * view.channels;
    Ok(self_test::picks(count).map(|i| values[place(i)]).collect())
}
