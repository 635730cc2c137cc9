//! The engine on a GPU: pictures are brought there (or are there already), everything up to their masks happens there, in
//! batches over cameras; what comes back becomes instances here.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use super::engine_loop::{Asked, Capacity, MaskBranch, Segmented, Segmenter, Ticket};
use super::segmenter::{SegmentError, merged, view};
use crate::device::{CudaStream, Device, DeviceError, Kernels, TensorViewMut, UploadRing};
use crate::frame::Image;
use crate::geometry::{ImageSize, Letterbox, Resampling, Tiling};
use crate::instances::{self, ClassMap, Limits};
use crate::model::Masks;
use crate::model::device_net::{
    BATCHES_IN_FLIGHT, DeviceMaskRcnn, DeviceNetError, DeviceOptions, DeviceRuns, Found, InputStage,
};
use crate::ops::paste_masks::Paster;
use crate::preprocess::{self, DevicePreprocess, Normalise, PictureTable, PreprocessError};
use crate::time::Clocks;

/// Pictures in a batch at most: beyond, a batch takes longer and is no more efficient.
const MOST_PICTURES: usize = 16;

/// Of pictures that are waited for at once.
const ALONE: Ticket = Ticket(0);

/// A network on a GPU, with what brings pictures there and turns its answer into instances.
pub struct DeviceSegmenter {
    network: DeviceMaskRcnn<PictureStage>,
    ring: UploadRing,
    paster: Paster,
    limits: Limits,
    tiling: Option<Tiling>,
    /// Detections that the recipe keeps at most.
    network_limit: usize,
    /// Pictures that are looked at together at most.
    most_pictures: usize,
    flights: VecDeque<Flight>,
    device_time: Duration,
}

/// Writes the network's input from pictures.
struct PictureStage {
    preprocess: DevicePreprocess,
    table: PictureTable,
}

impl InputStage for PictureStage {
    fn enqueue(&self, stream: &CudaStream, input: TensorViewMut<'_>) -> Result<(), DeviceError> {
        self.preprocess.enqueue(stream, self.table.params(), input)
    }
}

impl PictureStage {
    fn new(
        device: &Device,
        kernels: &Kernels,
        normalise: Normalise,
        network: ImageSize,
        batch: usize,
    ) -> Result<PictureStage, DeviceError> {
        Ok(PictureStage {
            preprocess: DevicePreprocess::new(kernels, normalise, network, batch)?,
            table: PictureTable::new(device, batch)?,
        })
    }
}

/// Pictures that were submitted together.
struct Flight {
    ticket: Ticket,
    answers: Vec<Option<Result<Segmented, SegmentError>>>,
    /// Batches on their way, oldest first.
    legs: VecDeque<Leg>,
}

/// One batch of the network: pictures of one input size.
struct Leg {
    network: ImageSize,
    batch: usize,
    pictures: Vec<Placed>,
    preprocessed_mono_nanos: i64,
}

struct Placed {
    /// In its flight.
    index: usize,
    fit: Letterbox,
    masks: MaskBranch,
}

impl DeviceSegmenter {
    /// `limits` are what will be returned at most; `cameras` how many pictures may come together.
    pub fn load(
        recipe: &Path,
        limits: Limits,
        options: &DeviceOptions,
        cameras: usize,
    ) -> Result<DeviceSegmenter, DeviceNetError> {
        let network = DeviceMaskRcnn::load(recipe, options, &[preprocess::launch::SOURCE])?;
        let most_pictures = cameras.clamp(1, MOST_PICTURES);
        Ok(DeviceSegmenter {
            // Slots are allocated as they are needed.
            ring: UploadRing::new(network.device(), "upload", BATCHES_IN_FLIGHT * MOST_PICTURES)?,
            network_limit: network.recipe().test.detections,
            network,
            paster: Paster::default(),
            limits,
            tiling: None,
            most_pictures,
            flights: VecDeque::new(),
            device_time: Duration::ZERO,
        })
    }

    /// From now on [`Self::find`] looks at pictures larger than a tile tile by tile, several tiles at once.
    pub fn with_tiling(self, tiling: Option<Tiling>) -> DeviceSegmenter {
        let most_pictures = if tiling.is_some() {
            MOST_PICTURES
        } else {
            self.most_pictures
        };
        DeviceSegmenter {
            tiling,
            most_pictures,
            ..self
        }
    }

    pub fn network(&self) -> &DeviceMaskRcnn<impl InputStage> {
        &self.network
    }

    pub fn classes(&self) -> ClassMap {
        self.network.classes()
    }

    /// How long the last batch took on the device, from the first launch to the last copy.
    pub fn device_time(&self) -> Duration {
        self.device_time
    }

