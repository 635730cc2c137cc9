use super::*;
use crate::engine::Precision;
use crate::engine::openvino::{OpenVino, Settings};

fn array(shape: &[usize], values: &[f32]) -> Array {
    Array::new(shape.to_vec(), values.to_vec()).unwrap()
}

fn zeros(shape: &[usize]) -> Array {
    array(shape, &vec![0.0; shape.iter().product()])
}

fn run(graph: &Graph, input: &[f32]) -> Vec<Vec<f32>> {
    let settings = Settings {
        precision: Precision::F32,
        threads: Some(2),
    };
    let mut openvino = OpenVino::open(settings).unwrap_or_else(|e| panic!("{e}"));
    let mut program = openvino.compile(graph, &graph.to_onnx()).unwrap();
    program.input_mut(0).unwrap().copy_from_slice(input);
    program.run().unwrap();
    (0..graph.outputs().len())
        .map(|i| program.output(i).unwrap().to_vec())
        .collect()
}

#[test]
fn each_channel_sees_only_itself() {
    let mut g = Graph::new("depthwise");
    let x = g.input("x", &[1, 2, 2, 2].map(Dim::Fixed)).unwrap();
    // Channel 0: the sum of the neighbourhood; channel 1: the pixel to the left.
    let left = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let kernels = [[1.0; 9], left].concat();
    let bias = array(&[2], &[0.0, 0.5]);
    let window = Window::new(3, 1, 1);
    let conv = g
        .depthwise_conv("conv", x, array(&[2, 1, 3, 3], &kernels), bias, window)
        .unwrap();
    let means = g.plane_means("means", x).unwrap();
    g.output("conv_out", conv).unwrap();
    g.output("means_out", means).unwrap();

    let got = run(&g, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0]);
    assert_eq!(got[0], [10.0, 10.0, 10.0, 10.0, 0.5, 10.5, 0.5, 30.5]);
    assert_eq!(got[1], [2.5, 25.0]);
}

#[test]
fn a_transposed_depthwise_convolution_doubles_bilinearly() {
    let mut g = Graph::new("bilinear");
    let x = g.input("x", &[1, 2, 1, 2].map(Dim::Fixed)).unwrap();
    let slope = [0.25f32, 0.75, 0.75, 0.25];
    let kernel: Vec<f32> = slope.iter().flat_map(|a| slope.map(|b| a * b)).collect();
    let kernels = [kernel.clone(), kernel.iter().map(|k| 2.0 * k).collect()].concat();
    let up = g
        .depthwise_deconv(
            "up",
            x,
            array(&[2, 1, 4, 4], &kernels),
            array(&[2], &[0.0, 1.0]),
            Window::new(4, 2, 1),
        )
        .unwrap();
    assert_eq!(g.shape(up), [1, 2, 2, 4].map(Dim::Fixed));
    g.output("up_out", up).unwrap();
    // One row: both output rows weigh it 0.75, as a missing neighbour is zero; along it 0.75 a, then 0.75 a + 0.25 b.
    let got = run(&g, &[16.0, 32.0, 0.0, 16.0]);
    let row = [9.0, 15.0, 21.0, 18.0];
    let twice = [1.0, 7.0, 19.0, 19.0];
    assert_eq!(got[0], [row, row, twice, twice].concat());
}

#[test]
fn shapes_follow_stride_and_pad() {
    let mut g = Graph::new("t");
    let x = g
        .input("x", &[Dim::Named("r"), Dim::Fixed(8), Dim::Fixed(5), Dim::Fixed(7)])
        .unwrap();
    let half = g
        .depthwise_conv("half", x, zeros(&[8, 1, 3, 3]), zeros(&[8]), Window::new(3, 2, 1))
        .unwrap();
    assert_eq!(
        g.shape(half),
        [Dim::Named("r"), Dim::Fixed(8), Dim::Fixed(3), Dim::Fixed(4)]
    );
    let means = g.plane_means("means", half).unwrap();
    assert_eq!(g.shape(means), [Dim::Named("r"), Dim::Fixed(8)]);
    assert_eq!(g.parameter_count(), 8 * 9 + 8);
}

#[test]
fn errors_name_the_layer_expected_and_got() {
    let mut g = Graph::new("t");
    let x = g.input("x", &[1, 8, 4, 4].map(Dim::Fixed)).unwrap();
    let window = Window::new(3, 1, 1);
    let dense = g.depthwise_conv("dw", x, zeros(&[8, 8, 3, 3]), zeros(&[8]), window);
    assert_eq!(
        dense.unwrap_err().to_string(),
        "layer \"dw\": expected a weight of shape [8, 1, 3, 3], got [8, 8, 3, 3]"
    );
    let bias = g.depthwise_deconv("up", x, zeros(&[8, 1, 3, 3]), zeros(&[7]), window);
    assert_eq!(
        bias.unwrap_err().to_string(),
        "layer \"up\": expected a bias of shape [8], got [7]"
    );
    let gone = g.depthwise_deconv("up", x, zeros(&[8, 1, 1, 1]), zeros(&[8]), Window::new(1, 1, 3));
    assert!(
        gone.unwrap_err()
            .to_string()
            .contains("an input larger than its pad of 3")
    );
    let small = g.depthwise_conv("dw", x, zeros(&[8, 1, 9, 9]), zeros(&[8]), Window::new(9, 1, 0));
    assert!(small.unwrap_err().to_string().contains("at least the 9x9 kernel"));
    let row = g.input("row", &[1, 8].map(Dim::Fixed)).unwrap();
    assert!(g.plane_means("m", row).is_err());
}
