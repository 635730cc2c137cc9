//! A graph in memory on the device, ready to be queued.

use std::sync::{Arc, Mutex, PoisonError};

use super::backend::{Handle, Pack, Plan};
use super::error::CudnnError;
use super::launch::Launch;
use super::steps::{Conv, Steps, View};
use crate::device::{CudaStream, DeviceBuffer, TensorElement, TensorView, TensorViewMut};
use crate::engine::EngineError;

/// Weights on the device; programs of different sizes share them.
#[derive(Debug)]
pub(super) struct Uploaded {
    /// f16 of convolutions, f32 of depthwise layers, as they lie in memory.
    pub weight: DeviceBuffer<u8>,
    pub bias: DeviceBuffer<f32>,
}

pub(super) enum Ready {
    Conv { conv: Conv, plan: Arc<Plan>, pack: Pack },
    Layer(Launch),
}

/// A compiled graph with its memory. A run reads the inputs, which it leaves as they are, and writes the outputs.
pub struct Program {
    pub(super) network: String,
    pub(super) ready: Vec<Ready>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) handle: Arc<Mutex<Handle>>,
    pub(super) arena: DeviceBuffer<u8>,
    /// What steps point at besides the arena.
    pub(super) _workspace: DeviceBuffer<u8>,
    pub(super) _weights: Vec<Arc<Uploaded>>,
}

/// An input or output.
#[derive(Debug, Clone)]
pub(super) struct Port {
    /// Bytes from the arena's start.
    offset: usize,
    element: TensorElement,
    n: usize,
    h: usize,
    w: usize,
    channels: usize,
    pitch: usize,
}

impl Port {
    pub(super) fn of(steps: &Steps, offsets: &[usize], view: &View) -> Port {
        let buffer = &steps.buffers[view.buffer];
        Port {
            offset: offsets[view.buffer] + view.first * buffer.element.bytes(),
            element: buffer.element,
            n: view.n,
            h: view.h,
            w: view.w,
            channels: view.channels,
            pitch: buffer.pitch,
        }
    }
}

impl Program {
    /// Input `index`, in the graph's order: [N H W, C] in f16, C padded to eights. Who writes it writes the padding too, with
    /// zeros.
    pub fn input_mut(&mut self, index: usize) -> Result<TensorViewMut<'_>, EngineError> {
        let port = self.port("input", &self.inputs, index)?;
        let padded = Port {
            channels: port.pitch,
            ..port.clone()
        };
        // SAFETY: as in `view`; the program is borrowed mutably for as long.
        Ok(unsafe { TensorViewMut::new(self.view(&padded)) })
    }

    /// Output `index`, in the graph's order, channels last whatever the graph says: [N H W, C], in f32 where nothing but
    /// the outside reads it and cuDNN can, else f16. What the channels of padding hold is not said.
    pub fn output(&self, index: usize) -> Result<TensorView<'_>, EngineError> {
        Ok(self.view(self.port("output", &self.outputs, index)?))
    }

    /// N, H, W of output `index`.
    pub fn output_grid(&self, index: usize) -> Result<(usize, usize, usize), EngineError> {
        let port = self.port("output", &self.outputs, index)?;
        Ok((port.n, port.h, port.w))
    }

    pub fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Bytes of device memory that hold values.
    pub fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Fills the memory of all values, so that one that is not written shows.
    pub fn poison(&mut self, stream: &CudaStream, byte: u8) -> Result<(), EngineError> {
        Ok(stream.fill(self.arena.slice_mut(), byte)?)
    }

    /// Queues one run. Nothing is allocated and nothing waited for; it may be captured, after a first run that was not.
    pub fn enqueue(&mut self, stream: &CudaStream) -> Result<(), EngineError> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.set_stream(stream.raw_stream())?;
        for step in &self.ready {
            match step {
                Ready::Conv { conv, plan, pack } => {
                    // SAFETY: the pack was made for this plan's shape over the arena, the weights and the workspace of
                    // this program, which live as long as it does; dropping them waits for the device. The one stream
                    // orders all that write them.
                    let queued = unsafe { plan.execute(pack, &handle) };
                    queued.map_err(|error| CudnnError::Run {
                        layer: conv.name.clone(),
                        shape: Box::new(conv.shape),
                        reason: error.to_string(),
                    })?;
                }
                Ready::Layer(launch) => {
                    // SAFETY: as above.
                    unsafe { launch.enqueue(stream) }?;
                }
            }
        }
        Ok(())
    }

    fn port<'a>(&self, kind: &'static str, ports: &'a [Port], index: usize) -> Result<&'a Port, EngineError> {
        ports.get(index).ok_or_else(|| EngineError::NoPort {
            network: self.network.clone(),
            port: kind,
            index,
            count: ports.len(),
        })
    }

    fn view(&self, port: &Port) -> TensorView<'_> {
        let address = self.arena.slice().address() + port.offset as u64;
        let positions = port.n * port.h * port.w;
        // SAFETY: the arena has room for each buffer at its offset (`arena::plan`), and lives as long as `self`.
        unsafe { TensorView::new(address, port.element, positions, port.channels, port.pitch) }
    }
}
