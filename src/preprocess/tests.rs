use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::frame::Plane;

const IMAGENET: Normalise = Normalise {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};
const IDENTITY: Normalise = Normalise {
    mean: [0.0; 3],
    std: [1.0; 3],
};
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

/// Bytes from a small generator, rows padded by `pad` bytes.
fn noise(format: PixelFormat, matrix: YuvMatrix, size: ImageSize, pad: usize, seed: u64) -> Image {
    let mut planes = [Plane {
        offset: 0,
        row_pitch: 0,
    }; 3];
    let mut len = 0;
    for (plane, (row, rows)) in planes.iter_mut().zip(format.plane_extents(size)) {
        *plane = Plane {
            offset: len + 1,
            row_pitch: row + pad,
        };
        len += 1 + (row + pad) * rows;
    }
    let mut state = seed;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect();
    Image::new(format, matrix, size, planes, Arc::new(bytes)).unwrap()
}

fn fast(image: &Image, network: ImageSize, normalise: Normalise) -> (Letterbox, Vec<f32>) {
    let mut out = vec![f32::NAN; 3 * network.area() as usize];
    let letterbox = Letterbox::fit(image.size, network).unwrap();
    Preprocessor::new(normalise, Resampling::Bilinear)
        .run(image, &letterbox, &mut out)
        .unwrap();
    (letterbox, out)
}

