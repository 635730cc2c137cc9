//! Layers of networks made for small processors: depthwise ones, in which a channel sees only itself, and the mean of a
//! plane.

use super::{Array, Attribute, Dim, Graph, GraphError, Tensor, Window};

impl Graph {
    /// x [N,C,H,W], weight [C,1,k,k], bias [C] -> [N,C,H',W'].
    pub fn depthwise_conv(
        &mut self,
        name: &str,
        x: Tensor,
        weight: Array,
        bias: Array,
        window: Window,
    ) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.windows(name, x, window)?;
        self.depthwise(
            "Conv",
            name,
            x,
            weight,
            bias,
            window,
            [n, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)],
        )
    }

    /// The transposed convolution: x [N,C,H,W], weight [C,1,k,k], bias [C] -> [N,C,H',W'] with
    /// H' = (H - 1) stride - 2 pad + k.
    pub fn depthwise_deconv(
        &mut self,
        name: &str,
        x: Tensor,
        weight: Array,
        bias: Array,
        window: Window,
    ) -> Result<Tensor, GraphError> {
        let (n, c, h, w) = self.planes(name, x)?;
        let under = |extent: usize| {
            let whole = extent.checked_sub(1)? * window.stride + window.kernel;
            whole.checked_sub(2 * window.pad).filter(|&e| e > 0)
        };
        let (Some(h), Some(w)) = (under(h), under(w)) else {
            return Err(self.wrong(name, format!("an input larger than its pad of {}", window.pad), x));
        };
        let shape = [n, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)];
        self.depthwise("ConvTranspose", name, x, weight, bias, window, shape)
    }

    /// The mean of each plane: x [N,C,H,W] -> [N,C].
    pub fn plane_means(&mut self, name: &str, x: Tensor) -> Result<Tensor, GraphError> {
        let (n, c, ..) = self.planes(name, x)?;
        let shape = vec![n, Dim::Fixed(c), Dim::Fixed(1), Dim::Fixed(1)];
        let means = self.layer(name, "GlobalAveragePool", String::new(), &[x], vec![], shape, vec![])?;
        self.flatten(&format!("{name}.flatten"), means)
    }

    /// `op` with as many groups as channels.
    fn depthwise(
        &mut self,
        op: &'static str,
        name: &str,
        x: Tensor,
        weight: Array,
        bias: Array,
        window: Window,
        shape: [Dim; 4],
    ) -> Result<Tensor, GraphError> {
        let (_, c, ..) = self.planes(name, x)?;
        let k = Some(window.kernel);
        self.check_weight(name, &weight, &bias, 0, &[Some(c), Some(1), k, k])?;
        let detail = format!("{0}x{0}/{1} depthwise", window.kernel, window.stride);
        let mut attributes = window.attributes();
        attributes.push(("group", Attribute::Int(c as i64)));
        self.layer(name, op, detail, &[x], vec![weight, bias], shape.to_vec(), attributes)
    }
}

#[cfg(test)]
#[path = "mobile_layers_tests.rs"]
mod tests;
