//! A float graph -> the same graph with Q/DQ nodes, which an executor turns into 8-bit layers. The pattern is the one that
//! measured fastest on the processor, and the plainest:
//!
//! * Layers with weights read u8 activations and i8 weights. Bias, ReLU, sums of a residual block or a pyramid, and all
//!   outputs stay float: a layer before another writes 8 bits by itself, as the executor fuses Q into it.
//! * Q/DQ stands where a value is made, before MaxPool, Flatten and Transpose, which then move a quarter of the bytes. These
//!   give out the values they get, so one scale serves both sides.

use std::collections::{BTreeMap, BTreeSet};

use super::{QuantizeError, Range, ScaleTable, full_name};
use crate::engine::graph::{Array, Attribute, Constant, Dim, Element, Graph, GraphError, Node, Value};

/// `graph` that also gives out, in f32, each value whose range [`quantize`] needs; and, for [`super::Observer::observe`],
/// which output is which tensor. Tensors are named by the layer or input that makes their values, so a table does not
/// change with the names, order and type in which a graph takes and gives its values.
pub fn observable(graph: &Graph) -> Result<(Graph, Vec<(usize, String)>), GraphError> {
    let flow = Flow::of(graph);
    let weighted = graph.nodes.iter().filter(|node| weight_axis(node).is_some());
    let places: BTreeSet<&str> = weighted.map(|node| flow.place(input(node))).collect();
    let places: Vec<&str> = places.into_iter().collect();
    let graph = graph.with_outputs(&places)?;
    let tensor = |(index, value): (usize, &Value)| {
        let seen = places.contains(&value.name.as_str());
        seen.then(|| (index, flow.maker(&value.name).to_owned()))
    };
    let seen = graph.outputs().enumerate().filter_map(tensor).collect();
    Ok((graph, seen))
}

/// `graph` with Q/DQ around every layer with weights that `table` does not keep in float. Names of inputs, outputs and
/// layers stay.
pub fn quantize(graph: &Graph, table: &ScaleTable) -> Result<Graph, QuantizeError> {
    let flow = Flow::of(graph);
    check_names(graph, &flow, table)?;
    let kept = |node: &Node| table.keep_float.contains_key(&full_name(&graph.name, &node.name));
    let axis_of = |node: &Node| weight_axis(node).filter(|_| !kept(node));

    let mut ranges = BTreeMap::new();
    let mut moved = BTreeSet::new();
    for node in graph.nodes.iter().filter(|node| axis_of(node).is_some()) {
        let tensor = full_name(&graph.name, flow.maker(input(node)));
        let Some(&range) = table.activations.get(&tensor) else {
            let layer = full_name(&graph.name, &node.name);
            return Err(QuantizeError::NoRange { tensor, layer });
        };
        ranges.insert(flow.place(input(node)), range);
        moved.extend(flow.moved(input(node)));
    }

    let mut out = Quantized::over(graph);
    for node in &graph.nodes {
        let axis = axis_of(node);
        let mut node = node.clone();
        let moves = moved.contains(graph.value(node.output).name.as_str());
        if let Some(&range) = ranges.get(input(&node)).filter(|_| axis.is_some() || moves) {
            let read = out.activation(input(&node), range)?;
            node.inputs[0] = read;
        }
        if let Some(axis) = axis {
            out.weight(&mut node, axis)?;
        }
        out.graph.nodes.push(node);
    }
    Ok(out.graph)
}

