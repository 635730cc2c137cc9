use super::*;
use crate::model::golden;

fn write_png(path: &Path, size: (u32, u32)) {
    image::RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb([x as u8, y as u8, 7]))
        .save(path)
        .unwrap();
}

#[test]
fn an_empty_mask_covers_the_picture_with_zeros() {
    let mask = mask_json(None, ImageSize::new(4, 3)).unwrap();
    // pycocotools.mask.encode(numpy.zeros((3, 4), order="F")) = {"size": [3, 4], "counts": "<"}
    assert_eq!((mask.size, mask.counts.as_str()), ([3, 4], "<"));
}

#[test]
fn annotated_pictures_get_a_file_or_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let paths = |text: &str, images: &[&str]| {
        let images: Vec<PathBuf> = images.iter().map(PathBuf::from).collect();
        let path = PathBuf::from(format!("{}/{text}", dir.path().display()));
        outputs(&path, &images).map(|all| {
            let name = |p: &PathBuf| p.strip_prefix(dir.path()).unwrap().display().to_string();
            all.iter().map(name).collect::<Vec<_>>()
        })
    };
    assert_eq!(paths("out.png", &["in.jpg"]).unwrap(), ["out.png"]);
    assert!(
        paths("out.jpg", &["in.jpg"])
            .unwrap_err()
            .to_string()
            .ends_with("ends in .png, or a folder")
    );
    assert_eq!(paths("one/", &["in.jpg"]).unwrap(), ["one/in.png"]);
    assert_eq!(
        paths("all", &["a/x.jpg", "b/x.png", "y.bmp"]).unwrap(),
        ["all/x.png", "all/x-2.png", "all/y.png"]
    );
    assert!(dir.path().join("all").is_dir());
}

#[test]
fn scores_lie_between_0_and_1() {
    assert_eq!(parse_score("0.25"), Ok(0.25));
    for bad in ["1.1", "-0.1", "nan", "half"] {
        assert!(parse_score(bad).is_err(), "{bad}");
    }
}

/// What pycocotools reads.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Picture {
    image: String,
    width: u32,
    height: u32,
    instances: Vec<Found>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    class_id: usize,
    class_name: String,
    score: f32,
    #[serde(rename = "box")]
    bounds: [f32; 4],
    mask: Mask,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    size: [u32; 2],
    counts: String,
}

#[test]
fn good_pictures_are_segmented_beside_broken_ones() {
    let dir = tempfile::tempdir().unwrap();
    let engine = golden::write_engine(dir.path());
    let place = |name: &str| dir.path().join(name);
    let blocks = golden::picture();
    let size = blocks.size;
    image::RgbImage::from_raw(size.width, size.height, blocks.bytes().to_vec())
        .unwrap()
        .save(place("blocks.png"))
        .unwrap();
    write_png(&place("odd.png"), (7, 3));
    std::fs::write(place("broken.jpg"), b"\xff\xd8\xff\xe0 no more").unwrap();
    let args = Args {
        images: ["blocks.png", "broken.jpg", "absent.png", "odd.png"]
            .map(place)
            .to_vec(),
        engine,
        json: Some(place("out.json")),
        annotated: Some(place("drawn")),
        score_threshold: 0.9,
        executor: Executor::Auto,
        precision: Some(Precision::F32),
        threads: Some(2),
        paste: Paste::Exact,
        batch: 1,
        tiles: TileArgs::default(),
    };
    let text = run(args).unwrap_err().to_string();
    assert_eq!(text, "2 of 4 pictures failed", "OpenVINO missing? {text}");

    let pictures: Vec<Picture> = serde_json::from_slice(&std::fs::read(place("out.json")).unwrap()).unwrap();
    assert_eq!(pictures.len(), 2);
    let [blocks, odd] = &pictures[..] else { unreachable!() };
    assert_eq!(blocks.image, place("blocks.png").display().to_string());
    assert_eq!((blocks.width, blocks.height, odd.width, odd.height), (240, 180, 7, 3));
    assert_eq!(blocks.instances.len(), 38); // of the golden's 40 detections those with a score of 0.9 or more
    for found in &blocks.instances {
        assert_eq!(found.class_name, ["a", "b", "c"][found.class_id]);
        assert!(found.score >= 0.9);
        let [x0, y0, x1, y1] = found.bounds;
        assert!(0.0 <= x0 && x0 < x1 && x1 <= 240.0 && 0.0 <= y0 && y0 < y1 && y1 <= 180.0);
        assert_eq!(found.mask.size, [180, 240]);
        let runs = MaskRuns::from_counts(0, 0, 240, 180, found.mask.counts.as_bytes()).unwrap();
        // Pixels are set inside the box alone, up to the rounding of its edges.
        let inside = f64::from((x1 - x0 + 2.0) * (y1 - y0 + 2.0));
        assert!(f64::from(runs.area()) <= inside, "{} {inside}", runs.area());
    }
    for (name, size) in [("blocks.png", (240, 180)), ("odd.png", (7, 3))] {
        let drawn = image::open(place("drawn").join(name)).unwrap();
        assert_eq!((drawn.width(), drawn.height()), size);
    }
    assert!(!place("drawn").join("broken.png").exists());
}
