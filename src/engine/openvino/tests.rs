use std::path::Path;

use super::super::graph::{Array, Dim, Window};
use super::*;

fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::Fixed(d)).collect()
}

fn array(shape: &[usize], values: &[f32]) -> Array {
    Array::new(shape.to_vec(), values.to_vec()).unwrap()
}

/// Without the library: the sentence that says how to install it.
#[track_caller]
fn open(precision: Precision, threads: Option<usize>) -> OpenVino {
    OpenVino::open(Settings { precision, threads }).unwrap_or_else(|e| panic!("{e}"))
}

fn run(graph: &Graph, precision: Precision, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let mut openvino = open(precision, Some(2));
    let mut program = openvino.compile(graph, &graph.to_onnx()).unwrap();
    for (index, values) in inputs.iter().enumerate() {
        program.input_mut(index).unwrap().copy_from_slice(values);
    }
    program.run().unwrap();
    (0..graph.outputs().len())
        .map(|i| program.output(i).unwrap().to_vec())
        .collect()
}

#[test]
fn every_layer_computes_what_its_name_says() {
    let mut g = Graph::new("layers");
    let x = g.input("x", &fixed(&[1, 1, 2, 2])).unwrap();
    let scale = g
        .conv(
            "scale",
            x,
            array(&[1, 1, 1, 1], &[2.0]),
            array(&[1], &[-3.0]),
            Window::new(1, 1, 0),
        )
        .unwrap();
    let relu = g.relu("relu", scale).unwrap();
    let up = g.upsample_nearest_2x("up", x).unwrap();
    let pool = g.max_pool("pool", x, Window::new(3, 2, 1)).unwrap();
    let deconv = g
        .deconv_2x(
            "deconv",
            x,
            array(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]),
            array(&[1], &[0.5]),
        )
        .unwrap();
    let sum = g.add("sum", x, x).unwrap();
    let flat = g.flatten("flat", x).unwrap();
    let fc = g
        .linear(
            "fc",
            flat,
            array(&[2, 4], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            array(&[2], &[0.0, 7.0]),
        )
        .unwrap();
    let softmax = g.softmax("softmax", fc).unwrap();
    let sigmoid = g.sigmoid("sigmoid", fc).unwrap();
    let turned = g.transpose("turned", x, &[0, 1, 3, 2]).unwrap();
    for (i, t) in [relu, up, pool, deconv, sum, softmax, sigmoid, turned]
        .into_iter()
        .enumerate()
    {
        g.output(&format!("out{i}"), t).unwrap();
    }
    let out = run(&g, Precision::F32, &[&[1.0, 2.0, 3.0, -4.0]]);
    assert_eq!(out[0], [0.0, 1.0, 3.0, 0.0]);
    #[rustfmt::skip]
    assert_eq!(out[1], [
        1.0, 1.0, 2.0, 2.0,
        1.0, 1.0, 2.0, 2.0,
        3.0, 3.0, -4.0, -4.0,
        3.0, 3.0, -4.0, -4.0,
    ]);
    assert_eq!(out[2], [3.0]);
    #[rustfmt::skip]
    assert_eq!(out[3], [
        1.5, 10.5, 2.5, 20.5,
        100.5, 1000.5, 200.5, 2000.5,
        3.5, 30.5, -3.5, -39.5,
        300.5, 3000.5, -399.5, -3999.5,
    ]);
    assert_eq!(out[4], [2.0, 4.0, 6.0, -8.0]);
    // fc = [1, 9]
    let near = |got: f32, want: f64| assert!((f64::from(got) - want).abs() < 1e-6, "{got} {want}");
    near(out[5][0], 1.0 / (1.0 + 8f64.exp()));
    near(out[6][1], 1.0 / (1.0 + (-9f64).exp()));
    assert_eq!(out[7], [1.0, 3.0, 2.0, -4.0]);
}

#[test]
fn precision_is_what_was_asked_for() {
    // 1 + 2^-12 is no bf16 number: a product in bf16 loses it, f32 keeps it.
    let mut g = Graph::new("precision");
    let x = g.input("x", &fixed(&[1, 64])).unwrap();
    let y = g
        .linear("fc", x, array(&[16, 64], &[1.0; 16 * 64]), array(&[16], &[0.0; 16]))
        .unwrap();
    g.output("y", y).unwrap();
    let value = 1.0 + 1.0 / 4096.0;
    let input = [value; 64];
    assert_eq!(run(&g, Precision::F32, &[&input])[0][0], 64.0 * value);
    if probe().unwrap().native_bf16 {
        assert_eq!(run(&g, Precision::Bf16, &[&input])[0][0], 64.0);
    }
}

