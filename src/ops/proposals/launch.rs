//! Proposals on a GPU: the bits of the plain loop, image by image of a batch.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::RpnSettings;
use crate::device::{
    CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape,
    TensorView, arg, expect_at_least,
};
use crate::geometry::ImageSize;
use crate::ops::box_deltas::launch::{BOXES, CoderArg, expect_at_most, expect_tensor};
use crate::ops::device::{COMMON, TensorArg, small};
use crate::ops::nms::launch::{NMS, SELECT, SELECT_BINS, SELECT_ROOM, SELECT_THREADS, TILE, iou_threshold};

pub const SOURCE: KernelSource = KernelSource {
    name: "proposals",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, BOXES, NMS, SELECT],
};

/// `MAX_LEVELS` of kernel.cu.
const MAX_LEVELS: usize = 8;
/// `CHUNK` of kernel.cu.
const CHUNK: usize = 2048;
/// Blocks that a grid's second dimension takes.
const MOST_GROUPS: usize = 65_535;

/// The op with its kernels and scratch memory, for one batch and size of maps.
#[derive(Debug)]
pub struct DeviceProposals {
    kernels: [Kernel; 6],
    levels: Vec<LevelArg>,
    batch: usize,
    chunks: u32,
    coder: CoderArg,
    iou_threshold: f32,
    pre_nms_top_n: u32,
    post_nms_top_n: u32,
    /// Places for the boxes of a level of an image: whole tiles.
    pitch: u32,
    bases: DeviceBuffer<[f32; 4]>,
    scratch: Scratch,
    found: Found,
}

/// What the kernels hand to each other, shapes as in kernel.cu.
#[derive(Debug)]
struct Scratch {
    keys: DeviceBuffer<u32>,
    histogram: DeviceBuffer<u32>,
    best: DeviceBuffer<u64>,
    counts: DeviceBuffer<u32>,
    boxes: DeviceBuffer<[f32; 4]>,
    score_keys: DeviceBuffer<u32>,
    mask: DeviceBuffer<u64>,
    kept: DeviceBuffer<u32>,
    kept_keys: DeviceBuffer<u32>,
    kept_counts: DeviceBuffer<u32>,
}

#[derive(Debug)]
struct Found {
    boxes: DeviceBuffer<[f32; 4]>,
    scores: DeviceBuffer<f32>,
    counts: DeviceBuffer<u32>,
}

/// `RpnLevel` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct LevelArg {
    chunk: u32,
    anchors: u32,
    cells: u32,
    width: u32,
    per_cell: u32,
    base: u32,
    strides_px: [f32; 2],
}

/// `RpnMaps` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct MapsArg {
    objectness: [TensorArg; MAX_LEVELS],
    deltas: [TensorArg; MAX_LEVELS],
    level: [LevelArg; MAX_LEVELS],
    levels: u32,
    chunks: u32,
}

// SAFETY: repr(C), members of the same types in the same order as in kernel.cu.
unsafe impl KernelArg for MapsArg {}

