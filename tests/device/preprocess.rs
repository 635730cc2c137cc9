//! Pictures through the kernel, bit by bit as the plain loop makes them; the ring that uploads them.

use maskcast::device::{DeviceError, HostRows, Kernels, UploadRing};
use maskcast::frame::{Image, PixelFormat, Plane, Residence, YuvMatrix};
use maskcast::geometry::{ImageSize, Letterbox, Resampling};
use maskcast::preprocess::{self, DevicePreprocess, Normalise, PictureTable, TableError, launch};

use crate::device;

const UNIT: Normalise = Normalise {
    mean: [0.0; 3],
    std: [1.0; 3],
};

#[test]
fn every_format_and_size_comes_out_by_the_plain_loops_bits() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let checks = preprocess::check::check(&device, &kernels).unwrap();
    assert!(checks.len() > 30);
    for check in checks {
        assert!(check.values > 0);
        assert_eq!(check.different, 0, "{check:?}");
    }
}

/// A grey picture whose rows lie `gap` bytes apart, and its letterbox.
fn grey(width: u32, height: u32, gap: usize, seed: usize) -> (Image, Letterbox) {
    let size = ImageSize::new(width, height);
    let plane = Plane {
        offset: 5,
        row_pitch: width as usize + gap,
    };
    let bytes: Vec<u8> = (0..5 + plane.row_pitch * height as usize)
        .map(|i| ((i * 31 + seed * 17) % 251) as u8)
        .collect();
    let image = Image::new(
        PixelFormat::Gray8,
        YuvMatrix::Bt601Full,
        size,
        [plane; 3],
        std::sync::Arc::new(bytes),
    );
    let letterbox = Letterbox {
        source: size,
        resized: size,
        network: ImageSize::new(64, 64),
    };
    (image.unwrap(), letterbox)
}

#[test]
fn the_ring_wraps_grows_to_the_largest_picture_and_then_allocates_nothing() {
    let device = device();
    let mut ring = UploadRing::new(&device, "pictures", 3).unwrap();
    let stream = device.stream("reader").unwrap();
    let mut show = |width: u32, height: u32, gap: usize, seed: usize| {
        let (image, _) = grey(width, height, gap, seed);
        let picture = image.to_device(&mut ring).unwrap();
        picture.before(&stream).unwrap();
        let resident = Image::resident(picture);
        let back = resident.to_host().unwrap();
        for row in 0..height as usize {
            assert_eq!(back.row(0, row), image.row(0, row), "{width}x{height}, row {row}");
            assert_eq!(resident.row(0, row), image.row(0, row));
        }
        assert_eq!(
            (resident.residence(), back.residence()),
            (Residence::Device, Residence::Host)
        );
        resident
    };
    // All three slots at once, each as large as any.
    let held = [show(61, 33, 3, 1), show(61, 33, 0, 2), show(61, 33, 67, 3)];
    drop(held);
    let (allocations, live) = (device.allocations(), device.live_bytes());
    for seed in 0..20 {
        let one = show(1 + seed, 33, (seed % 5) as usize, seed as usize);
        let two = show(61, 1 + seed, 64 - 61, seed as usize + 1);
        drop((one, two));
    }
    assert_eq!((device.allocations(), device.live_bytes()), (allocations, live));
    assert_eq!((ring.uploads(), ring.slots()), (43, 3));
    let larger = grey(200, 90, 0, 9).0.to_device(&mut ring).unwrap();
    assert_eq!(
        device.allocations(),
        allocations + 2,
        "pinned and device memory of one slot"
    );
    drop(larger);
}

#[test]
fn a_slot_that_is_held_is_not_written() {
    let device = device();
    let mut ring = UploadRing::new(&device, "pictures", 2).unwrap();
    let (first, second) = (grey(20, 10, 0, 1).0, grey(20, 10, 0, 2).0);
    let held = (
        first.to_device(&mut ring).unwrap(),
        second.to_device(&mut ring).unwrap(),
    );
    let refused = grey(20, 10, 0, 3).0.to_device(&mut ring).unwrap_err();
    assert!(
        matches!(&refused, DeviceError::Busy { slots: 2, .. }),
        "{refused}: pictures are held"
    );
    drop(held.0);
    let third = grey(20, 10, 0, 3).0.to_device(&mut ring).unwrap();
    let rows = |image: &Image| (0..10).map(|y| image.row(0, y).to_vec()).collect::<Vec<_>>();
    assert_eq!(rows(&Image::resident(held.1)), rows(&second));
    assert_eq!(rows(&Image::resident(third)), rows(&grey(20, 10, 0, 3).0));
}

