use super::*;

#[test]
fn short_buffers_are_refused_and_odd_sizes_round_chroma_up() {
    let size = ImageSize::new(5, 3);
    assert_eq!(PixelFormat::I420.plane_extents(size), [(5, 3), (3, 2), (3, 2)]);
    let planes = [
        Plane {
            offset: 0,
            row_pitch: 8,
        },
        Plane {
            offset: 24,
            row_pitch: 4,
        },
        Plane {
            offset: 32,
            row_pitch: 4,
        },
    ];
    let image = |len: usize| {
        Image::new(
            PixelFormat::I420,
            YuvMatrix::Bt601Limited,
            size,
            planes,
            Arc::new(vec![0u8; len]),
        )
    };
    assert!(image(39).is_ok());
    assert_eq!(image(38).map(|_| ()).map_err(|e| (e.needed, e.got)), Err((39, 38)));
    assert!(Image::packed(PixelFormat::Rgb8, ImageSize::new(0, 4), vec![]).is_err());
}

#[test]
fn a_pitch_below_the_row_is_refused() {
    let plane = Plane {
        offset: 0,
        row_pitch: 5,
    };
    let bytes = Arc::new(vec![0u8; 1000]);
    assert!(
        Image::new(
            PixelFormat::Rgb8,
            YuvMatrix::Bt601Limited,
            ImageSize::new(2, 2),
            [plane; 3],
            bytes
        )
        .is_err()
    );
}
#[test]
fn a_view_shows_the_same_samples_without_a_copy() {
    let size = ImageSize::new(11, 7);
    let tile = |x, y, w, h| Tile {
        x,
        y,
        size: ImageSize::new(w, h),
    };
    for format in [
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Gray8,
        PixelFormat::Nv12,
        PixelFormat::I420,
        PixelFormat::Yuy2,
    ] {
        // Every plane with 3 bytes of padding in a row; every byte tells its place.
        let mut end = 5;
        let planes = format.plane_extents(size).map(|(row, rows)| {
            let row_pitch = row + 3;
            let plane = Plane { offset: end, row_pitch };
            end += rows * row_pitch;
            plane
        });
        let bytes: Vec<u8> = (0..end).map(|i| (i * 7 % 251) as u8).collect();
        let image = Image::new(format, YuvMatrix::Bt709Full, size, planes, Arc::new(bytes)).expect("fits");
        let view = image.view(&tile(4, 2, 7, 5)).expect("even, up to the corner");
        assert_eq!((view.size, view.matrix), (ImageSize::new(7, 5), YuvMatrix::Bt709Full));
        assert_eq!(view.bytes().as_ptr(), image.bytes().as_ptr());
        let extents = format.plane_extents(view.size);
        // Of the whole picture's rows: which is the view's first, and where in it the view begins.
        let (first, from): ([usize; 3], [usize; 3]) = match format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => ([2, 0, 0], [12, 0, 0]),
            PixelFormat::Gray8 => ([2, 0, 0], [4, 0, 0]),
            PixelFormat::Nv12 => ([2, 1, 0], [4, 4, 0]),
            PixelFormat::I420 => ([2, 1, 1], [4, 2, 2]),
            PixelFormat::Yuy2 => ([2, 0, 0], [8, 0, 0]),
        };
        for (plane, (row_bytes, rows)) in extents.into_iter().enumerate() {
            for row in 0..rows {
                let expected = &image.row(plane, first[plane] + row)[from[plane]..from[plane] + row_bytes];
                assert_eq!(view.row(plane, row), expected, "{format:?} plane {plane} row {row}");
            }
        }
        let halves = !matches!(format, PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2);
        assert_eq!(image.view(&tile(3, 2, 4, 4)).is_some(), halves, "{format:?}");
        let rows = halves || format == PixelFormat::Yuy2;
        assert_eq!(image.view(&tile(4, 1, 4, 4)).is_some(), rows, "{format:?}");
        for outside in [tile(5, 0, 7, 1), tile(0, 3, 1, 5), tile(2, 2, 0, 1)] {
            assert!(image.view(&outside).is_none(), "{outside:?}");
        }
    }
}
