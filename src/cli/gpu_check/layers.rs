//! Step `layers`: every distinct convolution of the network alone, against what the card could do at best. Ceilings are those
//! of this run: copies from the record `ops`, matrix products from the record `torch`.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::network::BATCHES;
use super::record::{Record, Row};
use crate::device::Device;
use crate::engine::cudnn::{Cudnn, LayerTime, Settings, Tuning, convolutions};
use crate::geometry::ImageSize;
use crate::model::{Recipe, Weights, dense_parts};
use crate::time::{Clocks, SystemClocks, nanos};

/// Whose convolutions.
pub(super) struct Asked<'a> {
    recipe: &'a Path,
    padded: ImageSize,
    /// Of a picture: boxes and masks.
    rois: [usize; 2],
    /// Each batch has half of it; what it did not reach has no sum.
    patience: Duration,
}

impl<'a> Asked<'a> {
    pub(super) fn whole(recipe: &'a Path, patience: Duration) -> Asked<'a> {
        Asked {
            recipe,
            padded: ImageSize::new(1344, 800),
            rois: [1000, 100],
            patience,
        }
    }

    /// One layer a batch, of a picture that the host can compute.
    pub(super) fn small(recipe: &'a Path) -> Asked<'a> {
        Asked {
            recipe,
            padded: ImageSize::new(64, 64),
            rois: [4, 2],
            patience: Duration::ZERO,
        }
    }
}

/// The names of a batch's sums: measured, and at best.
pub(super) fn names(batch: usize) -> [String; 2] {
    [
        format!("all convolutions, batch {batch}"),
        format!("all convolutions at best, batch {batch}"),
    ]
}

/// What the card reaches, a second.
#[derive(Debug, Clone, Copy)]
struct Ceilings {
    bytes: f64,
    flops: f64,
}

impl Ceilings {
    fn of(folder: &Path) -> Option<Ceilings> {
        let value = |step, name| Record::read(folder, step)?.row(name)?.value;
        Some(Ceilings {
            bytes: 1e12 * value("ops", "copy inside the device")?,
            flops: 1e12 * value("torch", "matmul 8192, fp16")?,
        })
    }

    fn micros(self, layer: &LayerTime) -> f64 {
        1e6 * (layer.shape.flops() / self.flops).max(layer.bytes as f64 / self.bytes)
    }
}

/// Of the plans that `tuning` kept, or cuDNN's first suggestions.
pub(super) fn run(
    device: &Device,
    out: &Path,
    tuning: Tuning,
    asked: &Asked<'_>,
    record: &mut Record,
) -> anyhow::Result<()> {
    let &Asked {
        padded, rois, patience, ..
    } = asked;
    let recipe = Recipe::read(asked.recipe)?;
    let settings = Settings { tuning, progress: None };
    let mut cudnn = Cudnn::open(device, settings)?;
    let ceilings = Ceilings::of(out);
    for batch in BATCHES {
        let graphs = dense_parts(&recipe, Weights::blank(), padded, batch, rois.map(|rois| batch * rois))?;
        let until = SystemClocks.mono_nanos() + nanos(patience / BATCHES.len() as u32);
        let mut seen: Vec<LayerTime> = Vec::new();
        let mut added = Ok(());
        cudnn.layer_times(&graphs, |layer| {
            added = record.add(row_of(batch, &layer, ceilings));
            seen.push(layer);
            match SystemClocks.mono_nanos() < until && added.is_ok() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        added?;
        let layers: usize = seen.iter().map(|layer| layer.layers).sum();
        let of: usize = convolutions(&graphs)?;
        let sum = |one: &dyn Fn(&LayerTime) -> Option<f64>| -> Option<f64> {
            let all = seen.iter().map(|layer| Some(one(layer)? * layer.layers as f64));
            all.sum::<Option<f64>>()
                .filter(|_| layers == of)
                .map(|micros| micros * 1e-3)
        };
        let [measured, best] = names(batch);
        let note = format!("{layers} of {of} layers");
        for (name, value) in [
            (
                measured,
                sum(&|layer| layer.micros.as_ref().ok().map(|&m| f64::from(m))),
            ),
            (best, sum(&|layer| ceilings.map(|ceilings| ceilings.micros(layer)))),
        ] {
            record.add(Row {
                value,
                ..Row::missing(name, "ms", note.clone())
            })?;
        }
    }
    Ok(())
}

fn row_of(batch: usize, layer: &LayerTime, ceilings: Option<Ceilings>) -> Row {
    let name = format!("batch {batch}: {}", layer.shape);
    let best = ceilings.map(|ceilings| ceilings.micros(layer));
    match &layer.micros {
        Ok(micros) => {
            let micros = f64::from(*micros);
            let against = best.map_or_else(
                || "no ceilings".to_owned(),
                |best| format!("at best {best:.1}, ratio {:.2}", micros / best),
            );
            Row {
                note: format!("{} of them, the first {}; {against}", layer.layers, layer.layer),
                ..Row::measured(name, "us", micros)
            }
        }
        Err(why) => Row::missing(name, "us", why.clone()),
    }
}
