use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::engine::ExecutorIdentity;
use crate::evaluate::Region;
use crate::evaluate::Xywh;
use crate::model::golden;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(line: &str) -> Result<Args, String> {
    let words = std::iter::once("verify").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|l| l.args).map_err(|e| e.to_string())
}

#[test]
fn the_line_is_read_and_limits_are_limits() {
    let args = parse("--engine e --against f32 --images d").unwrap();
    assert_eq!(
        (args.precision, args.against, args.frames),
        (None, Precision::F32, None)
    );
    let limits = (
        args.max_ap_drop,
        args.min_mask_iou,
        args.max_score_shift,
        args.max_unmatched,
    );
    assert_eq!(limits, (0.5, 0.9, 0.1, 0.15));
    assert!(parse("--engine e --against bf16 --images d --precision int8 --coco a --frames 3 --json j").is_ok());
    for (wrong, words) in [
        ("--against f32 --images d", "--engine"),
        ("--engine e --images d", "--against"),
        ("--engine e --against f32", "--images"),
        (
            "--engine e --images d --against int8",
            "\"int8\" is nothing to hold an engine against",
        ),
        (
            "--engine e --images d --against f32 --min-mask-iou 1.5",
            "\"1.5\" is no limit: expected 0 to 1",
        ),
        (
            "--engine e --images d --against f32 --max-score-shift NaN",
            "\"NaN\" is no limit",
        ),
        ("--engine e --images d --against f32 --max-ap-drop -1", "-1"),
        (
            "--engine e --images d --against f32 --max-ap-drop 101",
            "\"101\" is no limit: expected 0 to 100",
        ),
        ("--engine e --images d --against f32 --frames 0", "0"),
    ] {
        let error = parse(wrong).unwrap_err();
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

const ALLOWED: Allowed = Allowed {
    ap_drop_points: 0.5,
    mask_iou: 0.9,
    score_shift: 0.1,
    unmatched: 0.15,
    edge_shift_px: Some(0.5),
};

fn full(score: f64, mask_width: u64) -> Detected {
    let size = crate::geometry::ImageSize::new(10, 10);
    Detected {
        class_id: 0,
        score,
        bounds: Xywh::new(0.0, 0.0, 10.0, 10.0),
        area_px: None,
        mask: Region::from_counts(&[0, mask_width as u32 * 10, 100 - mask_width as u32 * 10], size).ok(),
    }
}

fn verified(reference: &[Detected], candidate: &[Detected]) -> Verified {
    let executor = |precision| ExecutorIdentity {
        name: "openvino".into(),
        version: "1".into(),
        device: "a processor".into(),
        precision,
    };
    let executors = Sides {
        reference: executor(Precision::Bf16),
        candidate: executor(Precision::Int8),
    };
    let mut verified = Verified::new("e.toml".into(), executors);
    let rules = Rules {
        score_threshold: 0.5,
        iou_threshold: 0.5,
    };
    let agreement = PictureAgreement::of(reference, candidate, &rules);
    verified.agreement.add("1.png".into(), agreement);
    verified.took.reference.push(Duration::from_millis(30));
    verified.took.candidate.push(Duration::from_millis(20));
    verified
}

#[test]
fn each_limit_has_its_sentence() {
    assert_eq!(verified(&[full(0.9, 10)], &[full(0.85, 10)]).past(&ALLOWED), [""; 0]);
    let past = verified(&[full(0.9, 10)], &[full(0.7, 8)]).past(&ALLOWED);
    assert_eq!(
        past,
        [
            "the mean mask IoU is 0.8000, at least 0.9 is asked for",
            "scores change by 0.2000 in the mean, 0.1 is allowed"
        ]
    );
    let mut moved = full(0.9, 10);
    moved.bounds = Xywh::new(-0.25, 0.0, 11.0, 10.0);
    let past = verified(&[full(0.9, 10)], &[moved]).past(&ALLOWED);
    assert_eq!(past, ["a box edge moved by 0.750 px, 0.5 are allowed"]);
    let past = verified(&[full(0.9, 10)], &[]).past(&ALLOWED);
    assert_eq!(
        past,
        ["100.0 % of the objects were found by one engine only, 15.0 % are allowed"]
    );
    let past = verified(&[], &[]).past(&ALLOWED);
    assert_eq!(past, ["neither engine found an object: nothing was compared"]);
    let mut worse = verified(&[full(0.9, 10)], &[full(0.9, 10)]);
    let ap = |reference, candidate| Sides { reference, candidate };
    worse.ap = vec![
        (Kind::Boxes, ap(Some(0.7), Some(0.698))),
        (Kind::Masks, ap(Some(0.7), Some(0.69))),
    ];
    worse.failed.push(Failed {
        file: "x.png".into(),
        why: "gone".into(),
    });
    let past = worse.past(&ALLOWED);
    assert_eq!(
        past,
        [
            "mask AP drops by 1.00 points, 0.5 are allowed",
            "1 of 2 pictures could not be used"
        ]
    );
    let page = worse.page();
    for line in [
        "e.toml in int8 against bf16, 1 pictures\n",
        "objects               1 in both, 0 lost, 0 added\n",
        "mask AP               0.7000 -> 0.6900, drop +1.00 points\n",
        "median time           bf16 30.00 ms, int8 20.00 ms: 1.50 times as fast\n",
    ] {
        assert!(page.contains(line), "{page}");
    }
    let value = worse.to_json(&past);
    assert_eq!(value["past_limits"][1], "1 of 2 pictures could not be used");
    assert_eq!(value["agreement"]["matched"], 1);
    assert_eq!(
        (&value["unmatched_share"], &value["failed"][0]["file"]),
        (&json!(0.0), &json!("x.png"))
    );
    assert!((value["ap"]["mask_ap"]["drop_points"].as_f64().unwrap() - 1.0).abs() < 1e-9);
}

#[test]
fn two_precisions_of_one_engine_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let engine = golden::write_engine(dir.path()).display().to_string();
    let images = dir.path().join("frames");
    std::fs::create_dir(&images).unwrap();
    let picture = golden::picture();
    let rgb = image::RgbImage::from_raw(picture.size.width, picture.size.height, picture.bytes().to_vec()).unwrap();
    rgb.save(images.join("1.png")).unwrap();
    let (images, out) = (images.display().to_string(), dir.path().join("v.json"));
    let line = |more: &str| format!("--engine {engine} --images {images} --against {more}");
    let message = |more: &str| format!("{:#}", run(parse(&line(more)).unwrap()).unwrap_err());

    let same = message("f32 --precision f32");
    assert!(
        same.starts_with("both engines run in f32 here, so there is nothing to verify"),
        "{same}"
    );
    let no_table = message("f32 --precision int8");
    assert!(no_table.contains("names no executor.scale_table"), "{no_table}");
    let wrong_folder = format!("--engine {engine} --images {images}/1.png --against f32 --precision bf16");
    let wrong_folder = run(parse(&wrong_folder).unwrap()).unwrap_err().to_string();
    assert!(wrong_folder.ends_with("1.png: not a folder"), "{wrong_folder}");

    if !crate::engine::openvino::probe().unwrap().native_bf16 {
        return; // f32 is all there is
    }
    // Weights of noise: only the loosest limits hold.
    let loose = "--min-mask-iou 0 --max-score-shift 1 --max-unmatched 1";
    let more = format!("f32 --precision bf16 {loose} --json {}", out.display());
    run(parse(&line(&more)).unwrap()).unwrap();
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(
        (&value["reference"]["precision"], &value["candidate"]["precision"]),
        (&json!("f32"), &json!("bf16"))
    );
    assert_eq!(value["agreement"]["pictures"], 1);
    assert!(value["agreement"]["matched"].as_u64().unwrap() > 5, "{value}");
    assert_eq!(value["past_limits"], json!([]));
    let past = message("f32 --precision bf16 --min-mask-iou 1 --max-score-shift 0 --max-unmatched 1");
    assert!(past.starts_with("the mean mask IoU is 0."), "{past}");
    assert!(past.contains("; scores change by 0."), "{past}");
}
