//! The real engine: preprocess, network, decode and paste, with a mark at each border; of large pictures tile by tile,
//! where that is asked for.

use std::collections::VecDeque;
use std::path::Path;

use super::engine_loop::{Asked, MaskBranch, Segmented, Segmenter, Ticket};
use crate::frame::{Image, PixelFormat};
use crate::geometry::{ImageSize, Letterbox, PixelBox, SourcePx, Tile, Tiling};
use crate::instances::{self, ClassMap, Limits, MaskRuns};
use crate::model::device_net::DeviceNetError;
use crate::model::{MaskRcnn, Masks, ModelError, Options, Spent};
use crate::ops::paste_masks::{Paster, paste_torchvision};
use crate::preprocess::{Normalise, PreprocessError, Preprocessor, TableError};
use crate::time::Clocks;

/// A network from a recipe, with what turns a picture into its input and its answer into instances.
pub struct MaskRcnnSegmenter {
    network: MaskRcnn,
    preprocessor: Preprocessor,
    paster: Paster,
    limits: Limits,
    /// How pictures larger than a tile are cut; `None` = they are fitted into the network's input.
    tiling: Option<Tiling>,
    /// Detections that the recipe keeps at most.
    network_limit: usize,
    spent: Spent,
    /// Of pictures that were submitted and not collected.
    answers: VecDeque<(Ticket, Vec<Result<Segmented, String>>)>,
}

