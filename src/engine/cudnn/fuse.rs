//! A [`Graph`] becomes [`Steps`]: what follows a convolution is done by it, layers that only say how axes are numbered
//! vanish, and 1x1 convolutions that read the same value and only go out become one.

// A child of this file, for what it knows of its readers.
#[path = "fuse_nodes.rs"]
mod nodes;

use std::collections::HashMap;

use self::nodes::{ints, is_heavy, part, window};
use super::error::CudnnError;
use super::steps::{
    Axes, Buffer, BufferId, Conv, ConvShape, Layer, LayerKind, Step, Steps, View, WeightForm, WeightPart, padded,
};
use crate::device::TensorElement;
use crate::engine::graph::{Constant, Dim, Graph, Node, Window};

/// Orders of `Transpose` that only say how axes are numbered.
const TO_LAST: [i64; 4] = [0, 2, 3, 1];
const TO_FIRST: [i64; 4] = [0, 3, 1, 2];

/// All dimensions of `graph` are fixed. An input [N, A, B, C] that is transposed to channels first or flattened lies
/// channels last as it is; any other [N, C, H, W] lies as [N, H, W, C].
pub(super) fn fuse(graph: &Graph) -> Result<Steps, CudnnError> {
    let mut fuser = Fuser::new(graph);
    fuser.find_chains();
    for value in graph.inputs() {
        let view = fuser.input(&value.name, &value.shape)?;
        fuser.steps.inputs.push(view);
        fuser.views.insert(value.name.clone(), view);
    }
    for index in 0..graph.nodes.len() {
        fuser.node(index)?;
    }
    for value in graph.outputs() {
        let view = *fuser.view(&value.name, &value.name)?;
        if matches!(view.axes, Axes::FlatFirst | Axes::FlatLast) && view.h * view.w > 1 {
            return Err(fuser.refused(&value.name, "an output whose cells are flattened cannot be given out"));
        }
        fuser.steps.outputs.push(view);
    }
    Ok(fuser.steps)
}

/// A convolution or linear layer and what it does besides.
#[derive(Debug, Clone, Copy)]
struct Chain {
    add: Option<usize>,
    relu: Option<usize>,
}

struct Fuser<'a> {
    graph: &'a Graph,
    /// Nodes that read a value; twice where they read it twice.
    readers: HashMap<&'a str, Vec<usize>>,
    /// Heavy node -> its chain.
    chains: HashMap<usize, Chain>,
    /// Node -> the heavy node that does it.
    done_by: HashMap<usize, usize>,
    views: HashMap<String, View>,
    steps: Steps,
}

impl<'a> Fuser<'a> {
    fn new(graph: &'a Graph) -> Fuser<'a> {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                readers.entry(input).or_default().push(index);
            }
        }
        Fuser {
            graph,
            readers,
            chains: HashMap::new(),
            done_by: HashMap::new(),
            views: HashMap::new(),
            steps: Steps {
                graph: graph.name().to_owned(),
                buffers: Vec::new(),
                steps: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
        }
    }

