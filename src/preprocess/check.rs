//! The kernel against the plain loop, bit by bit: in tests on the stand-in driver, and on a GPU.

use super::{DevicePreprocess, Normalise, PictureTable, Preprocessor, launch};
use crate::device::{Device, DeviceBuffer, DeviceError, Kernels, UploadRing};
use crate::frame::{DevicePicture, Image, PixelFormat, Plane, YuvMatrix};
use crate::geometry::{ImageSize, Letterbox, Resampling};
use crate::ops::device::{Check, Noise};

const FORMATS: [PixelFormat; 6] = [
    PixelFormat::Rgb8,
    PixelFormat::Bgr8,
    PixelFormat::Gray8,
    PixelFormat::Nv12,
    PixelFormat::I420,
    PixelFormat::Yuy2,
];

const MATRICES: [YuvMatrix; 4] = [
    YuvMatrix::Bt601Limited,
    YuvMatrix::Bt601Full,
    YuvMatrix::Bt709Limited,
    YuvMatrix::Bt709Full,
];

const IMAGENET: Normalise = Normalise {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// Values 0..255, as networks of Detectron take them.
const BYTES: Normalise = Normalise {
    mean: [0.0, 0.0, 0.0],
    std: [1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0],
};

/// A batch: `None` = an empty slot.
type Batch = Vec<Option<(Image, Letterbox)>>;

/// Pictures of every format, matrix and kind of size, alone and mixed in batches with empty slots, by plain launches and by
/// a captured one that is replayed over other pictures.
pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut noise = Noise(0x5eed_0005);
    let mut checks = Vec::new();
    for (name, sizes) in [
        ("shrunk", [(97, 61), (131, 75), (64, 99), (201, 40)]),
        ("enlarged", [(5, 3), (1, 1), (2, 7), (13, 11)]),
        ("as it is", [(37, 29), (37, 3), (1, 29), (36, 29)]),
    ] {
        for format in FORMATS {
            let network = ImageSize::new(37, 29);
            let batch = sizes.iter().zip(MATRICES).map(|(&(w, h), matrix)| {
                let size = ImageSize::new(w, h);
                let letterbox = if name == "as it is" {
                    at_corner(size, network)
                } else {
                    Letterbox::fit(size, network)
                };
                Some((picture(format, matrix, size, &mut noise)?, letterbox?))
            });
            let mut run = Run::new(device, kernels, IMAGENET, network, sizes.len())?;
            checks.push(run.eager(&format!("{format:?} {name}"), &batch.collect())?);
        }
    }
    for (normalise, words) in [(IMAGENET, "mean and std"), (BYTES, "0..255")] {
        let network = ImageSize::new(96, 64);
        let batches: Vec<Batch> = (0..3).map(|_| mixed(network, 7, &mut noise)).collect();
        let mut run = Run::new(device, kernels, normalise, network, 7)?;
        for batch in &batches {
            checks.push(run.eager(&format!("mixed batch, {words}"), batch)?);
        }
        checks.extend(run.replayed(&format!("mixed batch, {words}, replayed"), &batches)?);
        checks.push(run.eager("a batch that is not full", &batches[0][..2].to_vec())?);
        checks.push(run.eager("an empty batch", &Vec::new())?);
    }
    let network = ImageSize::new(320, 192);
    let camera = ImageSize::new(1280, 720);
    let full = Letterbox::fit(camera, network);
    let batch = vec![picture(PixelFormat::Nv12, YuvMatrix::Bt709Limited, camera, &mut noise).zip(full)];
    let mut run = Run::new(device, kernels, IMAGENET, network, 1)?;
    checks.push(run.eager("NV12 1280x720", &batch)?);
    checks.extend(run.tiles("tiles of one NV12 picture", &batch)?);
    Ok(checks)
}

/// Not scaled, in the top-left corner.
fn at_corner(size: ImageSize, network: ImageSize) -> Option<Letterbox> {
    Some(Letterbox {
        source: size,
        resized: size,
        network,
    })
}

/// Of every format and many sizes, with empty slots between.
fn mixed(network: ImageSize, slots: usize, noise: &mut Noise) -> Batch {
    let slot = |i: usize| {
        if i % 4 == 3 {
            return None;
        }
        let size = ImageSize::new(1 + noise.below(300) as u32, 1 + noise.below(200) as u32);
        let matrix = MATRICES[noise.below(MATRICES.len())];
        let letterbox = Letterbox::fit(size, network)?;
        Some((picture(FORMATS[i % FORMATS.len()], matrix, size, noise)?, letterbox))
    };
    (0..slots).map(slot).collect()
}

/// Noise, in rows and planes with bytes between; one picture in four has rows without.
fn picture(format: PixelFormat, matrix: YuvMatrix, size: ImageSize, noise: &mut Noise) -> Option<Image> {
    let padding = noise.below(4) * 7;
    let mut end = noise.below(3);
    let planes = format.plane_extents(size).map(|(row, rows)| {
        let plane = Plane {
            offset: end,
            row_pitch: row + padding,
        };
        end += plane.row_pitch * rows + padding;
        plane
    });
    let bytes: Vec<u8> = (0..end)
        .map(|_| match noise.bits() {
            bits if bits >> 60 == 0 => 0, // the ends of the range oftener than by chance
            bits if bits >> 60 == 1 => 255,
            bits => bits as u8,
        })
        .collect();
    Image::new(format, matrix, size, planes, std::sync::Arc::new(bytes)).ok()
}

