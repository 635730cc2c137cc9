//! OpenVINO as an executor: a [`Graph`] becomes a [`Program`] that runs on the processor. The library is loaded at run
//! time; without it there is one sentence that says what to install. No unsafe code here: the `openvino` crate has it.

mod library;
mod program;

pub use program::{PortElement, Program};

use std::path::PathBuf;

use ::openvino::{Core, DeviceType, InferenceError, PropertyKey, RwPropertyKey};

use super::graph::{Element, Graph};
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
    /// The processor multiplies 8-bit values itself.
    pub native_int8: bool,
}

/// The loaded library, set up for one precision and number of threads.
pub struct OpenVino {
    core: Core,
    identity: ExecutorIdentity,
    native_bf16: bool,
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
        native_int8: native_int8(),
    })
}

impl OpenVino {
    pub fn open(settings: Settings) -> Result<OpenVino, EngineError> {
        if settings.precision == Precision::F16 {
            return Err(EngineError::Precision(settings.precision)); // the processors it runs on have no f16
        }
        let path = library::load()?;
        let mut core = new_core(&path)?;
        let native_bf16 = native_bf16(&core)?;
        let precision = runs_in(settings.precision, native_bf16, native_int8());
        if precision != settings.precision {
            tracing::info!(
                "this processor has no {}: the network runs in {precision}",
                settings.precision
            );
        }
        // What int8 leaves in float computes in the best float there is.
        let float = match precision {
            Precision::Int8 if native_bf16 => Precision::Bf16,
            Precision::Int8 => Precision::F32,
            float => float,
        };
        // OpenVINO picks bf16 by itself where it can: nothing is left to its choice.
        let mut settings_of_cpu = vec![
            (RwPropertyKey::HintInferencePrecision, float.as_str().to_owned()),
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
        Ok(OpenVino {
            core,
            identity,
            native_bf16,
        })
    }

    pub fn identity(&self) -> &ExecutorIdentity {
        &self.identity
    }

    /// What the values of feature maps are best stored in between the parts.
    pub fn feature_element(&self) -> Element {
        match self.native_bf16 && self.identity.precision != Precision::F32 {
            true => Element::Bf16,
            false => Element::F32,
        }
    }

    /// Compiles `graph`, given with its ONNX bytes (which the caller also needs for its digest).
    pub fn compile(&mut self, graph: &Graph, onnx: &[u8]) -> Result<Program, EngineError> {
        let network = graph.name();
        let model = self
            .core
            .read_model_from_buffer(onnx, None)
            .map_err(|e| failed("read", network, &e))?;
        let compiled = self
            .core
            .compile_model(&model, DeviceType::CPU)
            .map_err(|e| failed("compile", network, &e))?;
        Program::new(graph, compiled)
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

/// VNNI on x86, dot products on ARM. Without them 8 bits are slower than f32.
fn native_int8() -> bool {
    #[cfg(target_arch = "x86_64")]
    let native = std::is_x86_feature_detected!("avx512vnni") || std::is_x86_feature_detected!("avxvnni");
    #[cfg(target_arch = "aarch64")]
    let native = std::arch::is_aarch64_feature_detected!("dotprod") || std::arch::is_aarch64_feature_detected!("i8mm");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let native = false;
    native
}

/// What a network that is asked for in one precision really computes in.
fn runs_in(asked: Precision, native_bf16: bool, native_int8: bool) -> Precision {
    match asked {
        Precision::Int8 if native_int8 => Precision::Int8,
        Precision::Int8 | Precision::Bf16 if native_bf16 => Precision::Bf16,
        _ => Precision::F32,
    }
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
