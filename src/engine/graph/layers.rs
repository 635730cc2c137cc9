//! The layers, each with its shape rule. Weights come in the layouts PyTorch stores them in.

use super::onnx::data_type;
use super::{Array, Attribute, Constant, Dim, Element, Graph, GraphError, Node, Tensor};

// A child of this file, for the shape checks below.
#[path = "mobile_layers.rs"]
mod mobile_layers;

/// A square window over H and W.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Window {
    pub const fn new(kernel: usize, stride: usize, pad: usize) -> Window {
        Window { kernel, stride, pad }
    }

    /// Output extent: `floor((extent + 2 pad - kernel) / stride) + 1`.
    fn over(self, extent: usize) -> Option<usize> {
        Some((extent + 2 * self.pad).checked_sub(self.kernel)? / self.stride.max(1) + 1)
    }

    fn attributes(self) -> Vec<(&'static str, Attribute)> {
        let (k, s, p) = (self.kernel as i64, self.stride as i64, self.pad as i64);
        vec![
            ("kernel_shape", Attribute::Ints(vec![k, k])),
            ("strides", Attribute::Ints(vec![s, s])),
            ("pads", Attribute::Ints(vec![p; 4])),
        ]
    }
}

impl Graph {
    /// x [N,C,H,W], weight [O,C,k,k], bias [O] -> [N,O,H',W'].
    pub fn conv(
        &mut self,
        name: &str,
        x: Tensor,
        weight: Array,
        bias: Array,
        window: Window,
    ) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.windows(name, x, window)?;
        let k = window.kernel;
        let out = self.check_weight(name, &weight, &bias, 0, &[None, Some(c), Some(k), Some(k)])?;
        let detail = format!("{k}x{k}/{}", window.stride);
        let shape = vec![n, Dim::Fixed(out), Dim::Fixed(h), Dim::Fixed(w)];
        self.layer(
            name,
            "Conv",
            detail,
            &[x],
            vec![weight, bias],
            shape,
            window.attributes(),
        )
    }

    /// Doubles both sides without overlap: x [N,C,H,W], weight [C,O,2,2], bias [O] -> [N,O,2H,2W].
    pub fn deconv_2x(&mut self, name: &str, x: Tensor, weight: Array, bias: Array) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.planes(name, x)?;
        let out = self.check_weight(name, &weight, &bias, 1, &[Some(c), None, Some(2), Some(2)])?;
        let shape = vec![n, Dim::Fixed(out), Dim::Fixed(2 * h), Dim::Fixed(2 * w)];
        let attributes = Window::new(2, 2, 0).attributes();
        self.layer(
            name,
            "ConvTranspose",
            "2x2/2".into(),
            &[x],
            vec![weight, bias],
            shape,
            attributes,
        )
    }

    /// x [N,I], weight [O,I], bias [O] -> [N,O].
    pub fn linear(&mut self, name: &str, x: Tensor, weight: Array, bias: Array) -> Result<Tensor, GraphError> {
        let &[n, Dim::Fixed(i)] = self.shape(x) else {
            return Err(self.wrong(name, "a matrix [N, I]".into(), x));
        };
        let out = self.check_weight(name, &weight, &bias, 0, &[None, Some(i)])?;
        let shape = vec![n, Dim::Fixed(out)];
        let attributes = vec![("transB", Attribute::Int(1))];
        self.layer(name, "Gemm", String::new(), &[x], vec![weight, bias], shape, attributes)
    }

    /// x [N,C,H,W] -> [N,C,H',W']. Padding never wins: it counts as minus infinity.
    pub fn max_pool(&mut self, name: &str, x: Tensor, window: Window) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.windows(name, x, window)?;
        let detail = format!("{0}x{0}/{1}", window.kernel, window.stride);
        let shape = vec![n, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)];
        self.layer(name, "MaxPool", detail, &[x], vec![], shape, window.attributes())
    }

    /// Each pixel becomes 2x2: x [N,C,H,W] -> [N,C,2H,2W].
    pub fn upsample_nearest_2x(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.planes(name, x)?;
        let shape = vec![n, Dim::Fixed(c), Dim::Fixed(2 * h), Dim::Fixed(2 * w)];
        let attributes = vec![
            ("mode", Attribute::Text("nearest")),
            // With these two, output pixel i reads input pixel floor(i / 2), as PyTorch's nearest does.
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let tensor = self.layer(name, "Resize", "nearest x2".into(), &[x], vec![], shape, attributes)?;
        let scales = format!("{name}.scales");
        self.take_name(&scales)?;
        let factors = Array::new(vec![4], vec![1.0, 1.0, 2.0, 2.0])?;
        self.initializers.insert(scales.clone(), Constant::F32(factors));
        if let Some(node) = self.nodes.last_mut() {
            node.inputs.extend([String::new(), scales]); // the region of interest is left out
        }
        Ok(tensor)
    }

    /// Elementwise sum of two equal shapes.
    pub fn add(&mut self, name: &str, a: Tensor, b: Tensor) -> Result<Tensor, GraphError> {
        let shape = self.shape(a).to_vec();
        if shape != self.shape(b) {
            return Err(self.wrong(name, format!("two inputs of shape {}", show(&shape)), b));
        }
        self.layer(name, "Add", String::new(), &[a, b], vec![], shape, vec![])
    }

    pub fn relu(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        self.layer(
            name,
            "Relu",
            String::new(),
            &[x],
            vec![],
            self.shape(x).to_vec(),
            vec![],
        )
    }

    pub fn sigmoid(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        self.layer(
            name,
            "Sigmoid",
            String::new(),
            &[x],
            vec![],
            self.shape(x).to_vec(),
            vec![],
        )
    }

    /// Over the last axis.
    pub fn softmax(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        let attributes = vec![("axis", Attribute::Int(-1))];
        self.layer(
            name,
            "Softmax",
            String::new(),
            &[x],
            vec![],
            self.shape(x).to_vec(),
            attributes,
        )
    }

    /// x [N,...] -> [N, product of the rest].
    pub fn flatten(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        let mut rest = 1;
        let shape = self.shape(x);
        let Some((&n, tail)) = shape.split_first() else {
            return Err(self.wrong(name, "at least one dimension".into(), x));
        };
        for dim in tail {
            match dim {
                Dim::Fixed(extent) => rest *= extent,
                Dim::Named(_) => return Err(self.wrong(name, "fixed dimensions after the first".into(), x)),
            }
        }
        let attributes = vec![("axis", Attribute::Int(1))];
        self.layer(
            name,
            "Flatten",
            String::new(),
            &[x],
            vec![],
            vec![n, Dim::Fixed(rest)],
            attributes,
        )
    }

    /// Output axis `i` is input axis `order[i]`.
    pub fn transpose(&mut self, name: &str, x: Tensor, order: &[usize]) -> Result<Tensor, GraphError> {
        let from = self.shape(x);
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != (0..from.len()).collect::<Vec<_>>() {
            return Err(self.wrong(name, format!("a permutation of {} axes, not {order:?}", from.len()), x));
        }
        let shape = order.iter().map(|&axis| from[axis]).collect();
        let attributes = vec![("perm", Attribute::Ints(order.iter().map(|&axis| axis as i64).collect()))];
        self.layer(name, "Transpose", format!("{order:?}"), &[x], vec![], shape, attributes)
    }

    /// The same values stored in another way.
    pub(super) fn cast(&mut self, name: &str, x: Tensor, element: Element) -> Result<Tensor, GraphError> {
        let attributes = vec![("to", Attribute::Int(i64::from(data_type(element))))];
        let shape = self.shape(x).to_vec();
        let cast = self.layer(name, "Cast", element.to_string(), &[x], vec![], shape, attributes)?;
        self.values[cast.0].element = element;
        Ok(cast)
    }

    /// `(N, C, H, W)` of a value with fixed C, H and W.
    fn planes(&self, layer: &str, x: Tensor) -> Result<(Dim, usize, usize, usize), GraphError> {
        match *self.shape(x) {
            [n, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)] => Ok((n, c, h, w)),
            _ => Err(self.wrong(layer, "[N, C, H, W] with fixed C, H, W".into(), x)),
        }
    }

    /// `(N, C, H', W')`: how many windows there are each way.
    fn windows(&self, layer: &str, x: Tensor, window: Window) -> Result<(Dim, usize, usize, usize), GraphError> {
        let (n, c, h, w) = self.planes(layer, x)?;
        match (window.over(h), window.over(w)) {
            (Some(h), Some(w)) => Ok((n, c, h, w)),
            _ => Err(self.wrong(
                layer,
                format!("an input of at least the {0}x{0} kernel", window.kernel),
                x,
            )),
        }
    }

    /// Checks a weight against `pattern` (`None` = any) and its bias against the extent at `out_axis`; gives that extent.
    fn check_weight(
        &self,
        layer: &str,
        weight: &Array,
        bias: &Array,
        out_axis: usize,
        pattern: &[Option<usize>],
    ) -> Result<usize, GraphError> {
        let fits = weight.shape.len() == pattern.len()
            && weight
                .shape
                .iter()
                .zip(pattern)
                .all(|(&got, want)| want.is_none_or(|w| w == got));
        if !fits {
            let want: Vec<String> = pattern
                .iter()
                .map(|p| p.map_or("any".into(), |n| n.to_string()))
                .collect();
            return Err(GraphError::Layer {
                layer: layer.to_owned(),
                expected: format!("a weight of shape [{}]", want.join(", ")),
                got: format!("{:?}", weight.shape),
            });
        }
        let out = weight.shape[out_axis];
        if bias.shape != [out] {
            return Err(GraphError::Layer {
                layer: layer.to_owned(),
                expected: format!("a bias of shape [{out}]"),
                got: format!("{:?}", bias.shape),
            });
        }
        Ok(out)
    }

    fn wrong(&self, layer: &str, expected: String, got: Tensor) -> GraphError {
        GraphError::Layer {
            layer: layer.to_owned(),
            expected,
            got: format!("{} of shape {}", self.value(got).name, show(self.shape(got))),
        }
    }

    fn layer(
        &mut self,
        name: &str,
        op: &'static str,
        detail: String,
        inputs: &[Tensor],
        weights: Vec<Array>,
        shape: Vec<Dim>,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Result<Tensor, GraphError> {
        let mut names: Vec<String> = inputs.iter().map(|&t| self.value(t).name.clone()).collect();
        let parameters = weights.iter().map(|w| w.values.len()).sum();
        for (array, role) in weights.into_iter().zip(["weight", "bias"]) {
            let constant = format!("{name}.{role}");
            self.take_name(&constant)?;
            names.push(constant.clone());
            self.initializers.insert(constant, Constant::F32(array));
        }
        let output = self.add_value(name, shape)?;
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            detail,
            inputs: names,
            output,
            attributes,
            parameters,
        });
        Ok(output)
    }
}

/// `[n, 64, 7, 7]`.
pub(super) fn show(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}