#[test]
fn rows_that_reach_beyond_their_bytes_are_refused() {
    let device = device();
    let mut ring = UploadRing::new(&device, "pictures", 2).unwrap();
    let rows = |row, rows, row_pitch| HostRows {
        bytes: &[7; 100],
        row,
        rows,
        row_pitch,
    };
    assert!(ring.put(&[rows(10, 10, 10)]).is_ok());
    assert!(ring.put(&[rows(10, 10, 11)]).is_err(), "the last row ends at 109");
    assert!(ring.put(&[rows(10, 2, usize::MAX)]).is_err());
    assert!(ring.put(&[rows(0, 0, 0)]).is_ok());
}

#[test]
fn pictures_are_held_until_they_were_read() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let network = ImageSize::new(64, 64);
    let kernel = DevicePreprocess::new(&kernels, UNIT, network, 2).unwrap();
    let mut out = device.buffer("input", 2 * 64 * 64 * launch::CHANNELS).unwrap();
    let mut table = PictureTable::new(&device, 2).unwrap();
    let mut ring = UploadRing::new(&device, "pictures", 4).unwrap();
    let stream = device.stream("engine").unwrap();
    let mut allocations = 0;
    for frame in 0..50 {
        let pictures = (0..1 + frame % 2)
            .map(|i| {
                let (image, letterbox) = grey(60, 40, 0, frame + i);
                Some((image.to_device(&mut ring).unwrap(), letterbox))
            })
            .collect();
        table.put(&stream, pictures).unwrap();
        assert_eq!(table.release().unwrap(), 1 + frame % 2, "nobody reads them yet");
        kernel
            .enqueue(&stream, table.params(), launch::output(&mut out, 2 * 64 * 64).unwrap())
            .unwrap();
        table.mark(&stream).unwrap();
        assert_eq!(table.release().unwrap(), 0, "the ring waits for the reader");
        if frame == 10 {
            allocations = device.allocations();
        }
    }
    assert_eq!(device.allocations(), allocations, "a frame allocates nothing");
    stream.synchronize().unwrap();
    assert_eq!(table.release().unwrap(), 0);
    // A caller that never says when: the table waits by itself.
    for frame in 0..10 {
        let (image, letterbox) = grey(60, 40, 0, frame);
        let picture = image.to_device(&mut ring).unwrap();
        table.put(&stream, vec![Some((picture, letterbox))]).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let network = ImageSize::new(16, 8);
    let kernel = DevicePreprocess::new(&kernels, UNIT, network, 2).unwrap();
    let stream = device.stream("engine").unwrap();
    let mut table = PictureTable::new(&device, 1).unwrap();
    let mut out = device.buffer("input", 2 * 16 * 8 * launch::CHANNELS).unwrap();
    let short = kernel.enqueue(&stream, table.params(), launch::output(&mut out, 256).unwrap());
    assert!(short.unwrap_err().to_string().contains("picture table"));
    let table_of_two = PictureTable::new(&device, 2).unwrap();
    let other = kernel.enqueue(&stream, table_of_two.params(), launch::output(&mut out, 255).unwrap());
    assert!(other.unwrap_err().to_string().contains("positions"));
    assert!(launch::output(&mut out, 257).is_err());
    assert!(kernels.get("preprocess_of_another").is_err());

    let (image, letterbox) = grey(20, 10, 0, 1);
    let mut ring = UploadRing::new(&device, "pictures", 2).unwrap();
    let picture = image.to_device(&mut ring).unwrap();
    let wrong = Letterbox {
        source: ImageSize::new(21, 10),
        ..letterbox
    };
    let pair = |letterbox| vec![Some((picture.clone(), letterbox))];
    assert!(matches!(
        table.put(&stream, pair(wrong)).unwrap_err(),
        TableError::Picture(_)
    ));
    let two = [pair(letterbox), pair(letterbox)].concat();
    assert_eq!(
        table.put(&stream, two).unwrap_err(),
        TableError::Batch { batch: 1, got: 2 }
    );
}

#[test]
fn antialiased_pictures_are_made_small_before_they_travel() {
    let (image, _) = grey(60, 40, 3, 1);
    let letterbox = Letterbox::fit(image.size, ImageSize::new(16, 16)).unwrap();
    let none = preprocess::made_small(&image, &letterbox, Resampling::Bilinear).unwrap();
    assert!(none.is_none());
    let (small, placed) = preprocess::made_small(&image, &letterbox, Resampling::Antialiased)
        .unwrap()
        .unwrap();
    assert_eq!(
        (small.size, placed.source, placed.resized),
        (letterbox.resized, letterbox.resized, letterbox.resized)
    );
    assert_eq!(placed.network, letterbox.network);
}
