//! The plain loops, as torchvision's kernel has them: sample by sample.

use super::{Element, NetworkBox, PyramidLevel, RoiAlign};

pub(super) fn roi_align<T: Element>(op: &RoiAlign, levels: &[PyramidLevel<'_, T>], rois: &[NetworkBox], out: &mut [T]) {
    let (side, channels) = (op.output_side, op.channels);
    for (roi, out) in rois.iter().zip(out.chunks_exact_mut(op.values())) {
        let level = &levels[op.level_of(roi, levels.len())];
        let Some((x_axis, y_axis)) = op.axes(roi, level) else {
            out.fill(T::default());
            continue;
        };
        let count = (x_axis.samples * y_axis.samples).max(1) as f32;
        for (index, value) in out.iter_mut().enumerate() {
            let (row, column, channel) = (index / (side * channels), index / channels % side, index % channels);
            let at = |y: u32, x: u32| {
                let cell = y as usize * level.grid.width as usize + x as usize;
                level.features[cell * channels + channel].to_f32()
            };
            let mut sum = 0.0;
            for iy in 0..y_axis.samples {
                let y = y_axis.tap(row, iy);
                for ix in 0..x_axis.samples {
                    let x = x_axis.tap(column, ix);
                    sum += y.low_weight * x.low_weight * at(y.low, x.low)
                        + y.low_weight * x.high_weight * at(y.low, x.high)
                        + y.high_weight * x.low_weight * at(y.high, x.low)
                        + y.high_weight * x.high_weight * at(y.high, x.high);
                }
            }
            *value = T::from_f32(sum / count);
        }
    }
}