    /// Makes the plans for pictures of `size`, one at a time and as many as come together, and runs each a few times: the
    /// first frame shall not pay for it.
    pub fn warm_up(&mut self, size: ImageSize, clocks: &dyn Clocks) -> Result<(), SegmentError> {
        let grey = vec![114u8; 3 * size.area() as usize];
        let image = Image::packed(crate::frame::PixelFormat::Rgb8, size, grey).map_err(PreprocessError::Image)?;
        // Any number of cameras may have a picture ready.
        let powers = (0..)
            .map(|power| 1 << power)
            .take_while(|&count| count < self.most_pictures);
        for count in powers.chain([self.most_pictures]).collect::<Vec<usize>>() {
            for _ in 0..3 {
                let asked = Asked {
                    image: image.clone(),
                    masks: MaskBranch::Run,
                };
                self.depart(ALONE, vec![asked; count], clocks);
                self.arrive(ALONE, clocks).into_iter().collect::<Result<Vec<_>, _>>()?;
            }
        }
        // A size that comes up later must not stop the cameras for minutes.
        self.network.stop_tuning();
        Ok(())
    }

    /// The instances of one picture. Of a picture in tiles the marks are those of the last tile.
    pub fn find(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, SegmentError> {
        let tiles = self.tiling.map_or_else(Vec::new, |tiling| tiling.tiles(image.size));
        if tiles.len() < 2 {
            let image = image.clone();
            let mut answers = self.find_all(vec![Asked { image, masks }], clocks)?;
            return answers
                .pop()
                .ok_or(SegmentError::Device(DeviceNetError::NothingSubmitted));
        }
        let mut asked = Vec::with_capacity(tiles.len());
        for &tile in &tiles {
            let image = view(image, tile)?;
            asked.push(Asked { image, masks });
        }
        let answers = self.find_all(asked, clocks)?;
        Ok(merged(image.size, tiles, answers, &self.limits))
    }

    /// The instances of any number of pictures, in batches. None may be on their way.
    fn find_all(&mut self, asked: Vec<Asked>, clocks: &dyn Clocks) -> Result<Vec<Segmented>, SegmentError> {
        let mut found = Vec::with_capacity(asked.len());
        for some in asked.chunks(self.most_pictures) {
            self.depart(ALONE, some.to_vec(), clocks);
            for answer in self.arrive(ALONE, clocks) {
                found.push(answer?);
            }
        }
        Ok(found)
    }

    /// Queues pictures of any sizes.
    fn depart(&mut self, ticket: Ticket, asked: Vec<Asked>, clocks: &dyn Clocks) {
        let mut flight = Flight {
            ticket,
            answers: asked.iter().map(|_| None).collect(),
            legs: VecDeque::new(),
        };
        // Pictures of one input size go together.
        let mut groups: Vec<(ImageSize, Vec<(Placed, Image)>)> = Vec::new();
        for (index, Asked { image, masks }) in asked.into_iter().enumerate() {
            let Some(fit) = self.network.fit(image.size) else {
                let (source_size, network) = (image.size, ImageSize::new(0, 0));
                flight.answers[index] = Some(Err(PreprocessError::Empty { source_size, network }.into()));
                continue;
            };
            let placed = (Placed { index, fit, masks }, image);
            match groups.iter_mut().find(|(network, _)| *network == fit.network) {
                Some((_, group)) => group.push(placed),
                None => groups.push((fit.network, vec![placed])),
            }
        }
        self.flights.push_back(flight);
        for (network, group) in groups {
            let indices: Vec<usize> = group.iter().map(|(placed, _)| placed.index).collect();
            let sent = self.send(network, group, clocks);
            let Some(flight) = self.flights.back_mut() else {
                return; // pushed above, and the oldest is taken first
            };
            match sent {
                Ok(leg) => flight.legs.push_back(leg),
                Err(error) => {
                    let mut error = Some(error);
                    for index in indices {
                        let cause = error.take().unwrap_or(SegmentError::Batch);
                        flight.answers[index] = Some(Err(cause));
                    }
                }
            }
        }
    }

    /// Pictures that the plan for `count` of them has room for: a larger one that is ready is better than one to be made.
    fn batch_for(&self, network: ImageSize, count: usize) -> usize {
        let ready = self
            .network
            .ready_batches(network)
            .filter(|&batch| batch >= count)
            .min();
        ready.unwrap_or_else(|| count.next_power_of_two().min(self.most_pictures.max(count)))
    }

    /// Queues one batch.
    fn send(
        &mut self,
        network: ImageSize,
        group: Vec<(Placed, Image)>,
        clocks: &dyn Clocks,
    ) -> Result<Leg, SegmentError> {
        while self.flights.iter().map(|flight| flight.legs.len()).sum::<usize>() >= BATCHES_IN_FLIGHT {
            self.land(clocks);
        }
        let batch = self.batch_for(network, group.len());
        let (mean, std) = self.network.rgb_mean_std();
        let resampling = self.network.resampling();
        self.network.prepare(network, batch, |device, kernels| {
            PictureStage::new(device, kernels, Normalise { mean, std }, network, batch)
        })?;
        let (mut pictures, mut places, mut fits) = (Vec::new(), Vec::new(), Vec::new());
        for (placed, image) in group {
            let fit = placed.fit;
            // What no kernel does: Pillow's way of making a picture small.
            let small = match resampling {
                Resampling::Antialiased => preprocess::made_small(&on_host(&image)?, &fit, resampling)?,
                Resampling::Bilinear => None,
            };
            let (image, shown_as) = small.unwrap_or((image, fit));
            let picture = image.to_device(&mut self.ring).map_err(DeviceNetError::from)?;
            pictures.push(Some((picture, shown_as)));
            fits.push(fit);
            places.push(placed);
        }
        let (stage, stream) = self.network.stage_mut()?;
        stage.table.put(stream, pictures)?;
        let preprocessed_mono_nanos = clocks.mono_nanos();
        let masks = match places.iter().any(|placed| placed.masks == MaskBranch::Run) {
            true => Masks::Yes,
            false => Masks::No,
        };
        self.network.submit(&fits, masks)?;
        // From here on the batch is on its way, and must be landed whatever happens.
        if let Ok((stage, stream)) = self.network.stage_mut()
            && let Err(error) = stage.table.mark(stream)
        {
            tracing::warn!("{error}");
        }
        Ok(Leg {
            network,
            batch,
            pictures: places,
            preprocessed_mono_nanos,
        })
    }

    /// Waits for the oldest batch and keeps its answers.
    fn land(&mut self, clocks: &dyn Clocks) {
        let Some(flight) = self.flights.iter_mut().find(|flight| !flight.legs.is_empty()) else {
            return;
        };
        let Some(leg) = flight.legs.pop_front() else {
            return;
        };
        let taken = match self.network.collect(leg.network, leg.batch) {
            Ok(taken) => taken,
            Err(error) => {
                let mut error = Some(SegmentError::Device(error));
                for placed in leg.pictures {
                    flight.answers[placed.index] = Some(Err(error.take().unwrap_or(SegmentError::Batch)));
                }
                return;
            }
        };
        self.device_time = taken.device;
        let inferred_mono_nanos = clocks.mono_nanos();
        for (placed, found) in leg.pictures.iter().zip(&taken.pictures) {
            let count = found.detections.len();
            let truncated = count > self.limits.max_instances || count >= self.network_limit;
            let instances = decode(placed, found, &self.limits, &mut self.paster);
            flight.answers[placed.index] = Some(instances.map(|instances| Segmented {
                instances,
                truncated,
                preprocessed_mono_nanos: leg.preprocessed_mono_nanos,
                inferred_mono_nanos,
            }));
        }
    }

    /// Waits for the pictures of `ticket`. Those of flights before it, which nobody asked for, are let go once they are back.
    fn arrive(&mut self, ticket: Ticket, clocks: &dyn Clocks) -> Vec<Result<Segmented, SegmentError>> {
        while let Some(flight) = self.flights.front() {
            if !flight.legs.is_empty() {
                self.land(clocks);
            } else if flight.ticket < ticket {
                self.flights.pop_front();
            } else {
                break;
            }
        }
        // Decoders have few surfaces: what was read goes back now, also that of an input size that is seldom used.
        for stage in self.network.stages_mut() {
            if let Err(error) = stage.table.release() {
                tracing::warn!("{error}");
            }
        }
        let flight = self.flights.pop_front_if(|flight| flight.ticket == ticket);
        let answers = flight.map(|flight| flight.answers);
        let answer = |answer: Option<_>| answer.unwrap_or(Err(SegmentError::Batch));
        answers.unwrap_or_default().into_iter().map(answer).collect()
    }
}

fn decode(
    placed: &Placed,
    found: &Found<'_>,
    limits: &Limits,
    paster: &mut Paster,
) -> Result<Vec<instances::Instance>, SegmentError> {
    let masks = found.masks.as_ref().filter(|_| placed.masks == MaskBranch::Run);
    let paste = |index, soft: &instances::SoftMask, frame| match masks.map(|masks| masks.runs(index)) {
        Some(DeviceRuns::Pasted(runs)) => runs,
        Some(DeviceRuns::NoRoom) | None => paster.paste(soft, frame),
    };
    let grids = masks.map(|masks| masks.grids);
    Ok(instances::decode(&found.detections, grids, &placed.fit, limits, paste)?)
}

fn on_host(image: &Image) -> Result<Image, SegmentError> {
    Ok(image.to_host().map_err(DeviceNetError::from)?)
}

impl Segmenter for DeviceSegmenter {
    fn submit(&mut self, ticket: Ticket, asked: Vec<Asked>, clocks: &dyn Clocks) {
        self.depart(ticket, asked, clocks);
    }

    fn collect(&mut self, ticket: Ticket, clocks: &dyn Clocks) -> Vec<Result<Segmented, String>> {
        let text = |answer: Result<_, SegmentError>| answer.map_err(|e| e.to_string());
        self.arrive(ticket, clocks).into_iter().map(text).collect()
    }

    fn capacity(&self) -> Capacity {
        Capacity {
            pictures: self.most_pictures,
            batches: BATCHES_IN_FLIGHT,
        }
    }

    fn score_threshold(&self) -> f32 {
        self.limits.score_threshold
    }
}
