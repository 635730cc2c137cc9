//! Step `ops`: the kernels alone at the sizes of ResNet-50-FPN on 800x1344, by device events. Data are seeded noise; sets of
//! buffers take turns, so that what one run reads the run before has not left in the L2 cache.

use super::record::{Record, Row, is_stand_in};
use super::timing::{self, Turns};
use crate::device::{Device, DeviceError, Kernels, UploadRing};
use crate::frame::{Image, PixelFormat};
use crate::geometry::{ImageSize, Letterbox};
use crate::ops::bench::device::{TIMED, Timed, Work};
use crate::ops::bench::noise;
use crate::preprocess::{DevicePreprocess, Normalise, PictureTable, launch as preprocess};

/// More than the L2 cache of any GPU so far.
const BEYOND_CACHE_BYTES: usize = 200 << 20;
const NETWORK: ImageSize = ImageSize::new(1344, 800);

const PREPROCESS: Timed = Timed {
    name: "preprocess 1280x720 RGB to 800x1344",
    sources: &[preprocess::SOURCE],
    prepare: preprocess_rgb,
    bytes: 3 * 1280 * 720 + 16 * 800 * 1344,
};

pub(super) fn run(device: &Device, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    ceiling(device, rounds, record)?;
    for timed in std::iter::once(&PREPROCESS).chain(TIMED) {
        record.add(
            one(device, timed, rounds).unwrap_or_else(|error| Row::missing(timed.name, "ms", error.to_string())),
        )?;
    }
    Ok(())
}

fn one(device: &Device, timed: &Timed, rounds: usize) -> Result<Row, DeviceError> {
    let kernels = Kernels::load(device, timed.sources)?;
    let sets = match is_stand_in(device) {
        true => 1,
        false => BEYOND_CACHE_BYTES.div_ceil(timed.bytes).clamp(2, 32),
    };
    let turns: Result<Turns, DeviceError> = (0..sets)
        .map(|set| (timed.prepare)(device, &kernels, set as u32))
        .collect();
    timing::time(device, timed.name, turns?, rounds)
}

/// What a copy inside the device reaches, bytes read and written.
fn ceiling(device: &Device, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    let name = "copy inside the device";
    let bytes: usize = if is_stand_in(device) { 1 << 16 } else { 2 << 30 };
    let work = || -> Result<Work, DeviceError> {
        let from = device.upload("copied", &[7_u8; 1 << 16])?;
        let (mut a, mut b) = (device.buffer::<u8>("copy", bytes)?, device.buffer::<u8>("copy", bytes)?);
        let stream = device.stream("fill")?;
        stream.copy(from.slice(), a.slice_mut())?;
        stream.synchronize()?;
        Ok(Box::new(move |stream| stream.copy(a.slice(), b.slice_mut())))
    };
    let row = match work().and_then(|work| timing::time(device, name, vec![work], rounds.min(20))) {
        Ok(row) => Row {
            unit: "TB/s".to_owned(),
            value: row
                .value
                .filter(|millis| *millis > 0.0)
                .map(|millis| 2.0 * bytes as f64 / millis * 1e-9),
            p10: None,
            p90: None,
            ..row
        },
        Err(error) => Row::missing(name, "TB/s", error.to_string()),
    };
    record.add(row)
}

fn preprocess_rgb(device: &Device, kernels: &Kernels, seed: u32) -> Result<Work, DeviceError> {
    let size = ImageSize::new(1280, 720);
    let broken = |reason: String| DeviceError::Kernel {
        kernel: "preprocess".to_owned(),
        reason,
    };
    let bytes = noise(3 * size.area() as usize, seed)
        .into_iter()
        .map(|v| (v * 127.0 + 128.0) as u8);
    let image = Image::packed(PixelFormat::Rgb8, size, bytes.collect()).map_err(|e| broken(e.to_string()))?;
    let letterbox = Letterbox::fit(size, NETWORK).ok_or_else(|| broken("no letterbox".to_owned()))?;
    let normalise = Normalise {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    let op = DevicePreprocess::new(kernels, normalise, NETWORK, 1)?;
    let mut ring = UploadRing::new(device, "pictures", 1)?;
    let mut table = PictureTable::new(device, 1)?;
    let stream = device.stream("pictures")?;
    let picture = image.to_device(&mut ring)?;
    let put = table.put(&stream, vec![Some((picture, letterbox))]);
    put.map_err(|e| broken(e.to_string()))?;
    stream.synchronize()?;
    let positions = NETWORK.area() as usize;
    let mut out = device.buffer("network input", positions * preprocess::CHANNELS)?;
    Ok(Box::new(move |stream| {
        let _held = &ring; // and with it the picture's bytes
        op.enqueue(stream, table.params(), preprocess::output(&mut out, positions)?)
    }))
}
