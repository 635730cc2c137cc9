//! Whole pictures: what must and must not be coloured, in every format, size and state.

use std::sync::Arc;

use super::*;
use crate::frame::{Image, PixelFormat, Plane, YuvMatrix};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::{InstanceMask, MaskRuns, SoftMask};

/// An instance whose mask is the set of pixels of `inside`, which must hold one.
pub(crate) fn instance_of(class_id: u32, score: f32, size: ImageSize, inside: impl Fn(u32, u32) -> bool) -> Instance {
    let all = (0..size.width).flat_map(|x| (0..size.height).map(move |y| (x, y)));
    let set: Vec<(u32, u32)> = all.filter(|&(x, y)| inside(x, y)).collect();
    let edge = |f: fn(&(u32, u32)) -> u32| {
        let (low, high) = (set.iter().map(f).min(), set.iter().map(f).max());
        (low.expect("a pixel"), high.expect("a pixel") + 1)
    };
    let ((x0, x1), (y0, y1)) = (edge(|p| p.0), edge(|p| p.1));
    let (mut runs, mut value) = (vec![0u32], false);
    for x in x0..x1 {
        for y in y0..y1 {
            if inside(x, y) != value {
                value = !value;
                runs.push(0);
            }
            *runs.last_mut().expect("a run") += 1;
        }
    }
    let q8 = |px: u32| px as i32 * LatticeBox::STEPS;
    let bounds = LatticeBox {
        x0: q8(x0),
        y0: q8(y0),
        x1: q8(x1),
        y1: q8(y1),
    };
    Instance {
        class_id,
        score,
        bounds,
        mask: Some(InstanceMask {
            soft: Some(SoftMask {
                roi: bounds,
                side: 1,
                values: vec![255],
            }),
            runs: Some(MaskRuns {
                x: x0,
                y: y0,
                width: x1 - x0,
                height: y1 - y0,
                runs,
            }),
        }),
    }
}

fn grey(size: ImageSize) -> Image {
    Image::packed(PixelFormat::Rgb8, size, vec![100; size.area() as usize * 3]).expect("image")
}

fn disc(size: ImageSize, class_id: u32, cx: i32, cy: i32, r: i32) -> Instance {
    instance_of(class_id, 0.97, size, |x, y| {
        (x as i32 - cx).pow(2) + (y as i32 - cy).pow(2) <= r * r
    })
}

fn caption() -> Caption {
    Caption {
        camera: "dock-3".to_owned(),
        capture_unix_nanos: Some(1_700_000_000_123_000_000),
        frame_number: 1234,
        latency_nanos: Some(38_400_000),
        engine: "conveyor".to_owned(),
        ..Caption::default()
    }
}

fn classes() -> ClassMap {
    ClassMap {
        names: ["bottle", "can", "mug"].map(str::to_owned).to_vec(),
    }
}

#[test]
fn a_mask_colours_its_pixels_and_only_those() {
    let size = ImageSize::new(640, 480);
    let mut canvas = Canvas::from_image(&grey(size), Space::Rgb);
    draw(
        &mut canvas,
        &[disc(size, 1, 320, 240, 60)],
        &classes(),
        &Caption::default(),
    );
    // Class 1 is (255, 138, 0); fill 92/256 of it over 100: 100 + (255 - 100) * 92 / 256 = 155.7.
    let Rgb(r, g, b) = canvas.pixel(320, 240);
    assert!(
        r.abs_diff(156) <= 1 && g.abs_diff(114) <= 1 && b.abs_diff(64) <= 1,
        "{r} {g} {b}"
    );
    let Rgb(r, g, b) = canvas.pixel(320 - 60, 240); // the outline: 240/256
    assert!(r > 240 && g.abs_diff(136) <= 2 && b < 10, "{r} {g} {b}");
    assert!(canvas.pixel(320 - 61, 240).luma() < 100, "the dark hair line");
    for (x, y) in [(320, 310), (250, 240), (10, 10), (639, 479), (275, 195)] {
        assert_eq!(canvas.pixel(x, y), Rgb(100, 100, 100), "({x}, {y})");
    }
}

