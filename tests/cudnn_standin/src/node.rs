//! Finalized descriptors: what they mean, and what is refused about them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conv::Fused;
use crate::table as t;

/// A value of an attribute as it was set; descriptors as what they were when they were set.
pub struct Attribute {
    pub bytes: Vec<u8>,
    pub nodes: Vec<Arc<Node>>,
}

pub type Attributes = HashMap<u32, Attribute>;

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub float: bool,
    pub dims: [i64; 4],
    pub id: i64,
    pub is_virtual: bool,
}

#[derive(Clone, Debug)]
pub struct Window {
    pub pad: i64,
    pub stride: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Add,
    Relu,
    Identity,
}

pub enum Node {
    Tensor(Tensor),
    Pointwise(Mode),
    Convolution(Window),
    ConvForward { x: Tensor, w: Tensor, y: Tensor, window: Window },
    PointwiseOp { mode: Mode, x: Tensor, b: Option<Tensor>, y: Tensor },
    Graph(Fused),
    Heuristics { graph: Fused, count: usize },
    Config { graph: Fused, index: usize },
    Plan { graph: Fused, index: usize },
    Pack { arrays: HashMap<i64, usize>, workspace: usize },
}

type Refused<T> = Result<T, String>;

struct Set<'a>(&'a Attributes);

impl Set<'_> {
    fn integers(&self, name: u32) -> Vec<i64> {
        let bytes = self.0.get(&name).map_or(&[][..], |a| &a.bytes);
        bytes.chunks_exact(8).map(|b| i64::from_ne_bytes(b.try_into().unwrap())).collect()
    }
    fn integer(&self, name: u32) -> i64 {
        self.integers(name)[0]
    }
    fn number(&self, name: u32) -> u32 {
        u32::from_ne_bytes(self.0[&name].bytes[..4].try_into().unwrap())
    }
    fn node(&self, name: u32) -> &Node {
        &self.0[&name].nodes[0]
    }
    fn tensor(&self, name: u32) -> Refused<Tensor> {
        match self.node(name) {
            Node::Tensor(tensor) => Ok(tensor.clone()),
            _ => Err(format!("attribute {name} is no tensor")),
        }
    }
}

/// What the attributes of a descriptor of `kind` make, or why they make nothing.
pub fn finalize(kind: u32, attributes: &Attributes) -> Refused<Node> {
    for &(name, _, _, required) in t::rows(kind) {
        if required && !attributes.contains_key(&name) {
            return Err(format!("descriptor {kind}: attribute {name} is not set"));
        }
    }
    let set = Set(attributes);
    match kind {
        t::TENSOR => tensor(&set),
        t::POINTWISE => {
            if set.number(t::MATH_PREC) != 0 {
                return Err("pointwise math is not in f32".into());
            }
            match set.number(t::POINTWISE_MODE_OF) {
                0 => Ok(Node::Pointwise(Mode::Add)),
                21 => Ok(Node::Pointwise(Mode::Identity)),
                100 => Ok(Node::Pointwise(Mode::Relu)),
                other => Err(format!("pointwise mode {other} is not known here")),
            }
        }
        t::CONVOLUTION => convolution(&set),
        t::CONV_FORWARD => forward(&set),
        t::OPERATION_POINTWISE => pointwise(&set),
        t::OPERATIONGRAPH => Ok(Node::Graph(fused(&attributes[&t::GRAPH_OPS].nodes)?)),
        t::ENGINEHEUR => {
            let Node::Graph(graph) = set.node(t::HEUR_GRAPH) else {
                return Err("no operation graph to be asked about".into());
            };
            // As cuDNN 9.19 for SM 9.0: modes A and B know no plan that ends in f32 right after a bias or a relu.
            let mode = set.number(t::HEUR_MODE_OF);
            let known = !graph.f32_out || graph.residual || graph.identity;
            let count = match mode {
                1 | 3 if known => 2,
                1 | 3 => 0,
                2 => 1,
                other => return Err(format!("heuristics mode {other} is not known here")),
            };
            Ok(Node::Heuristics { graph: graph.clone(), count })
        }
        t::EXECUTION_PLAN => match (attributes.get(&t::PLAN_CONFIG), attributes.get(&t::PLAN_JSON)) {
            (Some(config), None) => match &*config.nodes[0] {
                Node::Config { graph, index } => Ok(Node::Plan { graph: graph.clone(), index: *index }),
                _ => Err("a plan of something that is no engine configuration".into()),
            },
            (None, Some(json)) => {
                let (graph, index) = Fused::from_json(&String::from_utf8_lossy(&json.bytes))?;
                Ok(Node::Plan { graph, index })
            }
            _ => Err("a plan wants a configuration or a text, one of them".into()),
        },
        t::VARIANT_PACK => pack(&set),
        _ => Err(format!("descriptor {kind} is not finalized by its owner")),
    }
}