impl DeviceProposals {
    /// `grids`: W x H of each level; `network`: the network's input with its padding; `batch`: images.
    pub fn new(
        device: &Device,
        kernels: &Kernels,
        settings: &RpnSettings,
        grids: &[ImageSize],
        network: ImageSize,
        batch: usize,
    ) -> Result<DeviceProposals, DeviceError> {
        settings
            .check_grids(grids, network)
            .map_err(|error| DeviceError::Kernel {
                kernel: SOURCE.name.to_owned(),
                reason: error.to_string(),
            })?;
        expect_at_least("levels of the region proposal network", 1, grids.len())?;
        expect_at_least("a batch", 1, batch)?;
        expect_at_most(SOURCE.name, "levels", MAX_LEVELS, grids.len())?;
        expect_at_most(SOURCE.name, "levels of all images", MOST_GROUPS, batch * grids.len())?;
        let mut levels = Vec::new();
        let (mut chunks, mut base, mut longest) = (0, 0, 0);
        for (index, (&grid, anchors)) in grids.iter().zip(&settings.base_anchors).enumerate() {
            let cells = grid.area() as usize;
            let count = cells.saturating_mul(anchors.len());
            expect_at_most(SOURCE.name, "anchors of a level", i32::MAX as usize / 4, count)?;
            levels.push(LevelArg {
                chunk: small("chunks of keys", chunks)?,
                anchors: small("anchors", count)?,
                cells: small("cells", cells)?,
                width: grid.width,
                per_cell: small("anchors of a cell", anchors.len())?,
                base: small("base anchors", base)?,
                strides_px: settings.strides_px(index, grid, network).map(|s| s as f32),
            });
            chunks += count.div_ceil(CHUNK);
            base += anchors.len();
            longest = longest.max(count);
        }
        let before_nms = settings.pre_nms_top_n.min(longest);
        expect_at_most(
            SOURCE.name,
            "anchors of a level kept before NMS",
            SELECT_ROOM,
            before_nms,
        )?;
        let pitch = before_nms.div_ceil(TILE).max(1) * TILE;
        let groups = batch * grids.len();
        let rows = batch.saturating_mul(settings.post_nms_top_n);
        let bases: Vec<[f32; 4]> = settings
            .base_anchors
            .iter()
            .flatten()
            .map(|b| [b.x0, b.y0, b.x1, b.y1])
            .collect();
        let names = [
            "rpn_keys",
            "rpn_top_k",
            "rpn_decode",
            "nms_mask",
            "nms_reduce",
            "rpn_merge",
        ];
        let [keys, top_k, decode, mask, reduce, merge] = names.map(|name| kernels.get(name));
        Ok(DeviceProposals {
            kernels: [keys?, top_k?, decode?, mask?, reduce?, merge?],
            levels,
            batch,
            chunks: small("chunks of keys", chunks)?,
            coder: CoderArg::new(&settings.coder, settings.min_size_px),
            iou_threshold: iou_threshold(settings.iou_threshold),
            pre_nms_top_n: small("proposals of a level", before_nms)?,
            post_nms_top_n: small("proposals", settings.post_nms_top_n)?,
            pitch: small("proposals of a level", pitch)?,
            bases: device.upload("base anchors", &bases)?,
            scratch: Scratch {
                keys: device.buffer("anchors' keys", batch * chunks * CHUNK)?,
                histogram: device.buffer("anchors' histogram", groups * SELECT_BINS)?,
                best: device.buffer("best anchors", groups * pitch)?,
                counts: device.buffer("counts of best anchors", groups)?,
                boxes: device.buffer("boxes of best anchors", groups * pitch)?,
                score_keys: device.buffer("scores of best anchors", groups * pitch)?,
                mask: device.buffer("overlaps of proposals", groups * pitch * (pitch / TILE))?,
                kept: device.buffer("proposals of a level", groups * pitch)?,
                kept_keys: device.buffer("scores of proposals of a level", groups * pitch)?,
                kept_counts: device.buffer("counts of proposals of a level", groups)?,
            },
            found: Found {
                boxes: device.buffer("proposals", rows)?,
                scores: device.buffer("scores of proposals", rows)?,
                counts: device.buffer("counts of proposals", batch)?,
            },
        })
    }

    /// Queues the op. `levels`: objectness [N H W, A] and deltas [N H W, 4 A] of each level; `pictures` [N]: width and
    /// height of the part of the network's input that shows each picture, to which boxes are cut.
    pub fn enqueue(
        &mut self,
        stream: &CudaStream,
        levels: &[(TensorView<'_>, TensorView<'_>)],
        pictures: DeviceSlice<'_, [u32; 2]>,
    ) -> Result<(), DeviceError> {
        expect_at_least("pictures' sizes", self.batch, pictures.len())?;
        let maps = self.maps(levels)?;
        if self.post_nms_top_n == 0 {
            return stream.fill(self.found.counts.slice_mut(), 0);
        }
        let (scratch, found) = (&mut self.scratch, &mut self.found);
        stream.fill(scratch.histogram.slice_mut(), 0)?;
        let address = |buffer: &DeviceBuffer<u32>| buffer.slice().address();
        let (keys, histogram, counts) = (
            address(&scratch.keys),
            address(&scratch.histogram),
            address(&scratch.counts),
        );
        let (score_keys, kept, kept_keys, kept_counts) = (
            address(&scratch.score_keys),
            address(&scratch.kept),
            address(&scratch.kept_keys),
            address(&scratch.kept_counts),
        );
        let (best, boxes, mask) = (
            scratch.best.slice().address(),
            scratch.boxes.slice().address(),
            scratch.mask.slice().address(),
        );
        let (out_boxes, out_scores, out_counts) = (
            found.boxes.slice().address(),
            found.scores.slice().address(),
            address(&found.counts),
        );
        let (bases, pictures) = (self.bases.slice().address(), pictures.address());
        let (pitch, batch, level_count) = (self.pitch, self.batch as u32, maps.levels);
        let (groups, tiles) = (batch * level_count, pitch / TILE as u32);
        let limit = self.post_nms_top_n.min(pitch);
        let extra = self.coder.extra();
        let shape = |x: u32, y: u32, threads: u32| LaunchShape {
            grid: [x, y, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
        };
        let [keys_kernel, top_k, decode, mask_kernel, reduce, merge] = &self.kernels;
        // SAFETY for all launches: `maps` has seen that each tensor has the positions and channels which `level` names, and
        // that A, cells and strides of `level` are those the buffers were made for in `new`: `batch * chunks * CHUNK` keys,
        // SELECT_BINS and `pitch` places a group, `pitch / TILE` words a place, `post_nms_top_n` rows an image; `pictures`
        // has one size an image (above). Types and order of the arguments are those of kernel.cu. All of it lives in `self`
        // or is borrowed by the caller's views.
        if self.chunks > 0 {
            let args = [arg(&maps), arg(&keys), arg(&histogram)];
            // SAFETY: as above.
            unsafe { keys_kernel.launch(stream, shape(self.chunks, batch, 256), &args) }?;
        }
        let args = [
            arg(&maps),
            arg(&keys),
            arg(&histogram),
            arg(&self.pre_nms_top_n),
            arg(&pitch),
            arg(&best),
            arg(&counts),
        ];
        // SAFETY: as above.
        unsafe { top_k.launch(stream, shape(level_count, batch, SELECT_THREADS), &args) }?;
        let args = [
            arg(&maps),
            arg(&self.coder),
            arg(&bases),
            arg(&pictures),
            arg(&best),
            arg(&counts),
            arg(&pitch),
            arg(&boxes),
            arg(&score_keys),
        ];
        // SAFETY: as above.
        unsafe { decode.launch(stream, shape(tiles, groups, TILE as u32), &args) }?;
        let args = [
            arg(&boxes),
            arg(&counts),
            arg(&pitch),
            arg(&extra),
            arg(&self.iou_threshold),
            arg(&mask),
        ];
        // SAFETY: as above.
        unsafe { mask_kernel.launch(stream, shape(tiles * (tiles + 1) / 2, groups, TILE as u32), &args) }?;
        let args = [
            arg(&mask),
            arg(&counts),
            arg(&score_keys),
            arg(&pitch),
            arg(&limit),
            arg(&kept),
            arg(&kept_keys),
            arg(&kept_counts),
        ];
        // SAFETY: as above.
        unsafe { reduce.launch(stream, shape(groups, 1, 256), &args) }?;
        let args = [
            arg(&boxes),
            arg(&kept),
            arg(&kept_keys),
            arg(&kept_counts),
            arg(&level_count),
            arg(&pitch),
            arg(&limit),
            arg(&self.post_nms_top_n),
            arg(&out_boxes),
            arg(&out_scores),
            arg(&out_counts),
        ];
        let threads = (level_count * limit).max(self.post_nms_top_n);
        // SAFETY: as above.
        unsafe { merge.launch(stream, shape(threads.div_ceil(128), batch, 128), &args) }
    }

    /// [N, post_nms_top_n], by descending score; zeros beyond the count.
    pub fn boxes(&self) -> DeviceSlice<'_, [f32; 4]> {
        self.found.boxes.slice()
    }