#[test]
fn a_program_runs_again_in_the_same_memory() {
    let mut g = Graph::new("again");
    let x = g.input("x", &fixed(&[1, 2, 3, 3])).unwrap();
    let y = g.relu("y", x).unwrap();
    g.output("out", y).unwrap();
    let mut openvino = open(Precision::F32, Some(1));
    assert_eq!(openvino.identity().name, "openvino");
    assert!(
        openvino.identity().version.starts_with("20"),
        "{:?}",
        openvino.identity()
    );
    let mut program = openvino.compile(&g, &g.to_onnx()).unwrap();
    for turn in 0..3 {
        program.input_mut(0).unwrap().fill(turn as f32);
        program.run().unwrap();
        assert_eq!(program.output::<f32>(0).unwrap(), [turn as f32; 18]);
    }
    let wrong = program.output::<half::bf16>(0).unwrap_err().to_string();
    assert_eq!(wrong, "output \"out\" of network \"again\" is stored as f32, not bf16");
    let wrong = program.output::<f32>(1).unwrap_err().to_string();
    assert_eq!(wrong, "network \"again\" has no output 1: it has 1");
}

#[test]
fn rows_are_counted_at_run_time() {
    let mut g = Graph::new("rows");
    let x = g
        .input_of("x", &[Dim::Named("r"), Dim::Fixed(2)], Element::Bf16)
        .unwrap();
    let y = g
        .linear("y", x, array(&[1, 2], &[1.0, 10.0]), array(&[1], &[0.5]))
        .unwrap();
    g.output("out", y).unwrap();
    g.output_as("half", y, Element::Bf16).unwrap();
    let mut program = open(Precision::F32, Some(1)).compile(&g, &g.to_onnx()).unwrap();
    for rows in [3, 1, 7, 7, 2] {
        program.set_rows(rows).unwrap();
        let input = program.input_mut::<half::bf16>(0).unwrap();
        assert_eq!(input.len(), 2 * rows);
        for (i, value) in input.iter_mut().enumerate() {
            *value = half::bf16::from_f32(i as f32);
        }
        program.run().unwrap();
        let expected: Vec<f32> = (0..rows).map(|r| (2 * r + 10 * (2 * r + 1)) as f32 + 0.5).collect();
        assert_eq!(program.output::<f32>(0).unwrap(), expected);
        let half: Vec<f32> = program
            .output::<half::bf16>(1)
            .unwrap()
            .iter()
            .map(|v| v.to_f32())
            .collect();
        let rounded: Vec<f32> = expected.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect();
        assert_eq!(half, rounded);
    }
}

#[test]
fn broken_bytes_and_other_named_dimensions_are_errors() {
    let mut g = Graph::new("named");
    let x = g.input("x", &[Dim::Fixed(4), Dim::Named("n")]).unwrap();
    let y = g.relu("y", x).unwrap();
    g.output("out", y).unwrap();
    let mut openvino = open(Precision::F32, None);
    assert!(openvino.compile(&g, &g.to_onnx()).is_err());
    let broken = openvino.compile(&g, b"not onnx").map(|_| ()).unwrap_err().to_string();
    assert!(
        broken.starts_with("OpenVINO failed to read network \"named\": "),
        "{broken}"
    );
    assert!(!broken.contains('\n'));
}

#[test]
fn a_missing_library_is_one_sentence_that_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let text = library::find(Some(dir.path()), None).unwrap_err().to_string();
    assert!(
        text.starts_with("OpenVINO is not installed (MASKCAST_OPENVINO_DIR is "),
        "{text}"
    );
    assert!(
        text.contains("pip install 'openvino==2026.4.*'") && text.contains("`make`"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_library_beside_the_program_is_found_under_either_name() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("bin/maskcast");
    let put = |path: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"").unwrap();
    };
    put("bin/openvino/libopenvino_c.so.2640");
    put("bin/openvino/libopenvino_c.so.2641");
    let found = library::find(None, Some(&program)).unwrap();
    assert_eq!(found, dir.path().join("bin/openvino/libopenvino_c.so.2641"));
    put("openvino/libopenvino_c.so");
    let found = library::find(Some(Path::new("")), Some(&program)).unwrap();
    assert_eq!(found, dir.path().join("bin/../openvino/libopenvino_c.so"));
}

#[test]
fn a_wrong_library_is_one_sentence_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libopenvino_c.so");
    std::fs::write(&path, b"hello").unwrap();
    let text = library::check(&path).unwrap_err().to_string();
    assert!(
        text.contains("is not a usable OpenVINO library (it is no shared library)"),
        "{text}"
    );
    std::fs::write(&path, b"\x7fELF\0ov_core_create\0").unwrap();
    let text = library::check(&path).unwrap_err().to_string();
    assert!(text.contains("(it has no function ov_get_openvino_version)"), "{text}");
}

#[test]
fn a_precision_that_the_processor_lacks_becomes_the_best_float() {
    let runs = |asked| [(true, true), (true, false), (false, true), (false, false)].map(|(b, i)| runs_in(asked, b, i));
    use Precision::{Bf16, F32, Int8};
    assert_eq!(runs(F32), [F32; 4]);
    assert_eq!(runs(Bf16), [Bf16, Bf16, F32, F32]);
    assert_eq!(runs(Int8), [Int8, Bf16, Int8, F32]);
}
