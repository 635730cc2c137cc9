//! Against hand-counted masks, the conformance files, pycocotools and, by properties, dense bitmaps.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Lines of a conformance file.
pub(crate) fn conformance(file: &str) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn number(value: &Value, key: &str) -> u32 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}")) as u32
}

/// The "mask" of a conformance case.
pub(crate) fn mask_of(mask: &Value) -> MaskRuns {
    let n = |key| number(mask, key);
    let counts = mask["counts"].as_str().unwrap().as_bytes();
    MaskRuns::from_counts(n("x_px"), n("y_px"), n("width_px"), n("height_px"), counts).unwrap()
}

/// `#` = set.
fn drawn(x: u32, y: u32, picture: &[&str]) -> MaskRuns {
    let rows: Vec<u8> = picture.concat().bytes().map(|c| u8::from(c == b'#')).collect();
    MaskRuns::from_dense(x, y, picture[0].len() as u32, picture.len() as u32, &rows).unwrap()
}

#[test]
fn a_ring_is_counted_by_columns() {
    let ring = drawn(10, 20, &["###", "#.#", "###"]);
    assert_eq!(
        ring,
        MaskRuns {
            x: 10,
            y: 20,
            width: 3,
            height: 3,
            runs: vec![0, 4, 1, 4]
        }
    );
    // 0 4 1, then 4 - 4 = 0.
    assert_eq!(ring.to_counts(), b"0410");
    assert_eq!((ring.area(), ring.is_tight()), (8, true));
    let span = |column, row_start, row_end| Span {
        column,
        row_start,
        row_end,
    };
    let spans = [span(10, 20, 23), span(11, 20, 21), span(11, 22, 23), span(12, 20, 23)];
    assert_eq!(ring.spans().collect::<Vec<_>>(), spans);
    assert!(ring.contains(10, 20) && ring.contains(12, 22) && ring.contains(11, 22));
    for (x, y) in [(11, 21), (9, 20), (13, 20), (10, 19), (10, 23)] {
        assert!(!ring.contains(x, y), "({x}, {y})");
    }
}

#[test]
fn clear_rims_are_cut_away() {
    let mask = drawn(5, 5, &[".....", "..#..", "..##.", "....."]);
    assert_eq!(
        mask,
        MaskRuns {
            x: 7,
            y: 6,
            width: 2,
            height: 2,
            runs: vec![0, 2, 1, 1]
        }
    );
    assert_eq!(MaskRuns::from_dense(0, 0, 2, 2, &[0; 4]), None);
    assert_eq!(MaskRuns::from_dense(0, 0, 2, 2, &[1; 3]), None);
}

#[test]
fn counts_of_the_whole_frame() {
    // Column 1 of a 3 x 4 frame, all of it, and the pixel above it in the next column: one run of 5.
    let mask = drawn(1, 0, &["##", "#.", "#.", "#."]);
    assert_eq!(mask.to_frame_counts(ImageSize::new(3, 4)), Some(b"453".to_vec()));
    assert_eq!(mask.to_frame_counts(ImageSize::new(2, 4)).map(|c| c.len()), None);
    let one = drawn(2, 3, &["#"]);
    assert_eq!(one.to_frame_counts(ImageSize::new(3, 4)), Some(b";1".to_vec()));
}

#[test]
fn intersections_are_counted_where_both_are_set() {
    let (a, b) = (drawn(0, 0, &["###", "#.#", "###"]), drawn(1, 1, &["##", "##"]));
    assert_eq!((a.intersection(&b), b.intersection(&a)), (3, 3));
    assert_eq!(a.intersection(&drawn(1, 1, &["#"])), 0);
    assert_eq!(a.intersection(&drawn(3, 0, &["#"])), 0);
    assert_eq!(a.intersection(&a), 8);
}

#[test]
fn conformance_counts_come_back_byte_for_byte() {
    let mut masks = 0;
    for case in conformance("masks.jsonl") {
        let mask = &case["mask"];
        if mask.is_null() {
            continue;
        }
        let runs = mask_of(mask);
        assert_eq!(
            runs.to_counts(),
            mask["counts"].as_str().unwrap().as_bytes(),
            "{}",
            case["name"]
        );
        assert!(runs.is_tight(), "{}", case["name"]);
        let again = MaskRuns::from_dense(runs.x, runs.y, runs.width, runs.height, &runs.to_dense());
        assert_eq!(again, Some(runs), "{}", case["name"]);
        masks += 1;
    }
    assert!(masks >= 15, "{masks}");
}

#[test]
fn frame_counts_are_those_of_pycocotools() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ops/rle.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let rows: Vec<&str> = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_str().unwrap())
            .collect();
        let side = |i: usize| case["frame"][i].as_u64().unwrap() as u32;
        let counts = drawn(0, 0, &rows).to_frame_counts(ImageSize::new(side(0), side(1)));
        assert_eq!(
            counts.as_deref(),
            Some(case["counts"].as_str().unwrap().as_bytes()),
            "{rows:?}"
        );
    }
}

#[test]
fn conformance_refused_bytes_are_refused() {
    let cases = conformance("bad_rle.jsonl");
    assert!(cases.len() >= 9);
    for case in cases {
        let counts = case["counts"].as_str().unwrap();
        let read = MaskRuns::from_counts(
            0,
            0,
            number(&case, "width_px"),
            number(&case, "height_px"),
            counts.as_bytes(),
        );
        assert!(read.is_err(), "{counts:?} gave {read:?}");
    }
}

