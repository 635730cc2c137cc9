use super::*;

fn zeros(shape: &[usize]) -> Array {
    Array::new(shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap()
}

fn picture(graph: &mut Graph) -> Tensor {
    graph.input("image", &[1, 3, 32, 48].map(Dim::Fixed)).unwrap()
}

#[test]
fn shapes_follow_the_layers() {
    let mut g = Graph::new("t");
    let x = picture(&mut g);
    let x = g
        .conv("stem", x, zeros(&[8, 3, 7, 7]), zeros(&[8]), Window::new(7, 2, 3))
        .unwrap();
    assert_eq!(g.shape(x), [1, 8, 16, 24].map(Dim::Fixed));
    let p = g.max_pool("pool", x, Window::new(3, 2, 1)).unwrap();
    assert_eq!(g.shape(p), [1, 8, 8, 12].map(Dim::Fixed));
    // kernel 1, stride 2 rounds up: 9 rows give 5
    let odd = g.max_pool("odd", p, Window::new(1, 2, 0)).unwrap();
    assert_eq!(g.shape(odd), [1, 8, 4, 6].map(Dim::Fixed));
    let up = g.upsample_nearest_2x("up", p).unwrap();
    let sum = g.add("sum", up, x).unwrap();
    assert_eq!(g.shape(sum), g.shape(x));
    let big = g.deconv_2x("deconv", p, zeros(&[8, 5, 2, 2]), zeros(&[5])).unwrap();
    assert_eq!(g.shape(big), [1, 5, 16, 24].map(Dim::Fixed));
    let last = g.transpose("last", big, &[0, 2, 3, 1]).unwrap();
    assert_eq!(g.shape(last), [1, 16, 24, 5].map(Dim::Fixed));
    assert_eq!(g.parameter_count(), 8 * 3 * 49 + 8 + 8 * 5 * 4 + 5);
}

#[test]
fn errors_name_the_layer_expected_and_got() {
    let mut g = Graph::new("t");
    let x = picture(&mut g);
    let wrong = g.conv(
        "backbone.conv1",
        x,
        zeros(&[8, 4, 7, 7]),
        zeros(&[8]),
        Window::new(7, 2, 3),
    );
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "layer \"backbone.conv1\": expected a weight of shape [any, 3, 7, 7], got [8, 4, 7, 7]"
    );
    let bias = g.conv("c", x, zeros(&[8, 3, 1, 1]), zeros(&[7]), Window::new(1, 1, 0));
    assert_eq!(
        bias.unwrap_err().to_string(),
        "layer \"c\": expected a bias of shape [8], got [7]"
    );
    let small = g.conv("c", x, zeros(&[8, 3, 99, 99]), zeros(&[8]), Window::new(99, 1, 0));
    assert!(
        small
            .unwrap_err()
            .to_string()
            .contains("at least the 99x99 kernel, got image of shape [1, 3, 32, 48]")
    );
    let half = g.max_pool("half", x, Window::new(2, 2, 0)).unwrap();
    assert!(
        g.add("sum", x, half)
            .unwrap_err()
            .to_string()
            .contains("got half of shape [1, 3, 16, 24]")
    );
    assert!(g.linear("fc", x, zeros(&[1, 1]), zeros(&[1])).is_err());
    assert!(g.transpose("t", x, &[0, 1, 1, 3]).is_err());
    assert_eq!(g.relu("half", x), Err(GraphError::NameTaken("half".to_owned())));
    assert_eq!(
        Array::new(vec![2, 2], vec![0.0; 3]).unwrap_err().to_string(),
        "an array of shape [2, 2] needs 4 values, got 3"
    );
}

#[test]
fn named_dimensions_pass_through() {
    let mut g = Graph::new("t");
    let x = g
        .input("rois", &[Dim::Named("r"), Dim::Fixed(4), Dim::Fixed(7), Dim::Fixed(7)])
        .unwrap();
    let flat = g.flatten("flat", x).unwrap();
    assert_eq!(g.shape(flat), [Dim::Named("r"), Dim::Fixed(196)]);
    let y = g.linear("fc", flat, zeros(&[3, 196]), zeros(&[3])).unwrap();
    let y = g.softmax("scores", y).unwrap();
    assert_eq!(g.shape(y), [Dim::Named("r"), Dim::Fixed(3)]);
}

#[test]
fn an_output_renames_its_value_everywhere() {
    let mut g = Graph::new("t");
    let x = picture(&mut g);
    let a = g.relu("a", x).unwrap();
    let b = g.sigmoid("b", a).unwrap();
    g.output("features", a).unwrap();
    g.output("scores", b).unwrap();
    assert_eq!(
        g.outputs().map(|v| v.name.as_str()).collect::<Vec<_>>(),
        ["features", "scores"]
    );
    assert_eq!(g.nodes[1].inputs, ["features"]);
}

#[test]
fn the_text_form_has_one_line_a_layer() {
    let mut g = Graph::new("head");
    let x = g.input("x", &[Dim::Named("r"), Dim::Fixed(2)]).unwrap();
    let y = g.linear("fc6", x, zeros(&[10, 2]), zeros(&[10])).unwrap();
    let y = g.relu("fc6.relu", y).unwrap();
    g.output("y", y).unwrap();
    let expected = "\
graph head
  in  x [r, 2]
  fc6       Gemm  [r, 10]  30
  fc6.relu  Relu  [r, 10]   -
  out y [r, 10]
total 2 layers, 30 parameters
";
    assert_eq!(g.to_text(), expected);
}