#[test]
fn the_best_instance_lies_on_top() {
    let size = ImageSize::new(640, 480);
    let mut canvas = Canvas::from_image(&grey(size), Space::Rgb);
    let both = [disc(size, 0, 300, 240, 60), disc(size, 1, 340, 240, 60)];
    draw(&mut canvas, &both, &classes(), &Caption::default());
    let Rgb(r, g, b) = canvas.pixel(359, 240); // right outline of the first, inside the second
    assert!(r < 40 && g > 150 && b > 220, "{r} {g} {b}");
}

#[test]
fn a_tombstone_shows_its_reason_and_no_mask() {
    let size = ImageSize::new(640, 480);
    let stale = [disc(size, 1, 320, 380, 40)];
    let mut canvas = Canvas::from_image(&grey(size), Space::Rgb);
    let no_result = Some(NoResult {
        reason: "OVERLOADED".to_owned(),
        detail: String::new(),
    });
    draw(&mut canvas, &stale, &classes(), &Caption { no_result, ..caption() });
    assert_eq!(canvas.pixel(320, 380), Rgb(100, 100, 100), "no stale mask");
    let rows: Vec<u32> = (0..480)
        .filter(|&y| canvas.pixel(2, y).0 > 150 && canvas.pixel(2, y).1 < 70)
        .collect();
    assert!(
        rows.len() >= 30 && rows.iter().all(|y| (80..240).contains(y)),
        "{rows:?}"
    );
    let white = rows
        .iter()
        .any(|&y| (200..440).any(|x| canvas.pixel(x, y).luma() > 230));
    assert!(white, "letters on the banner");
}

#[test]
fn degradations_get_a_strip_above_the_status_bar() {
    let size = ImageSize::new(640, 480);
    let mut canvas = Canvas::from_image(&grey(size), Space::Rgb);
    let degraded = vec!["DARK".to_owned(), "MASKS_SKIPPED".to_owned()];
    draw(&mut canvas, &[], &classes(), &Caption { degraded, ..caption() });
    let amber = (0..480).filter(|&y| canvas.pixel(1, y).0 > 220).count();
    let dark = (0..480).filter(|&y| canvas.pixel(1, y).luma() < 60).count();
    assert!((15..40).contains(&amber) && (15..40).contains(&dark), "{amber} {dark}");
    assert_eq!(canvas.pixel(1, 420), Rgb(100, 100, 100));
}

#[test]
fn every_size_down_to_one_pixel_is_drawn_without_a_panic() {
    for (w, h) in [
        (1, 1),
        (2, 1),
        (1, 9),
        (15, 17),
        (33, 8),
        (320, 240),
        (641, 479),
        (100, 1000),
    ] {
        let size = ImageSize::new(w, h);
        for space in [Space::Rgb, Space::Video] {
            let mut canvas = Canvas::from_image(&grey(size), space);
            let one = [instance_of(7, 0.5, size, |_, _| true)];
            draw(
                &mut canvas,
                &one,
                &classes(),
                &Caption {
                    degraded: vec!["DARK".into()],
                    ..caption()
                },
            );
            let no_result = Some(NoResult {
                reason: "SOURCE_STALLED".into(),
                detail: "no frame for 12.5 s".into(),
            });
            draw(&mut canvas, &one, &classes(), &Caption { no_result, ..caption() });
            let coded = coded_size(size);
            assert!(
                coded.width.is_multiple_of(2)
                    && coded.height.is_multiple_of(2)
                    && coded.width >= 16
                    && coded.height >= 16
            );
            i420(&canvas);
        }
    }
}

#[test]
fn boxes_and_masks_beyond_the_frame_are_cut() {
    let size = ImageSize::new(64, 48);
    let mut wild = disc(size, 0, 32, 24, 10);
    wild.bounds = LatticeBox {
        x0: -90_000,
        y0: -90_000,
        x1: 900_000,
        y1: 900_000,
    };
    if let Some(InstanceMask { runs: Some(runs), .. }) = &mut wild.mask {
        (runs.x, runs.y) = (60, 47);
        runs.runs = vec![u32::MAX, u32::MAX, 3];
    }
    let mut canvas = Canvas::from_image(&grey(size), Space::Rgb);
    draw(&mut canvas, &[wild], &ClassMap { names: vec![] }, &Caption::default());
}

