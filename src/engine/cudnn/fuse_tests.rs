use super::*;
use crate::engine::cudnn::arena::{lives, plan};
use crate::engine::graph::{Array, Tensor};

fn array(shape: &[usize]) -> Array {
    Array::new(shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap()
}

fn conv(g: &mut Graph, name: &str, x: Tensor, [out, c, k]: [usize; 3], window: Window) -> Tensor {
    g.conv(name, x, array(&[out, c, k, k]), array(&[out]), window).unwrap()
}

fn image(shape: [usize; 4]) -> (Graph, Tensor) {
    let mut g = Graph::new("g");
    let x = g.input("x", &shape.map(Dim::Fixed)).unwrap();
    (g, x)
}

const SAME: Window = Window::new(3, 1, 1);
const ONE: Window = Window::new(1, 1, 0);

#[test]
fn a_residual_block_is_three_convolutions() {
    let (mut g, x) = image([1, 64, 8, 8]);
    let y = conv(&mut g, "conv1", x, [32, 64, 1], ONE);
    let y = g.relu("relu1", y).unwrap();
    let y = conv(&mut g, "conv2", y, [128, 32, 3], SAME);
    let short = conv(&mut g, "short", x, [128, 64, 1], ONE);
    let sum = g.add("add", y, short).unwrap();
    let out = g.relu("relu", sum).unwrap();
    g.output("out", out).unwrap();
    let steps = fuse(&g).unwrap();
    let names: Vec<(&str, bool, bool)> = steps
        .convs()
        .map(|conv| (conv.name.as_str(), conv.shape.residual, conv.shape.relu))
        .collect();
    // The one that adds waits for what it adds.
    assert_eq!(
        names,
        [("conv1", false, true), ("short", false, false), ("conv2", true, true)]
    );
    assert_eq!(steps.steps.len(), 3);
    let arena = plan(&lives(&steps));
    assert!(arena.bytes <= steps.buffers.iter().map(Buffer::bytes).sum::<usize>());
}

#[test]
fn a_value_that_is_read_twice_is_not_folded_away() {
    let (mut g, x) = image([1, 8, 8, 8]);
    let y = conv(&mut g, "conv", x, [8, 8, 3], SAME);
    let z = g.relu("relu", y).unwrap();
    g.output("before", y).unwrap();
    g.output("after", z).unwrap();
    let steps = fuse(&g).unwrap();
    assert_eq!(steps.steps.len(), 2);
    assert!(steps.convs().all(|conv| !conv.shape.relu && !conv.shape.f32_out));
}

#[test]
fn channels_are_padded_and_what_only_goes_out_is_f32() {
    let (mut g, x) = image([1, 3, 8, 8]);
    let y = conv(&mut g, "a", x, [3, 3, 1], ONE);
    let z = conv(&mut g, "b", x, [12, 3, 1], ONE);
    g.output("a.out", y).unwrap();
    g.output("b.out", z).unwrap();
    let steps = fuse(&g).unwrap();
    let conv = steps.convs().next().unwrap();
    assert_eq!(
        (conv.shape.c, conv.shape.k, conv.shape.f32_out, conv.parts.len()),
        (8, 16, true, 2)
    );
    let ranges: Vec<(usize, usize)> = steps.outputs.iter().map(|view| (view.first, view.channels)).collect();
    assert_eq!(ranges, [(0, 3), (3, 12)]);
}

#[test]
fn what_cannot_be_done_names_its_layer() {
    let (mut g, x) = image([1, 8, 4, 4]);
    let turned = g.transpose("turned", x, &[0, 1, 3, 2]).unwrap();
    g.output("out", turned).unwrap();
    let error = fuse(&g).unwrap_err().to_string();
    assert!(error.contains("turned") && error.contains("moves data"), "{error}");
    let mut g = Graph::new("named");
    let x = g.input("x", &[Dim::Named("r"), Dim::Fixed(8)]).unwrap();
    g.output("out", x).unwrap();
    let error = fuse(&g).unwrap_err().to_string();
    assert!(error.contains("named") && error.contains("not fixed"), "{error}");
}
