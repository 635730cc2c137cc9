use super::super::soft::paste;
use super::*;

fn plain(_: usize, soft: &SoftMask, frame: ImageSize) -> Option<MaskRuns> {
    paste(soft, frame)
}

fn found(class_id: u32, score: f32, [x0, y0, x1, y1]: [f32; 4]) -> Detection {
    Detection {
        class_id,
        score,
        bounds: PixelBox::new(x0, y0, x1, y1),
    }
}

/// 640x480 through a network input of 320x320: a factor of 2 each way.
fn half() -> Letterbox {
    Letterbox::fit(ImageSize::new(640, 480), ImageSize::new(320, 320)).unwrap()
}

const ALL: Limits = Limits {
    score_threshold: 0.0,
    max_instances: 100,
};

#[test]
fn boxes_become_source_pixels_on_the_lattice() {
    let detections = [found(3, 0.75, [10.0, 20.0, 30.1, 239.9])];
    let instances = decode(&detections, None, &half(), &ALL, plain).unwrap();
    let bounds = LatticeBox {
        x0: 5120,
        y0: 10240,
        x1: 15411,
        y1: 122829,
    }; // 60.2 and 479.8 px, rounded
    assert_eq!(
        instances,
        [Instance {
            class_id: 3,
            score: 0.75,
            bounds,
            mask: None
        }]
    );
}

#[test]
fn order_is_by_score_then_class_then_place() {
    let b = [10.0, 10.0, 20.0, 20.0];
    let detections = [
        found(2, 0.5, b),
        found(1, 0.5, [12.0, 10.0, 20.0, 20.0]),
        found(0, 0.25, b),
        found(1, 0.5, [11.0, 12.0, 20.0, 20.0]),
        found(1, 0.5, [11.0, 11.0, 20.0, 20.0]),
        found(9, 0.875, b),
        found(9, f32::NAN, b),
    ];
    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 4,
    };
    let instances = decode(&detections, None, &half(), &limits, plain).unwrap();
    let order: Vec<_> = instances
        .iter()
        .map(|i| (i.class_id, i.bounds.x0 / 512, i.bounds.y0 / 512))
        .collect();
    assert_eq!(order, [(9, 10, 10), (1, 11, 11), (1, 11, 12), (1, 12, 10)]);
}

#[test]
fn boxes_that_round_to_nothing_are_no_instances() {
    let detections = [
        found(0, 0.9, [10.0, 10.0, 10.0005, 20.0]), // 1/1000 px wide: less than half a lattice step
        found(0, 0.9, [400.0, 10.0, 420.0, 20.0]),  // right of the frame
        found(0, 0.9, [f32::NAN, 10.0, 20.0, 20.0]),
        found(0, 0.8, [10.0, 10.0, 10.005, 20.0]), // 2.56 steps
    ];
    let instances = decode(&detections, None, &half(), &ALL, plain).unwrap();
    assert_eq!(
        instances.iter().map(|i| i.bounds.x1 - i.bounds.x0).collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn masks_follow_their_detection_and_reach_beyond_the_frame() {
    let detections = [
        found(0, 0.25, [0.0, 0.0, 8.0, 8.0]),
        found(1, 0.5, [-4.0, 0.0, 4.0, 8.0]),
    ];
    // Side 2, [detection, row, column]; 0.5 * 255 = 127.5 rounds away from zero.
    let probabilities = [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, f32::NAN, 2.0];
    let masks = Some(MaskGrids {
        side: 2,
        values: GridValues::Probabilities(&probabilities),
    });
    let instances = decode(&detections, masks, &half(), &ALL, plain).unwrap();
    let first = instances[0].mask.as_ref().unwrap();
    let soft = first.soft.as_ref().unwrap();
    assert_eq!(soft.values, [128, 255, 0, 255]);
    assert_eq!(
        soft.roi,
        LatticeBox {
            x0: -2048,
            y0: 0,
            x1: 2048,
            y1: 4096
        }
    );
    assert_eq!(instances[0].bounds.x0, 0);
    assert_eq!(first.runs, paste(soft, ImageSize::new(640, 480)));
    let runs = first.runs.as_ref().unwrap();
    assert!(runs.fits(ImageSize::new(640, 480)) && runs.x == 0);
    assert_eq!(instances[1].mask.as_ref().map(|m| m.runs.clone()), Some(None));
}

#[test]
fn wrong_mask_sizes_are_named() {
    let grids = |side, values| {
        let values = GridValues::Probabilities(values);
        Some(MaskGrids { side, values })
    };
    let one = [found(0, 0.5, [0.0, 0.0, 8.0, 8.0])];
    let short = decode(&one, grids(2, &[0.0; 3]), &half(), &ALL, plain).unwrap_err();
    assert_eq!(
        short.to_string(),
        "3 mask probabilities: expected 4 for 1 detections of 2x2"
    );
    assert_eq!(
        decode(&one, grids(0, &[]), &half(), &ALL, plain),
        Err(DecodeError::MaskSide { side: 0 })
    );
}

#[test]
fn grids_that_come_rounded_are_taken_as_they_are_and_paste_hears_whose_mask_it_is() {
    let detections = [
        found(0, 0.25, [0.0, 0.0, 8.0, 8.0]),
        found(1, 0.5, [4.0, 0.0, 12.0, 8.0]),
    ];
    let rounded = [1, 2, 3, 4, 250, 251, 252, 253];
    let masks = Some(MaskGrids {
        side: 2,
        values: GridValues::Quantised(&rounded),
    });
    let mut asked = Vec::new();
    let instances = decode(&detections, masks, &half(), &ALL, |index, soft, frame| {
        asked.push((index, soft.values.clone()));
        paste(soft, frame)
    });
    assert_eq!(instances.unwrap().len(), 2);
    assert_eq!(asked, [(1, vec![250, 251, 252, 253]), (0, vec![1, 2, 3, 4])]);
}