    fn refused(&self, layer: &str, reason: &str) -> CudnnError {
        CudnnError::Layer {
            graph: self.graph.name().to_owned(),
            layer: layer.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn output_name(&self, node: &Node) -> &'a str {
        &self.graph.value(node.output).name
    }

    fn is_output(&self, name: &str) -> bool {
        self.graph.outputs().any(|value| value.name == name)
    }

    fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    fn only_reader(&self, name: &str) -> Option<usize> {
        match self.readers(name) {
            &[reader] if !self.is_output(name) && !self.done_by.contains_key(&reader) => Some(reader),
            _ => None,
        }
    }

    /// Whether the outside alone reads the value.
    fn only_goes_out(&self, name: &str) -> bool {
        let readers = self.readers(name);
        (self.is_output(name) || !readers.is_empty())
            && readers.iter().all(|&reader| {
                let node = &self.graph.nodes[reader];
                matches!(node.op, "Transpose" | "Cast" | "Flatten") && self.only_goes_out(self.output_name(node))
            })
    }

    fn find_chains(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            if !is_heavy(node) {
                continue;
            }
            let mut chain = Chain { add: None, relu: None };
            let mut value = self.output_name(node);
            if let Some(next) = self.only_reader(value).filter(|&n| self.graph.nodes[n].op == "Add")
                && node.op == "Conv"
            {
                chain.add = Some(next);
                self.done_by.insert(next, index);
                value = self.output_name(&self.graph.nodes[next]);
            }
            if let Some(next) = self.only_reader(value).filter(|&n| self.graph.nodes[n].op == "Relu") {
                chain.relu = Some(next);
                self.done_by.insert(next, index);
            }
            self.chains.insert(index, chain);
        }
    }

    fn view(&self, layer: &str, value: &str) -> Result<&View, CudnnError> {
        let missing = || self.refused(layer, &format!("value {value:?} is not there yet"));
        self.views.get(value).ok_or_else(missing)
    }

    fn buffer(&mut self, name: &str, positions: usize, channels: usize, element: TensorElement) -> BufferId {
        self.steps.buffers.push(Buffer {
            name: name.to_owned(),
            positions,
            pitch: padded(channels),
            element,
        });
        self.steps.buffers.len() - 1
    }

    /// A new buffer for a value of as many axes as `like`.
    fn new_view(&mut self, name: &str, [n, h, w, channels]: [usize; 4], axes: Axes, element: TensorElement) -> View {
        View {
            buffer: self.buffer(name, n * h * w, channels, element),
            n,
            h,
            w,
            channels,
            first: 0,
            axes,
        }
    }

    fn input(&mut self, name: &str, shape: &[Dim]) -> Result<View, CudnnError> {
        let extents = self.fixed(name, shape)?;
        let (sizes, axes) = match extents[..] {
            [n, c] => ([n, 1, 1, c], Axes::FlatFirst),
            [n, a, b, c] if self.is_read_channels_last(name) => ([n, a, b, c], Axes::Last),
            [n, c, h, w] => ([n, h, w, c], Axes::First),
            _ => return Err(self.refused(name, "an input has two or four dimensions")),
        };
        Ok(self.new_view(name, sizes, axes, TensorElement::F16))
    }

