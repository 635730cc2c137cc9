//! The tinting kernels against the plain loops.

use super::launch::{DeviceOverlay, DevicePicture, DeviceTints};
use super::{Tint, tint_nv12, tint_rgb};
use crate::device::{CudaStream, Device, DeviceBuffer, DeviceError, Kernels, PinnedBuffer};
use crate::instances::MaskRuns;
use crate::ops::device::{Check, Noise, each_way};
use crate::ops::paste_masks::check::{DeviceScene, Scene};
use crate::ops::paste_masks::launch::DeviceBitmaps;

/// Needs the kernels of `paste_masks` too.
pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let scene = Scene::new(28);
    let mut checks = Vec::new();
    for image in 0..scene.letterboxes.len() {
        for alpha in [92, 256] {
            compare(device, kernels, &scene, image, alpha, &mut checks)?;
        }
    }
    Ok(checks)
}

struct Work {
    scene: DeviceScene,
    overlay: DeviceOverlay,
    counts: DeviceBuffer<u32>,
    tones: DeviceBuffer<u32>,
    before: Vec<PinnedBuffer<u8>>,
    /// R G B, luma, chroma.
    planes: Vec<DeviceBuffer<u8>>,
}

fn compare(
    device: &Device,
    kernels: &Kernels,
    scene: &Scene,
    image: usize,
    alpha: u16,
    checks: &mut Vec<Check>,
) -> Result<(), DeviceError> {
    let size = scene.letterboxes[image].source;
    let (width, height) = (size.width as usize, size.height as usize);
    let (rgb_pitch, luma_pitch, chroma_pitch) = (3 * width + 5, width + 3, width.next_multiple_of(2) + 4);
    let mut noise = Noise(image as u64);
    let mut plane = |bytes: usize| (0..bytes).map(|_| noise.bits() as u8).collect::<Vec<u8>>();
    let before = [
        plane(rgb_pitch * height),
        plane(luma_pitch * height),
        plane(chroma_pitch * height.div_ceil(2)),
    ];
    let own = image * scene.per_image..(image + 1) * scene.per_image;
    let tones: Vec<[u8; 4]> = own
        .clone()
        .map(|_| [noise.bits() as u8, noise.bits() as u8, noise.bits() as u8, 0])
        .collect();

    let masks: Vec<Option<MaskRuns>> = own.clone().map(|index| scene.runs(index)).collect();
    let tints = masks.iter().zip(&tones).filter_map(|(mask, &[a, b, c, _])| {
        Some(Tint {
            mask: mask.as_ref()?,
            tone: [a, b, c],
        })
    });
    let tints: Vec<Tint<'_>> = tints.collect();
    let [mut rgb, mut luma, mut chroma] = before.clone();
    let failed = |e: super::OverlayError| DeviceError::Kernel {
        kernel: "overlay".to_owned(),
        reason: e.to_string(),
    };
    tint_rgb(&mut rgb, rgb_pitch, size, &tints, alpha).map_err(failed)?;
    tint_nv12(
        (&mut luma, luma_pitch),
        (&mut chroma, chroma_pitch),
        size,
        &tints,
        alpha,
    )
    .map_err(failed)?;

    let pin = |bytes: &Vec<u8>| {
        let mut pinned = device.pinned("a plane", bytes.len())?;
        pinned.write()?.copy_from_slice(bytes);
        Ok(pinned)
    };
    let tones: Vec<u32> = tones.into_iter().map(u32::from_le_bytes).collect();
    let mut work = Work {
        scene: scene.upload(device, kernels, 1 << 16)?,
        overlay: DeviceOverlay::new(device, kernels)?,
        counts: device.upload("counts", &scene.counts)?,
        tones: device.upload("tones", &tones)?,
        before: before.iter().map(pin).collect::<Result<_, DeviceError>>()?,
        planes: before
            .iter()
            .map(|bytes| device.upload("a plane", bytes))
            .collect::<Result<_, _>>()?,
    };
    let queue = |work: &mut Work, stream: &CudaStream| {
        for (to, from) in work.planes.iter_mut().zip(&work.before) {
            stream.upload(from, to.slice_mut())?;
        }
        work.scene.enqueue(stream)?;
        let bitmaps = work.scene.paste.bitmaps();
        let tints = DeviceTints {
            bitmaps: DeviceBitmaps {
                places: bitmaps.places.part(own.start, own.len())?,
                words: bitmaps.words,
            },
            count: work.counts.slice().part(image, 1)?,
            tones: work.tones.slice(),
            alpha,
        };
        let [rgb, luma, chroma] = &mut work.planes[..] else {
            return Ok(());
        };
        let rgb = DevicePicture::Rgb8(rgb.slice_mut(), rgb_pitch);
        work.overlay.enqueue(stream, rgb, size, &tints)?;
        let nv12 = DevicePicture::Nv12 {
            luma: (luma.slice_mut(), luma_pitch),
            chroma: (chroma.slice_mut(), chroma_pitch),
        };
        work.overlay.enqueue(stream, nv12, size, &tints)
    };
    let expected = [("rgb", rgb), ("luma", luma), ("chroma", chroma)];
    each_way(device, &mut work, queue, |work, how| {
        for ((name, expected), plane) in expected.iter().zip(&work.planes) {
            let got = device.download(plane.slice())?;
            let what = format!("overlay of {size}, {name}, alpha {alpha}, {how}");
            checks.push(Check::of(what, expected, &got));
        }
        Ok(())
    })
}
