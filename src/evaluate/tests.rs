//! Against pycocotools: committed goldens (tests/oracle/coco_goldens.py) and the published example of the COCO tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::dataset::DataSet;
use super::polygon::rasterise;
use super::results::Results;
use super::*;
use crate::geometry::ImageSize;

fn goldens(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Deserialize)]
struct Expected {
    stats: [f64; 12],
    ap_by_class: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    truth: Value,
    results: Vec<Value>,
    boxes_alone: Expected,
    masks_alone: Expected,
    masks_as_boxes: Expected,
    both_as_masks: Expected,
    boxes_at: BTreeMap<usize, Expected>,
    masks_at: BTreeMap<usize, Expected>,
}

fn summary(truth: &Value, results: &[Value], kind: Kind) -> Summary {
    evaluation(truth, results, kind).summary(kind)
}

fn evaluation(truth: &Value, results: &[Value], kind: Kind) -> Evaluation {
    let data = DataSet::parse(Path::new("truth.json"), truth.to_string().as_bytes()).expect("truth");
    let text = Value::from(results.to_vec()).to_string();
    let results = Results::parse(Path::new("results.json"), text.as_bytes()).expect("results");
    results.against(&data, kind).expect("they fit")
}

fn without(results: &[Value], key: &str) -> Vec<Value> {
    let mut results = results.to_vec();
    for entry in &mut results {
        if let Some(object) = entry.as_object_mut() {
            object.remove(key);
        }
    }
    results
}

fn assert_equal(what: &str, got: &Summary, expected: &Expected) {
    for (i, (g, e)) in got.stats().iter().zip(expected.stats).enumerate() {
        assert!((g - e).abs() < 1e-9, "{what}: number {i} is {g}, pycocotools says {e}");
    }
    assert_eq!(got.classes.len(), expected.ap_by_class.len(), "{what}");
    for (class, e) in got.classes.iter().zip(&expected.ap_by_class) {
        let (name, g) = (&class.name, class.ap.unwrap_or(-1.0));
        assert!((g - e).abs() < 1e-9, "{what}: {name} is {g}, pycocotools says {e}");
    }
}

#[test]
fn all_goldens_come_out_as_pycocotools_has_them() {
    let cases: Vec<Case> = serde_json::from_slice(&goldens("coco_eval_goldens.json")).expect("goldens");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (name, truth) = (&case.name, &case.truth);
        let boxes = without(&case.results, "segmentation");
        let masks = without(&case.results, "bbox");
        assert_equal(
            &format!("{name}, boxes"),
            &summary(truth, &boxes, Kind::Boxes),
            &case.boxes_alone,
        );
        assert_equal(
            &format!("{name}, masks"),
            &summary(truth, &masks, Kind::Masks),
            &case.masks_alone,
        );
        let as_boxes = summary(truth, &masks, Kind::Boxes);
        assert_equal(&format!("{name}, masks as boxes"), &as_boxes, &case.masks_as_boxes);
        let with_boxes = summary(truth, &case.results, Kind::Masks);
        assert_equal(&format!("{name}, masks with boxes"), &with_boxes, &case.both_as_masks);
    }
}

#[test]
fn other_numbers_of_detections_count_as_in_pycocotools() {
    let cases: Vec<Case> = serde_json::from_slice(&goldens("coco_eval_goldens.json")).expect("goldens");
    let mut differ = 0;
    for case in &cases {
        let boxes = without(&case.results, "segmentation");
        let masks = without(&case.results, "bbox");
        for (kind, results, expected) in [
            (Kind::Boxes, &boxes, &case.boxes_at),
            (Kind::Masks, &masks, &case.masks_at),
        ] {
            assert_eq!(expected.keys().collect::<Vec<_>>(), [&12, &150]);
            let usual = summary(&case.truth, results, kind);
            for (&most, expected) in expected {
                let judged = evaluation(&case.truth, results, kind).with_max_detections(most);
                let got = judged.summary(kind);
                assert_equal(&format!("{}, {kind:?}, {most} detections", case.name), &got, expected);
                let text = got.to_string();
                assert_eq!(text.matches(&format!("maxDets={most:>3} ]")).count(), 10, "{text}");
                differ += usize::from(got.ap != usual.ap);
            }
        }
    }
    assert_eq!(differ, 4, "the crowded case, both kinds and numbers");
}

#[derive(Deserialize)]
struct Drawn {
    size: [u32; 2],
    polygons: Vec<Vec<f64>>,
    counts: String,
    area: u64,
}