/// Why one picture has no instances.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    #[error(transparent)]
    Network(#[from] ModelError),
    #[error(transparent)]
    Decode(#[from] instances::DecodeError),
    #[error(transparent)]
    Device(#[from] DeviceNetError),
    #[error(transparent)]
    Pictures(#[from] TableError),
    #[error("its batch failed")]
    Batch,
    #[error("{0}")]
    NotHere(&'static str),
    #[error("no tile of {size} at ({x}, {y}) can be cut from {image:?}", size = tile.size, x = tile.x, y = tile.y)]
    Tile { tile: Tile, image: Image },
}

impl MaskRcnnSegmenter {
    /// `limits` are what will be returned at most.
    pub fn load(recipe: &Path, limits: Limits, options: &Options) -> Result<MaskRcnnSegmenter, ModelError> {
        Ok(MaskRcnnSegmenter::new(MaskRcnn::load(recipe, options)?, limits))
    }

    /// Around a network that is loaded.
    pub fn new(network: MaskRcnn, limits: Limits) -> MaskRcnnSegmenter {
        let (mean, std) = network.rgb_mean_std();
        let preprocessor = Preprocessor::new(Normalise { mean, std }, network.resampling());
        let network_limit = network.recipe().test.detections;
        MaskRcnnSegmenter {
            network_limit,
            network,
            preprocessor,
            paster: Paster::default(),
            limits,
            tiling: None,
            spent: Spent::default(),
            answers: VecDeque::new(),
        }
    }

    /// From now on [`Self::find`] looks at pictures larger than a tile tile by tile.
    pub fn with_tiling(self, tiling: Option<Tiling>) -> MaskRcnnSegmenter {
        MaskRcnnSegmenter { tiling, ..self }
    }

    pub fn network(&self) -> &MaskRcnn {
        &self.network
    }

    pub fn into_network(self) -> MaskRcnn {
        self.network
    }

    pub fn classes(&self) -> ClassMap {
        self.network.classes()
    }

    /// How long the network's parts took for the last picture, or its last tile.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Runs on a grey picture of `size`, so that the first real frame does not pay for memory and code being touched first.
    pub fn warm_up(&mut self, size: ImageSize, clocks: &dyn Clocks) -> Result<(), SegmentError> {
        let grey = vec![114u8; 3 * size.area() as usize];
        let image = Image::packed(PixelFormat::Rgb8, size, grey).map_err(PreprocessError::Image)?;
        for _ in 0..3 {
            self.find(&image, MaskBranch::Run, clocks)?;
        }
        Ok(())
    }

    /// Puts pictures of one size into the network's input.
    fn show(&mut self, images: &[&Image]) -> Result<Letterbox, SegmentError> {
        let size = images.first().map_or(ImageSize::new(0, 0), |image| image.size);
        let fit = self.network.fit(size).ok_or(PreprocessError::Empty {
            source_size: size,
            network: ImageSize::new(0, 0),
        })?;
        let values = 3 * fit.network.area() as usize;
        let input = self.network.input_mut(fit.network, images.len())?;
        for (image, input) in images.iter().zip(input.chunks_exact_mut(values)) {
            self.preprocessor.run(image, &fit, input)?;
        }
        Ok(fit)
    }

    /// The instances of one picture. Of a picture in tiles the marks are those of the last tile.
    pub fn find(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, SegmentError> {
        let tiles = self.tiling.map_or_else(Vec::new, |tiling| tiling.tiles(image.size));
        if tiles.len() < 2 {
            return self.find_at_once(image, masks, clocks);
        }
        let mut answers = Vec::with_capacity(tiles.len());
        for &tile in &tiles {
            answers.push(self.find_at_once(&view(image, tile)?, masks, clocks)?);
        }
        Ok(merged(image.size, tiles, answers, &self.limits))
    }

    /// A picture, or a tile of one, fitted into the network's input.
    fn find_at_once(
        &mut self,
        image: &Image,
        masks: MaskBranch,
        clocks: &dyn Clocks,
    ) -> Result<Segmented, SegmentError> {
        let fit = self.show(&[image])?;
        let preprocessed_mono_nanos = clocks.mono_nanos();
        let masks = match masks {
            MaskBranch::Run => Masks::Yes,
            MaskBranch::Skip => Masks::No,
        };
        let found = self.network.infer(fit.resized, masks)?;
        self.spent = found.spent;
        let inferred_mono_nanos = clocks.mono_nanos();
        // The network itself keeps at most `detections`: at that number, more may have been there.
        let count = found.detections.len();
        let truncated = count > self.limits.max_instances || count >= self.network_limit;
        let paster = &mut self.paster;
        let paste = |_, soft: &instances::SoftMask, frame| paster.paste(soft, frame);
        let instances = instances::decode(found.detections, found.masks, &fit, &self.limits, paste)?;
        Ok(Segmented {
            instances,
            truncated,
            preprocessed_mono_nanos,
            inferred_mono_nanos,
        })
    }
}

/// The part of a picture that a tile shows.
pub(super) fn view(image: &Image, tile: Tile) -> Result<Image, SegmentError> {
    image.view(&tile).ok_or_else(|| SegmentError::Tile {
        tile,
        image: image.clone(),
    })
}

/// One answer from those of its tiles, with the marks of the last.
pub(super) fn merged(size: ImageSize, tiles: Vec<Tile>, answers: Vec<Segmented>, limits: &Limits) -> Segmented {
    let (mut truncated, mut marks) = (false, (0, 0));
    for answer in &answers {
        truncated |= answer.truncated;
        marks = (answer.preprocessed_mono_nanos, answer.inferred_mono_nanos);
    }
    let found = tiles
        .into_iter()
        .zip(answers.into_iter().map(|answer| answer.instances));
    let mut instances = instances::merge_tiles(size, found.collect());
    truncated |= instances.len() > limits.max_instances;
    instances.truncate(limits.max_instances);
    Segmented {
        instances,
        truncated,
        preprocessed_mono_nanos: marks.0,
        inferred_mono_nanos: marks.1,
    }
}

/// What the network says of a picture in source px, before anything is rounded.
#[derive(Debug, Clone)]
pub struct Unrounded {
    pub class_id: u32,
    pub score: f32,
    pub bounds: PixelBox<SourcePx>,
    /// By torchvision's paste rule; `None` = no pixel.
    pub runs: Option<MaskRuns>,
}

impl MaskRcnnSegmenter {
    /// The instances of some pictures (at least one) of one size, in one run of the trunk, as torchvision would give them: to be
    /// compared with it.
    pub fn find_as_torchvision(&mut self, images: &[Image]) -> Result<Vec<Vec<Unrounded>>, SegmentError> {
        let fit = self.show(&images.iter().collect::<Vec<_>>())?;
        let size = fit.source;
        self.network.run()?;
        let mut answers = Vec::with_capacity(images.len());
        for index in 0..images.len() {
            let found = self.network.inference(index, fit.resized, Masks::Yes)?;
            let unrounded = found.detections.iter().enumerate().map(|(i, detection)| {
                let bounds = fit.source_from_network(&detection.bounds);
                let runs = found.masks.and_then(|grids| {
                    let side = grids.side as usize;
                    let grid = grids.probabilities().get(i * side * side..(i + 1) * side * side)?;
                    paste_torchvision(grid, side, &bounds, size)
                });
                Unrounded {
                    class_id: detection.class_id,
                    score: detection.score,
                    bounds,
                    runs,
                }
            });
            answers.push(unrounded.filter(|u| u.score >= self.limits.score_threshold).collect());
        }
        Ok(answers)
    }
}

impl Segmenter for MaskRcnnSegmenter {
    fn submit(&mut self, ticket: Ticket, asked: Vec<Asked>, clocks: &dyn Clocks) {
        let answer = |one: Asked| self.find(&one.image, one.masks, clocks).map_err(|e| e.to_string());
        let answers = asked.into_iter().map(answer).collect();
        self.answers.push_back((ticket, answers));
    }

    fn collect(&mut self, ticket: Ticket, _: &dyn Clocks) -> Vec<Result<Segmented, String>> {
        while self.answers.front().is_some_and(|(of, _)| *of < ticket) {
            self.answers.pop_front();
        }
        let found = self.answers.pop_front_if(|(of, _)| *of == ticket);
        found.map(|(_, answers)| answers).unwrap_or_default()
    }

    fn score_threshold(&self) -> f32 {
        self.limits.score_threshold
    }
}

#[cfg(test)]
#[path = "segmenter_tests.rs"]
mod tests;
