//! The fused convolution on the host: rows of patches times the weights, in f32.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// What a graph computes. `ids`: x, w, bias, residual where there is one, y.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub pad: usize,
    pub residual: bool,
    pub relu: bool,
    pub identity: bool,
    pub f32_out: bool,
    pub ids: Vec<i64>,
}

/// Positions a tile.
const TILE: usize = 384;

impl Fused {
    pub fn output(&self) -> (usize, usize) {
        let over = |extent: usize, kernel: usize| (extent + 2 * self.pad - kernel) / self.stride + 1;
        (over(self.h, self.kernel[0]), over(self.w, self.kernel[1]))
    }

    pub fn to_json(&self, index: usize) -> String {
        let Fused { n, c, h, w, k, stride, pad, .. } = self;
        let flags = [self.residual, self.relu, self.identity, self.f32_out].map(u8::from);
        format!(
            "{{\"standin\":[{index},{n},{c},{h},{w},{k},{},{},{stride},{pad},{},{},{},{}],\"ids\":{:?}}}",
            self.kernel[0], self.kernel[1], flags[0], flags[1], flags[2], flags[3], self.ids
        )
    }

    pub fn from_json(text: &str) -> Result<(Fused, usize), String> {
        let wrong = || "a text that is no plan of this library".to_owned();
        let rest = text.strip_prefix("{\"standin\":[").ok_or_else(wrong)?;
        let (numbers, ids) = rest.split_once("],\"ids\":[").ok_or_else(wrong)?;
        let ids = ids.strip_suffix("]}").ok_or_else(wrong)?;
        let numbers: Vec<usize> =
            numbers.split(',').map(|v| v.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let ids: Vec<i64> = ids.split(',').map(|v| v.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let &[index, n, c, h, w, k, r, s, stride, pad, residual, relu, identity, f32_out] = numbers.as_slice() else {
            return Err(wrong());
        };
        let graph = Fused {
            n,
            c,
            h,
            w,
            k,
            kernel: [r, s],
            stride,
            pad,
            residual: residual != 0,
            relu: relu != 0,
            identity: identity != 0,
            f32_out: f32_out != 0,
            ids,
        };
        Ok((graph, index))
    }

    /// y = relu(x * w + bias + residual).
    ///
    /// # Safety
    /// `arrays` are the addresses of arrays of this shape, in the order of `ids`.
    pub unsafe fn run(&self, arrays: &[usize]) {
        let (oh, ow) = self.output();
        let [r, s] = self.kernel;
        let (depth, positions) = (r * s * self.c, self.n * oh * ow);
        // SAFETY: the caller's word.
        let (x, weight, bias) = unsafe {
            (
                std::slice::from_raw_parts(arrays[0] as *const f16, self.n * self.h * self.w * self.c),
                std::slice::from_raw_parts(arrays[1] as *const f16, self.k * depth),
                std::slice::from_raw_parts(arrays[2] as *const f32, self.k),
            )
        };
        let residual = match self.residual {
            // SAFETY: as above.
            true => Some(unsafe { std::slice::from_raw_parts(arrays[3] as *const f16, positions * self.k) }),
            false => None,
        };
        let y = *arrays.last().expect("a graph has a y");
        let mut wide = vec![0f32; weight.len()];
        weight.convert_to_f32_slice(&mut wide);
        let tiles = positions.div_ceil(TILE);
        (0..tiles).into_par_iter().for_each_init(
            || (vec![0f32; TILE * depth], vec![0f32; TILE * self.k]),
            |(patches, sums), tile| {
                let first = tile * TILE;
                let rows = TILE.min(positions - first);
                self.patches(x, first, rows, &mut patches[..rows * depth]);
                // SAFETY: rows x depth times depth x k, all three within their slices.
                unsafe {
                    matrixmultiply::sgemm(
                        rows,
                        depth,
                        self.k,
                        1.0,
                        patches.as_ptr(),
                        depth as isize,
                        1,
                        wide.as_ptr(),
                        1,
                        depth as isize,
                        0.0,
                        sums.as_mut_ptr(),
                        self.k as isize,
                        1,
                    );
                }
                for row in 0..rows {
                    let at = (first + row) * self.k;
                    let sums = &mut sums[row * self.k..(row + 1) * self.k];
                    for (sum, bias) in sums.iter_mut().zip(bias) {
                        *sum += bias;
                    }
                    if let Some(residual) = residual {
                        for (sum, more) in sums.iter_mut().zip(&residual[at..]) {
                            *sum += more.to_f32();
                        }
                    }
                    if self.relu {
                        for sum in sums.iter_mut().filter(|sum| **sum < 0.0) {
                            *sum = 0.0;
                        }
                    }
                    // SAFETY: rows of different tiles do not overlap; y has `positions` rows of k values.
                    unsafe {
                        if self.f32_out {
                            let to = std::slice::from_raw_parts_mut((y as *mut f32).add(at), self.k);
                            to.copy_from_slice(sums);
                        } else {
                            let to = std::slice::from_raw_parts_mut((y as *mut f16).add(at), self.k);
                            to.convert_from_f32_slice(sums);
                        }
                    }
                }
            },
        );
    }

    /// What each output position sees, cell by cell; zeros beyond the edge.
    fn patches(&self, x: &[f16], first: usize, rows: usize, patches: &mut [f32]) {
        let (oh, ow) = self.output();
        let [r, s] = self.kernel;
        let c = self.c;
        if r == 1 && s == 1 && self.stride == 1 && self.pad == 0 {
            x[first * c..(first + rows) * c].convert_to_f32_slice(patches);
            return;
        }
        for (row, patch) in patches.chunks_exact_mut(r * s * c).enumerate() {
            let position = first + row;
            let (n, oy, ox) = (position / (oh * ow), position / ow % oh, position % ow);
            for (cell, to) in patch.chunks_exact_mut(c).enumerate() {
                let y = (oy * self.stride + cell / s).wrapping_sub(self.pad);
                let left = (ox * self.stride + cell % s).wrapping_sub(self.pad);
                if y < self.h && left < self.w {
                    let at = ((n * self.h + y) * self.w + left) * c;
                    x[at..at + c].convert_to_f32_slice(to);
                } else {
                    to.fill(0.0);
                }
            }
        }
    }
}
