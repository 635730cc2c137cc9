use super::super::rle::tests::{conformance, mask_of, number};
use super::*;

#[test]
fn an_l_is_measured() {
    // #.
    // ##   at (3, 4)
    let mask = MaskRuns {
        x: 3,
        y: 4,
        width: 2,
        height: 2,
        runs: vec![0, 2, 1, 1],
    };
    let m = Measurements::of_runs(&mask, ImageSize::new(5, 8)).unwrap();
    assert_eq!((m.area_px, m.centroid_x_px), (3, (3.5 + 3.5 + 4.5) / 3.0));
    assert_eq!(m.centroid_y_px, (4.5 + 5.5 + 5.5) / 3.0);
    assert_eq!((m.contact_x_px, m.contact_y_px), (4.0, 6.0));
    assert_eq!(m.borders, Borders::RIGHT);
}

#[test]
fn boxes_are_measured_on_their_edges() {
    let bounds = LatticeBox {
        x0: 0,
        y0: 256,
        x1: 640,
        y1: 2048,
    };
    let m = Measurements::of_box(&bounds, ImageSize::new(10, 8));
    assert_eq!((m.measured_from, m.area_px), (MeasuredFrom::Box, 0));
    assert_eq!((m.centroid_x_px, m.centroid_y_px), (1.25, 4.5));
    assert_eq!((m.contact_x_px, m.contact_y_px), (1.25, 8.0));
    assert_eq!(m.borders.bits(), 1 | 8);
    assert!(m.borders.contains(Borders::LEFT) && !m.borders.contains(Borders::TOP));
}

#[test]
fn an_instance_without_a_set_pixel_is_measured_from_its_box() {
    let bounds = LatticeBox {
        x0: 256,
        y0: 256,
        x1: 512,
        y1: 512,
    };
    let instance = Instance {
        class_id: 0,
        score: 1.0,
        bounds,
        mask: None,
    };
    assert_eq!(instance.measure(ImageSize::new(9, 9)).measured_from, MeasuredFrom::Box);
    let clear = MaskRuns {
        x: 0,
        y: 0,
        width: 2,
        height: 2,
        runs: vec![4],
    };
    assert_eq!(Measurements::of_runs(&clear, ImageSize::new(9, 9)), None);
}

#[test]
fn conformance_measurements_are_equal() {
    for case in conformance("masks.jsonl") {
        let mask = &case["mask"];
        if mask.is_null() {
            continue;
        }
        let frame = ImageSize::new(
            case["frame"][0].as_u64().unwrap() as u32,
            case["frame"][1].as_u64().unwrap() as u32,
        );
        let m = Measurements::of_runs(&mask_of(mask), frame).unwrap();
        let name = &case["name"];
        assert_eq!(
            (m.area_px, m.borders.bits()),
            (number(mask, "area_px"), number(mask, "borders")),
            "{name}"
        );
        for (key, got) in [
            ("centroid_x_px", m.centroid_x_px),
            ("centroid_y_px", m.centroid_y_px),
            ("contact_x_px", m.contact_x_px),
            ("contact_y_px", m.contact_y_px),
        ] {
            let expected = mask[key].as_f64().unwrap();
            // The reference adds the crop's corner after dividing: one f64 rounding apart. Published as f32.
            assert!(
                (got - expected).abs() <= 1e-9 * expected.abs(),
                "{name}: {key} {got}, expected {expected}"
            );
            assert_eq!(got as f32, expected as f32, "{name}: {key}");
        }
    }
}