#[test]
fn polygons_set_the_pixels_that_pycocotools_sets() {
    let drawn: Vec<Drawn> = serde_json::from_slice(&goldens("coco_polygons.json")).expect("goldens");
    assert!(drawn.len() >= 200, "{}", drawn.len());
    for (i, case) in drawn.iter().enumerate() {
        let size = ImageSize::new(case.size[1], case.size[0]);
        let got = rasterise(&case.polygons, size).expect("polygons");
        let expected = MaskRuns::from_counts(0, 0, size.width, size.height, case.counts.as_bytes()).expect("counts");
        assert_eq!(got.area(), case.area, "polygon {i} of {size}: {:?}", case.polygons);
        assert_eq!(
            got,
            Region::from_runs(&expected),
            "polygon {i} of {size}: {:?}",
            case.polygons
        );
    }
}

fn data_folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MASKCAST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("not run: no data at {}", folder.display());
    None
}

#[test]
fn the_published_example_has_its_24_numbers() {
    let Some(folder) = data_folder("coco_eval_oracle") else {
        return;
    };
    // pycocotools 2.0.11 on these files; they round to what val2014_fake_eval_res.txt prints.
    let published = [
        (
            Kind::Masks,
            "instances_val2014_fakesegm100_results.json",
            [
                0.3195452758576433,
                0.5622883972521636,
                0.29892653412086784,
                0.3873740315997837,
                0.31018272403369485,
                0.3269339071005138,
                0.2682297225711534,
                0.41544868114906375,
                0.4168394992198818,
                0.4694498622754236,
                0.37675922666197265,
                0.3814715099715099,
            ],
        ),
        (
            Kind::Boxes,
            "instances_val2014_fakebbox100_results.json",
            [
                0.5045806987249628,
                0.6969727247299577,
                0.5729816669904824,
                0.5856257209410443,
                0.5193996948036719,
                0.5013978986347466,
                0.38681277964578054,
                0.5936795762842003,
                0.595352982877607,
                0.6398109626113442,
                0.5664205978994309,
                0.5642905982905982,
            ],
        ),
    ];
    let data = DataSet::read(&folder.join("instances_val2014_100.json")).expect("truth");
    let text = std::fs::read_to_string(folder.join("val2014_fake_eval_res.txt")).expect("published numbers");
    for (kind, file, numbers) in published {
        let results = Results::read(&folder.join(file)).expect("results");
        let got = results.against(&data, kind).expect("they fit").summary(kind);
        for (i, (g, e)) in got.stats().iter().zip(numbers).enumerate() {
            assert!((g - e).abs() < 1e-6, "{kind:?}: number {i} is {g}, expected {e}");
        }
        let section = match kind {
            Kind::Masks => "type=segm",
            Kind::Boxes => "type=bbox",
        };
        let printed: Vec<&str> = text
            .lines()
            .skip_while(|l| *l != section)
            .filter_map(|l| l.rsplit_once("] = ").map(|(_, v)| v))
            .take(12)
            .collect();
        let ours: Vec<String> = got.stats().iter().map(|v| format!("{v:.3}")).collect();
        assert_eq!(ours, printed, "{kind:?}");
    }
}

fn blocks(count: u32, shift: u32) -> Vec<Region> {
    (0..count)
        .map(|k| {
            Region::from_runs(&MaskRuns {
                x: 40 * (k % 10) + shift,
                y: 40 * (k / 10),
                width: 30,
                height: 30,
                runs: vec![0, 900],
            })
        })
        .collect()
}

#[test]
fn in_memory_masks_and_boxes_are_scored_as_files_are() {
    let mut evaluation = Evaluation::new(vec!["a".into(), "b".into()]);
    let truths: Vec<Truth> = (0..2)
        .zip(blocks(2, 0))
        .map(|(c, r)| Truth::from_region(c, r))
        .collect();
    let detections: Vec<Detected> = (0..2)
        .zip(blocks(2, 3))
        .map(|(class_id, region)| Detected {
            class_id,
            score: 0.9,
            bounds: region.bounds(),
            area_px: None,
            mask: Some(region),
        })
        .collect();
    evaluation.add_image(truths, detections).expect("classes 0 and 1");
    for kind in [Kind::Boxes, Kind::Masks] {
        let s = evaluation.summary(kind);
        // IoU = 27 / 33 = 0.818: thresholds 0.50 to 0.80 are met, seven of ten.
        for whole in [s.ap50, s.ap75] {
            assert!(whole.is_some_and(|ap| (ap - 1.0).abs() < 1e-9), "{whole:?}");
        }
        assert!(s.ap.is_some_and(|ap| (ap - 0.7).abs() < 1e-9), "{:?}", s.ap);
        assert_eq!((s.ap_small.is_some(), s.ap_medium, s.ar_large), (true, None, None));
        assert_eq!((s.images, s.truths, s.detections), (1, 2, 2));
    }
}

