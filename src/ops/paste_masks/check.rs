//! The paste kernels against the paste rule's plain loops.

use super::bitmaps::{MaskPlace, SourceGeometry, places};
use super::launch::DevicePasteMasks;
use crate::device::{Device, DeviceBuffer, DeviceError, Kernels};
use crate::geometry::{ImageSize, LatticeBox, Letterbox};
use crate::instances::{MaskRuns, SoftMask, paste};
use crate::ops::device::{Check, Noise, each_way};

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = Vec::new();
    for (side, capacity) in [(28, 1 << 16), (1, 1 << 16), (56, 9_000), (24, 0)] {
        compare(device, kernels, side, capacity, &mut checks)?;
    }
    Ok(checks)
}

/// Masks to be pasted: inputs on the host.
pub(crate) struct Scene {
    pub side: usize,
    pub per_image: usize,
    pub letterboxes: Vec<Letterbox>,
    /// [N, D], network px.
    pub boxes: Vec<[f32; 4]>,
    pub counts: Vec<u32>,
    /// [N, D, M, M].
    pub grids: Vec<u8>,
}

/// The same on the device, with the paste.
pub(crate) struct DeviceScene {
    pub paste: DevicePasteMasks,
    geometry: DeviceBuffer<SourceGeometry>,
    boxes: DeviceBuffer<[f32; 4]>,
    counts: DeviceBuffer<u32>,
    grids: DeviceBuffer<u8>,
}

impl Scene {
    /// Three pictures: boxes inside, across every edge, beyond it, of a pixel and less, of no number; grids of blobs, of
    /// noise, of nothing, of everything.
    pub(crate) fn new(side: usize) -> Scene {
        let mut noise = Noise(side as u64);
        let (per_image, network) = (40, ImageSize::new(96, 80));
        let sources = [
            ImageSize::new(150, 131),
            ImageSize::new(64, 33),
            ImageSize::new(97, 120),
        ];
        let letterboxes = sources.iter().filter_map(|&s| Letterbox::fit(s, network)).collect();
        let odd = [
            [0.0, 0.0, 96.0, 80.0],
            [-40.5, -30.25, 140.0, 110.0],
            [-20.0, 10.0, 3.0, 30.0],
            [90.0, -9.0, 120.0, 5.0],
            [10.0, 10.0, 10.6, 10.6],
            [10.1, 10.1, 10.11, 40.0],
            [10.0, 20.0, 10.0, 30.0],
            [30.0, 20.0, 10.0, 30.0],
            [5.0, 5.0, f32::NAN, 9.0],
            [5.0, 5.0, 9.0, f32::INFINITY],
            [-60_000.0, -60_000.0, 60_000.0, 60_000.0],
            [-30_000.0, -30_000.0, 30_000.0, 30_000.0],
            [200.0, 200.0, 300.0, 300.0],
            [1.0, 2.0, 40.0, 2.7],
        ];
        let mut boxes = Vec::new();
        let mut grids = Vec::new();
        for index in 0..per_image * sources.len() {
            let (x, y) = (noise.between(-10.0, 90.0), noise.between(-10.0, 70.0));
            let random = [x, y, x + noise.between(0.2, 50.0), y + noise.between(0.2, 50.0)];
            let place = index % per_image;
            boxes.push(odd.get(place).copied().unwrap_or(random));
            let (centre, radius) = (noise.between(0.2, 0.8), noise.between(0.1, 0.7));
            for cell in 0..side * side {
                let (row, column) = ((cell / side) as f32, (cell % side) as f32);
                let (dy, dx) = (row / side as f32 - centre, column / side as f32 - centre);
                let inside = dx * dx + dy * dy < radius * radius;
                grids.push(match index % 5 {
                    0 => noise.bits() as u8,
                    1 if index % 10 == 1 => 0,
                    1 => 255,
                    _ if inside => 128 + (noise.bits() % 128) as u8,
                    _ => (noise.bits() % 140) as u8,
                });
            }
        }
        Scene {
            side,
            per_image,
            letterboxes,
            boxes,
            counts: vec![40, 0, 23],
            grids,
        }
    }

    pub(crate) fn geometry(&self) -> Vec<SourceGeometry> {
        self.letterboxes.iter().map(SourceGeometry::from).collect()
    }

    /// What `instances::decode` would paste of one detection; `None` for none.
    pub(crate) fn runs(&self, index: usize) -> Option<MaskRuns> {
        let (image, place) = (index / self.per_image, index % self.per_image);
        if place as u32 >= self.counts[image] {
            return None;
        }
        let letterbox = &self.letterboxes[image];
        let [x0, y0, x1, y1] = self.boxes[index];
        let bounds = crate::ops::NetworkBox::new(x0, y0, x1, y1);
        let cells = self.side * self.side;
        let soft = SoftMask {
            roi: LatticeBox::round(&letterbox.source_from_network(&bounds))?,
            side: self.side as u32,
            values: self.grids[index * cells..(index + 1) * cells].to_vec(),
        };
        paste(&soft, letterbox.source)
    }

