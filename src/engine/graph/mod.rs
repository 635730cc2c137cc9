//! A typed builder of feed-forward graphs. Every layer's shape is worked out and checked when it is added, so an error
//! names the layer, and never an executor's internals. Forms: ONNX bytes ([`Graph::to_onnx`]) for executors, one line a
//! layer ([`Graph::to_text`]) for people.
//!
//! Letters: N batch (may be named, i.e. known only at run time), C channels, H W rows and columns. Values are f32, but
//! for inputs and outputs that are cast to what the neighbours of the graph hold, and for what `quantize` puts between a
//! QuantizeLinear and its DequantizeLinear.

mod layers;
mod onnx;
mod text;

pub use layers::Window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One extent of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    Fixed(usize),
    /// Known only at run time; equal names mean equal extents.
    Named(&'static str),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Named(name) => f.write_str(name),
        }
    }
}

/// Constant numbers with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Array {
    /// Refused when the number of values is not the product of the shape.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Result<Array, GraphError> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(GraphError::Array {
                shape,
                got: values.len(),
            });
        }
        Ok(Array { shape, values })
    }
}

/// What a value is stored in. Inside a graph everything is f32 and the executor chooses what it computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    F32,
    Bf16,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "f32",
            Element::Bf16 => "bf16",
        })
    }
}

/// A value of one graph: an input or the output of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tensor(usize);

/// Name and shape of a [`Tensor`].
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub name: String,
    pub shape: Vec<Dim>,
    pub element: Element,
}

/// A constant as it is stored. The builder's are f32; `quantize` makes the others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) enum Constant {
    F32(Array),
    I8 { shape: Vec<usize>, values: Vec<i8> },
    U8 { shape: Vec<usize>, values: Vec<u8> },
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Node {
    pub(in crate::engine) name: String,
    /// ONNX operator.
    pub(in crate::engine) op: &'static str,
    /// What a person wants to read beside the operator: kernel, stride.
    pub(in crate::engine) detail: String,
    /// Names of values and initializers; empty = an optional input left out.
    pub(in crate::engine) inputs: Vec<String>,
    pub(in crate::engine) output: Tensor,
    pub(in crate::engine) attributes: Vec<(&'static str, Attribute)>,
    pub(in crate::engine) parameters: usize,
}

impl Node {
    /// Whether the layer gives out nothing but values that it was given.
    pub(in crate::engine) fn keeps_values(&self) -> bool {
        matches!(self.op, "MaxPool" | "Flatten" | "Transpose")
    }
}

/// Why a layer cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("layer {layer:?}: expected {expected}, got {got}")]
    Layer {
        layer: String,
        expected: String,
        got: String,
    },
    #[error("name {0:?} is used twice in one graph")]
    NameTaken(String),
    #[error("graph {graph:?} has no value {name:?}")]
    NoValue { graph: String, name: String },
    #[error("an array of shape {shape:?} needs {} values, got {got}", shape.iter().product::<usize>())]
    Array { shape: Vec<usize>, got: usize },
}

/// Layers in the order they were added, which is an order they can run in.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(in crate::engine) name: String,
    pub(in crate::engine) values: Vec<Value>,
    pub(in crate::engine) nodes: Vec<Node>,
    /// Name -> constant; a map so that the written order depends on names alone.
    pub(in crate::engine) initializers: BTreeMap<String, Constant>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    names: BTreeSet<String>,
}

impl Graph {
    pub fn new(name: &str) -> Graph {
        Graph {
            name: name.to_owned(),
            values: Vec::new(),
            nodes: Vec::new(),
            initializers: BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A value given at each run, in f32.
    pub fn input(&mut self, name: &str, shape: &[Dim]) -> Result<Tensor, GraphError> {
        let tensor = self.add_value(name, shape.to_vec())?;
        self.inputs.push(tensor);
        Ok(tensor)
    }

    /// A value given at each run as `element`; `name` is that value in f32, whatever it is given as.
    pub fn input_of(&mut self, name: &str, shape: &[Dim], element: Element) -> Result<Tensor, GraphError> {
        match element {
            Element::F32 => self.input(name, shape),
            Element::Bf16 => {
                let given = self.input(&format!("{name}.{element}"), shape)?;
                self.values[given.0].element = element;
                self.cast(name, given, Element::F32)
            }
        }
    }

    /// Gives `tensor` out as `element`.
    pub fn output_as(&mut self, name: &str, tensor: Tensor, element: Element) -> Result<(), GraphError> {
        let tensor = match element {
            Element::F32 => tensor,
            Element::Bf16 => self.cast(&format!("{name}.bf16"), tensor, element)?,
        };
        self.output(name, tensor)
    }

    /// Gives `tensor` out under `name`; outputs keep the order in which they are declared.
    pub fn output(&mut self, name: &str, tensor: Tensor) -> Result<(), GraphError> {
        self.take_name(name)?;
        let old = std::mem::replace(&mut self.values[tensor.0].name, name.to_owned());
        for node in &mut self.nodes {
            for input in node.inputs.iter_mut().filter(|i| **i == old) {
                name.clone_into(input);
            }
        }
        self.outputs.push(tensor);
        Ok(())
    }

    /// This graph giving out the inner values `names` too, after its own outputs and under their own names. A value that
    /// is given out already is not repeated.
    pub fn with_outputs<S: AsRef<str>>(&self, names: &[S]) -> Result<Graph, GraphError> {
        let mut graph = self.clone();
        for name in names.iter().map(AsRef::as_ref) {
            let found = self.values.iter().position(|value| value.name == name);
            let tensor = found.map(Tensor).ok_or_else(|| GraphError::NoValue {
                graph: self.name.clone(),
                name: name.to_owned(),
            })?;
            if !graph.outputs.contains(&tensor) {
                graph.outputs.push(tensor);
            }
        }
        Ok(graph)
    }

    pub fn inputs(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.inputs.iter().map(|&t| self.value(t))
    }

    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.outputs.iter().map(|&t| self.value(t))
    }

    pub fn shape(&self, tensor: Tensor) -> &[Dim] {
        &self.value(tensor).shape
    }

    /// Constants in the whole graph.
    pub fn parameter_count(&self) -> usize {
        self.nodes.iter().map(|n| n.parameters).sum()
    }

    /// The bytes of an ONNX file, opset 17. Equal graphs give equal bytes.
    pub fn to_onnx(&self) -> Vec<u8> {
        onnx::encode(self)
    }

    /// One line a layer: name, operator, output shape, parameters; then the total.
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    pub(in crate::engine) fn value(&self, tensor: Tensor) -> &Value {
        &self.values[tensor.0]
    }

    pub(in crate::engine) fn take_name(&mut self, name: &str) -> Result<(), GraphError> {
        if self.names.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(GraphError::NameTaken(name.to_owned()))
        }
    }

    pub(in crate::engine) fn add_value(&mut self, name: &str, shape: Vec<Dim>) -> Result<Tensor, GraphError> {
        self.take_name(name)?;
        self.values.push(Value {
            name: name.to_owned(),
            shape,
            element: Element::F32,
        });
        Ok(Tensor(self.values.len() - 1))
    }
}

#[cfg(test)]
mod tests;