fn tensor(set: &Set<'_>) -> Refused<Node> {
    let dims: [i64; 4] = set.integers(t::DIMENSIONS).try_into().unwrap();
    let [n, c, h, w] = dims;
    if n < 1 || c < 1 || h < 1 || w < 1 {
        return Err(format!("a tensor of shape {dims:?}"));
    }
    let strides = set.integers(t::STRIDES);
    let expected = [c * h * w, 1, c * w, c];
    if strides != expected {
        return Err(format!("a tensor of shape {dims:?} with strides {strides:?}: expected {expected:?}"));
    }
    let alignment = set.integer(t::ALIGNMENT);
    if alignment < 1 || alignment & (alignment - 1) != 0 {
        return Err(format!("a tensor aligned to {alignment} bytes"));
    }
    let float = match set.number(t::TENSOR_TYPE) {
        0 => true,
        2 => false,
        other => return Err(format!("data type {other} is not known here")),
    };
    let is_virtual = set.0.get(&t::IS_VIRTUAL).is_some_and(|a| a.bytes[0] != 0);
    Ok(Node::Tensor(Tensor { float, dims, id: set.integer(t::UNIQUE_ID), is_virtual }))
}

fn convolution(set: &Set<'_>) -> Refused<Node> {
    if set.integer(t::SPATIAL_DIMS) != 2 || set.number(t::COMP_TYPE) != 0 || set.number(t::CONV_MODE) != 1 {
        return Err("only cross-correlation in two dimensions with f32 sums is known here".into());
    }
    let same = |name: u32| {
        let values = set.integers(name);
        (values[0] == values[1]).then_some(values[0])
    };
    let (pre, post) = (same(t::PRE_PADDINGS), same(t::POST_PADDINGS));
    match (pre, post, same(t::FILTER_STRIDES), same(t::DILATIONS)) {
        (Some(pad), Some(after), Some(stride), Some(1)) if pad == after && pad >= 0 && stride >= 1 => {
            Ok(Node::Convolution(Window { pad, stride }))
        }
        _ => Err("paddings, strides or dilations that are not known here".into()),
    }
}

fn forward(set: &Set<'_>) -> Refused<Node> {
    let (x, w, y) = (set.tensor(t::CONV_X)?, set.tensor(t::CONV_W)?, set.tensor(t::CONV_Y)?);
    let Node::Convolution(window) = set.node(t::CONV_DESC) else {
        return Err("no convolution descriptor".into());
    };
    let float = |name: u32| f32::from_bits(set.number(name));
    if float(t::CONV_ALPHA) != 1.0 || float(t::CONV_BETA) != 0.0 {
        return Err("alpha and beta other than 1 and 0".into());
    }
    if x.float || w.float || x.is_virtual || w.is_virtual {
        return Err("x and w of a convolution are f16 arrays".into());
    }
    if x.dims[1] != w.dims[1] {
        return Err(format!("x has {} channels, w {}", x.dims[1], w.dims[1]));
    }
    if x.dims[1] % 8 != 0 || w.dims[0] % 8 != 0 {
        return Err(format!("{} -> {} channels are no multiples of 8", x.dims[1], w.dims[0]));
    }
    let over = |extent: i64, kernel: i64| (extent + 2 * window.pad - kernel) / window.stride + 1;
    let expected = [x.dims[0], w.dims[0], over(x.dims[2], w.dims[2]), over(x.dims[3], w.dims[3])];
    if y.dims != expected {
        return Err(format!("y of shape {:?}: expected {expected:?}", y.dims));
    }
    Ok(Node::ConvForward { x, w, y, window: window.clone() })
}

