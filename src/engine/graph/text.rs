//! The graph as a person reviews it. One line a layer, columns aligned within a graph. Of a quantised graph each line also
//! says what the layer reads, `int8` or `float`; the Q/DQ nodes themselves are left out, as they say nothing more.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::layers::show;
use super::{Element, Graph, Node, Value};

/// Never fails: writing to a `String` cannot.
pub(super) fn write(graph: &Graph) -> String {
    let mut out = format!("graph {}\n", graph.name);
    for input in graph.inputs() {
        let _ = writeln!(out, "  in  {} {}{}", input.name, show(&input.shape), stored(input));
    }
    let from_8_bits = from_8_bits(graph);
    let quantised = !from_8_bits.is_empty();
    // The value and, where there is one, the weight; a bias stays float.
    let reads_8_bits = |node: &Node| node.inputs.iter().take(2).all(|i| from_8_bits.contains(i.as_str()));
    let layers = || {
        let layer = |node: &&Node| !matches!(node.op, "QuantizeLinear" | "DequantizeLinear");
        graph.nodes.iter().filter(layer)
    };
    let rows: Vec<[String; 5]> = layers()
        .map(|node| {
            let op = if node.detail.is_empty() {
                node.op.to_owned()
            } else {
                format!("{} {}", node.op, node.detail)
            };
            let shape = show(&graph.value(node.output).shape);
            let parameters = if node.parameters == 0 {
                "-".to_owned()
            } else {
                node.parameters.to_string()
            };
            let precision = match (quantised, reads_8_bits(node)) {
                (false, _) => "",
                (true, true) => "  int8",
                (true, false) => "  float",
            };
            [node.name.clone(), op, shape, parameters, precision.to_owned()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let (a, b, c, d) = (width(0), width(1), width(2), width(3));
    for [name, op, shape, parameters, precision] in &rows {
        let _ = writeln!(out, "  {name:a$}  {op:b$}  {shape:c$}  {parameters:>d$}{precision}");
    }
    for output in graph.outputs() {
        let _ = writeln!(out, "  out {} {}{}", output.name, show(&output.shape), stored(output));
    }
    let _ = write!(
        out,
        "total {} layers, {} parameters",
        rows.len(),
        graph.parameter_count()
    );
    if quantised {
        let weighted = || layers().filter(|node| node.parameters > 0);
        let int8 = weighted().filter(|node| reads_8_bits(node)).count();
        let _ = write!(out, ", {int8} of {} layers with weights in int8", weighted().count());
    }
    out.push('\n');
    out
}

/// f32 goes without saying.
fn stored(value: &Value) -> String {
    match value.element {
        Element::F32 => String::new(),
        other => format!(" {other}"),
    }
}

/// Values that come from a DequantizeLinear, directly or moved by a layer that changes no value.
fn from_8_bits(graph: &Graph) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for node in &graph.nodes {
        let source = || node.inputs.first().map_or("", String::as_str);
        if node.op == "DequantizeLinear" || node.keeps_values() && found.contains(source()) {
            found.insert(graph.value(node.output).name.as_str());
        }
    }
    found
}