    fn fixed(&self, name: &str, shape: &[Dim]) -> Result<Vec<usize>, CudnnError> {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => Ok(*extent),
            Dim::Named(_) => Err(self.refused(name, &format!("dimension {dim} is not fixed"))),
        };
        shape.iter().map(extent).collect()
    }

    fn is_read_channels_last(&self, name: &str) -> bool {
        let readers = self.readers(name);
        !readers.is_empty()
            && readers.iter().all(|&reader| {
                let node = &self.graph.nodes[reader];
                match node.op {
                    "Cast" => self.is_read_channels_last(self.output_name(node)),
                    "Transpose" => ints(node, "perm") == Some(&TO_FIRST),
                    op => op == "Flatten",
                }
            })
    }

    fn node(&mut self, index: usize) -> Result<(), CudnnError> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        if let Some(&heavy) = self.done_by.get(&index) {
            let chain = self.chains[&heavy];
            // Done where the last layer of the chain stands: by then all that it reads is there.
            return if chain.relu.or(chain.add) == Some(index) {
                self.heavy(heavy, chain)
            } else {
                Ok(())
            };
        }
        if let Some(&chain) = self.chains.get(&index) {
            if chain.relu.or(chain.add).is_none() && !self.views.contains_key(self.output_name(node)) {
                self.heavy(index, chain)?;
            }
            return Ok(());
        }
        let Some(first) = node.inputs.first() else {
            return Err(self.refused(&node.name, "a layer without input"));
        };
        let from = *self.view(&node.name, first)?;
        let name = self.output_name(node);
        match node.op {
            "Cast" => {
                self.views.insert(name.to_owned(), from);
                Ok(())
            }
            "Transpose" | "Flatten" => {
                let axes = self.renumbered(node, from)?;
                self.views.insert(name.to_owned(), View { axes, ..from });
                Ok(())
            }
            _ => self.layer(node, from),
        }
    }

    fn renumbered(&self, node: &Node, from: View) -> Result<Axes, CudnnError> {
        let axes = match (node.op, from.axes, ints(node, "perm")) {
            ("Transpose", Axes::First, Some(perm)) if perm == TO_LAST => Some(Axes::Last),
            ("Transpose", Axes::Last, Some(perm)) if perm == TO_FIRST => Some(Axes::First),
            ("Flatten", Axes::First | Axes::FlatFirst, _) => Some(Axes::FlatFirst),
            ("Flatten", Axes::Last | Axes::FlatLast, _) => Some(Axes::FlatLast),
            _ => None,
        };
        axes.ok_or_else(|| {
            let what = format!(
                "{} {} of {:?} axes moves data, which is not done here",
                node.op, node.detail, from.axes
            );
            self.refused(&node.name, &what)
        })
    }

    /// A convolution or linear layer with its chain, and its siblings where they become one.
    fn heavy(&mut self, index: usize, chain: Chain) -> Result<(), CudnnError> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let from = *self.view(&node.name, &node.inputs[0])?;
        let (mut shape, form) = self.conv_shape(node, &from)?;
        shape.relu = chain.relu.is_some();
        let residual = match chain.add {
            None => None,
            Some(add) => {
                let add = &graph.nodes[add];
                let own = self.output_name(node);
                let other = add.inputs.iter().find(|input| *input != own);
                let other = other.ok_or_else(|| self.refused(&add.name, "a sum of one value"))?;
                Some(self.view(&add.name, other)?.buffer)
            }
        };
        shape.residual = residual.is_some();
        let last = &graph.nodes[chain.relu.or(chain.add).unwrap_or(index)];
        let name = self.output_name(last);
        let (h, w) = shape.output();
        let out = self.out_channels(node)?;
        if let WeightForm::Deconv2x { pitch } = form {
            let packed = self.buffer(&format!("{name}.corners"), shape.n * h * w, shape.k, TensorElement::F16);
            let corners = View {
                buffer: packed,
                channels: pitch,
                h,
                w,
                ..from
            };
            let parts = vec![part(node, form, 0)];
            self.push_conv(node, shape, from.buffer, residual, packed, parts);
            let output = self.new_view(name, [from.n, 2 * h, 2 * w, out], Axes::First, TensorElement::F16);
            self.push_layer(node, LayerKind::Shuffle2x, corners, output);
            self.views.insert(name.to_owned(), output);
            return Ok(());
        }
        let mut parts = vec![part(node, form, 0)];
        let mut names = vec![(name, out, 0)];
        let alone = residual.is_none() && !shape.relu && self.only_goes_out(name);
        if alone && (shape.kernel, shape.stride, shape.pad) == (1, 1, 0) {
            let mut rows = out;
            for sibling in self.siblings(index) {
                let sibling = &graph.nodes[sibling];
                let (_, form) = self.conv_shape(sibling, &from)?;
                let out = self.out_channels(sibling)?;
                parts.push(part(sibling, form, rows));
                names.push((self.output_name(sibling), out, rows));
                rows += out;
            }
            shape.k = padded(rows);
        }
        let element = match alone {
            true => TensorElement::F32,
            false => TensorElement::F16,
        };
        shape.f32_out = alone;
        let axes = match node.op {
            "Gemm" => Axes::FlatFirst,
            _ => Axes::First,
        };
        let whole = self.new_view(name, [shape.n, h, w, shape.k], axes, element);
        self.push_conv(node, shape, from.buffer, residual, whole.buffer, parts);
        for (name, channels, first) in names {
            let view = View {
                channels,
                first,
                ..whole
            };
            self.views.insert(name.to_owned(), view);
        }
        Ok(())
    }

    /// Other 1x1 layers that read what `index` reads and only go out.
    fn siblings(&self, index: usize) -> Vec<usize> {
        let node = &self.graph.nodes[index];
        let same = |&other: &usize| {
            let sibling = &self.graph.nodes[other];
            let bare = |chain: &Chain| chain.add.is_none() && chain.relu.is_none();
            other > index
                && sibling.op == node.op
                && sibling.inputs[0] == node.inputs[0]
                && self.chains.get(&other).is_some_and(bare)
                && (node.op == "Gemm" || window(sibling) == Some(Window::new(1, 1, 0)))
                && self.only_goes_out(self.output_name(sibling))
        };
        self.readers(&node.inputs[0]).iter().copied().filter(same).collect()
    }

    /// What a convolution or linear layer is over `from`, alone.
    fn conv_shape(&self, node: &Node, from: &View) -> Result<(ConvShape, WeightForm), CudnnError> {
        let pitch = self.steps.buffers[from.buffer].pitch;
        let out = self.out_channels(node)?;
        let plain = ConvShape {
            n: from.n,
            c: pitch,
            h: from.h,
            w: from.w,
            k: padded(out),
            kernel: 1,
            stride: 1,
            pad: 0,
            residual: false,
            relu: false,
            f32_out: false,
        };
        match node.op {
            "Gemm" => {
                let cells = from.h * from.w;
                let form = WeightForm::Linear {
                    cells,
                    channels: from.channels,
                    pitch,
                    axes: from.axes,
                };
                let shape = ConvShape {
                    c: pitch * cells,
                    h: 1,
                    w: 1,
                    ..plain
                };
                Ok((shape, form))
            }
            _ if from.axes != Axes::First => Err(self.refused(&node.name, "reads a value that is not [N, C, H, W]")),
            "Conv" => {
                let window = self.window(node)?;
                let shape = ConvShape {
                    kernel: window.kernel,
                    stride: window.stride,
                    pad: window.pad,
                    ..plain
                };
                Ok((shape, WeightForm::Conv))
            }
            _ if self.window(node)? == Window::new(2, 2, 0) => {
                let pitch = padded(out);
                Ok((ConvShape { k: 4 * pitch, ..plain }, WeightForm::Deconv2x { pitch }))
            }
            _ => Err(self.refused(
                &node.name,
                "of transposed convolutions only 2x2/2 and depthwise ones are done",
            )),
        }
    }

    fn out_channels(&self, node: &Node) -> Result<usize, CudnnError> {
        let bias = node.inputs.get(2).and_then(|name| self.graph.initializers.get(name));
        match bias {
            Some(Constant::F32(array)) => Ok(array.values.len()),
            _ => Err(self.refused(&node.name, "has no f32 weight and bias")),
        }
    }

    fn window(&self, node: &Node) -> Result<Window, CudnnError> {
        window(node).ok_or_else(|| self.refused(&node.name, "its window is not square"))
    }

    fn push_conv(
        &mut self,
        node: &Node,
        shape: ConvShape,
        input: BufferId,
        residual: Option<BufferId>,
        output: BufferId,
        parts: Vec<WeightPart>,
    ) {
        self.steps.steps.push(Step::Conv(Conv {
            name: node.name.clone(),
            shape,
            input,
            residual,
            output,
            parts,
        }));
    }

    fn push_layer(&mut self, node: &Node, kind: LayerKind, input: View, output: View) {
        self.steps.steps.push(Step::Layer(Layer {
            name: node.name.clone(),
            kind,
            input,
            output,
        }));
    }
}

#[cfg(test)]
#[path = "fuse_tests.rs"]
mod tests;
