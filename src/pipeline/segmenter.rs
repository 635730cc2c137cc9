//! The real engine as the pipeline sees it: preprocess, network, decode and paste, with a mark at each border.

use std::path::Path;
use std::sync::Arc;

use super::engine_loop::{MaskBranch, Segmented, Segmenter};
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::instances::{self, ClassMap, Limits};
use crate::model::{MaskRcnn, Masks, ModelError, Options};
use crate::ops::paste_masks::Paster;
use crate::preprocess::{Normalise, Preprocessor};
use crate::time::{Clocks, SystemClocks};

/// Mask R-CNN from a recipe.
pub struct MaskRcnnSegmenter {
    network: MaskRcnn,
    preprocessor: Preprocessor,
    paster: Paster,
    limits: Limits,
    /// Detections that the recipe keeps at most.
    network_limit: usize,
}

impl MaskRcnnSegmenter {
    /// `score_threshold` and `max_instances` are what will be published at most: nothing is computed beyond.
    pub fn load(recipe: &Path, limits: Limits) -> Result<MaskRcnnSegmenter, ModelError> {
        let options = Options {
            precision: None,
            threads: None,
            score_threshold: Some(limits.score_threshold),
            clocks: Arc::new(SystemClocks),
        };
        let network = MaskRcnn::load(recipe, &options)?;
        let (mean, std) = network.rgb_mean_std();
        let preprocessor = Preprocessor::new(Normalise { mean, std });
        let network_limit = network.recipe().test.detections;
        Ok(MaskRcnnSegmenter {
            network_limit,
            network,
            preprocessor,
            paster: Paster::default(),
            limits,
        })
    }

    pub fn network(&self) -> &MaskRcnn {
        &self.network
    }

    pub fn classes(&self) -> ClassMap {
        self.network.classes()
    }

    /// Runs on a grey picture, so that the first real frame does not pay for memory and code being touched first.
    pub fn warm_up(&mut self, clocks: &dyn Clocks) -> Result<(), String> {
        let size = ImageSize::new(640, 480);
        let grey = vec![114u8; 3 * 640 * 480];
        let image = Image::packed(PixelFormat::Rgb8, size, grey).map_err(|e| e.to_string())?;
        for _ in 0..3 {
            self.segment(&image, MaskBranch::Run, clocks)?;
        }
        Ok(())
    }
}

impl Segmenter for MaskRcnnSegmenter {
    fn segment(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, String> {
        let size = self.network.input_size();
        let input = self.network.input_mut().map_err(|e| e.to_string())?;
        let letterbox = self.preprocessor.run(image, size, input).map_err(|e| e.to_string())?;
        let preprocessed_mono_nanos = clocks.mono_nanos();
        let masks = match masks {
            MaskBranch::Run => Masks::Yes,
            MaskBranch::Skip => Masks::No,
        };
        let found = self
            .network
            .infer(letterbox.resized, masks)
            .map_err(|e| e.to_string())?;
        let inferred_mono_nanos = clocks.mono_nanos();
        // The network itself keeps at most `detections`: at that number, more may have been there.
        let count = found.detections.len();
        let truncated = count > self.limits.max_instances || count >= self.network_limit;
        let paster = &mut self.paster;
        let paste = |soft: &instances::SoftMask, frame| paster.paste(soft, frame);
        let instances = instances::decode(found.detections, found.masks, &letterbox, &self.limits, paste)
            .map_err(|e| e.to_string())?;
        Ok(Segmented {
            instances,
            truncated,
            preprocessed_mono_nanos,
            inferred_mono_nanos,
        })
    }

    fn score_threshold(&self) -> f32 {
        self.limits.score_threshold
    }
}
