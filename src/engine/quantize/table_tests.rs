use super::*;

const EXAMPLE: &str = r#"weights_sha256 = "00000000000000000000000000000000000000000000000000000000000000ff"
network_sha256 = "1200000000000000000000000000000000000000000000000000000000000000"
method = "percentile 99.99"

[data]
source = "a \"quoted\" folder"
frames = 64
seed = 1000000

[keep_float]
"trunk/conv1" = "the picture loses its darkest tones"

[activations]
"box_head/rois" = { low = -3.5, high = 1e-7 }
"trunk/conv1.relu" = { low = 0.0, high = 2.55 }
"#;

fn parse(text: &str) -> Result<ScaleTable, TableError> {
    ScaleTable::parse(text, Path::new("calibration/int8/toy.toml"))
}

#[track_caller]
fn refused(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from}");
    parse(&EXAMPLE.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_table_is_read_as_it_is_written() {
    let table = parse(EXAMPLE).unwrap();
    assert_eq!(table.weights_sha256.0[31], 255);
    assert_eq!(table.network_sha256.0[0], 0x12);
    assert_eq!(table.method, Method::Percentile(99.99));
    assert_eq!((table.data.frames, table.data.seed), (64, 1_000_000));
    assert_eq!(table.data.source, "a \"quoted\" folder");
    assert_eq!(table.activations["box_head/rois"], Range { low: -3.5, high: 1e-7 });
    let text = table.to_toml();
    assert_eq!(parse(&text).unwrap(), table);
    assert_eq!(text.replace('\'', "\""), EXAMPLE.replace("\\\"", "\""), "{text}");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let text = refused("frames = 64", "frame = 64");
    assert!(
        text.starts_with("calibration/int8/toy.toml:7:1: unknown field `frame`, expected one of"),
        "{text}"
    );
    let text = refused("low = 0.0", "low = 0.5");
    assert!(
        text.starts_with("calibration/int8/toy.toml:15:") && text.ends_with("expected finite low <= 0 <= high"),
        "{text}"
    );
    assert!(refused("high = 2.55", "high = inf").contains(":15:"));
    assert!(refused("high = 2.55", "high = 2.55, scale = 3").contains("unknown field `scale`"));
    assert!(refused("12000", "1200").starts_with("calibration/int8/toy.toml:2:"));
    assert!(refused("12000", "xx000").contains("expected 64 hex digits"));
    let text = refused("percentile 99.99", "percentile 12");
    assert!(text.starts_with("calibration/int8/toy.toml:3:"), "{text}");
    assert!(text.contains("is no calibration method"), "{text}");
    assert!(refused("frames = 64", "frames = -1").contains(":7:"));
    assert!(refused("seed = 1000000\n", "").contains("missing field `seed`"));
}

#[test]
fn scales_of_known_ranges() {
    let scale = |low, high| Range::around_zero(low, high).to_u8();
    assert_eq!(scale(0.0, 255.0), (1.0, 0));
    assert_eq!(scale(0.0, 2.55), (0.01, 0));
    assert_eq!(scale(-64.0, 191.0), (1.0, 64));
    assert_eq!(scale(-127.5, 127.5), (1.0, 128)); // half a step up
    assert_eq!(scale(-255.0, 0.0), (1.0, 255));
    assert_eq!(scale(-1e-6, 255.0), (1.0, 0));
    assert_eq!(scale(0.0, 0.0), (1.0, 0));
    assert_eq!(scale(0.0, 1e-40), (1.0, 0));
    // wider than an f32 can say
    let (scale, zero_point) = scale(f32::MIN, f32::MAX);
    assert!(scale.is_finite() && zero_point == 128, "{scale} {zero_point}");
    // zero is always inside
    assert_eq!(Range::around_zero(3.0, 5.0), Range { low: 0.0, high: 5.0 });
}

#[test]
fn another_network_or_other_weights_are_refused() {
    use crate::engine::graph::{Array, Dim};
    let graph = |rows: Dim, out: usize| {
        let mut g = Graph::new("trunk");
        let x = g.input("x", &[rows, Dim::Fixed(1)]).unwrap();
        let zeros = |shape: Vec<usize>| Array::new(shape, vec![0.0; out]).unwrap();
        let y = g.linear("y", x, zeros(vec![out, 1]), zeros(vec![out])).unwrap();
        g.output("out", y).unwrap();
        g
    };
    let mut table = parse(EXAMPLE).unwrap();
    let (one, two) = (graph(Dim::Fixed(1), 1), graph(Dim::Fixed(1), 2));
    table.network_sha256 = Digest::of_layers(&[&one]);
    let weights = table.weights_sha256.0;
    let path = Path::new("t.toml");
    table.check(path, weights, &[&one]).unwrap();
    // another batch is the same network
    table.check(path, weights, &[&graph(Dim::Named("r"), 1)]).unwrap();
    let other = table.check(path, weights, &[&two]).unwrap_err().to_string();
    assert!(other.starts_with("t.toml: made for network "), "{other}");
    let other = table.check(path, [0; 32], &[&one]).unwrap_err().to_string();
    assert!(
        other.ends_with("00ff, got 0000000000000000000000000000000000000000000000000000000000000000: calibrate again"),
        "{other}"
    );
}

#[test]
fn the_table_of_the_bundled_model_is_read() {
    let text = include_str!("../../../calibration/int8/conveyor.toml");
    let table = ScaleTable::parse(text, Path::new("conveyor.toml")).unwrap();
    assert_eq!((table.data.frames, table.method), (200, Method::Percentile(99.999)));
    // What enters, normalised colours: black is -2.12, white 2.64.
    let image = table.activations["trunk/image"];
    assert_eq!((image.low(), image.high()), (-2.0327148, 2.6400003));
}