#[test]
fn nothing_at_all_has_no_numbers() {
    let mut evaluation = Evaluation::new(vec!["a".into()]);
    assert_eq!(evaluation.summary(Kind::Boxes).ap, None);
    evaluation.add_image(vec![], vec![]).expect("an empty image");
    assert_eq!(evaluation.summary(Kind::Masks).stats(), [-1.0; 12]);
    let text = evaluation.summary(Kind::Masks).to_string();
    assert!(text.starts_with(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = -1.000\n"));
    assert_eq!(text.lines().count(), 12);
}

#[test]
fn images_with_unknown_classes_or_nan_are_refused() {
    let mut evaluation = Evaluation::new(vec!["a".into()]);
    let stray = Truth::from_region(1, Region::default());
    let message = evaluation.add_image(vec![stray], vec![]).map_err(|e| e.to_string());
    assert_eq!(
        message,
        Err("image 0: truth 0 has class id 1, but there are 1 classes".into())
    );
    let nan = Detected {
        class_id: 0,
        score: f64::NAN,
        bounds: Xywh::default(),
        area_px: None,
        mask: None,
    };
    assert!(evaluation.add_image(vec![], vec![nan]).is_err());
    assert_eq!(evaluation.images(), 0);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let cases: Vec<Case> = serde_json::from_slice(&goldens("coco_eval_goldens.json")).expect("goldens");
    let masks = without(&cases[0].results, "bbox");
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| summary(&cases[0].truth, &masks, Kind::Masks))
    };
    let bits = |s: &Summary| s.stats().map(f64::to_bits);
    assert_eq!(bits(&run(1)), bits(&run(5)));
}

/// What a data set with one change says.
fn truth_error(change: impl FnOnce(&mut Value)) -> String {
    let mut truth = serde_json::json!({
        "images": [{"id": 4, "width": 4, "height": 3, "file_name": "a.png"}],
        "categories": [{"id": 9, "name": "a"}],
        "annotations": [{"id": 17, "image_id": 4, "category_id": 9, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0,
            "segmentation": {"size": [3, 4], "counts": [0, 2, 1, 2, 7]}}],
    });
    change(&mut truth);
    let data = DataSet::parse(Path::new("gt.json"), truth.to_string().as_bytes());
    match data.and_then(|d| d.truths(0, Kind::Masks)) {
        Ok(truths) => format!("fine: {}", truths[0].area_px),
        Err(e) => e.to_string(),
    }
}

#[test]
fn faults_of_a_data_set_name_file_and_annotation() {
    assert_eq!(truth_error(|_| {}), "fine: 4");
    let with = |pointer: &'static str, value: Value| {
        truth_error(move |truth| {
            if let Some(place) = truth.pointer_mut(pointer) {
                *place = value;
            }
        })
    };
    for (pointer, value, words) in [
        (
            "/annotations/0/image_id",
            5.into(),
            "image_id 5 is not among the images",
        ),
        (
            "/annotations/0/category_id",
            1.into(),
            "category_id 1 is not among the categories",
        ),
        ("/annotations/0/bbox", serde_json::json!([1, 2, 3]), "invalid length 3"),
        ("/annotations/0/area", "large".into(), "invalid type: string \"large\""),
        ("/annotations/0/segmentation", Value::Null, "there is no segmentation"),
        (
            "/annotations/0/segmentation",
            serde_json::json!([]),
            "there is no polygon",
        ),
        (
            "/annotations/0/segmentation",
            serde_json::json!([[1, 2, 3, 4]]),
            "has 4 numbers",
        ),
        (
            "/annotations/0/segmentation",
            serde_json::json!([[1, 2, 3, 4, 5, 6, 7]]),
            "has 7 numbers",
        ),
        (
            "/annotations/0/segmentation",
            serde_json::json!([[1, 2, 3, 4, 5, 1e300]]),
            "has the coordinate 1",
        ),
        ("/annotations/0/segmentation", 5.into(), "must be polygons"),
        (
            "/annotations/0/segmentation/size",
            serde_json::json!([4, 3]),
            "the mask is 3x4",
        ),
        (
            "/annotations/0/segmentation/counts",
            serde_json::json!([0, 2]),
            "cover 2 pixels, the picture of 4x3 has 12",
        ),
        ("/annotations/0/segmentation/counts", "~".into(), "byte 0"),
    ] {
        let message = with(pointer, value);
        assert!(message.starts_with("gt.json: annotation 17: "), "{pointer}: {message}");
        assert!(message.contains(words), "{pointer}: {message}");
    }
    let no_width = truth_error(|t| drop(t["images"][0].as_object_mut().map(|o| o.remove("width"))));
    assert_eq!(no_width, "gt.json: image 4: missing field `width`");
    let none = truth_error(|t| drop(t.as_object_mut().map(|o| o.remove("annotations"))));
    assert!(
        none.starts_with("gt.json: not the JSON of a COCO data set: missing field `annotations`"),
        "{none}"
    );
    let twice = truth_error(|t| {
        let again = t["annotations"][0].clone();
        if let Some(list) = t["annotations"].as_array_mut() {
            list.push(again);
        }
    });
    assert_eq!(twice, "gt.json: annotation 17: there are two of this id");
    let cut = DataSet::parse(Path::new("gt.json"), br#"{"images": [{"id""#).map(|_| ());
    assert!(cut.is_err_and(|e| {
        e.to_string()
            .starts_with("gt.json: not the JSON of a COCO data set: EOF")
    }));
    let absent = DataSet::read(Path::new("no/such/gt.json")).map(|_| ());
    assert!(absent.is_err_and(|e| e.to_string().starts_with("no/such/gt.json: No such file")));
}

