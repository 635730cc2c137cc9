//! OpenVINO as an executor: a [`Graph`] becomes a [`Program`] that runs on the processor. The library is loaded at run
//! time; without it there is one sentence that says what to install. No unsafe code here: the `openvino` crate has it.

mod library;

use std::path::PathBuf;

use ::openvino::{CompiledModel, Core, DeviceType, InferRequest, InferenceError, PropertyKey, RwPropertyKey, Tensor};

use super::graph::{Dim, Graph};
use super::{EngineError, ExecutorIdentity, Precision};

/// Unless told otherwise: a network that runs for 10 ms gains nothing from more.
const MOST_THREADS: usize = 8;

/// How programs are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub precision: Precision,
    /// Threads of one run; `None` = one a processor, at most [`MOST_THREADS`].
    pub threads: Option<usize>,
}

/// What the library and the processor are, for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub version: String,
    pub path: PathBuf,
    pub device: String,
    /// The processor multiplies bf16 itself.
    pub native_bf16: bool,
}

/// The loaded library, set up for one precision and number of threads.
pub struct OpenVino {
    core: Core,
    identity: ExecutorIdentity,
}

/// A compiled graph with its own input and output memory; shapes are fixed.
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
    len: usize,
    tensor: Tensor,
}

/// Loads the library and asks it what it is.
pub fn probe() -> Result<Probe, EngineError> {
    let path = library::load()?;
    let core = new_core(&path)?;
    let device = property(&core, &PropertyKey::DeviceFullName)?;
    let native_bf16 = native_bf16(&core)?;
    Ok(Probe {
        version: library::version(),
        path,
        device,
        native_bf16,
    })
}

impl OpenVino {
    pub fn open(settings: Settings) -> Result<OpenVino, EngineError> {
        let path = library::load()?;
        let mut core = new_core(&path)?;
        let mut precision = settings.precision;
        if precision == Precision::Bf16 && !native_bf16(&core)? {
            tracing::info!("this processor has no bf16: the network runs in f32");
            precision = Precision::F32;
        }
        // OpenVINO picks bf16 by itself where it can: nothing is left to its choice.
        let mut settings_of_cpu = vec![
            (RwPropertyKey::HintInferencePrecision, precision.as_str().to_owned()),
            (RwPropertyKey::HintPerformanceMode, "LATENCY".to_owned()),
            (RwPropertyKey::NumStreams, "1".to_owned()),
            // Pinned threads starve when another camera's decoder or encoder sits on their core.
            (RwPropertyKey::HintEnableCpuPinning, "NO".to_owned()),
        ];
        // OpenVINO's own choice counts cores, not processors, and in a virtual machine guesses wrong.
        let all = || {
            std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MOST_THREADS)
        };
        let threads = settings.threads.unwrap_or_else(all).max(1);
        settings_of_cpu.push((RwPropertyKey::InferenceNumThreads, threads.to_string()));
        for (key, value) in settings_of_cpu {
            core.set_property(&DeviceType::CPU, &key, &value)
                .map_err(|e| failed("set up", key.as_ref(), &e))?;
        }
        let identity = ExecutorIdentity {
            name: "openvino".to_owned(),
            version: library::version(),
            device: property(&core, &PropertyKey::DeviceFullName)?,
            precision,
        };
        Ok(OpenVino { core, identity })
    }

    pub fn identity(&self) -> &ExecutorIdentity {
        &self.identity
    }

    /// Compiles `graph`, given with its ONNX bytes (which the caller also needs for its digest).
    pub fn compile(&mut self, graph: &Graph, onnx: &[u8]) -> Result<Program, EngineError> {
        let network = graph.name().to_owned();
        let model = self
            .core
            .read_model_from_buffer(onnx, None)
            .map_err(|e| failed("read", &network, &e))?;
        let mut compiled = self
            .core
            .compile_model(&model, DeviceType::CPU)
            .map_err(|e| failed("compile", &network, &e))?;
        let request = compiled
            .create_infer_request()
            .map_err(|e| failed("prepare", &network, &e))?;
        let port = |value: &super::graph::Value, port: &'static str| {
            let fail = |e| failed("find a port of", &network, &e);
            let tensor = request.get_tensor(&value.name).map_err(fail)?;
            let expected = value.shape.iter().map(|dim| match dim {
                Dim::Fixed(extent) => *extent,
                Dim::Named(_) => 0, // refused below: nothing has this size
            });
            let expected = expected.product();
            let got = tensor.get_size().map_err(fail)?;
            if expected == 0 || expected != got {
                return Err(EngineError::Size {
                    network: network.clone(),
                    port,
                    name: value.name.clone(),
                    expected,
                    got,
                });
            }
            let name = value.name.clone();
            Ok(Port { name, len: got, tensor })
        };
        let inputs = graph.inputs().map(|v| port(v, "input")).collect::<Result<_, _>>()?;
        let outputs = graph.outputs().map(|v| port(v, "output")).collect::<Result<_, _>>()?;
        Ok(Program {
            network,
            request,
            inputs,
            outputs,
            _compiled: compiled,
        })
    }
}

impl Program {
    /// The memory of input `index`, in the graph's order; written in place, kept between runs.
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [f32], EngineError> {
        let (network, count) = (&self.network, self.inputs.len());
        let port = self
            .inputs
            .get_mut(index)
            .ok_or_else(|| no_port(network, "input", index, count))?;
        let data = port
            .tensor
            .get_data_mut::<f32>()
            .map_err(|e| failed("write to", network, &e))?;
        check_len(network, "input", &port.name, port.len, data.len())?;
        Ok(data)
    }

    /// Runs once, on the calling thread and the executor's.
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.request.infer().map_err(|e| failed("run", &self.network, &e))
    }

    /// Output `index` of the last run, in the graph's order.
    pub fn output(&self, index: usize) -> Result<&[f32], EngineError> {
        let port = self
            .outputs
            .get(index)
            .ok_or_else(|| no_port(&self.network, "output", index, self.outputs.len()))?;
        let data = port
            .tensor
            .get_data::<f32>()
            .map_err(|e| failed("read from", &self.network, &e))?;
        check_len(&self.network, "output", &port.name, port.len, data.len())?;
        Ok(data)
    }
}

fn check_len(network: &str, port: &'static str, name: &str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got {
        return Ok(());
    }
    Err(EngineError::Size {
        network: network.to_owned(),
        port,
        name: name.to_owned(),
        expected,
        got,
    })
}

fn no_port(network: &str, port: &'static str, index: usize, count: usize) -> EngineError {
    EngineError::NoPort {
        network: network.to_owned(),
        port,
        index,
        count,
    }
}

fn new_core(path: &std::path::Path) -> Result<Core, EngineError> {
    Core::new().map_err(|e| EngineError::WrongLibrary {
        path: path.to_owned(),
        reason: one_line(&e.to_string()),
    })
}

fn property(core: &Core, key: &PropertyKey) -> Result<String, EngineError> {
    core.get_property(&DeviceType::CPU, key)
        .map_err(|e| failed("ask the processor plugin for", key.as_ref(), &e))
}

fn native_bf16(core: &Core) -> Result<bool, EngineError> {
    let capabilities = property(core, &PropertyKey::DeviceCapabilities)?;
    Ok(capabilities.split([' ', ',']).any(|word| word == "BF16"))
}

fn failed(action: &'static str, network: &str, error: &InferenceError) -> EngineError {
    EngineError::Executor {
        action,
        network: network.to_owned(),
        reason: one_line(&error.to_string()),
    }
}

/// OpenVINO's messages carry stack frames and line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