/// Refuses a table that speaks of tensors or layers this part does not have: it is of another network.
fn check_names(graph: &Graph, flow: &Flow<'_>, table: &ScaleTable) -> Result<(), QuantizeError> {
    let prefix = full_name(&graph.name, "");
    let of_this_part = |name: &&String| name.starts_with(&prefix);
    let weighted = graph.nodes.iter().filter(|node| weight_axis(node).is_some());
    let tensors: BTreeSet<&str> = weighted.map(|node| flow.maker(input(node))).collect();
    for name in table.activations.keys().filter(of_this_part) {
        if !name.get(prefix.len()..).is_some_and(|tensor| tensors.contains(tensor)) {
            return Err(QuantizeError::UnknownTensor(name.clone()));
        }
    }
    for name in table.keep_float.keys().filter(of_this_part) {
        let is_it = |node: &Node| weight_axis(node).is_some() && name.get(prefix.len()..) == Some(&node.name);
        if !graph.nodes.iter().any(is_it) {
            return Err(QuantizeError::UnknownLayer(name.clone()));
        }
    }
    Ok(())
}

/// The axis of a layer's weight that counts output channels; `None` = no layer with weights.
fn weight_axis(node: &Node) -> Option<usize> {
    match node.op {
        "Conv" | "Gemm" => Some(0),
        "ConvTranspose" => Some(1), // stores its inputs first
        _ => None,
    }
}

/// What a layer computes on; every operator has one.
fn input(node: &Node) -> &str {
    node.inputs.first().map_or("", String::as_str)
}

/// Which node makes which value.
struct Flow<'g> {
    producers: BTreeMap<&'g str, &'g Node>,
    given_out: BTreeSet<&'g str>,
    /// Inputs that are not f32.
    cast: BTreeMap<&'g str, Element>,
}

impl<'g> Flow<'g> {
    fn of(graph: &'g Graph) -> Flow<'g> {
        let made = |node: &'g Node| (graph.value(node.output).name.as_str(), node);
        Flow {
            producers: graph.nodes.iter().map(made).collect(),
            given_out: graph.outputs().map(|output| output.name.as_str()).collect(),
            cast: graph
                .inputs()
                .filter(|input| input.element != Element::F32)
                .map(|input| (input.name.as_str(), input.element))
                .collect(),
        }
    }

    /// What `tensor` has its values from, unchanged. What is given out must not become coarser by being moved behind a Q/DQ.
    fn before(&self, tensor: &str) -> Option<&'g str> {
        let node = self.producers.get(tensor)?;
        (node.keeps_values() && !self.given_out.contains(tensor)).then(|| input(node))
    }

    /// Values that are those of `tensor`'s place at another place or in another order, `tensor` first.
    fn moved<'a>(&'a self, tensor: &'g str) -> impl Iterator<Item = &'g str> + 'a {
        std::iter::successors(Some(tensor), |t| self.before(t)).take_while(|t| self.before(t).is_some())
    }

    /// Where Q/DQ goes for a layer that reads `tensor`.
    fn place<'t>(&self, tensor: &'t str) -> &'t str
    where
        'g: 't,
    {
        std::iter::successors(Some(tensor), |t| self.before(t))
            .last()
            .unwrap_or(tensor)
    }

    /// The layer or input that made the values of `tensor`. Beyond a Cast too: it is there for the type in which a graph
    /// takes or gives values.
    fn maker<'t>(&self, tensor: &'t str) -> &'t str
    where
        'g: 't,
    {
        match self.producers.get(tensor) {
            Some(node) if node.keeps_values() || node.op == "Cast" => self.maker(input(node)),
            Some(node) => &node.name,
            // The name of such an input says its type, as `Graph::input_of` gives it.
            None => match self.cast.get(tensor) {
                Some(element) => tensor.strip_suffix(&format!(".{element}")).unwrap_or(tensor),
                None => tensor,
            },
        }
    }
}

/// The graph as it grows.
struct Quantized {
    graph: Graph,
    /// Tensor -> its dequantised form.
    dequantized: BTreeMap<String, String>,
}

impl Quantized {
    fn over(graph: &Graph) -> Quantized {
        let mut graph = graph.clone();
        graph.nodes.clear();
        Quantized {
            graph,
            dequantized: BTreeMap::new(),
        }
    }

