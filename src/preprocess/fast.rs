//! The pass that runs: for each output row blend the two stored rows of each plane (a loop over bytes the compiler
//! vectorises), then pick the columns by tables, then colour and normalise.

use super::colour::YuvToRgb;
use super::{Kind, Normalise, neighbours};
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;

/// Tables for one kind of picture.
#[derive(Debug)]
pub(super) struct Plan {
    resized: ImageSize,
    network: ImageSize,
    /// For each plane in use, for each output row: the two stored rows and the weight of the second.
    rows: Vec<Vec<(usize, usize, f32)>>,
    /// Red, green, blue, or Y', Cb, Cr, or luma alone.
    components: Vec<Component>,
    colour: Colour,
    /// A stored row of each plane, blended: scratch.
    blended: Vec<Vec<f32>>,
}

/// One number of a pixel.
#[derive(Debug)]
struct Component {
    plane: usize,
    /// For each output column.
    columns: Vec<Column>,
    /// The picked row: scratch.
    picked: Vec<f32>,
}

/// Bytes of the stored row on both sides, and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct Column {
    low: u32,
    high: u32,
    weight: f32,
}

#[derive(Debug)]
enum Colour {
    /// Stored value * scale + offset, a channel.
    Affine { scale: [f32; 3], offset: [f32; 3] },
    Yuv {
        rgb: YuvToRgb,
        scale: [f32; 3],
        offset: [f32; 3],
    },
}

/// Where a component lies in its plane: bytes from one sample to the next, the first one, and halvings of each axis.
struct Layout {
    plane: usize,
    step: usize,
    first: usize,
    halve_x: bool,
    halve_y: bool,
}

fn layouts(format: PixelFormat) -> Vec<Layout> {
    let of = |plane, step, first, halve_x, halve_y| Layout {
        plane,
        step,
        first,
        halve_x,
        halve_y,
    };
    match format {
        PixelFormat::Rgb8 => (0..3).map(|c| of(0, 3, c, false, false)).collect(),
        PixelFormat::Bgr8 => (0..3).map(|c| of(0, 3, 2 - c, false, false)).collect(),
        PixelFormat::Gray8 => vec![of(0, 1, 0, false, false)],
        PixelFormat::Nv12 => vec![
            of(0, 1, 0, false, false),
            of(1, 2, 0, true, true),
            of(1, 2, 1, true, true),
        ],
        PixelFormat::I420 => vec![
            of(0, 1, 0, false, false),
            of(1, 1, 0, true, true),
            of(2, 1, 0, true, true),
        ],
        PixelFormat::Yuy2 => vec![
            of(0, 2, 0, false, false),
            of(0, 4, 1, true, false),
            of(0, 4, 3, true, false),
        ],
    }
}

