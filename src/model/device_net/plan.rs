//! The network for one input size and one number of pictures: every launch from the picture to its masks, captured once and
//! replayed for each batch. All memory is allocated here.

use super::answers::{Answers, Taken};
use super::{Core, DeviceNetError};
use crate::device::{
    CudaGraph, CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Event, PinnedBuffer, TensorView,
    TensorViewMut, Timing,
};
use crate::engine::EngineError;
use crate::engine::cudnn::Program;
use crate::engine::graph::{Dim, Element, Graph};
use crate::geometry::{ImageSize, Letterbox};
use crate::model::infer::Masks;
use crate::ops::detections::launch::DeviceDetections;
use crate::ops::encode_rle::launch::DeviceEncodeRle;
use crate::ops::mask_select::launch::DeviceMaskSelect;
use crate::ops::paste_masks::bitmaps::SourceGeometry;
use crate::ops::paste_masks::launch::DevicePasteMasks;
use crate::ops::proposals::launch::DeviceProposals;
use crate::ops::roi_align::launch::{DeviceLevel, DeviceRoiAlign};

/// Batches that may be on their way: one is computed while the next is prepared.
pub const BATCHES_IN_FLIGHT: usize = 2;

/// Room for bitmaps and spans, of a picture: words of 32 pixels (ten masks of a whole 1080p picture), runs down a column (of
/// which a mask has some hundreds). Masks beyond it are pasted on the host.
const WORDS_A_PICTURE: usize = 1 << 20;
const SPANS_A_PICTURE: usize = 1 << 15;

/// Of a place without a picture.
const NOWHERE: SourceGeometry = SourceGeometry {
    scale_x: 0.0,
    scale_y: 0.0,
    width: 0,
    height: 0,
};

/// What writes the network's input on the device: the pictures of cameras, or a tensor that is ready.
pub trait InputStage: Send {
    /// Queues what writes every value of `input`, f16 [N, H, W, 8]. It is captured once and replayed for every batch, so it
    /// reads memory of its own that stays where it is.
    fn enqueue(&self, stream: &CudaStream, input: TensorViewMut<'_>) -> Result<(), DeviceError>;
}

/// The whole network at one size.
pub struct Plan<S> {
    pub size: ImageSize,
    pub batch: usize,
    // Graphs first: they name the memory below.
    boxes_only: Option<CudaGraph>,
    with_masks: Option<CudaGraph>,
    parts: Parts<S>,
    placements: Vec<Placement>,
    answers: Vec<Answers>,
    /// Batches submitted and collected.
    submitted: usize,
    collected: usize,
}

struct Parts<S> {
    stage: S,
    trunk: Program,
    output_names: Vec<String>,
    roi_grids: Vec<ImageSize>,
    rpn_levels: usize,
    scales: Vec<f32>,
    proposals: DeviceProposals,
    box_pool: DeviceRoiAlign,
    box_head: Program,
    select: DeviceDetections,
    masks: Option<MaskParts>,
    /// Width and height of each picture in the network's input.
    pictures: DeviceBuffer<[u32; 2]>,
}

struct MaskParts {
    pool: DeviceRoiAlign,
    head: Program,
    select: DeviceMaskSelect,
    grids: DeviceBuffer<u8>,
    paste: DevicePasteMasks,
    encode: DeviceEncodeRle,
    geometry: DeviceBuffer<SourceGeometry>,
}

/// Where the pictures of a batch lie, on its way to the device.
struct Placement {
    pictures: PinnedBuffer<[u32; 2]>,
    geometry: PinnedBuffer<SourceGeometry>,
    start: Event,
}

impl<S: InputStage> Plan<S> {
    pub(super) fn new(core: &mut Core, size: ImageSize, batch: usize, stage: S) -> Result<Plan<S>, DeviceNetError> {
        let device = core.device.clone();
        let parts = Parts::new(core, size, batch, stage)?;
        let most = core.between.select.max_detections;
        let placement = |_| {
            Ok(Placement {
                pictures: device.pinned("picture sizes", batch)?,
                geometry: device.pinned("picture geometry", batch)?,
                start: device.event(Timing::Yes)?,
            })
        };
        let side = core.between.mask_side;
        let answers = |_| Answers::new(&device, batch, most, parts.masks.as_ref().map(|m| (side, &m.encode)));
        let mut plan = Plan {
            size,
            batch,
            boxes_only: None,
            with_masks: None,
            placements: (0..BATCHES_IN_FLIGHT)
                .map(placement)
                .collect::<Result<_, DeviceError>>()?,
            answers: (0..BATCHES_IN_FLIGHT)
                .map(answers)
                .collect::<Result<_, DeviceError>>()?,
            parts,
            submitted: 0,
            collected: 0,
        };
        // Once as it is: libraries load their kernels at the first launch, which no capture allows.
        let draw = plan.parts.masks.is_some();
        plan.parts.enqueue(&core.stream, draw)?;
        core.stream.synchronize()?;
        plan.boxes_only = Some(core.stream.capture(|| plan.parts.enqueue(&core.stream, false))?);
        if draw {
            plan.with_masks = Some(core.stream.capture(|| plan.parts.enqueue(&core.stream, true))?);
        }
        Ok(plan)
    }