    /// [N, post_nms_top_n]; zeros beyond the count.
    pub fn scores(&self) -> DeviceSlice<'_, f32> {
        self.found.scores.slice()
    }

    /// [N]
    pub fn counts(&self) -> DeviceSlice<'_, u32> {
        self.found.counts.slice()
    }

    /// The kernels' argument over `levels`, once they are what the buffers were made for.
    fn maps(&self, levels: &[(TensorView<'_>, TensorView<'_>)]) -> Result<MapsArg, DeviceError> {
        let (expected, got) = (self.levels.len(), levels.len());
        let wrong = || DeviceError::Size {
            what: "levels of the region proposal network".to_owned(),
            expected,
            got,
        };
        let (Some((objectness, deltas)), true) = (levels.first(), expected == got) else {
            return Err(wrong());
        };
        let mut maps = MapsArg {
            objectness: [objectness.into(); MAX_LEVELS],
            deltas: [deltas.into(); MAX_LEVELS],
            level: [LevelArg::default(); MAX_LEVELS],
            levels: small("levels", got)?,
            chunks: self.chunks,
        };
        for (index, ((objectness, deltas), level)) in levels.iter().zip(&self.levels).enumerate() {
            let (positions, anchors) = (self.batch * level.cells as usize, level.per_cell as usize);
            expect_tensor(&format!("objectness of level {index}"), objectness, positions, anchors)?;
            expect_tensor(&format!("deltas of level {index}"), deltas, positions, 4 * anchors)?;
            maps.objectness[index] = objectness.into();
            maps.deltas[index] = deltas.into();
            maps.level[index] = *level;
        }
        Ok(maps)
    }

    /// Bytes that no kernel writes, wherever one should: for checks.
    pub(super) fn poison(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        const BYTE: u8 = 0xcd;
        let (scratch, found) = (&mut self.scratch, &mut self.found);
        for words in [
            &mut scratch.keys,
            &mut scratch.histogram,
            &mut scratch.counts,
            &mut scratch.score_keys,
            &mut scratch.kept,
            &mut scratch.kept_keys,
            &mut scratch.kept_counts,
            &mut found.counts,
        ] {
            stream.fill(words.slice_mut(), BYTE)?;
        }
        stream.fill(scratch.best.slice_mut(), BYTE)?;
        stream.fill(scratch.mask.slice_mut(), BYTE)?;
        stream.fill(scratch.boxes.slice_mut(), BYTE)?;
        stream.fill(found.boxes.slice_mut(), BYTE)?;
        stream.fill(found.scores.slice_mut(), BYTE)
    }
}
