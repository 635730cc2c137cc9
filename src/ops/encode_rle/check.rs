//! Spans from the kernels against the plain loops, and the masks made of them against the paste rule.

use super::launch::DeviceEncodeRle;
use super::{MaskSpan, SpanRange, encode, mask_runs};
use crate::device::{Device, DeviceError, Kernels};
use crate::instances::MaskRuns;
use crate::ops::device::{Check, each_way};
use crate::ops::paste_masks::bitmaps::MaskPlace;
use crate::ops::paste_masks::check::{DeviceScene, Scene};

/// Needs the kernels of `paste_masks` too.
pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = Vec::new();
    for (side, spans) in [(28, 1 << 14), (1, 1 << 14), (2, 600), (56, 1 << 14), (13, 0)] {
        compare(device, kernels, side, spans, &mut checks)?;
    }
    Ok(checks)
}

struct Work {
    scene: DeviceScene,
    encode: DeviceEncodeRle,
}

fn compare(
    device: &Device,
    kernels: &Kernels,
    side: usize,
    capacity: usize,
    checks: &mut Vec<Check>,
) -> Result<(), DeviceError> {
    let scene = Scene::new(side);
    let masks: Vec<Option<MaskRuns>> = (0..scene.boxes.len()).map(|index| scene.runs(index)).collect();
    let mut work = Work {
        scene: scene.upload(device, kernels, 1 << 16)?,
        encode: DeviceEncodeRle::new(device, kernels, masks.len(), capacity)?,
    };
    each_way(
        device,
        &mut work,
        |work, stream| {
            work.scene.enqueue(stream)?;
            work.encode.poison(stream)?;
            work.encode.enqueue(stream, &work.scene.paste.bitmaps())
        },
        |work, how| {
            let what = format!("encode_rle of side {side}, {capacity} spans");
            let bitmaps = work.scene.paste.bitmaps();
            let (places, words) = (device.download(bitmaps.places)?, device.download(bitmaps.words)?);
            let (ranges, spans) = encode(&places, &words, capacity as u32);
            let got_ranges = device.download(work.encode.ranges())?;
            let (expected, got) = (flat_ranges(&ranges), flat_ranges(&got_ranges));
            checks.push(Check::of(format!("{what}, ranges, {how}"), &expected, &got));
            let got_spans = device.download(work.encode.spans().part(0, spans.len())?)?;
            let (expected, got) = (flat_spans(&spans), flat_spans(&got_spans));
            checks.push(Check::of(format!("{what}, spans, {how}"), &expected, &got));
            // Whole masks; where there was no room the host pastes.
            let made = masks.iter().zip(&got_ranges).map(|(pasted, range)| match range.state {
                MaskPlace::NO_ROOM => pasted.clone(),
                _ => mask_runs(range, &got_spans),
            });
            let got: Vec<u32> = made.flat_map(|mask| flat_mask(mask.as_ref())).collect();
            let expected: Vec<u32> = masks.iter().flat_map(|mask| flat_mask(mask.as_ref())).collect();
            checks.push(Check::of(format!("{what}, masks, {how}"), &expected, &got));
            Ok(())
        },
    )
}

fn flat_ranges(ranges: &[SpanRange]) -> Vec<u32> {
    ranges.iter().flat_map(|r| [r.offset, r.count, r.state]).collect()
}

fn flat_spans(spans: &[MaskSpan]) -> Vec<u32> {
    spans.iter().flat_map(|s| [s.column, s.row_start, s.row_end]).collect()
}

fn flat_mask(mask: Option<&MaskRuns>) -> Vec<u32> {
    let Some(m) = mask else { return vec![u32::MAX] };
    let mut numbers = vec![m.x, m.y, m.width, m.height, m.runs.len() as u32];
    numbers.extend(&m.runs);
    numbers
}
