use super::*;
use crate::engine::graph::{Array, Attribute, Constant, Dim, Element, Graph, Node, Window};
use crate::engine::openvino::{OpenVino, Settings};
use crate::engine::{Digest, Precision};

fn array(shape: &[usize], value: impl Fn(usize) -> f32) -> Array {
    let count = shape.iter().product();
    Array::new(shape.to_vec(), (0..count).map(value).collect()).unwrap()
}

/// Even noise in -1..1 from a multiplicative generator.
fn noise(seed: u32) -> impl Fn(usize) -> f32 {
    move |i| {
        let bits = (i as u32 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        let bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
        ((bits ^ bits >> 16) >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn table(ranges: &[(&str, f32, f32)], keep: &[&str]) -> ScaleTable {
    ScaleTable {
        weights_sha256: Digest([0; 32]),
        network_sha256: Digest([0; 32]),
        method: Method::Max,
        data: Data {
            source: "here".into(),
            frames: 1,
            seed: 0,
        },
        keep_float: keep.iter().map(|k| (k.to_string(), "a test".into())).collect(),
        activations: ranges
            .iter()
            .map(|&(name, low, high)| (name.to_owned(), Range::around_zero(low, high)))
            .collect(),
    }
}

fn run(graph: &Graph, input: &[f32]) -> Vec<Vec<f32>> {
    let settings = Settings {
        precision: Precision::F32,
        threads: Some(1),
    };
    let mut openvino = OpenVino::open(settings).unwrap_or_else(|e| panic!("{e}"));
    let mut program = openvino.compile(graph, &graph.to_onnx()).unwrap();
    program.input_mut(0).unwrap().copy_from_slice(input);
    program.run().unwrap();
    (0..graph.outputs().len())
        .map(|i| program.output(i).unwrap().to_vec())
        .collect()
}

/// x -> conv a, ReLU -> conv b -> + shortcut -> ReLU -> max pool -> deconv -> fc, with a transposed output beside it.
fn small() -> Graph {
    let mut g = Graph::new("small");
    let x = g.input("x", &[1, 3, 8, 8].map(Dim::Fixed)).unwrap();
    let (k3, s2) = (Window::new(3, 1, 1), Window::new(2, 2, 0));
    let zeros = |n| array(&[n], |_| 0.0);
    let w = |shape: &[usize], seed| array(shape, noise(seed));
    let a = g
        .conv("a", x, w(&[16, 3, 3, 3], 1), array(&[16], noise(2)), k3)
        .unwrap();
    let a = g.relu("a.relu", a).unwrap();
    let b = g.conv("b", a, w(&[16, 16, 3, 3], 3), zeros(16), k3).unwrap();
    let sum = g.add("sum", b, a).unwrap();
    let sum = g.relu("sum.relu", sum).unwrap();
    let pool = g.max_pool("pool", sum, s2).unwrap();
    let up = g.deconv_2x("up", pool, w(&[16, 4, 2, 2], 4), zeros(4)).unwrap();
    let turned = g.transpose("turned", up, &[0, 2, 3, 1]).unwrap();
    g.output("features", turned).unwrap();
    let flat = g.flatten("flat", up).unwrap();
    let y = g.linear("fc", flat, w(&[5, 256], 5), array(&[5], noise(6))).unwrap();
    g.output("y", y).unwrap();
    g
}

fn calibrated(graph: &Graph, input: &[f32], keep: &[&str]) -> ScaleTable {
    let (seen, tensors) = observable(graph).unwrap();
    let out = run(&seen, input);
    let mut observer = Observer::new(Method::Max);
    for (index, tensor) in &tensors {
        observer.observe(graph.name(), tensor, &out[*index]);
    }
    ScaleTable {
        activations: observer.finish().unwrap(),
        ..table(&[], keep)
    }
}

fn pixels() -> Vec<f32> {
    (0..3 * 64).map(noise(9)).collect()
}

#[test]
fn what_layers_with_weights_read_is_observed_where_it_is_made() {
    let g = small();
    let (seen, tensors) = observable(&g).unwrap();
    let names: Vec<&str> = seen.outputs().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["features", "y", "a.relu", "sum.relu", "up", "x"]);
    let named = [(2, "a.relu"), (3, "sum.relu"), (4, "up"), (5, "x")].map(|(i, name)| (i, name.to_owned()));
    assert_eq!(tensors, named);
    let out = run(&seen, &pixels());
    assert_eq!(out[5], pixels());
    assert!(out[2].iter().all(|&v| v >= 0.0) && out[2].iter().any(|&v| v > 1.0));
    let table = calibrated(&g, &pixels(), &[]);
    let extreme = |values: &[f32]| values.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
    for (index, name) in tensors {
        let range = table.activations[&format!("small/{name}")];
        assert_eq!((range.low(), range.high()), extreme(&out[index]), "{name}");
    }
    assert_eq!(
        g.with_outputs(&["nowhere"]).unwrap_err().to_string(),
        "graph \"small\" has no value \"nowhere\""
    );
}

/// A table is good for every form of a network: outputs under any name, inputs in another type or with the channels last.
#[test]
fn a_tensor_is_named_by_what_makes_it() {
    let head = |given_out: bool, channels_last: bool| {
        let mut g = Graph::new("head");
        let one = Window::new(1, 1, 0);
        let shape = if channels_last { [1, 4, 4, 2] } else { [1, 2, 4, 4] };
        let mut x = g.input("rois", &shape.map(Dim::Fixed)).unwrap();
        if channels_last {
            let cast = g.add_value("rois.f32", g.shape(x).to_vec()).unwrap();
            g.nodes.push(Node {
                name: "rois.f32".into(),
                op: "Cast",
                detail: String::new(),
                inputs: vec!["rois".into()],
                output: cast,
                attributes: vec![("to", Attribute::Int(1))],
                parameters: 0,
            });
            x = cast;
            x = g.transpose("rois.planes", x, &[0, 3, 1, 2]).unwrap();
        }
        let a = g
            .conv("a", x, array(&[2, 2, 1, 1], noise(1)), array(&[2], noise(2)), one)
            .unwrap();
        let b = g
            .conv("b", a, array(&[2, 2, 1, 1], noise(3)), array(&[2], noise(4)), one)
            .unwrap();
        if given_out {
            g.output("features", a).unwrap();
        }
        g.output("logits", b).unwrap();
        g
    };
    let values: Vec<f32> = (0..32).map(noise(5)).collect();
    let plain = head(false, false);
    let table = calibrated(&plain, &values, &[]);
    assert_eq!(table.activations.keys().collect::<Vec<_>>(), ["head/a", "head/rois"]);
    let expected = run(&quantize(&plain, &table).unwrap(), &values);
    let given = head(true, true);
    assert_eq!(
        observable(&given).unwrap().1,
        [(0, "a".to_owned()), (2, "rois".to_owned())]
    );
    let last: Vec<f32> = (0..32).map(|i| values[i % 2 * 16 + i / 2]).collect();
    let got = run(&quantize(&given, &table).unwrap(), &last);
    for (a, b) in expected[0].iter().zip(&got[1]) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_eq!(Digest::of_layers(&[&plain]), Digest::of_layers(&[&given]));

    // An input of another type has it in its name.
    let mut g = Graph::new("head");
    let shape = [1, 2, 4, 4].map(Dim::Fixed);
    let x = g.input_of("rois", &shape, Element::Bf16).unwrap();
    let one = Window::new(1, 1, 0);
    let a = g.conv("a", x, array(&[2, 2, 1, 1], noise(1)), array(&[2], noise(2)), one);
    g.output("logits", a.unwrap()).unwrap();
    assert_eq!(observable(&g).unwrap().1, [(1, "rois".to_owned())]);
    let of_rois = ScaleTable {
        activations: table
            .activations
            .clone()
            .into_iter()
            .filter(|(name, _)| name == "head/rois")
            .collect(),
        ..table
    };
    assert!(
        quantize(&g, &of_rois)
            .unwrap()
            .to_text()
            .contains("1 of 1 layers with weights in int8")
    );
}

#[test]
fn eight_bits_are_as_near_as_their_steps() {
    let g = small();
    let table = calibrated(&g, &pixels(), &[]);
    let int8 = quantize(&g, &table).unwrap();
    let (float, eight) = (run(&g, &pixels()), run(&int8, &pixels()));
    for (float, eight) in float.iter().zip(&eight) {
        let signal = float.iter().map(|v| v * v).sum::<f32>();
        let noise = float.iter().zip(eight).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        // Four layers, each with a relative error near 1/255 of its inputs and 1/127 of its weights, over sqrt(12).
        let ratio = (noise / signal).sqrt();
        assert!(ratio > 1e-4 && ratio < 0.02, "{ratio}");
    }
    // Kept in float throughout, nothing changes.
    let keep = ["small/a", "small/b", "small/up", "small/fc"];
    let all_float = quantize(&g, &calibrated(&g, &pixels(), &keep)).unwrap();
    assert_eq!(all_float, g);
}

/// Whole numbers within the range are exact in 8 bits, whatever the zero point, and so is the padding around them.
#[test]
fn whole_numbers_are_exact() {
    for (low, high) in [(0.0, 255.0), (-64.0, 191.0), (-255.0, 0.0), (-128.0, 127.0)] {
        let mut g = Graph::new("exact");
        let x = g.input("x", &[1, 2, 6, 6].map(Dim::Fixed)).unwrap();
        let whole = |seed| {
            let noise = noise(seed);
            move |i: usize| {
                if i.is_multiple_of(7) {
                    127.0
                } else {
                    (noise(i) * 127.0).round()
                }
            }
        };
        // Channel 2 is a quarter of the others: each has a scale of its own.
        let conv = |i: usize| whole(1)(i) * if i / 18 == 2 { 0.25 } else { 1.0 };
        let bias = array(&[16], |i| i as f32 / 2.0);
        let y = g
            .conv("c", x, array(&[16, 2, 3, 3], conv), bias, Window::new(3, 1, 1))
            .unwrap();
        g.output("conv", y).unwrap();
        let bias = || array(&[16], |i| i as f32);
        let y = g
            .deconv_2x(
                "d",
                x,
                array(&[2, 16, 2, 2], |i| [127.0, -3.0, 55.0, 8.0][i % 4]),
                bias(),
            )
            .unwrap();
        g.output("deconv", y).unwrap();
        let flat = g.flatten("flat", x).unwrap();
        let y = g.linear("f", flat, array(&[16, 72], whole(3)), bias()).unwrap();
        g.output("fc", y).unwrap();
        let int8 = quantize(&g, &table(&[("exact/x", low, high)], &[])).unwrap();
        let values: Vec<f32> = (0..72)
            .map(|i| (noise(7)(i) * 300.0).round().clamp(low, high))
            .collect();
        let (float, eight) = (run(&g, &values), run(&int8, &values));
        for (float, eight) in float.iter().zip(&eight) {
            for (a, b) in float.iter().zip(eight) {
                assert!((a - b).abs() <= a.abs() * 1e-5 + 1e-2, "{low} {high}: {a} {b}");
            }
        }
    }
}

#[test]
fn weights_have_a_scale_each_output_channel() {
    let mut g = Graph::new("w");
    let x = g.input("x", &[1, 1, 2, 2].map(Dim::Fixed)).unwrap();
    let weight = [12.7, -6.35, 0.05, 1.0, 0.0, 0.0, 0.0, 0.0];
    // [C, O, 2, 2]: output channel 1 is zeros
    let y = g
        .deconv_2x("d", x, array(&[1, 2, 2, 2], |i| weight[i]), array(&[2], |_| 0.0))
        .unwrap();
    g.output("y", y).unwrap();
    let q = quantize(&g, &table(&[("w/x", -1.0, 1.55)], &[])).unwrap();
    let shape = vec![1, 2, 2, 2];
    let values = vec![127, -64, 0, 10, 0, 0, 0, 0]; // -63.5 and 0.5 go to the even side
    assert_eq!(q.initializers["d.weight.int8"], Constant::I8 { shape, values });
    let Constant::F32(scale) = &q.initializers["d.weight.scale"] else {
        panic!("scales are f32")
    };
    assert_eq!(scale.shape, [2]);
    assert!((scale.values[0] - 0.1).abs() < 1e-7 && scale.values[1] == 1.0);
    assert!(!q.initializers.contains_key("d.weight") && q.initializers.contains_key("d.bias"));
    let (shape, values) = (vec![], vec![100]);
    assert_eq!(q.initializers["x.zero_point"], Constant::U8 { shape, values });
    let Constant::F32(scale) = &q.initializers["x.scale"] else {
        panic!("scales are f32")
    };
    assert!(scale.shape.is_empty() && (scale.values[0] - 0.01).abs() < 1e-8);
}

#[test]
fn a_table_of_another_network_is_an_error_that_names_it() {
    let g = small();
    let mut t = calibrated(&g, &pixels(), &[]);
    t.activations.insert("other/x".into(), Range::ZERO); // of another part: no matter
    quantize(&g, &t).unwrap();
    let removed = t.activations.remove("small/sum.relu").unwrap();
    assert_eq!(
        quantize(&g, &t).unwrap_err().to_string(),
        "the scale table has no range for \"small/sum.relu\", which layer \"small/up\" reads: calibrate again"
    );
    t.keep_float.insert("small/up".into(), "no range".into());
    quantize(&g, &t).unwrap();
    t.activations.insert("small/sum".into(), removed);
    assert_eq!(
        quantize(&g, &t).unwrap_err(),
        QuantizeError::UnknownTensor("small/sum".into())
    );
    t.activations.remove("small/sum");
    t.keep_float.insert("small/pool".into(), "no weights".into());
    assert_eq!(
        quantize(&g, &t).unwrap_err(),
        QuantizeError::UnknownLayer("small/pool".into())
    );
    let mut observer = Observer::new(Method::Max);
    observer.observe("small", "x", &[1.0, f32::NAN]);
    assert_eq!(
        observer.finish().unwrap_err().to_string(),
        "\"small/x\": expected finite values, got 1 that are not"
    );
}

#[test]
fn the_text_form_says_what_is_in_8_bits() {
    let g = small();
    let q = quantize(&g, &calibrated(&g, &pixels(), &["small/fc"])).unwrap();
    let expected = "\
graph small
  in  x [1, 3, 8, 8]
  a         Conv 3x3/1              [1, 16, 8, 8]   448  int8
  a.relu    Relu                    [1, 16, 8, 8]     -  float
  b         Conv 3x3/1              [1, 16, 8, 8]  2320  int8
  sum       Add                     [1, 16, 8, 8]     -  float
  sum.relu  Relu                    [1, 16, 8, 8]     -  float
  pool      MaxPool 2x2/2           [1, 16, 4, 4]     -  int8
  up        ConvTranspose 2x2/2     [1, 4, 8, 8]    260  int8
  turned    Transpose [0, 2, 3, 1]  [1, 8, 8, 4]      -  float
  flat      Flatten                 [1, 256]          -  float
  fc        Gemm                    [1, 5]         1285  float
  out features [1, 8, 8, 4]
  out y [1, 5]
total 10 layers, 4313 parameters, 3 of 4 layers with weights in int8
";
    assert_eq!(q.to_text(), expected);
    assert_ne!(q.to_onnx(), g.to_onnx());
}