#[test]
fn faults_of_results_name_file_and_position() {
    let truth = serde_json::json!({
        "images": [{"id": 4, "width": 4, "height": 3}], "categories": [{"id": 9, "name": "a"}], "annotations": [],
    });
    let data = DataSet::parse(Path::new("gt.json"), truth.to_string().as_bytes()).expect("truth");
    let error = |results: Value, kind| {
        let results = Results::parse(Path::new("r.json"), results.to_string().as_bytes());
        match results.and_then(|r| r.against(&data, kind)) {
            Ok(evaluation) => format!("fine: {}", evaluation.summary(kind).detections),
            Err(e) => e.to_string(),
        }
    };
    let fine = serde_json::json!({"image_id": 4, "category_id": 9, "score": 0.5, "bbox": [0, 0, 1, 1]});
    assert_eq!(error(serde_json::json!([fine, fine]), Kind::Boxes), "fine: 2");
    assert_eq!(error(serde_json::json!([]), Kind::Masks), "fine: 0");
    for (key, value, kind, words) in [
        ("image_id", 7.into(), Kind::Boxes, "image_id 7 is not in gt.json"),
        ("category_id", 7.into(), Kind::Boxes, "category_id 7 is not in gt.json"),
        ("score", Value::Null, Kind::Boxes, "invalid type: null"),
        ("bbox", serde_json::json!([1, 2]), Kind::Boxes, "bbox has 2 numbers"),
        ("bbox", serde_json::json!([]), Kind::Boxes, "bbox has 0 numbers"),
        ("score", 0.5.into(), Kind::Masks, "there is no segmentation"),
        (
            "segmentation",
            serde_json::json!({"size": [3, 4], "counts": "="}),
            Kind::Masks,
            "image 4: ",
        ),
    ] {
        let mut bad = fine.clone();
        bad[key] = value;
        let good = match kind {
            Kind::Boxes => vec![fine.clone(), bad],
            Kind::Masks => {
                let mut masked = fine.clone();
                masked["segmentation"] = serde_json::json!({"size": [3, 4], "counts": "<"});
                vec![masked, bad]
            }
        };
        let message = error(Value::from(good), kind);
        assert!(
            message.starts_with("r.json: result number 1 (from 0): "),
            "{key}: {message}"
        );
        assert!(message.contains(words), "{key}: {message}");
    }
    let object = error(serde_json::json!({"results": []}), Kind::Boxes);
    assert!(
        object.starts_with("r.json: not the JSON of a COCO result list"),
        "{object}"
    );
}

#[test]
fn one_detection_more_or_less_moves_the_numbers_the_right_way() {
    let score = |detections: Vec<Detected>| {
        let mut evaluation = Evaluation::new(vec!["a".into()]);
        let truths = blocks(20, 0).into_iter().map(|r| Truth::from_region(0, r)).collect();
        evaluation.add_image(truths, detections).expect("class 0");
        evaluation.summary(Kind::Masks).ap.unwrap_or(-1.0)
    };
    let found = |n: u32, shift: u32, score: f64| -> Vec<Detected> {
        let detected = |region: Region| Detected {
            class_id: 0,
            score,
            bounds: region.bounds(),
            area_px: None,
            mask: Some(region),
        };
        blocks(n, shift).into_iter().map(detected).collect()
    };
    let half = score(found(10, 0, 0.9));
    assert!((half - 51.0 / 101.0).abs() < 1e-9, "{half}");
    assert!(score(found(11, 0, 0.9)) > half);
    let with_wrong_ones_first = [found(10, 0, 0.9), found(5, 500, 0.95)].concat();
    assert!(score(with_wrong_ones_first) < half);
    let with_wrong_ones_last = [found(10, 0, 0.9), found(5, 500, 0.1)].concat();
    assert!((score(with_wrong_ones_last) - half).abs() < 1e-9);
}