fn pointwise(set: &Set<'_>) -> Refused<Node> {
    let Node::Pointwise(mode) = set.node(t::PW_DESC) else {
        return Err("no pointwise descriptor".into());
    };
    let (x, y) = (set.tensor(t::PW_X)?, set.tensor(t::PW_Y)?);
    let b = match set.0.contains_key(&t::PW_B) {
        true => Some(set.tensor(t::PW_B)?),
        false => None,
    };
    if (*mode == Mode::Add) != b.is_some() {
        return Err("an addition has two operands, the others one".into());
    }
    if x.dims != y.dims {
        return Err(format!("pointwise from {:?} to {:?}", x.dims, y.dims));
    }
    Ok(Node::PointwiseOp { mode: *mode, x, b, y })
}

/// A convolution and what is done to its sums.
fn fused(operations: &[Arc<Node>]) -> Refused<Fused> {
    let Some(Node::ConvForward { x, w, y, window }) = operations.first().map(|n| &**n) else {
        return Err("a graph begins with a convolution".into());
    };
    let mut graph = Fused {
        n: x.dims[0] as usize,
        c: x.dims[1] as usize,
        h: x.dims[2] as usize,
        w: x.dims[3] as usize,
        k: w.dims[0] as usize,
        kernel: [w.dims[2] as usize, w.dims[3] as usize],
        stride: window.stride as usize,
        pad: window.pad as usize,
        residual: false,
        relu: false,
        identity: false,
        f32_out: false,
        ids: vec![x.id, w.id],
    };
    let mut now = y.clone();
    let mut biased = false;
    for node in &operations[1..] {
        let Node::PointwiseOp { mode, x, b, y } = &**node else {
            return Err("only pointwise operations follow a convolution".into());
        };
        if *x != now || !now.is_virtual || !now.float {
            return Err("an operation does not read the virtual f32 tensor that the one before gives".into());
        }
        if graph.relu || graph.identity {
            return Err("nothing follows a relu or an identity here".into());
        }
        match (mode, b) {
            (Mode::Add, Some(b)) if !biased => {
                if !b.float || b.is_virtual || b.dims != [1, y.dims[1], 1, 1] {
                    return Err(format!("a bias of shape {:?}: expected f32 [1, {}, 1, 1]", b.dims, y.dims[1]));
                }
                biased = true;
                graph.ids.push(b.id);
            }
            (Mode::Add, Some(b)) if !graph.residual => {
                if b.float || b.is_virtual || b.dims != y.dims {
                    return Err(format!("a residual of shape {:?}: expected f16 {:?}", b.dims, y.dims));
                }
                graph.residual = true;
                graph.ids.push(b.id);
            }
            (Mode::Relu, None) => graph.relu = true,
            (Mode::Identity, None) => graph.identity = true,
            _ => return Err("an operation that is not known here".into()),
        }
        now = y.clone();
    }
    if !biased || now.is_virtual {
        return Err("a graph ends in an array, after a bias".into());
    }
    graph.f32_out = now.float;
    graph.ids.push(now.id);
    let mut distinct = graph.ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != graph.ids.len() {
        return Err("two tensors have one id".into());
    }
    Ok(graph)
}

fn pack(set: &Set<'_>) -> Refused<Node> {
    let (ids, pointers) = (set.integers(t::PACK_IDS), set.integers(t::PACK_POINTERS));
    if ids.len() != pointers.len() {
        return Err(format!("{} ids for {} pointers", ids.len(), pointers.len()));
    }
    let mut arrays = HashMap::new();
    for (&id, &pointer) in ids.iter().zip(&pointers) {
        if pointer == 0 || pointer % 16 != 0 {
            return Err(format!("array {id} at {pointer:#x}: expected a multiple of 16"));
        }
        if arrays.insert(id, pointer as usize).is_some() {
            return Err(format!("array {id} is given twice"));
        }
    }
    Ok(Node::Pack { arrays, workspace: set.integer(t::PACK_WORKSPACE) as usize })
}