/// What a pipeline has for one size of network input.
struct Run<'a> {
    device: &'a Device,
    stream: crate::device::CudaStream,
    ring: UploadRing,
    table: PictureTable,
    kernel: DevicePreprocess,
    plain: Preprocessor,
    network: ImageSize,
    out: DeviceBuffer<half::f16>,
}

impl<'a> Run<'a> {
    fn new(
        device: &'a Device,
        kernels: &Kernels,
        normalise: Normalise,
        network: ImageSize,
        batch: usize,
    ) -> Result<Run<'a>, DeviceError> {
        let values = batch * network.area() as usize * launch::CHANNELS;
        Ok(Run {
            device,
            stream: device.stream("preprocess check")?,
            ring: UploadRing::new(device, "pictures of the preprocess check", 4 * batch)?,
            table: PictureTable::new(device, batch)?,
            kernel: DevicePreprocess::new(kernels, normalise, network, batch)?,
            plain: Preprocessor::new(normalise, Resampling::Bilinear),
            network,
            out: device.buffer("preprocess output", values)?,
        })
    }

    fn batch(&self) -> usize {
        self.table.params().len()
    }

    fn enqueue(&mut self) -> Result<(), DeviceError> {
        let (positions, stream) = (self.batch() * self.network.area() as usize, &self.stream);
        let out = launch::output(&mut self.out, positions)?;
        self.kernel.enqueue(stream, self.table.params(), out)
    }

    fn show(&mut self, batch: &Batch) -> Result<(), DeviceError> {
        let mut pictures = Vec::new();
        for slot in batch {
            pictures.push(match slot {
                Some((image, letterbox)) => Some((image.to_device(&mut self.ring)?, *letterbox)),
                None => None,
            });
        }
        self.put(pictures)
    }

    fn put(&mut self, pictures: Vec<Option<(DevicePicture, Letterbox)>>) -> Result<(), DeviceError> {
        // Whatever is not written stays a NaN.
        self.stream.fill(self.out.slice_mut(), 0xff)?;
        self.table.put(&self.stream, pictures).map_err(of_check)
    }

    fn eager(&mut self, what: &str, batch: &Batch) -> Result<Check, DeviceError> {
        self.show(batch)?;
        self.enqueue()?;
        self.table.mark(&self.stream)?;
        self.compare(what, batch)
    }

    fn replayed(&mut self, what: &str, batches: &[Batch]) -> Result<Vec<Check>, DeviceError> {
        let stream = self.device.stream("preprocess capture")?;
        let stream = std::mem::replace(&mut self.stream, stream);
        let mut graph = {
            let positions = self.batch() * self.network.area() as usize;
            let out = launch::output(&mut self.out, positions)?;
            let (kernel, table) = (&self.kernel, &self.table);
            stream.capture(|| kernel.enqueue(&stream, table.params(), out))?
        };
        self.stream = stream;
        let mut checks = Vec::new();
        for batch in batches {
            self.show(batch)?;
            graph.launch(&self.stream)?;
            self.table.mark(&self.stream)?;
            checks.push(self.compare(what, batch)?);
        }
        Ok(checks)
    }

    /// One upload, seen part by part.
    fn tiles(&mut self, what: &str, batch: &Batch) -> Result<Vec<Check>, DeviceError> {
        let mut checks = Vec::new();
        for (image, _) in batch.iter().flatten() {
            let whole = image.to_device(&mut self.ring)?;
            for (x, y, w, h) in [(0, 0, 501, 333), (700, 386, 580, 334)] {
                let tile = crate::geometry::Tile {
                    x,
                    y,
                    size: ImageSize::new(w, h),
                };
                let letterbox = Letterbox::fit(tile.size, self.network);
                let (on_device, on_host) = (whole.view(&tile).zip(letterbox), image.view(&tile).zip(letterbox));
                self.put(vec![on_device])?;
                self.enqueue()?;
                self.table.mark(&self.stream)?;
                checks.push(self.compare(what, &vec![on_host])?);
            }
        }
        Ok(checks)
    }

    fn compare(&self, what: &str, batch: &Batch) -> Result<Check, DeviceError> {
        let got = self.device.download(self.out.slice())?;
        let area = self.network.area() as usize;
        let mut expected = vec![half::f16::ZERO; got.len()];
        let mut planes = vec![0.0f32; 3 * area];
        for (slot, out) in batch.iter().zip(expected.chunks_exact_mut(area * launch::CHANNELS)) {
            let Some((image, letterbox)) = slot else { continue };
            self.plain.run_plain(image, letterbox, &mut planes).map_err(of_check)?;
            for (i, position) in out.chunks_exact_mut(launch::CHANNELS).enumerate() {
                for (channel, value) in position[..3].iter_mut().enumerate() {
                    *value = half::f16::from_f32(planes[channel * area + i]);
                }
            }
        }
        Ok(Check::of(format!("preprocess: {what}"), &expected, &got))
    }
}

fn of_check(error: impl std::fmt::Display) -> DeviceError {
    DeviceError::Kernel {
        kernel: "preprocess".to_owned(),
        reason: error.to_string(),
    }
}