impl Plan {
    pub(super) fn new(kind: &Kind, normalise: Normalise) -> Plan {
        let (source, resized) = (kind.letterbox.source, kind.letterbox.resized);
        let half = |at: usize, halve: bool| if halve { at / 2 } else { at };
        let mut rows: Vec<Vec<(usize, usize, f32)>> = Vec::new();
        let mut components = Vec::new();
        for layout in layouts(kind.format) {
            // Components of one plane share its rows.
            if rows.len() == layout.plane {
                let table = (0..resized.height as usize).map(|i| {
                    let (low, high, weight) = neighbours(i, source.height, resized.height);
                    (half(low, layout.halve_y), half(high, layout.halve_y), weight)
                });
                rows.push(table.collect());
            }
            let byte = |x: usize| (half(x, layout.halve_x) * layout.step + layout.first) as u32;
            let columns = (0..resized.width as usize).map(|j| {
                let (low, high, weight) = neighbours(j, source.width, resized.width);
                Column {
                    low: byte(low),
                    high: byte(high),
                    weight,
                }
            });
            components.push(Component {
                plane: layout.plane,
                columns: columns.collect(),
                picked: vec![0.0; resized.width as usize],
            });
        }
        let scale = normalise.std.map(|s| 1.0 / s);
        let offset = [0, 1, 2].map(|c| -normalise.mean[c] / normalise.std[c]);
        let colour = match kind.format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Gray8 => Colour::Affine {
                scale: scale.map(|s| s / 255.0),
                offset,
            },
            PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2 => Colour::Yuv {
                rgb: YuvToRgb::of(kind.matrix),
                scale,
                offset,
            },
        };
        let extents = kind.format.plane_extents(source);
        let blended = rows
            .iter()
            .zip(extents)
            .map(|(_, (bytes, _))| vec![0.0; bytes])
            .collect();
        Plan {
            resized,
            network: kind.letterbox.network,
            rows,
            components,
            colour,
            blended,
        }
    }

    /// `image` is of the plan's kind, `out` [3, H, W].
    pub(super) fn run(&mut self, image: &Image, out: &mut [f32]) {
        let (width, used) = (self.network.width as usize, self.resized.width as usize);
        let [red, green, blue] = planes(out);
        let rows = red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width));
        for (i, ((red, green), blue)) in rows.zip(blue.chunks_exact_mut(width)).enumerate() {
            if i >= self.resized.height as usize {
                for row in [red, green, blue] {
                    row.fill(0.0);
                }
                continue;
            }
            for (plane, blended) in self.blended.iter_mut().enumerate() {
                let (low, high, weight) = self.rows[plane][i];
                blend(image.row(plane, low), image.row(plane, high), weight, blended);
            }
            for component in &mut self.components {
                let stored = &self.blended[component.plane];
                for (value, column) in component.picked.iter_mut().zip(&component.columns) {
                    let (a, b) = (stored[column.low as usize], stored[column.high as usize]);
                    *value = a + (b - a) * column.weight;
                }
            }
            let (red, red_pad) = red.split_at_mut(used);
            let (green, green_pad) = green.split_at_mut(used);
            let (blue, blue_pad) = blue.split_at_mut(used);
            self.colour(red, green, blue);
            for pad in [red_pad, green_pad, blue_pad] {
                pad.fill(0.0);
            }
        }
    }

    /// The picked components -> one row of each output plane.
    fn colour(&self, red: &mut [f32], green: &mut [f32], blue: &mut [f32]) {
        let picked = |c: usize| self.components[c.min(self.components.len() - 1)].picked.as_slice();
        let channels = [picked(0), picked(1), picked(2)];
        match &self.colour {
            Colour::Affine { scale, offset } => {
                for (c, row) in [red, green, blue].into_iter().enumerate() {
                    for (out, value) in row.iter_mut().zip(channels[c]) {
                        *out = value * scale[c] + offset[c];
                    }
                }
            }
            Colour::Yuv { rgb, scale, offset } => {
                let outs = red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut());
                let samples = channels[0].iter().zip(channels[1]).zip(channels[2]);
                for (((r, g), b), ((&y, &cb), &cr)) in outs.zip(samples) {
                    let [red, green, blue] = rgb.apply([y, cb, cr]).map(unit);
                    *r = red * scale[0] + offset[0];
                    *g = green * scale[1] + offset[1];
                    *b = blue * scale[2] + offset[2];
                }
            }
        }
    }
}

/// `clamp(0, 1)` in a form that becomes two vector instructions; no value here is NaN.
fn unit(value: f32) -> f32 {
    let low = if value > 0.0 { value } else { 0.0 };
    if low < 1.0 { low } else { 1.0 }
}

fn blend(low: &[u8], high: &[u8], weight: f32, out: &mut [f32]) {
    for ((out, &a), &b) in out.iter_mut().zip(low).zip(high) {
        // i32 on the way: u8 to f32 directly is a slower instruction sequence
        let (a, b) = (i32::from(a) as f32, i32::from(b) as f32);
        *out = a + (b - a) * weight;
    }
}

fn planes(out: &mut [f32]) -> [&mut [f32]; 3] {
    let third = out.len() / 3;
    let (red, rest) = out.split_at_mut(third);
    let (green, blue) = rest.split_at_mut(third);
    [red, green, blue]
}