fn layout(size: ImageSize) -> ([Plane; 3], usize) {
    let (w, h) = (size.width as usize, size.height as usize);
    let planes =
        [(0, w), (w * h, w / 2), (w * h * 5 / 4, w / 2)].map(|(offset, row_pitch)| Plane { offset, row_pitch });
    (planes, w * h * 3 / 2)
}

fn i420(canvas: &Canvas) -> Image {
    let coded = coded_size(canvas.size());
    let (planes, len) = layout(coded);
    let mut bytes = vec![0u8; len];
    canvas.write_i420(planes, &mut bytes);
    let matrix = canvas.matrix().unwrap_or(YuvMatrix::Bt601Limited);
    Image::new(PixelFormat::I420, matrix, coded, planes, Arc::new(bytes)).expect("image")
}

/// A smooth picture with hard colour edges, as R'G'B'.
fn colours(size: ImageSize) -> Image {
    let mut bytes = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            let block = (x / 8 + y / 8) % 4;
            let ramp = (4 * x + 2 * y) as u8;
            bytes.extend(match block {
                0 => [ramp, ramp, ramp],
                1 => [255, 20, 20],
                2 => [20, 230, 40],
                _ => [10, 30, 240],
            });
        }
    }
    Image::packed(PixelFormat::Rgb8, size, bytes).expect("image")
}

#[test]
fn rgb_through_the_encoders_format_and_back_keeps_its_colours() {
    for (size, matrix) in [
        (ImageSize::new(64, 48), YuvMatrix::Bt601Limited),
        (ImageSize::new(64, 720), YuvMatrix::Bt709Limited),
    ] {
        let source = colours(size);
        let canvas = Canvas::from_image(&source, Space::Video);
        assert_eq!(canvas.matrix(), Some(matrix));
        let (before, after) = (to_rgb(&source), to_rgb(&i420(&canvas)));
        let worst = before.iter().zip(after.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(5), "{worst:?}"); // 8-bit Y'CbCr in, 8-bit R'G'B' out
    }
}

