use super::*;
use crate::frame::PixelFormat;
use crate::model::golden;
use crate::time::SystemClocks;

/// The pixels of a tile in bytes of their own.
fn copied(image: &Image, tile: &Tile) -> Image {
    let columns = 3 * tile.x as usize..3 * tile.columns().end as usize;
    let rows = tile.rows().map(|y| image.row(0, y as usize)[columns.clone()].to_vec());
    let bytes: Vec<u8> = rows.flatten().collect();
    Image::packed(PixelFormat::Rgb8, tile.size, bytes).unwrap()
}

#[test]
fn a_large_picture_is_answered_as_its_tiles_merged() {
    let dir = tempfile::tempdir().unwrap();
    let engine = golden::write_engine(dir.path());
    let options = Options {
        threads: Some(2),
        ..Options::default()
    };
    let load = |max_instances| {
        let limits = Limits {
            score_threshold: 0.5,
            max_instances,
        };
        MaskRcnnSegmenter::load(&engine, limits, &options).unwrap_or_else(|e| panic!("OpenVINO missing? {e}"))
    };
    let tiling = Tiling::new(128, 32).unwrap();
    let find = |segmenter: &mut MaskRcnnSegmenter, image: &Image| {
        let answer = segmenter.find(image, MaskBranch::Run, &SystemClocks).unwrap();
        (answer.instances, answer.truncated)
    };
    let image = golden::picture();
    let tiles = tiling.tiles(image.size);
    assert_eq!((image.size, tiles.len()), (ImageSize::new(240, 180), 6));

    let mut at_once = load(usize::MAX);
    let mut truncated = false;
    let found = tiles.iter().map(|tile| {
        let (instances, limited) = find(&mut at_once, &copied(&image, tile));
        truncated |= limited;
        (*tile, instances)
    });
    let found: Vec<_> = found.collect();
    let pieces: usize = found.iter().map(|(_, instances)| instances.len()).sum();
    let merged = instances::merge_tiles(image.size, found);
    assert!(merged.len() < pieces, "{pieces} pieces, {} objects", merged.len());
    let corner = merged
        .iter()
        .any(|i| i.bounds.x1 > 200 * 256 && i.bounds.y1 > 150 * 256);
    assert!(corner, "the last tile's objects lie where it does");

    let mut tiled = load(usize::MAX).with_tiling(Some(tiling));
    assert_eq!(find(&mut tiled, &image), (merged.clone(), truncated));
    // What is no larger than a tile goes the ordinary way.
    let small = copied(&image, &tiles[1]);
    assert_eq!(find(&mut tiled, &small), find(&mut at_once, &small));

    let mut few = load(5).with_tiling(Some(tiling));
    assert_eq!(
        find(&mut few, &small),
        (find(&mut at_once, &small).0[..5].to_vec(), true)
    );
    let (instances, limited) = find(&mut few, &image);
    assert!(limited && instances.len() == 5, "{}", instances.len());
}

#[test]
fn a_tile_that_would_split_chroma_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let engine = golden::write_engine(dir.path());
    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 9,
    };
    let tiling = Tiling::new(64, 0).ok();
    let segmenter = MaskRcnnSegmenter::load(&engine, limits, &Options::default());
    let mut segmenter = segmenter
        .unwrap_or_else(|e| panic!("OpenVINO missing? {e}"))
        .with_tiling(tiling);
    // One column more than a tile: the second begins at x = 1.
    let image = Image::packed(PixelFormat::Yuy2, ImageSize::new(65, 10), vec![9; 132 * 10]).unwrap();
    let error = segmenter.find(&image, MaskBranch::Run, &SystemClocks).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no tile of 64x10 at (1, 0) can be cut from Image(Yuy2 65x10, 1320 bytes)"
    );
}