fn largest_difference(image: &Image, network: ImageSize) -> f32 {
    let mut plain = vec![f32::NAN; 3 * network.area() as usize];
    let letterbox = Letterbox::fit(image.size, network).unwrap();
    Preprocessor::new(IMAGENET, Resampling::Bilinear)
        .run_plain(image, &letterbox, &mut plain)
        .unwrap();
    let (_, fast) = fast(image, network, IMAGENET);
    assert!(fast.iter().chain(&plain).all(|v| v.is_finite()));
    plain.iter().zip(&fast).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn equals_torchvision_on_an_odd_picture() {
    #[rustfmt::skip]
    let pixels = vec![
        10, 200, 30, 40, 50, 250, 70, 80, 90, 0, 255, 128, 5, 6, 7,
        1, 2, 3, 100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200, 210,
        255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0, 12, 34, 56,
    ];
    let source = ImageSize::new(5, 3);
    let image = Image::packed(PixelFormat::Rgb8, source, pixels).unwrap();
    // torch 2.15: (F.interpolate(x / 255, size, mode="bilinear", align_corners=False) - mean) / std; flattened
    #[rustfmt::skip]
    let smaller = [
        -1.884_043_9, -0.983_388_9, -1.143_933_5, -1.264_342_1, 0.805_077_3, -1.641_621_7, 0.565_866_2, -0.776_286_5,
        0.411_983_4, -0.700_805_3, 1.145_636_4, -0.689_316_4, -1.549_347_8, 0.587_600_5, 0.751_728_8, -0.367_625_2,
        -0.976_013_1, 1.251_111_1, 0.417_777_8, -0.616_535_9, -1.727_647_1, 0.017_451_0, 0.180_849_8, -0.265_228_6f32,
    ];
    // Of the enlarged one the first rows of red, green, blue.
    let larger = [
        [
            -1.946_656_5,
            -1.653_089_3,
            -1.286_130_2,
            -0.919_171_2,
            -1.775_409_1,
            -2.081_208,
            -2.032_280_2f32,
        ],
        [
            1.465_686_3,
            -0.034_914_0,
            -1.010_304,
            -0.635_154,
            1.553_221_6,
            0.560_324,
            -1.930_672_2,
        ],
        [
            -1.281_568_6,
            0.909_530_2,
            1.756_090_8,
            -0.235_816_9,
            0.237_261_5,
            -0.477_335_7,
            -1.682_44,
        ],
    ];
    for (width, height) in [(4, 2), (7, 4)] {
        let resized = ImageSize::new(width, height);
        let letterbox = Letterbox {
            source,
            resized,
            network: resized,
        };
        let kind = Kind {
            format: image.format,
            matrix: image.matrix,
            letterbox,
        };
        let mut plain = vec![0.0; 3 * resized.area() as usize];
        plain::run(&image, &letterbox, IMAGENET, &mut plain);
        let mut quick = plain.clone();
        fast::Plan::new(&kind, IMAGENET).run(&image, &mut quick);
        for out in [plain, quick] {
            let near = |got: f32, want: f32| assert!((got - want).abs() < 2e-5, "{got} {want}");
            if width == 4 {
                out.iter().zip(smaller).for_each(|(&got, want)| near(got, want));
            } else {
                for (plane, row) in out.chunks_exact(28).zip(larger) {
                    plane.iter().zip(row).for_each(|(&got, want)| near(got, want));
                }
            }
        }
    }
}

#[test]
fn padding_is_zero_after_normalisation() {
    let image = Image::packed(PixelFormat::Gray8, ImageSize::new(4, 2), vec![255; 8]).unwrap();
    let (letterbox, out) = fast(&image, ImageSize::new(4, 4), IMAGENET);
    assert_eq!(letterbox.resized, ImageSize::new(4, 2));
    for (c, plane) in out.chunks_exact(16).enumerate() {
        let white = (1.0 - IMAGENET.mean[c]) / IMAGENET.std[c];
        assert!(plane[..8].iter().all(|v| (v - white).abs() < 1e-5), "{plane:?}");
        assert_eq!(plane[8..], [0.0; 8]);
    }
    let tall = Image::packed(PixelFormat::Gray8, ImageSize::new(1, 4), vec![255; 4]).unwrap();
    let (_, out) = fast(&tall, ImageSize::new(4, 4), IDENTITY);
    assert_eq!(out[..8], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn one_colour_comes_through_every_format_and_matrix() {
    // White and black in full and limited range: no interpolation can hide a wrong plane.
    let size = ImageSize::new(3, 3);
    for format in FORMATS {
        for matrix in MATRICES {
            let limited = matches!(matrix, YuvMatrix::Bt601Limited | YuvMatrix::Bt709Limited);
            for (level, full, video) in [(0.0, 0, 16), (1.0, 255, 235)] {
                let stored = if limited { video } else { full };
                let bytes: Vec<u8> = match format {
                    PixelFormat::Rgb8 | PixelFormat::Bgr8 => vec![full; 27],
                    PixelFormat::Gray8 => vec![full; 9],
                    PixelFormat::Nv12 | PixelFormat::I420 => [vec![stored; 9], vec![128; 8]].concat(),
                    PixelFormat::Yuy2 => [stored, 128].repeat(12),
                };
                let chroma = size.width.div_ceil(2) as usize;
                let row_pitch = format.plane_extents(size)[0].0;
                let planes = match format {
                    PixelFormat::I420 => [(0, 3), (9, chroma), (13, chroma)],
                    _ => [(0, row_pitch), (9, 2 * chroma), (0, 0)],
                }
                .map(|(offset, row_pitch)| Plane { offset, row_pitch });
                let image = Image::new(format, matrix, size, planes, Arc::new(bytes)).unwrap();
                let (_, out) = fast(&image, size, IDENTITY);
                assert!(
                    out.iter().all(|v| (v - level).abs() < 1e-5),
                    "{format:?} {matrix:?} {out:?}"
                );
            }
        }
    }
}

#[test]
fn red_and_blue_are_not_swapped() {
    let size = ImageSize::new(2, 2);
    let means = |image: &Image| {
        let (_, out) = fast(image, size, IDENTITY);
        [0, 1, 2].map(|c| (out[4 * c..4 * c + 4].iter().sum::<f32>() * 25.0).round())
    };
    let rgb = Image::packed(PixelFormat::Rgb8, size, [255, 0, 51].repeat(4)).unwrap();
    let bgr = Image::packed(PixelFormat::Bgr8, size, [51, 0, 255].repeat(4)).unwrap();
    // 601 limited red: 81, 90, 240
    let yuy2 = Image::packed(PixelFormat::Yuy2, size, [81, 90, 81, 240].repeat(2)).unwrap();
    assert_eq!(means(&rgb), [100.0, 0.0, 20.0]);
    assert_eq!(means(&bgr), [100.0, 0.0, 20.0]);
    assert_eq!(means(&yuy2), [100.0, 0.0, 0.0]);
}

#[test]
fn a_plan_is_rebuilt_when_the_picture_changes() {
    let network = ImageSize::new(64, 32);
    let mut pre = Preprocessor::new(IMAGENET, Resampling::Bilinear);
    let mut out = vec![0.0; 3 * 64 * 32];
    for (format, size) in [
        (PixelFormat::I420, (90, 40)),
        (PixelFormat::Rgb8, (30, 40)),
        (PixelFormat::I420, (90, 40)),
    ] {
        let image = noise(format, YuvMatrix::Bt709Full, ImageSize::new(size.0, size.1), 3, 9);
        let fit = Letterbox::fit(image.size, network).unwrap();
        pre.run(&image, &fit, &mut out).unwrap();
        assert_eq!(out, fast(&image, network, IMAGENET).1);
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let image = Image::packed(PixelFormat::Gray8, ImageSize::new(2, 2), vec![0; 4]).unwrap();
    let mut pre = Preprocessor::new(IMAGENET, Resampling::Bilinear);
    let mut refused = |source, resized, network, values: usize| {
        let size = |side| ImageSize::new(side, side);
        let fit = Letterbox {
            source: size(source),
            resized: size(resized),
            network: size(network),
        };
        pre.run(&image, &fit, &mut vec![0.0; values]).unwrap_err().to_string()
    };
    assert_eq!(refused(2, 4, 4, 47), "network input of 4x4 has 47 values: expected 48");
    assert_eq!(refused(3, 4, 4, 48), "a picture of 2x2: the plan is for 3x3");
    assert!(refused(2, 5, 4, 48).contains("does not fit a network input of 4x4"));
    assert!(refused(2, 0, 4, 48).contains("does not fit"));
}

/// Sum of the same pixels resized by Pillow 11.3.0 to other sizes, and of value * (position + 1).
const PILLOW_SUMS: [(ImageSize, u64, u64); 5] = [
    (ImageSize::new(40, 3), 45485, 8204612),
    (ImageSize::new(5, 30), 56825, 12902926),
    (ImageSize::new(13, 20), 98108, 38568748),
    (ImageSize::new(31, 7), 81964, 26878333),
    (ImageSize::new(64, 48), 1159410, 5379001223),
];

/// Pillow 13.0.0: `Image.fromarray(x).resize((5, 3), Image.BILINEAR)` of 13x7 pixels `(37 i) % 256`.
#[test]
fn antialiased_pixels_are_those_of_pillow() {
    let bytes: Vec<u8> = (0..13 * 7 * 3).map(|i: u32| (37 * i % 256) as u8).collect();
    let image = Image::packed(PixelFormat::Rgb8, ImageSize::new(13, 7), bytes).unwrap();
    let small = antialias::resize(&image, ImageSize::new(5, 3)).unwrap();
    #[rustfmt::skip]
    let pillow = [
        104, 112, 149, 135, 119, 111, 116, 133, 132, 128, 115, 132, 138, 143, 111, 144, 124, 133, 116, 142, 128, 126, 115, 124, 127, 134, 118, 118, 131, 139, 124, 139, 145, 134, 122, 133, 141, 127, 110, 111, 120, 127, 131, 111, 125u8,
    ];
    assert_eq!(small.bytes(), pillow);
    // Larger one way, smaller the other; and one side as it is.
    for (to, sum, weighted) in PILLOW_SUMS {
        let resized = antialias::resize(&image, to).unwrap();
        let values = || resized.bytes().iter().map(|&v| u64::from(v));
        let by_place: u64 = values().zip(1..).map(|(v, i)| v * i).sum();
        assert_eq!((values().sum::<u64>(), by_place), (sum, weighted), "{to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_fast_pass_equals_the_plain_loops(
        format in 0usize..6, matrix in 0usize..4, width in 1u32..70, height in 1u32..50,
        network_width in 1u32..40, network_height in 1u32..40, pad in 0usize..9, seed in any::<u64>(),
    ) {
        let image = noise(FORMATS[format], MATRICES[matrix], ImageSize::new(width, height), pad, seed);
        let difference = largest_difference(&image, ImageSize::new(network_width, network_height));
        // Values span 4.4 (1 / std); 1e-4 is a fortieth of one step of 1/255.
        prop_assert!(difference < 1e-4, "{difference}");
    }
}

/// Milliseconds of one 640x480 picture: `cargo test --release --lib -- --ignored --nocapture preprocess_speed`.
#[test]
#[ignore = "a measurement"]
fn preprocess_speed() {
    use crate::time::{Clocks, SystemClocks};
    let network = ImageSize::new(384, 288);
    let mut out = vec![0.0; 3 * network.area() as usize];
    for (format, size) in FORMATS.iter().flat_map(|&f| [(f, (640, 480)), (f, (1920, 1080))]) {
        let image = noise(format, YuvMatrix::Bt601Limited, ImageSize::new(size.0, size.1), 0, 1);
        let mut pre = Preprocessor::new(IMAGENET, Resampling::Bilinear);
        let fit = Letterbox::fit(image.size, network).unwrap();
        let mut best = i64::MAX;
        for _ in 0..50 {
            let start = SystemClocks.mono_nanos();
            pre.run(&image, &fit, &mut out).unwrap();
            best = best.min(SystemClocks.mono_nanos() - start);
        }
        eprintln!("{format:?} {}x{}: {:.3} ms", size.0, size.1, best as f64 / 1e6);
    }
}
