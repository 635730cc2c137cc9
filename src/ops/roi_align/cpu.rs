//! The plain loops, as torchvision's kernel has them: sample by sample.

use super::{Axis, NetworkBox, PyramidLevel, RoiAlign};

pub(super) fn roi_align(op: &RoiAlign, levels: &[PyramidLevel<'_>], rois: &[NetworkBox], out: &mut [f32]) {
    let side = op.output_side;
    let count = (op.sampling_ratio * op.sampling_ratio) as f32;
    for (roi, out) in rois.iter().zip(out.chunks_exact_mut(op.values())) {
        let level = &levels[op.level_of(roi, levels.len())];
        let (width, cells) = (level.grid.width as usize, level.grid.area() as usize);
        let x_axis = Axis::new(op, roi.x0, roi.x1, level, level.grid.width);
        let y_axis = Axis::new(op, roi.y0, roi.y1, level, level.grid.height);
        let (Some(x_axis), Some(y_axis)) = (x_axis, y_axis) else {
            out.fill(0.0);
            continue;
        };
        for (index, value) in out.iter_mut().enumerate() {
            let (channel, row, column) = (index / (side * side), index / side % side, index % side);
            let plane = &level.features[channel * cells..(channel + 1) * cells];
            let at = |y: u32, x: u32| plane[y as usize * width + x as usize];
            let mut sum = 0.0;
            for iy in 0..op.sampling_ratio {
                let y = y_axis.tap(row, iy);
                for ix in 0..op.sampling_ratio {
                    let x = x_axis.tap(column, ix);
                    sum += y.low_weight * x.low_weight * at(y.low, x.low)
                        + y.low_weight * x.high_weight * at(y.low, x.high)
                        + y.high_weight * x.low_weight * at(y.high, x.low)
                        + y.high_weight * x.high_weight * at(y.high, x.high);
                }
            }
            *value = sum / count;
        }
    }
}
