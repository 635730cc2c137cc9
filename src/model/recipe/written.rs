//! A recipe as its file says it, and the checks on the way to what it means.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Channels, Conventions, Depth, Figure, Input, Layout, MaskBranch, Network, Origin, Pyramid, Recipe, RecipeError,
    Source, TestSettings,
};
use crate::engine::{Digest, place_in};
use crate::geometry::{ImageSize, Resampling, SideRounding, Sizing};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    classes: Vec<String>,
    network: WrittenNetwork,
    input: WrittenInput,
    weights: WrittenWeights,
    source: Option<WrittenSource>,
    test: WrittenTest,
    executor: WrittenExecutor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNetwork {
    kind: Kind,
    #[serde(default)]
    conventions: WrittenConventions,
    #[serde(default)]
    layout: WrittenLayout,
    backbone: Option<String>,
    stage_planes: Option<[usize; 4]>,
    fpn_width: Option<usize>,
    representation_size: Option<usize>,
    anchor_sizes_px: Option<[f32; 5]>,
    anchor_ratios: Option<Vec<f32>>,
    canonical_scale_px: Option<f32>,
    canonical_level: Option<u32>,
    sampling_ratio: Option<u32>,
    batch_norm_eps: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    FasterRcnn,
    MaskRcnn,
    #[serde(rename = "mask_rcnn2go")]
    MaskRcnn2Go,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenConventions {
    #[default]
    Torchvision,
    Detectron2,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenLayout {
    #[default]
    V1,
    V2,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenInput {
    size: Option<String>,
    shortest_edge_px: Option<u32>,
    longest_edge_px: Option<u32>,
    channels: Channels,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWeights {
    file: PathBuf,
    sha256: Option<String>,
    licence: String,
    origin: String,
    data: String,
    command: String,
    #[serde(default)]
    figures: BTreeMap<String, Figure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSource {
    url: String,
    from: String,
    sha256_prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    pre_nms_top_n: usize,
    post_nms_top_n: usize,
    rpn_nms_threshold: f64,
    score_threshold: f32,
    nms_threshold: f64,
    detections: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExecutor {
    precision: String,
    scale_table: Option<PathBuf>,
    self_test: Option<PathBuf>,
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Recipe, RecipeError> {
    let written: Written = toml::from_str(text).map_err(|error| {
        let (line, column) = place_in(text, &error);
        RecipeError::Syntax {
            path: path.to_owned(),
            line,
            column,
            reason: error.message().to_owned(),
        }
    })?;
    written.meant(&Reader { path })
}

impl Written {
    fn meant(self, reader: &Reader<'_>) -> Result<Recipe, RecipeError> {
        if self.classes.is_empty() || self.classes.len() > 65_535 {
            return Err(reader.wrong("classes", "1 to 65535 names", self.classes.len()));
        }
        if let Some(bad) = self.classes.iter().find(|c| c.trim().is_empty()) {
            return Err(reader.wrong("classes", "names that are not empty", format!("{bad:?}")));
        }
        let mut sorted: Vec<&String> = self.classes.iter().collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(reader.wrong("classes", "each name once", format!("{:?} twice", twice[0])));
        }
        let conventions = self.network.conventions;
        let network = self.network.meant(reader)?;
        let folder = reader.path.parent().unwrap_or(Path::new(""));
        let precision = self.executor.precision.parse().map_err(|_| {
            reader.wrong(
                "executor.precision",
                "\"f32\", \"bf16\" or \"int8\"",
                &self.executor.precision,
            )
        })?;
        Ok(Recipe {
            name: self.name,
            classes: self.classes,
            input: self.input.meant(&network, conventions, reader)?,
            network,
            weights: self.weights.meant(folder, reader)?,
            source: self.source.map(|source| source.meant(reader)).transpose()?,
            test: self.test.meant(reader)?,
            precision,
            scale_table: self.executor.scale_table.map(|table| folder.join(table)),
            self_test: self.executor.self_test.map(|file| folder.join(file)),
        })
    }
}

impl WrittenNetwork {
    fn meant(self, reader: &Reader<'_>) -> Result<Network, RecipeError> {
        let masks = match self.kind {
            Kind::MaskRcnn2Go => return self.nothing_but_kind(reader),
            Kind::MaskRcnn => MaskBranch::Yes,
            Kind::FasterRcnn => MaskBranch::No,
        };
        let conventions = match self.conventions {
            WrittenConventions::Torchvision => Conventions::Torchvision,
            WrittenConventions::Detectron2 => Conventions::Detectron2,
        };
        let layout = match self.layout {
            WrittenLayout::V1 => Layout::V1,
            WrittenLayout::V2 => Layout::V2,
        };
        let name = reader.given("network.backbone", self.backbone)?;
        let Some(backbone) = Depth::ALL.into_iter().find(|d| d.as_str() == name) else {
            let known = Depth::ALL.map(Depth::as_str).join(", ");
            return Err(reader.wrong("network.backbone", &format!("one of {known}"), format!("{name:?}")));
        };
        let stage_planes = self.stage_planes.unwrap_or([64, 128, 256, 512]);
        for planes in stage_planes {
            reader.whole("network.stage_planes", planes, 1..=4096)?;
        }
        let anchor_sizes_px = reader.given("network.anchor_sizes_px", self.anchor_sizes_px)?;
        for size in anchor_sizes_px {
            reader.real("network.anchor_sizes_px", size, 1.0..=16_384.0)?;
        }
        let anchor_ratios = reader.given("network.anchor_ratios", self.anchor_ratios)?;
        reader.whole("network.anchor_ratios (how many)", anchor_ratios.len(), 1..=16)?;
        for &ratio in &anchor_ratios {
            reader.real("network.anchor_ratios", ratio, 0.01..=100.0)?;
        }
        let whole = |key, value, range| reader.given(key, value).and_then(|v| reader.whole(key, v, range));
        let small = |key, value: Option<u32>, range| whole(key, value.map(|v| v as usize), range).map(|v| v as u32);
        let scale = reader.given("network.canonical_scale_px", self.canonical_scale_px)?;
        Ok(Network::Pyramid(Pyramid {
            masks,
            conventions,
            layout,
            backbone,
            stage_planes,
            fpn_width: whole("network.fpn_width", self.fpn_width, 1..=1024)?,
            representation_size: whole("network.representation_size", self.representation_size, 1..=8192)?,
            anchor_sizes_px,
            anchor_ratios,
            canonical_scale_px: reader.real("network.canonical_scale_px", scale, 1.0..=16_384.0)?,
            canonical_level: small("network.canonical_level", self.canonical_level, 2..=5)?,
            sampling_ratio: small("network.sampling_ratio", self.sampling_ratio, 0..=16)?,
            batch_norm_eps: reader.real("network.batch_norm_eps", self.batch_norm_eps.unwrap_or(1e-5), 0.0..=1.0)?,
        }))
    }

    /// A key that would not be looked at is refused.
    fn nothing_but_kind(self, reader: &Reader<'_>) -> Result<Network, RecipeError> {
        let given = [
            ("network.conventions", self.conventions != WrittenConventions::default()),
            ("network.layout", self.layout != WrittenLayout::default()),
            ("network.backbone", self.backbone.is_some()),
            ("network.stage_planes", self.stage_planes.is_some()),
            ("network.fpn_width", self.fpn_width.is_some()),
            ("network.representation_size", self.representation_size.is_some()),
            ("network.anchor_sizes_px", self.anchor_sizes_px.is_some()),
            ("network.anchor_ratios", self.anchor_ratios.is_some()),
            ("network.canonical_scale_px", self.canonical_scale_px.is_some()),
            ("network.canonical_level", self.canonical_level.is_some()),
            ("network.sampling_ratio", self.sampling_ratio.is_some()),
            ("network.batch_norm_eps", self.batch_norm_eps.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(reader.wrong(key, "nothing beside kind = \"mask_rcnn2go\"", "given")),
            None => Ok(Network::MaskRcnn2Go),
        }
    }
}

impl WrittenInput {
    fn meant(
        self,
        network: &Network,
        conventions: WrittenConventions,
        reader: &Reader<'_>,
    ) -> Result<Input, RecipeError> {
        for (key, values) in [("input.mean", self.mean), ("input.std", self.std)] {
            for value in values {
                let least = if key == "input.std" { 1e-6 } else { -1e6 };
                reader.real(key, value, least..=1e6)?;
            }
        }
        // The pyramid halves five times, and its levels are added after doubling.
        let multiple_of = match network {
            Network::Pyramid(_) => 32,
            Network::MaskRcnn2Go => 1,
        };
        let detectron = *network == Network::MaskRcnn2Go || conventions == WrittenConventions::Detectron2;
        let sizing = match (self.size, self.shortest_edge_px, self.longest_edge_px) {
            (Some(text), None, None) => {
                let size: ImageSize = match text.parse() {
                    Ok(size) => size,
                    Err(_) => return Err(reader.wrong("input.size", "a size such as \"384x288\"", text)),
                };
                if !size.width.is_multiple_of(multiple_of) || !size.height.is_multiple_of(multiple_of) {
                    return Err(reader.wrong("input.size", "both sides multiples of 32", size));
                }
                Sizing::Fixed(size)
            }
            (None, Some(shortest), Some(longest)) => {
                if shortest > longest {
                    return Err(reader.wrong("input.shortest_edge_px", "at most longest_edge_px", shortest));
                }
                let side = |key, value: u32| reader.whole(key, value as usize, 32..=8192).map(|v| v as u32);
                Sizing::ShortestEdge {
                    shortest_px: side("input.shortest_edge_px", shortest)?,
                    longest_px: side("input.longest_edge_px", longest)?,
                    multiple_of,
                    rounding: if detectron {
                        SideRounding::Nearest
                    } else {
                        SideRounding::Down
                    },
                }
            }
            _ => {
                let expected = "either size, or shortest_edge_px and longest_edge_px";
                return Err(reader.wrong("input", expected, "another combination"));
            }
        };
        Ok(Input {
            sizing,
            resampling: match conventions {
                WrittenConventions::Torchvision => Resampling::Bilinear,
                WrittenConventions::Detectron2 => Resampling::Antialiased,
            },
            channels: self.channels,
            mean: self.mean,
            std: self.std,
        })
    }
}

impl WrittenWeights {
    fn meant(self, folder: &Path, reader: &Reader<'_>) -> Result<Origin, RecipeError> {
        let digest = |text: String| {
            let got = format!("{text:?}");
            Digest::try_from(text)
                .map(|digest| digest.0)
                .map_err(|_| reader.wrong("weights.sha256", "64 hex digits", got))
        };
        Ok(Origin {
            file: folder.join(self.file),
            sha256: self.sha256.map(digest).transpose()?,
            licence: self.licence,
            origin: self.origin,
            data: self.data,
            command: self.command,
            figures: self.figures,
        })
    }
}

impl WrittenSource {
    fn meant(self, reader: &Reader<'_>) -> Result<Source, RecipeError> {
        let prefix = self.sha256_prefix.to_ascii_lowercase();
        let digits = prefix.bytes().all(|b| b.is_ascii_hexdigit());
        if !(8..=64).contains(&prefix.len()) || !digits {
            return Err(reader.wrong("source.sha256_prefix", "8 to 64 hex digits", format!("{prefix:?}")));
        }
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Err(reader.wrong("source.url", "an http or https address", format!("{:?}", self.url)));
        }
        Ok(Source {
            url: self.url,
            from: self.from,
            sha256_prefix: prefix,
        })
    }
}

impl WrittenTest {
    fn meant(self, reader: &Reader<'_>) -> Result<TestSettings, RecipeError> {
        Ok(TestSettings {
            pre_nms_top_n: reader.whole("test.pre_nms_top_n", self.pre_nms_top_n, 1..=100_000)?,
            post_nms_top_n: reader.whole("test.post_nms_top_n", self.post_nms_top_n, 1..=4096)?,
            rpn_nms_threshold: reader.real("test.rpn_nms_threshold", self.rpn_nms_threshold, 0.0..=1.0)?,
            score_threshold: reader.real("test.score_threshold", self.score_threshold, 0.0..=1.0)?,
            nms_threshold: reader.real("test.nms_threshold", self.nms_threshold, 0.0..=1.0)?,
            detections: reader.whole("test.detections", self.detections, 1..=4096)?,
        })
    }
}

/// Checks values and names the recipe when they are wrong.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, key: &'static str, expected: &str, got: impl fmt::Display) -> RecipeError {
        RecipeError::Value {
            path: self.path.to_owned(),
            key,
            expected: expected.to_owned(),
            got: got.to_string(),
        }
    }

    fn given<T>(&self, key: &'static str, value: Option<T>) -> Result<T, RecipeError> {
        value.ok_or_else(|| self.wrong(key, "a value", "missing"))
    }

    fn whole(&self, key: &'static str, got: usize, range: RangeInclusive<usize>) -> Result<usize, RecipeError> {
        if range.contains(&got) {
            return Ok(got);
        }
        Err(self.wrong(key, &format!("{} to {}", range.start(), range.end()), got))
    }

    /// NaN lies in no range.
    fn real<T: PartialOrd + fmt::Display>(
        &self,
        key: &'static str,
        got: T,
        range: RangeInclusive<T>,
    ) -> Result<T, RecipeError> {
        if range.contains(&got) {
            return Ok(got);
        }
        Err(self.wrong(key, &format!("{} to {}", range.start(), range.end()), got))
    }
}
