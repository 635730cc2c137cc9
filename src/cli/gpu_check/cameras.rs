//! Step `cameras`: pictures a second of the whole pipeline with simulated cameras that never wait, beside those of the
//! engine alone on the same pictures. Results are encoded and published to nobody.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::record::{Record, Row};
use crate::config::{self, Camera, Launch, SourceUri};
use crate::instances::ClassMap;
use crate::outlets::Outlet;
use crate::outlets::publish::{CameraInfo, EngineIdentity, Identity, PublishSettings, Publisher};
use crate::pipeline::{Asked, MaskBranch, Parts, Pipeline, Segmenter, Ticket};
use crate::source::{self, Film};
use crate::time::{Clocks, SystemClocks, nanos};
use crate::wire::SessionId;

pub(super) const COUNTS: [usize; 3] = [1, 4, 16];
/// Pictures that are shown again and again.
const FILM_FRAMES: u64 = 48;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// An engine for the pipeline.
pub(super) struct Engine {
    pub(super) segmenter: Box<dyn Segmenter>,
    pub(super) classes: ClassMap,
    pub(super) name: String,
}

/// The names of the rows of `cameras` cameras: pipeline, engine alone.
pub(super) fn names(cameras: usize) -> [String; 2] {
    let noun = if cameras == 1 { "camera" } else { "cameras" };
    [
        format!("pipeline, {cameras} {noun}"),
        format!("engine alone, {cameras} {noun}"),
    ]
}

/// `open` loads the engine for so many cameras, for each measurement anew.
pub(super) fn run(
    recipe: &Path,
    counts: &[usize],
    each: Duration,
    record: &mut Record,
    open: impl Fn(usize) -> anyhow::Result<Engine>,
) -> anyhow::Result<()> {
    for &cameras in counts {
        let [pipeline_name, engine_name] = names(cameras);
        let row = |name: String, rate: anyhow::Result<(f64, String)>| match rate {
            Ok((rate, note)) => Row {
                note,
                ..Row::measured(name, "frames/s", rate)
            },
            Err(error) => Row::missing(name, "frames/s", format!("{error:#}")),
        };
        let launch = launch(recipe, cameras)?;
        let film = film(&launch)?;
        let alone = open(cameras).and_then(|engine| engine_rate(engine, &film, cameras, each));
        record.add(row(engine_name, alone))?;
        let whole = open(cameras).and_then(|engine| pipeline_rate(engine, &launch, &film, each));
        record.add(row(pipeline_name, whole))?;
    }
    Ok(())
}

/// As a launch file would say it.
fn launch(recipe: &Path, cameras: usize) -> anyhow::Result<Launch> {
    let mut text = format!(
        "engine = {:?}\n[publish]\ndemand = \"always\"\n[zenoh]\nmode = \"peer\"\nlisten = [\"tcp/127.0.0.1:0\"]\n",
        recipe.display().to_string()
    );
    for camera in 1..=cameras {
        text += &format!(
            "[[camera]]\nid = \"camera-{camera}\"\nuri = \"sim://conveyor?size=640x480\"\npace = \"unpaced\"\n"
        );
    }
    Ok(config::parse(Path::new("gpu-check"), &text)?)
}

fn film(launch: &Launch) -> anyhow::Result<Film> {
    match launch.cameras.first().map(|camera| &camera.uri) {
        Some(SourceUri::Simulated(scene)) => Ok(Film::render(scene, FILM_FRAMES)?),
        _ => Err(anyhow!("the cameras are simulated")),
    }
}

/// The engine, kept as busy as `cameras` cameras can keep it.
fn engine_rate(engine: Engine, film: &Film, cameras: usize, each: Duration) -> anyhow::Result<(f64, String)> {
    let mut segmenter = engine.segmenter;
    let capacity = segmenter.capacity();
    let batch = capacity.pictures.clamp(1, cameras);
    let mut flying = VecDeque::new();
    let mut index = 0;
    let mut submit = |segmenter: &mut dyn Segmenter| {
        let asked = (0..batch).map(|_| {
            index += 1;
            Asked {
                image: film.image(index),
                masks: MaskBranch::Run,
            }
        });
        let asked: Vec<Asked> = asked.collect();
        let ticket = Ticket(index);
        segmenter.submit(ticket, asked, &SystemClocks);
        ticket
    };
    let start = SystemClocks.mono_nanos();
    let (mut counted_from, mut frames) = (None, 0_usize);
    loop {
        while flying.len() < capacity.batches.max(1) {
            let ticket = submit(segmenter.as_mut());
            flying.push_back(ticket);
        }
        let Some(ticket) = flying.pop_front() else {
            continue; // one was pushed above
        };
        for answer in segmenter.collect(ticket, &SystemClocks) {
            answer.map_err(anyhow::Error::msg)?;
            frames += 1;
        }
        let now = SystemClocks.mono_nanos();
        match counted_from {
            None if now - start >= nanos(WARM_UP.min(each)) => (counted_from, frames) = (Some(now), 0),
            Some(from) if now - from >= nanos(each) => {
                let rate = frames as f64 / ((now - from) as f64 * 1e-9);
                return Ok((rate, format!("{}, {batch} at a time", engine.name)));
            }
            _ => {}
        }
    }
}

fn pipeline_rate(engine: Engine, launch: &Launch, film: &Film, each: Duration) -> anyhow::Result<(f64, String)> {
    let clocks: Arc<dyn Clocks> = Arc::new(SystemClocks);
    let settings = PublishSettings {
        publish: launch.publish.clone(),
        zenoh: launch.zenoh.clone(),
    };
    let identity = Identity {
        session_id: SessionId::random().context("session id")?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: String::new(),
        config_sha256: String::new(),
        engine: EngineIdentity {
            name: engine.name.clone(),
            identity_json: "{}".to_owned(),
            self_test: "skipped: gpu-check".to_owned(),
            device: String::new(),
        },
    };
    let infos: Vec<CameraInfo> = launch.cameras.iter().map(info).collect();
    let publisher = Publisher::start(&settings, identity, &infos, &engine.classes, Arc::clone(&clocks))?;
    let handle = publisher.handle();
    let shown = film.clone();
    let pipeline = Pipeline::start_with(
        Parts {
            cameras: launch.cameras.clone(),
            segmenter: engine.segmenter,
            outlets: vec![Box::new(publisher) as Box<dyn Outlet>],
            states: Box::new(handle),
            idle: launch.publish.idle,
            clocks: Arc::clone(&clocks),
        },
        Arc::new(move |camera, clocks| source::open_with_film(camera, &shown, clocks)),
    )?;
    pipeline.wait(Some(WARM_UP.min(each)), &*clocks, |_| false);
    let (from, before) = (clocks.mono_nanos(), pipeline.snapshot().answers());
    pipeline.wait(Some(each), &*clocks, |_| false);
    let (to, after) = (clocks.mono_nanos(), pipeline.snapshot().answers());
    let snapshot = pipeline.stop();
    if let Some(fault) = snapshot.faults.iter().chain(&snapshot.troubles).next() {
        return Err(anyhow!("{fault}"));
    }
    let rate = (after - before) as f64 / ((to - from) as f64 * 1e-9);
    Ok((
        rate,
        format!(
            "{} instances",
            snapshot.cameras.values().map(|c| c.instances).sum::<u64>()
        ),
    ))
}

fn info(camera: &Camera) -> CameraInfo {
    CameraInfo {
        camera: camera.id.clone(),
        source: camera.uri.redacted(),
        size: None,
        nominal_hz: 0.0,
        valid_for: camera.valid_for,
    }
}
