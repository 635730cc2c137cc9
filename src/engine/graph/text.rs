//! The graph as a person reviews it. One line a layer, columns aligned within a graph.

use std::fmt::Write;

use super::layers::show;
use super::{Element, Graph, Value};

/// Never fails: writing to a `String` cannot.
pub(super) fn write(graph: &Graph) -> String {
    let mut out = format!("graph {}\n", graph.name);
    for input in graph.inputs() {
        let _ = writeln!(out, "  in  {} {}{}", input.name, show(&input.shape), stored(input));
    }
    let rows: Vec<[String; 4]> = graph
        .nodes
        .iter()
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
            [node.name.clone(), op, shape, parameters]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let (a, b, c, d) = (width(0), width(1), width(2), width(3));
    for [name, op, shape, parameters] in &rows {
        let _ = writeln!(out, "  {name:a$}  {op:b$}  {shape:c$}  {parameters:>d$}");
    }
    for output in graph.outputs() {
        let _ = writeln!(out, "  out {} {}{}", output.name, show(&output.shape), stored(output));
    }
    let _ = writeln!(
        out,
        "total {} layers, {} parameters",
        rows.len(),
        graph.parameter_count()
    );
    out
}

/// f32 goes without saying.
fn stored(value: &Value) -> String {
    match value.element {
        Element::F32 => String::new(),
        other => format!(" {other}"),
    }
}