    /// Q and DQ after `tensor`, once; gives the name to read instead.
    fn activation(&mut self, tensor: &str, range: Range) -> Result<String, GraphError> {
        if let Some(name) = self.dequantized.get(tensor) {
            return Ok(name.clone());
        }
        let (scale, zero_point) = range.to_u8();
        let [by, from, q, dq] = ["scale", "zero_point", "quantized", "dequantized"].map(|s| format!("{tensor}.{s}"));
        self.constant(&by, Constant::F32(Array::new(vec![], vec![scale])?))?;
        let zero_point = Constant::U8 {
            shape: vec![],
            values: vec![zero_point],
        };
        self.constant(&from, zero_point)?;
        let shape = self.graph.values.iter().find(|value| value.name == tensor);
        let shape = shape.map_or_else(Vec::new, |value| value.shape.clone());
        self.node("QuantizeLinear", &q, [tensor, &by, &from], shape.clone(), vec![])?;
        self.node("DequantizeLinear", &dq, [&q, &by, &from], shape, vec![])?;
        self.dequantized.insert(tensor.to_owned(), dq.clone());
        Ok(dq)
    }

    /// Stores the weight of `node` as i8 with a scale each output channel.
    fn weight(&mut self, node: &mut Node, axis: usize) -> Result<(), QuantizeError> {
        let Some(weight) = node.inputs.get_mut(1) else {
            return Ok(()); // the builder gives every such layer a weight
        };
        let Some(Constant::F32(array)) = self.graph.initializers.remove(weight.as_str()) else {
            return Ok(());
        };
        if let Some(&got) = array.values.iter().find(|v| !v.is_finite()) {
            let layer = full_name(&self.graph.name, &node.name);
            return Err(QuantizeError::Weight { layer, got });
        }
        let (scales, values) = per_channel(&array, axis);
        let [stored, by, dq] = ["int8", "scale", "dequantized"].map(|s| format!("{weight}.{s}"));
        let shape = array.shape.iter().map(|&d| Dim::Fixed(d)).collect();
        let int8 = Constant::I8 {
            shape: array.shape,
            values,
        };
        self.constant(&stored, int8)?;
        self.constant(&by, Constant::F32(Array::new(vec![scales.len()], scales)?))?;
        let axis = vec![("axis", Attribute::Int(axis as i64))];
        self.node("DequantizeLinear", &dq, [&stored, &by], shape, axis)?;
        *weight = dq;
        Ok(())
    }

    fn constant(&mut self, name: &str, value: Constant) -> Result<(), GraphError> {
        self.graph.take_name(name)?;
        self.graph.initializers.insert(name.to_owned(), value);
        Ok(())
    }

    fn node<const N: usize>(
        &mut self,
        op: &'static str,
        name: &str,
        inputs: [&str; N],
        shape: Vec<Dim>,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Result<(), GraphError> {
        let output = self.graph.add_value(name, shape)?;
        self.graph.nodes.push(Node {
            name: name.to_owned(),
            op,
            detail: String::new(),
            inputs: inputs.map(str::to_owned).to_vec(),
            output,
            attributes,
            parameters: 0,
        });
        Ok(())
    }
}

/// Scale of each channel along `axis` and the weights in steps of it, -127 to 127: -128 would make the range lopsided.
fn per_channel(array: &Array, axis: usize) -> (Vec<f32>, Vec<i8>) {
    let channels = array.shape[axis];
    let inner: usize = array.shape[axis + 1..].iter().product();
    let channel = |i: usize| i / inner.max(1) % channels;
    let mut scales = vec![0f32; channels];
    for (i, value) in array.values.iter().enumerate() {
        let largest = &mut scales[channel(i)];
        *largest = largest.max(value.abs());
    }
    for scale in &mut scales {
        *scale /= 127.0;
        if *scale < f32::MIN_POSITIVE {
            *scale = 1.0; // a channel of zeros
        }
    }
    let step = |(i, value): (usize, &f32)| (value / scales[channel(i)]).round_ties_even().clamp(-127.0, 127.0) as i8;
    let values = array.values.iter().enumerate().map(step).collect();
    (scales, values)
}