    /// What writes the input: shown the next batch before [`Self::submit`].
    pub fn stage_mut(&mut self) -> &mut S {
        &mut self.parts.stage
    }

    pub(super) fn is_full(&self) -> bool {
        self.submitted - self.collected >= BATCHES_IN_FLIGHT
    }

    /// Queues a batch whose pictures lie in the input as `placed` says; places without a picture find nothing.
    pub(super) fn submit(
        &mut self,
        stream: &CudaStream,
        placed: &[Letterbox],
        masks: Masks,
    ) -> Result<(), DeviceNetError> {
        if self.is_full() {
            return Err(DeviceNetError::Full);
        }
        if placed.is_empty() || placed.len() > self.batch {
            return Err(DeviceNetError::Batch {
                expected: self.batch,
                got: placed.len(),
            });
        }
        let slot = self.submitted % BATCHES_IN_FLIGHT;
        let placement = &mut self.placements[slot];
        let pictures = placement.pictures.write()?;
        pictures.fill([0; 2]);
        for (to, letterbox) in pictures.iter_mut().zip(placed) {
            *to = [letterbox.resized.width, letterbox.resized.height];
        }
        stream.record(&placement.start)?;
        stream.upload(&placement.pictures, self.parts.pictures.slice_mut())?;
        let graph = match (&mut self.parts.masks, masks) {
            (Some(parts), Masks::Yes) => {
                let geometry = placement.geometry.write()?;
                geometry.fill(NOWHERE);
                for (to, letterbox) in geometry.iter_mut().zip(placed) {
                    *to = SourceGeometry::from(letterbox);
                }
                stream.upload(&placement.geometry, parts.geometry.slice_mut())?;
                &mut self.with_masks
            }
            _ => &mut self.boxes_only,
        };
        graph.as_mut().ok_or(DeviceNetError::NotReady)?.launch(stream)?;
        let answers = &mut self.answers[slot];
        let drawn = self.parts.masks.as_ref().filter(|_| masks == Masks::Yes);
        answers.fetch(
            stream,
            &self.parts.select,
            drawn.map(|m| (m.grids.slice(), &m.encode)),
            placed.len(),
        )?;
        self.submitted += 1;
        Ok(())
    }

    /// Waits for the batch that was submitted first.
    pub(super) fn collect(&mut self) -> Result<Taken<'_>, DeviceNetError> {
        if self.submitted == self.collected {
            return Err(DeviceNetError::NothingSubmitted);
        }
        let slot = self.collected % BATCHES_IN_FLIGHT;
        self.collected += 1;
        let start = &self.placements[slot].start;
        self.answers[slot].take(start)
    }

    /// Of the trunk.
    pub(super) fn output_names(&self) -> &[String] {
        &self.parts.output_names
    }

    pub(super) fn trunk(&self) -> &Program {
        &self.parts.trunk
    }

