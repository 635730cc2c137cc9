//! ResNet 18 to 152. A bottleneck strides in its 3x3 convolution (torchvision) or in its first 1x1 (MSRA's original, which
//! detectron2 keeps). Batch norm is folded into the convolution before it.

use crate::engine::graph::{Graph, Tensor, Window};
use crate::model::infer::ModelError;
use crate::model::recipe::{Conventions, Depth, Pyramid};
use crate::model::weights::Weights;

const STEM_CHANNELS: usize = 64;

enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; the last gives four times the planes.
    Bottleneck,
}

impl Block {
    const fn expansion(&self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

/// The block and how many each stage has.
const fn layout(depth: Depth) -> (Block, [usize; 4]) {
    match depth {
        Depth::ResNet18 => (Block::Basic, [2, 2, 2, 2]),
        Depth::ResNet34 => (Block::Basic, [3, 4, 6, 3]),
        Depth::ResNet50 => (Block::Bottleneck, [3, 4, 6, 3]),
        Depth::ResNet101 => (Block::Bottleneck, [3, 4, 23, 3]),
        Depth::ResNet152 => (Block::Bottleneck, [3, 8, 36, 3]),
    }
}

/// image [1,3,H,W] -> C2 C3 C4 C5, [1, planes * expansion, H/4 .. H/32, W/4 .. W/32].
pub(in crate::model) fn resnet(
    g: &mut Graph,
    weights: &mut Weights,
    network: &Pyramid,
    image: Tensor,
) -> Result<[Stage; 4], ModelError> {
    let (block, counts) = layout(network.backbone);
    let mut build = Builder {
        g,
        weights,
        eps: network.batch_norm_eps,
        stride_first: network.conventions == Conventions::Detectron2,
        prefix: "backbone.body",
    };
    let x = build.conv_bn("conv1", "bn1", image, [STEM_CHANNELS, 3], Window::new(7, 2, 3))?;
    let x = build.relu("conv1", x)?;
    let mut x = Stage {
        features: build.g.max_pool("backbone.body.maxpool", x, Window::new(3, 2, 1))?,
        channels: STEM_CHANNELS,
    };
    let mut stages = [x; 4];
    for (stage, (&planes, count)) in network.stage_planes.iter().zip(counts).enumerate() {
        for index in 0..count {
            let name = format!("layer{}.{index}", stage + 1);
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x = build.block(&block, &name, x, planes, stride)?;
        }
        stages[stage] = x;
    }
    Ok(stages)
}

/// Features of one stage.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Stage {
    pub features: Tensor,
    pub channels: usize,
}

struct Builder<'a> {
    g: &'a mut Graph,
    weights: &'a mut Weights,
    eps: f32,
    /// Whether a bottleneck's first convolution strides, not its second.
    stride_first: bool,
    prefix: &'static str,
}

impl Builder<'_> {
    fn block(
        &mut self,
        block: &Block,
        name: &str,
        x: Stage,
        planes: usize,
        stride: usize,
    ) -> Result<Stage, ModelError> {
        let (c, out) = (x.channels, planes * block.expansion());
        let step = |k: usize| format!("{name}.conv{k}");
        let norm = |k: usize| format!("{name}.bn{k}");
        let y = match block {
            Block::Basic => {
                let y = self.conv_bn(&step(1), &norm(1), x.features, [planes, c], Window::new(3, stride, 1))?;
                let y = self.relu(&step(1), y)?;
                self.conv_bn(&step(2), &norm(2), y, [planes, planes], Window::new(3, 1, 1))?
            }
            Block::Bottleneck => {
                let (first, second) = if self.stride_first { (stride, 1) } else { (1, stride) };
                let y = self.conv_bn(&step(1), &norm(1), x.features, [planes, c], Window::new(1, first, 0))?;
                let y = self.relu(&step(1), y)?;
                let y = self.conv_bn(&step(2), &norm(2), y, [planes, planes], Window::new(3, second, 1))?;
                let y = self.relu(&step(2), y)?;
                self.conv_bn(&step(3), &norm(3), y, [out, planes], Window::new(1, 1, 0))?
            }
        };
        let shortcut = if stride != 1 || c != out {
            let (conv, bn) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            self.conv_bn(&conv, &bn, x.features, [out, c], Window::new(1, stride, 0))?
        } else {
            x.features
        };
        let sum = self.g.add(&format!("{}.{name}.add", self.prefix), y, shortcut)?;
        Ok(Stage {
            features: self.relu(name, sum)?,
            channels: out,
        })
    }

    fn relu(&mut self, name: &str, x: Tensor) -> Result<Tensor, ModelError> {
        Ok(self.g.relu(&format!("{}.{name}.relu", self.prefix), x)?)
    }

    /// A convolution without bias and the batch norm after it, as one convolution.
    fn conv_bn(
        &mut self,
        conv: &str,
        bn: &str,
        x: Tensor,
        [out, inputs]: [usize; 2],
        window: Window,
    ) -> Result<Tensor, ModelError> {
        let name = format!("{}.{conv}", self.prefix);
        let norm = format!("{}.{bn}", self.prefix);
        let k = window.kernel;
        let (weight, bias) = self.weights.take_normed(&name, &norm, &[out, inputs, k, k], self.eps)?;
        Ok(self.g.conv(&name, x, weight, bias, window)?)
    }
}
