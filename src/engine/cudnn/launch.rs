//! The layers that are kernels of our own, ready to be queued.

use super::steps::{EIGHT, Layer, LayerKind, padded};
use crate::device::{
    CudaStream, DeviceError, Kernel, KernelArg, KernelSource, Kernels, LaunchShape, TensorElement, arg,
};
use crate::engine::graph::Window;
use crate::ops::device::COMMON;

pub const SOURCE: KernelSource = KernelSource {
    name: "layers",
    text: include_str!("kernel.cu"),
    headers: &[COMMON],
};

const BLOCK: u32 = 256;

/// `Layer` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct LayerArg {
    input: u64,
    second: u64,
    bias: u64,
    out: u64,
    n: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    groups: u32,
    channels: u32,
    in_pitch: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
    relu: u32,
    out_f32: u32,
    unused: u32,
}

// SAFETY: repr(C), and the same members as in kernel.cu.
unsafe impl KernelArg for LayerArg {}

/// The entry points.
#[derive(Debug, Clone)]
pub(super) struct LayerKernels(Kernels);

/// Where a layer's arrays are on the device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub input: u64,
    /// The other summand, or the weights.
    pub second: u64,
    pub bias: u64,
    pub output: u64,
}

/// One layer with its arrays.
#[derive(Debug)]
pub(super) struct Launch {
    kernel: Kernel,
    shape: LaunchShape,
    arg: LayerArg,
}

impl LayerKernels {
    pub(super) fn new(kernels: &Kernels) -> LayerKernels {
        LayerKernels(kernels.clone())
    }

    /// # Safety
    /// The addresses are those of arrays on this process's device, as large as `layer` says: f16 in, `element` out,
    /// weights of depthwise layers [k * k, P] and biases [P] in f32. They live as long as the launch is queued.
    pub(super) unsafe fn ready(
        &self,
        layer: &Layer,
        element: TensorElement,
        addresses: Addresses,
    ) -> Result<Launch, DeviceError> {
        let name = match layer.kind {
            LayerKind::MaxPool(_) => "layer_max_pool",
            LayerKind::Upsample2x => "layer_upsample_2x",
            LayerKind::Shuffle2x => "layer_shuffle_2x",
            LayerKind::Depthwise { .. } => "layer_depthwise",
            LayerKind::DepthwiseDeconv { .. } => "layer_depthwise_deconv",
            LayerKind::Means => "layer_means",
            LayerKind::Softmax => "layer_softmax",
            LayerKind::Sigmoid => "layer_sigmoid",
            LayerKind::Sum { .. } => "layer_sum",
        };
        let window = match layer.kind {
            LayerKind::MaxPool(window)
            | LayerKind::Depthwise { window, .. }
            | LayerKind::DepthwiseDeconv { window, .. } => window,
            _ => Window::new(1, 1, 0),
        };
        let (from, to) = (&layer.input, &layer.output);
        let groups = padded(to.channels) / EIGHT;
        let in_pitch = match layer.kind {
            LayerKind::Shuffle2x => 4 * padded(to.channels),
            _ => padded(from.channels),
        };
        let threads = to.positions() * groups;
        // Indices of positions are 32 bits wide in the kernels.
        if threads > i32::MAX as usize || from.positions() > i32::MAX as usize {
            return Err(DeviceError::Size {
                what: format!("output of layer {}", layer.name),
                expected: i32::MAX as usize,
                got: threads,
            });
        }
        let small = |value: usize| value as u32; // all are factors of what was checked above, or a window
        Ok(Launch {
            kernel: self.0.get(name)?,
            shape: LaunchShape::linear(threads, BLOCK),
            arg: LayerArg {
                input: addresses.input,
                second: addresses.second,
                bias: addresses.bias,
                out: addresses.output,
                n: small(to.n),
                h: small(from.h),
                w: small(from.w),
                oh: small(to.h),
                ow: small(to.w),
                groups: small(groups),
                channels: small(to.channels),
                in_pitch: small(in_pitch),
                kernel: small(window.kernel),
                stride: small(window.stride),
                pad: small(window.pad),
                relu: u32::from(matches!(layer.kind, LayerKind::Sum { relu: true, .. })),
                out_f32: u32::from(element == TensorElement::F32),
                unused: 0,
            },
        })
    }
}

impl Launch {
    /// # Safety
    /// The arrays given to [`LayerKernels::ready`] live until `stream` has passed the launch, and nobody else writes them
    /// by then.
    pub(super) unsafe fn enqueue(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        // SAFETY: the kernel takes one `Layer`, which says how far it reads and writes; the caller answers for the arrays.
        unsafe { self.kernel.launch(stream, self.shape, &[arg(&self.arg)]) }
    }
}
