//! A compiled graph with its own input and output memory. Shapes are fixed but for one named first dimension, the rows of
//! a head, which [`Program::set_rows`] says before each run.

use ::openvino::{CompiledModel, ElementType, InferRequest, Shape, Tensor};
use half::bf16;

use super::{EngineError, failed};
use crate::engine::graph::{Dim, Element, Graph, Value};

pub struct Program {
    network: String,
    request: InferRequest,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    // Dropped after its request.
    _compiled: CompiledModel,
}

struct Port {
    name: String,
    element: Element,
    /// Without the first dimension when that is named.
    values_a_row: usize,
    /// `None` = all dimensions are fixed and `values_a_row` is the whole.
    rows: Option<usize>,
    shape: Vec<i64>,
    tensor: Tensor,
}

/// What Rust calls an [`Element`].
pub trait PortElement: Copy {
    const ELEMENT: Element;
}

impl PortElement for f32 {
    const ELEMENT: Element = Element::F32;
}

impl PortElement for bf16 {
    const ELEMENT: Element = Element::Bf16;
}

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Side::Input => "input",
            Side::Output => "output",
        }
    }
}

impl Program {
    pub(super) fn new(graph: &Graph, mut compiled: CompiledModel) -> Result<Program, EngineError> {
        let network = graph.name().to_owned();
        let mut request = compiled
            .create_infer_request()
            .map_err(|e| failed("prepare", &network, &e))?;
        let inputs = graph
            .inputs()
            .map(|value| Port::new(&network, Side::Input, value, &mut request))
            .collect::<Result<_, _>>()?;
        let outputs = graph
            .outputs()
            .map(|value| Port::new(&network, Side::Output, value, &mut request))
            .collect::<Result<_, _>>()?;
        Ok(Program {
            network,
            request,
            inputs,
            outputs,
            _compiled: compiled,
        })
    }

    /// How many rows the next run has. Nothing changes for ports without a named dimension.
    pub fn set_rows(&mut self, rows: usize) -> Result<(), EngineError> {
        for port in &mut self.inputs {
            if port.rows.is_none_or(|now| now == rows) {
                continue;
            }
            let fail = |e| failed("resize an input of", &self.network, &e);
            port.shape[0] = rows as i64;
            let shape = Shape::new(&port.shape).map_err(fail)?;
            // The crate gives the same tensor out a second time: it must be freed only once.
            std::mem::forget(port.tensor.set_shape(&shape).map_err(fail)?);
            self.request.set_tensor(&port.name, &port.tensor).map_err(fail)?;
            port.rows = Some(rows);
        }
        Ok(())
    }

    /// The memory of input `index`, in the graph's order; written in place, kept between runs.
    pub fn input_mut<T: PortElement>(&mut self, index: usize) -> Result<&mut [T], EngineError> {
        let (network, count) = (&self.network, self.inputs.len());
        let port = self
            .inputs
            .get_mut(index)
            .ok_or_else(|| no_port(network, Side::Input, index, count))?;
        port.check_element::<T>(network, Side::Input)?;
        let expected = port.len();
        let data = port
            .tensor
            .get_data_mut::<T>()
            .map_err(|e| failed("write to", network, &e))?;
        check_len(network, Side::Input, &port.name, expected, data.len())?;
        Ok(data)
    }

    /// Runs once, on the calling thread and the executor's.
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.request.infer().map_err(|e| failed("run", &self.network, &e))?;
        let rows = self.inputs.iter().find_map(|port| port.rows);
        for port in self.outputs.iter_mut().filter(|port| port.rows.is_some()) {
            let fail = |e| failed("find a port of", &self.network, &e);
            port.tensor = self.request.get_tensor(&port.name).map_err(fail)?;
            port.rows = rows;
        }
        Ok(())
    }

    /// Output `index` of the last run, in the graph's order.
    pub fn output<T: PortElement>(&self, index: usize) -> Result<&[T], EngineError> {
        let port = self
            .outputs
            .get(index)
            .ok_or_else(|| no_port(&self.network, Side::Output, index, self.outputs.len()))?;
        port.check_element::<T>(&self.network, Side::Output)?;
        let data = port
            .tensor
            .get_data::<T>()
            .map_err(|e| failed("read from", &self.network, &e))?;
        check_len(&self.network, Side::Output, &port.name, port.len(), data.len())?;
        Ok(data)
    }

    /// What output `index` is stored in.
    pub fn output_element(&self, index: usize) -> Result<Element, EngineError> {
        let port = self.outputs.get(index);
        port.map(|port| port.element)
            .ok_or_else(|| no_port(&self.network, Side::Output, index, self.outputs.len()))
    }
}

impl Port {
    fn new(network: &str, side: Side, value: &Value, request: &mut InferRequest) -> Result<Port, EngineError> {
        let fail = |e| failed("find a port of", network, &e);
        let wrong = |expected: usize, got: usize| EngineError::Size {
            network: network.to_owned(),
            port: side.as_str(),
            name: value.name.clone(),
            expected,
            got,
        };
        let named = matches!(value.shape.first(), Some(Dim::Named(_)));
        let mut shape: Vec<i64> = Vec::with_capacity(value.shape.len());
        for (axis, dim) in value.shape.iter().enumerate() {
            shape.push(match dim {
                Dim::Fixed(extent) => *extent as i64,
                Dim::Named(_) if axis == 0 => 1,
                Dim::Named(_) => return Err(wrong(0, 0)), // no executor of ours has such a graph
            });
        }
        let values_a_row = shape.iter().product::<i64>() as usize;
        let tensor = match (named, side) {
            (true, Side::Input) => {
                let kind = match value.element {
                    Element::F32 => ElementType::F32,
                    Element::Bf16 => ElementType::Bf16,
                };
                let tensor = Tensor::new(kind, &Shape::new(&shape).map_err(fail)?).map_err(fail)?;
                request.set_tensor(&value.name, &tensor).map_err(fail)?;
                tensor
            }
            _ => request.get_tensor(&value.name).map_err(fail)?,
        };
        let got = tensor.get_size().map_err(fail)?;
        if !named && (got != values_a_row || got == 0) {
            return Err(wrong(values_a_row, got));
        }
        Ok(Port {
            name: value.name.clone(),
            element: value.element,
            values_a_row,
            rows: named.then_some(1),
            shape,
            tensor,
        })
    }

    fn len(&self) -> usize {
        self.values_a_row * self.rows.unwrap_or(1)
    }

    fn check_element<T: PortElement>(&self, network: &str, side: Side) -> Result<(), EngineError> {
        if self.element == T::ELEMENT {
            return Ok(());
        }
        Err(EngineError::Element {
            network: network.to_owned(),
            port: side.as_str(),
            name: self.name.clone(),
            stored: self.element,
            asked: T::ELEMENT,
        })
    }
}

fn check_len(network: &str, side: Side, name: &str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got {
        return Ok(());
    }
    Err(EngineError::Size {
        network: network.to_owned(),
        port: side.as_str(),
        name: name.to_owned(),
        expected,
        got,
    })
}

fn no_port(network: &str, side: Side, index: usize, count: usize) -> EngineError {
    EngineError::NoPort {
        network: network.to_owned(),
        port: side.as_str(),
        index,
        count,
    }
}