    /// Runs the parts as they are, for the self-test: the trunk on what the stage writes, the heads on `rois` of the first
    /// picture.
    pub(super) fn run_parts(&mut self, core: &Core, rois: &[[f32; 4]]) -> Result<(), DeviceNetError> {
        let (device, stream, parts) = (&core.device, &core.stream, &mut self.parts);
        parts.stage.enqueue(stream, parts.trunk.input_mut(0)?)?;
        parts.trunk.enqueue(stream)?;
        let rois_of = |per_image: usize| -> Result<_, DeviceError> {
            let mut all = vec![[0.0; 4]; per_image * self.batch];
            all[..rois.len()].copy_from_slice(rois);
            let mut counts = vec![0u32; self.batch];
            counts[0] = rois.len() as u32;
            Ok((device.upload("RoIs", &all)?, device.upload("counts", &counts)?))
        };
        let (boxes, counts) = rois_of(core.between.proposals.post_nms_top_n)?;
        let levels = levels(&parts.trunk, &parts.roi_grids, &parts.scales)?;
        let input = parts.box_head.input_mut(0)?;
        parts
            .box_pool
            .enqueue(stream, &levels, boxes.slice(), counts.slice(), input)?;
        parts.box_head.enqueue(stream)?;
        if let Some(masks) = &mut parts.masks {
            let (boxes, counts) = rois_of(core.between.select.max_detections)?;
            let input = masks.head.input_mut(0)?;
            masks
                .pool
                .enqueue(stream, &levels, boxes.slice(), counts.slice(), input)?;
            masks.head.enqueue(stream)?;
            stream.synchronize()?;
        }
        Ok(stream.synchronize()?)
    }

    pub(super) fn heads(&self) -> (&Program, Option<&Program>) {
        (&self.parts.box_head, self.parts.masks.as_ref().map(|m| &m.head))
    }
}

impl<S: InputStage> Parts<S> {
    fn new(core: &mut Core, size: ImageSize, batch: usize, stage: S) -> Result<Parts<S>, DeviceNetError> {
        let graph = core.layers.trunk(size, batch, Element::F32)?;
        let grids: Vec<ImageSize> = graph.outputs().map(|value| grid(&value.shape)).collect();
        let roi_levels = core.between.roi_scales.len();
        let (roi_grids, rest) = grids.split_at(roi_levels.min(grids.len()));
        let rpn_grids = &rest[..rest.len() / 2];
        let between = &core.between;
        let (device, kernels) = (core.device.clone(), core.kernels.clone());
        let (rois, most) = (between.proposals.post_nms_top_n, between.select.max_detections);
        let classes = core.recipe.classes.len() + 1;
        let trunk = core.cudnn.compile(&graph)?;
        let box_graph = core.layers.box_head(Dim::Fixed(batch * rois), Element::F32)?;
        let box_head = core.cudnn.compile(&box_graph)?;
        let mask_graph = core.layers.mask_head(Dim::Fixed(batch * most), Element::F32)?;
        let masks = match mask_graph {
            Some(graph) => Some(MaskParts::new(core, &graph, batch, classes)?),
            None => None,
        };
        let between = &core.between;
        Ok(Parts {
            stage,
            trunk,
            output_names: graph.outputs().map(|value| value.name.clone()).collect(),
            proposals: DeviceProposals::new(&device, &kernels, &between.proposals, rpn_grids, size, batch)?,
            box_pool: DeviceRoiAlign::new(&device, &kernels, &between.box_pool, roi_levels, rois, batch)?,
            box_head,
            select: DeviceDetections::new(&device, &kernels, &between.select, classes, rois, batch)?,
            masks,
            pictures: device.buffer("picture sizes", batch)?,
            rpn_levels: rpn_grids.len(),
            roi_grids: roi_grids.to_vec(),
            scales: between.roi_scales.clone(),
        })
    }