    pub(crate) fn upload(
        &self,
        device: &Device,
        kernels: &Kernels,
        capacity_words: usize,
    ) -> Result<DeviceScene, DeviceError> {
        let batch = self.letterboxes.len();
        Ok(DeviceScene {
            paste: DevicePasteMasks::new(device, kernels, self.side, self.per_image, batch, capacity_words)?,
            geometry: device.upload("geometry", &self.geometry())?,
            boxes: device.upload("boxes", &self.boxes)?,
            counts: device.upload("counts", &self.counts)?,
            grids: device.upload("grids", &self.grids)?,
        })
    }
}

impl DeviceScene {
    pub(crate) fn enqueue(&mut self, stream: &crate::device::CudaStream) -> Result<(), DeviceError> {
        let (geometry, boxes) = (self.geometry.slice(), self.boxes.slice());
        let (counts, grids) = (self.counts.slice(), self.grids.slice());
        self.paste.poison(stream)?;
        self.paste.enqueue(stream, geometry, boxes, counts, grids)
    }
}

fn compare(
    device: &Device,
    kernels: &Kernels,
    side: usize,
    capacity: usize,
    checks: &mut Vec<Check>,
) -> Result<(), DeviceError> {
    let scene = Scene::new(side);
    let expected = places(&scene.geometry(), &scene.boxes, &scene.counts, capacity as u32);
    let mut words = Vec::new();
    for (index, place) in expected.iter().enumerate().filter(|(_, p)| p.state == MaskPlace::HELD) {
        let bitmap = place.bitmap(scene.runs(index).as_ref());
        words.extend(bitmap.ok_or_else(|| DeviceError::Kernel {
            kernel: "paste_masks".to_owned(),
            reason: format!("the plain loops set pixels of mask {index} beyond {place:?}"),
        })?);
    }
    let mut work = scene.upload(device, kernels, capacity)?;
    each_way(device, &mut work, DeviceScene::enqueue, |work, how| {
        let bitmaps = work.paste.bitmaps();
        let got = device.download(bitmaps.places)?;
        let what = format!("paste_masks of side {side}, {capacity} words");
        checks.push(Check::of(
            format!("{what}, places, {how}"),
            &flat(&expected),
            &flat(&got),
        ));
        let got = device.download(bitmaps.words.part(0, words.len())?)?;
        checks.push(Check::of(format!("{what}, bitmaps, {how}"), &words, &got));
        Ok(())
    })
}

fn flat(places: &[MaskPlace]) -> Vec<u32> {
    let numbers = |p: &MaskPlace| {
        let [x0, y0, x1, y1] = p.roi.map(|edge| edge as u32);
        [x0, y0, x1, y1, p.x, p.y, p.width, p.height, p.offset, p.state]
    };
    places.iter().flat_map(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crop that a place names is that of the paste rule.
    #[test]
    fn places_hold_the_pixels_of_the_rule() {
        for side in [1, 3, 28] {
            let scene = Scene::new(side);
            let places = places(&scene.geometry(), &scene.boxes, &scene.counts, u32::MAX);
            let mut held = 0;
            for (index, place) in places.iter().enumerate() {
                let runs = scene.runs(index);
                assert!(runs.is_none() || place.state == MaskPlace::HELD, "{index}: {place:?}");
                let bitmap = place.bitmap(runs.as_ref()).expect("inside the crop");
                let set: u32 = bitmap.iter().map(|word| word.count_ones()).sum();
                assert_eq!(set, runs.map_or(0, |runs| runs.area()));
                held += usize::from(set > 0);
            }
            assert!(held > 10, "{held} of side {side}"); // one cell alone sets few
        }
    }

    #[test]
    fn masks_beyond_the_pool_are_marked() {
        let geometry = SourceGeometry {
            scale_x: 2.0,
            scale_y: 1.0,
            width: 100,
            height: 80,
        };
        // 20 columns of 40 rows: 2 words each; then 4 of 10: 1 word.
        let boxes = [[10.0, 20.0, 20.0, 60.0], [0.0, 0.0, 2.0, 10.0], [60.0, 0.0, 70.0, 9.0]];
        let of = |capacity| places(&[geometry], &boxes, &[3], capacity);
        let placed = |capacity| of(capacity).iter().map(|p| (p.state, p.offset)).collect::<Vec<_>>();
        let (none, held, no_room) = (MaskPlace::NONE, MaskPlace::HELD, MaskPlace::NO_ROOM);
        assert_eq!(placed(44), [(held, 0), (held, 40), (none, 0)]);
        assert_eq!(placed(43), [(held, 0), (no_room, 0), (none, 0)]);
        assert_eq!(placed(39), [(no_room, 0), (no_room, 0), (none, 0)]);
        let first = of(44)[0];
        assert_eq!((first.x, first.y, first.width, first.height), (20, 20, 20, 40));
        assert_eq!(first.roi, [20 * 256, 20 * 256, 40 * 256, 60 * 256]);
    }
}