#[test]
fn errors_say_where() {
    let read = |w, h, bytes: &[u8]| MaskRuns::from_counts(0, 0, w, h, bytes).unwrap_err();
    assert_eq!(read(2, 2, b"0\x2f"), RleError::Byte { position: 1, byte: 47 });
    assert_eq!(
        read(2, 2, b"05"),
        RleError::Run {
            index: 1,
            run: 5,
            pixels: 4
        }
    );
    assert_eq!(
        read(2, 2, b"0O"),
        RleError::Run {
            index: 1,
            run: -1,
            pixels: 4
        }
    );
    assert_eq!(read(2, 2, b"12"), RleError::Sum { sum: 3, pixels: 4 });
    assert_eq!(read(2, 2, b"4P"), RleError::Truncated);
    assert_eq!(read(2, 2, b"PPPPPPPP"), RleError::TooLong { position: 7 });
    let crop = RleError::Crop {
        x: 0,
        y: 0,
        width: 65536,
        height: 65536,
    };
    assert_eq!(read(65536, 65536, b"4"), crop);
    assert!(MaskRuns::from_counts(u32::MAX, 0, 2, 2, b"4").is_err());
    assert!(MaskRuns::from_counts(0, 0, 0, 2, b"").is_err());
}

#[test]
fn empty_runs_inside_are_joined() {
    let runs = |counts| MaskRuns::from_counts(0, 0, 2, 2, counts).map(|m| m.runs);
    // 0, 2, 0, then 2 - 2 = 0: legal, though no encoder writes it; the same mask as 0, 4.
    assert_eq!(runs(b"0200"), Ok(vec![0, 4]));
    assert_eq!(runs(b"04"), Ok(vec![0, 4]));
    assert_eq!(runs(b"020O1"), Ok(vec![0, 3, 1]), "0 2 0 1 1");
    assert_eq!(runs(b"0040"), Ok(vec![4]));
}

/// A bitmap with at least one set pixel, in runs rather than noise.
pub(crate) fn bitmap() -> impl Strategy<Value = (u32, u32, u32, u32, Vec<u8>)> {
    (
        1u32..40,
        1u32..40,
        0u32..50,
        0u32..50,
        proptest::collection::vec((any::<bool>(), 1usize..20), 1..200),
    )
        .prop_map(|(w, h, x, y, runs)| {
            let mut dense: Vec<u8> = runs
                .iter()
                .flat_map(|&(v, n)| std::iter::repeat_n(u8::from(v), n))
                .collect();
            dense.resize((w * h) as usize, 0);
            dense[0] = 1;
            (x, y, w, h, dense)
        })
}

proptest! {
    #[test]
    fn masks_survive_bytes_and_pixels((x, y, w, h, dense) in bitmap()) {
        let runs = MaskRuns::from_dense(x, y, w, h, &dense).unwrap();
        prop_assert!(runs.is_tight());
        prop_assert_eq!(runs.area(), dense.iter().map(|&v| u32::from(v)).sum::<u32>());
        prop_assert_eq!(runs.runs.iter().sum::<u32>(), runs.width * runs.height);
        prop_assert!(runs.runs.iter().skip(1).all(|&r| r > 0));
        let read = MaskRuns::from_counts(runs.x, runs.y, runs.width, runs.height, &runs.to_counts());
        prop_assert_eq!(read.as_ref(), Ok(&runs));
        for j in 0..w {
            for i in 0..h {
                prop_assert_eq!(runs.contains(x + j, y + i), dense[(i * w + j) as usize] == 1);
            }
        }
    }

    #[test]
    fn frame_counts_hold_the_same_pixels((x, y, w, h, dense) in bitmap(), right in 0u32..9, below in 0u32..9) {
        let runs = MaskRuns::from_dense(x, y, w, h, &dense).unwrap();
        let frame = ImageSize::new(x + w + right, y + h + below);
        let counts = runs.to_frame_counts(frame).unwrap();
        let whole = MaskRuns::from_counts(0, 0, frame.width, frame.height, &counts).unwrap();
        prop_assert!(whole.spans().eq(runs.spans()));
        prop_assert_eq!(whole.intersection(&runs), u64::from(runs.area()));
    }

    #[test]
    fn intersections_match_the_bitmaps((ax, ay, aw, ah, a) in bitmap(), (bx, by, bw, bh, b) in bitmap()) {
        let (p, q) = (MaskRuns::from_dense(ax, ay, aw, ah, &a).unwrap(), MaskRuns::from_dense(bx, by, bw, bh, &b).unwrap());
        let both = (0..100 * 100).filter(|i| p.contains(i % 100, i / 100) && q.contains(i % 100, i / 100)).count();
        prop_assert_eq!(p.intersection(&q), both as u64);
    }

    #[test]
    fn hostile_bytes_never_panic(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 48u8..112], 0..60),
        w in prop_oneof![0u32..20, any::<u32>()], h in prop_oneof![0u32..20, any::<u32>()],
    ) {
        if let Ok(mask) = MaskRuns::from_counts(0, 0, w, h, &bytes) {
            prop_assert_eq!(mask.runs.iter().map(|&r| u64::from(r)).sum::<u64>(), u64::from(w) * u64::from(h));
            prop_assert!(mask.runs.len() <= bytes.len());
        }
    }
}