    /// Everything between the input stage and the masks, in order.
    fn enqueue(&mut self, stream: &CudaStream, draw: bool) -> Result<(), DeviceNetError> {
        self.stage.enqueue(stream, self.trunk.input_mut(0)?)?;
        self.trunk.enqueue(stream)?;
        let features = self.roi_grids.len();
        let maps: Vec<(TensorView<'_>, TensorView<'_>)> = (features..features + self.rpn_levels)
            .map(|i| Ok((self.trunk.output(i)?, self.trunk.output(i + self.rpn_levels)?)))
            .collect::<Result<_, EngineError>>()?;
        self.proposals.enqueue(stream, &maps, self.pictures.slice())?;
        let levels = levels(&self.trunk, &self.roi_grids, &self.scales)?;
        let (boxes, counts) = (self.proposals.boxes(), self.proposals.counts());
        self.box_pool
            .enqueue(stream, &levels, boxes, counts, self.box_head.input_mut(0)?)?;
        self.box_head.enqueue(stream)?;
        let (logits, deltas) = (self.box_head.output(0)?, self.box_head.output(1)?);
        self.select
            .enqueue(stream, logits, deltas, boxes, counts, self.pictures.slice())?;
        let Some(masks) = self.masks.as_mut().filter(|_| draw) else {
            return Ok(());
        };
        let (boxes, counts) = (self.select.boxes(), self.select.counts());
        masks.draw(stream, &levels, boxes, self.select.class_ids(), counts)
    }
}

impl MaskParts {
    fn new(core: &mut Core, graph: &Graph, batch: usize, classes: usize) -> Result<MaskParts, DeviceNetError> {
        let head = core.cudnn.compile(graph)?;
        let (device, kernels, between): (&Device, _, _) = (&core.device, &core.kernels, &core.between);
        let (most, side) = (between.select.max_detections, between.mask_side);
        let levels = between.roi_scales.len();
        let paste = DevicePasteMasks::new(device, kernels, side, most, batch, batch * WORDS_A_PICTURE)?;
        Ok(MaskParts {
            pool: DeviceRoiAlign::new(device, kernels, &between.mask_pool, levels, most, batch)?,
            head,
            select: DeviceMaskSelect::new(device, kernels, side, classes, most, batch)?,
            grids: device.buffer("mask grids", batch * most * side * side)?,
            encode: DeviceEncodeRle::new(device, kernels, batch * most, batch * SPANS_A_PICTURE)?,
            paste,
            geometry: device.buffer("picture geometry", batch)?,
        })
    }

    fn draw(
        &mut self,
        stream: &CudaStream,
        levels: &[DeviceLevel<'_>],
        boxes: DeviceSlice<'_, [f32; 4]>,
        class_ids: DeviceSlice<'_, u32>,
        counts: DeviceSlice<'_, u32>,
    ) -> Result<(), DeviceNetError> {
        self.pool
            .enqueue(stream, levels, boxes, counts, self.head.input_mut(0)?)?;
        self.head.enqueue(stream)?;
        let logits = self.head.output(0)?;
        self.select
            .enqueue(stream, logits, class_ids, counts, self.grids.slice_mut())?;
        self.paste
            .enqueue(stream, self.geometry.slice(), boxes, counts, self.grids.slice())?;
        Ok(self.encode.enqueue(stream, &self.paste.bitmaps())?)
    }
}

fn levels<'a>(trunk: &'a Program, grids: &[ImageSize], scales: &[f32]) -> Result<Vec<DeviceLevel<'a>>, EngineError> {
    let mut levels = Vec::with_capacity(grids.len());
    for (i, (&grid, &spatial_scale)) in grids.iter().zip(scales).enumerate() {
        levels.push(DeviceLevel {
            features: trunk.output(i)?,
            grid,
            spatial_scale,
        });
    }
    Ok(levels)
}

/// Of [N, h, w, C].
fn grid(shape: &[Dim]) -> ImageSize {
    match *shape {
        [_, Dim::Fixed(h), Dim::Fixed(w), _] => ImageSize::new(w as u32, h as u32),
        _ => ImageSize::new(0, 0), // the ops refuse it by name
    }
}