/// The same Y'CbCr numbers in all four camera layouts, with padded rows and odd sides.
#[test]
fn every_layout_gives_the_same_canvas() {
    for size in [ImageSize::new(10, 6), ImageSize::new(7, 5), ImageSize::new(1, 1)] {
        let (w, h) = (size.width as usize, size.height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (y_at, u_at, v_at) = (
            |x: usize, y: usize| (16 + 9 * x + 7 * y) as u8,
            |x: usize, _: usize| (100 + 5 * x) as u8,
            |x: usize, _: usize| (180 - 3 * x) as u8,
        );
        let pad = 3;
        let mut i420 = Vec::new();
        let mut nv12 = Vec::new();
        let mut yuy2 = Vec::new();
        for y in 0..h {
            i420.extend((0..w + pad).map(|x| if x < w { y_at(x, y) } else { 0xee }));
            for x in 0..cw {
                let right = (2 * x + 1).min(w - 1);
                yuy2.extend([y_at(2 * x, y), u_at(x, y / 2), y_at(right, y), v_at(x, y / 2)]);
            }
        }
        nv12.extend_from_slice(&i420);
        for y in 0..ch {
            nv12.extend((0..cw).flat_map(|x| [u_at(x, y), v_at(x, y)]));
        }
        i420.extend((0..ch).flat_map(|y| (0..cw).map(move |x| u_at(x, y))));
        i420.extend((0..ch).flat_map(|y| (0..cw).map(move |x| v_at(x, y))));
        let plane = |offset, row_pitch| Plane { offset, row_pitch };
        let luma = (w + pad) * h;
        let make = |format, planes, bytes: Vec<u8>| {
            Image::new(format, YuvMatrix::Bt709Full, size, planes, Arc::new(bytes)).expect("image")
        };
        let images = [
            make(
                PixelFormat::I420,
                [plane(0, w + pad), plane(luma, cw), plane(luma + cw * ch, cw)],
                i420,
            ),
            make(
                PixelFormat::Nv12,
                [plane(0, w + pad), plane(luma, 2 * cw), plane(0, 0)],
                nv12,
            ),
            make(PixelFormat::Yuy2, [plane(0, 4 * cw), plane(0, 0), plane(0, 0)], yuy2),
        ];
        for image in &images {
            let canvas = Canvas::from_image(image, Space::Video);
            assert_eq!(canvas.matrix(), Some(YuvMatrix::Bt709Full));
            for y in 0..h {
                for x in 0..w {
                    let at = y * w + x;
                    let got = [canvas.data[0][at], canvas.data[1][at], canvas.data[2][at]];
                    assert_eq!(
                        got,
                        [y_at(x, y), u_at(x / 2, y), v_at(x / 2, y)],
                        "{:?} {size} {x} {y}",
                        image.format
                    );
                }
            }
        }
    }
}

#[test]
fn what_nothing_was_drawn_on_reaches_the_encoder_unchanged() {
    let size = ImageSize::new(64, 48);
    let source = i420(&Canvas::from_image(&colours(size), Space::Video));
    let again = i420(&Canvas::from_image(&source, Space::Video));
    assert_eq!(source.bytes(), again.bytes());
}

#[test]
fn odd_pictures_repeat_their_last_column_and_row() {
    let size = ImageSize::new(17, 19);
    let coded = i420(&Canvas::from_image(&colours(size), Space::Video));
    assert_eq!(coded.size, ImageSize::new(18, 20));
    assert_eq!(coded.row(0, 19), coded.row(0, 18));
    assert_eq!(coded.row(0, 3)[17], coded.row(0, 3)[16]);
    let tiny = i420(&Canvas::from_image(&colours(ImageSize::new(3, 2)), Space::Video));
    assert_eq!(tiny.size, ImageSize::new(16, 16));
    assert!(tiny.row(0, 9)[3..].iter().all(|v| *v == tiny.row(0, 1)[2]));
}

#[test]
fn grey_and_bgr_pictures_keep_their_values_in_stills() {
    let size = ImageSize::new(3, 1);
    let image = |format, bytes: &[u8]| Image::packed(format, size, bytes.to_vec()).expect("image");
    assert_eq!(
        to_rgb(&image(PixelFormat::Gray8, &[0, 7, 255])).as_raw(),
        &[0, 0, 0, 7, 7, 7, 255, 255, 255]
    );
    let bgr = to_rgb(&image(PixelFormat::Bgr8, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(bgr.as_raw(), &[3, 2, 1, 6, 5, 4, 9, 8, 7]);
}

#[test]
fn a_still_that_cannot_be_written_names_its_file() {
    let canvas = Canvas::blank(ImageSize::new(4, 4), Space::Rgb);
    let error = save_png(&canvas, Path::new("/nonexistent/still.png")).expect_err("no such directory");
    assert!(error.to_string().contains("/nonexistent/still.png"), "{error}");
}

#[test]
fn known_colours_in_known_matrices() {
    // ITU-R BT.601 / BT.709, 8 bit: red, and white.
    let of = |matrix, colour| super::convert::yuv_of(matrix, colour);
    assert_eq!(of(YuvMatrix::Bt601Limited, Rgb(255, 0, 0)), [81, 90, 240]);
    assert_eq!(of(YuvMatrix::Bt709Limited, Rgb(255, 0, 0)), [63, 102, 240]);
    assert_eq!(of(YuvMatrix::Bt601Full, Rgb(255, 0, 0)), [76, 85, 255]);
    assert_eq!(of(YuvMatrix::Bt709Limited, Rgb::WHITE), [235, 128, 128]);
    for matrix in [YuvMatrix::Bt601Limited, YuvMatrix::Bt709Full] {
        let Rgb(r, g, b) = super::convert::rgb_of(matrix, of(matrix, Rgb(12, 200, 99)));
        assert!(
            r.abs_diff(12) <= 2 && g.abs_diff(200) <= 2 && b.abs_diff(99) <= 2,
            "{r} {g} {b}"
        );
    }
}
