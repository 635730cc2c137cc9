//! What leaves the device of a batch: detections, their mask grids and runs, in pinned memory that the next batch but one
//! overwrites.

use std::time::Duration;

use super::DeviceNetError;
use crate::device::{CudaStream, Device, DeviceError, DeviceSlice, Event, PinnedBuffer, Timing};
use crate::instances::{Detection, GridValues, MaskGrids, MaskRuns};
use crate::ops::NetworkBox;
use crate::ops::detections::launch::DeviceDetections;
use crate::ops::encode_rle::launch::DeviceEncodeRle;
use crate::ops::encode_rle::{MaskSpan, SpanRange, mask_runs};
use crate::ops::paste_masks::bitmaps::MaskPlace;

/// One batch's places on the host.
pub(super) struct Answers {
    boxes: PinnedBuffer<[f32; 4]>,
    scores: PinnedBuffer<f32>,
    class_ids: PinnedBuffer<u32>,
    counts: PinnedBuffer<u32>,
    masks: Option<MaskAnswers>,
    /// After the last copy.
    done: Event,
    /// Detections a picture at most.
    most: usize,
    drawn: bool,
    pictures: usize,
}

struct MaskAnswers {
    side: usize,
    grids: PinnedBuffer<u8>,
    ranges: PinnedBuffer<SpanRange>,
    spans: PinnedBuffer<MaskSpan>,
}

/// A batch that has come back.
pub struct Taken<'a> {
    pub pictures: Vec<Found<'a>>,
    /// From the first launch to the last copy, on the device.
    pub device: Duration,
}

/// What was found in one picture.
pub struct Found<'a> {
    /// Descending score.
    pub detections: Vec<Detection>,
    /// `None` where masks were not asked for, or the network draws none.
    pub masks: Option<FoundMasks<'a>>,
}

/// The masks of one picture, in the order of its detections.
pub struct FoundMasks<'a> {
    pub grids: MaskGrids<'a>,
    /// Of each detection.
    ranges: &'a [SpanRange],
    /// Of the whole batch.
    spans: &'a [MaskSpan],
}

/// The pixels of one mask, as the device found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceRuns {
    /// By the paste rule; `None` = it sets no pixel.
    Pasted(Option<MaskRuns>),
    /// There was no room for it: to be pasted from its grid.
    NoRoom,
}

impl FoundMasks<'_> {
    /// The pixels of detection `index`.
    pub fn runs(&self, index: usize) -> DeviceRuns {
        match self.ranges.get(index) {
            Some(range) if range.state != MaskPlace::NO_ROOM => DeviceRuns::Pasted(mask_runs(range, self.spans)),
            _ => DeviceRuns::NoRoom,
        }
    }
}

impl Answers {
    /// `side` of a mask grid and the encoder of masks, where masks are drawn.
    pub(super) fn new(
        device: &Device,
        batch: usize,
        most: usize,
        masks: Option<(usize, &DeviceEncodeRle)>,
    ) -> Result<Answers, DeviceError> {
        let all = batch * most;
        let masks = match masks {
            Some((side, encode)) => Some(MaskAnswers {
                side,
                grids: device.pinned("mask grids", all * side * side)?,
                ranges: device.pinned("ranges of spans", encode.ranges().len())?,
                spans: device.pinned("spans of masks", encode.spans().len())?,
            }),
            None => None,
        };
        Ok(Answers {
            boxes: device.pinned("boxes", all)?,
            scores: device.pinned("scores", all)?,
            class_ids: device.pinned("class ids", all)?,
            counts: device.pinned("counts of detections", batch)?,
            masks,
            done: device.event(Timing::Yes)?,
            most,
            drawn: false,
            pictures: 0,
        })
    }

    /// Queues the copies of a batch of `pictures`.
    pub(super) fn fetch(
        &mut self,
        stream: &CudaStream,
        found: &DeviceDetections,
        masks: Option<(DeviceSlice<'_, u8>, &DeviceEncodeRle)>,
        pictures: usize,
    ) -> Result<(), DeviceError> {
        self.pictures = pictures;
        let all = pictures * self.most;
        stream.download(found.counts().part(0, pictures)?, &mut self.counts)?;
        stream.download(found.boxes().part(0, all)?, &mut self.boxes)?;
        stream.download(found.scores().part(0, all)?, &mut self.scores)?;
        stream.download(found.class_ids().part(0, all)?, &mut self.class_ids)?;
        self.drawn = false;
        if let (Some(to), Some((grids, encode))) = (&mut self.masks, masks) {
            stream.download(grids.part(0, all * to.side * to.side)?, &mut to.grids)?;
            stream.download(encode.ranges(), &mut to.ranges)?;
            stream.download(encode.spans(), &mut to.spans)?;
            self.drawn = true;
        }
        stream.record(&self.done)
    }

    /// Waits for the copies. `start`: before the first launch of the batch.
    pub(super) fn take(&self, start: &Event) -> Result<Taken<'_>, DeviceNetError> {
        self.done.synchronize()?;
        let millis = self.done.millis_since(start)?;
        let (counts, boxes) = (self.counts.read()?, self.boxes.read()?);
        let (scores, class_ids) = (self.scores.read()?, self.class_ids.read()?);
        let mut pictures = Vec::with_capacity(self.pictures);
        for (picture, &count) in counts.iter().enumerate().take(self.pictures) {
            let (first, count) = (picture * self.most, count as usize);
            if count > self.most {
                return Err(DeviceNetError::Count {
                    picture,
                    got: count,
                    most: self.most,
                });
            }
            let detection = |i: usize| {
                let [x0, y0, x1, y1] = boxes[i];
                Detection {
                    class_id: class_ids[i],
                    score: scores[i],
                    bounds: NetworkBox::new(x0, y0, x1, y1),
                }
            };
            let masks = match self.masks.as_ref().filter(|_| self.drawn) {
                Some(masks) => {
                    let cells = masks.side * masks.side;
                    let grids = &masks.grids.read()?[first * cells..(first + count) * cells];
                    Some(FoundMasks {
                        grids: MaskGrids {
                            side: masks.side as u32,
                            values: GridValues::Quantised(grids),
                        },
                        ranges: &masks.ranges.read()?[first..first + count],
                        spans: masks.spans.read()?,
                    })
                }
                None => None,
            };
            pictures.push(Found {
                detections: (first..first + count).map(detection).collect(),
                masks,
            });
        }
        Ok(Taken {
            pictures,
            device: Duration::from_secs_f32((millis / 1e3).max(0.0)),
        })
    }
}
