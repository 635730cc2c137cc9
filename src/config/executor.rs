//! What computes the network.

use std::fmt;
use std::str::FromStr;

/// Which executor runs the dense parts of an engine, and with it where everything from the picture to its instances happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Executor {
    /// The best this machine has: cuDNN where there is an NVIDIA GPU and the library, else the processor.
    #[default]
    Auto,
    /// OpenVINO on the processor.
    Cpu,
    /// cuDNN and kernels of our own on an NVIDIA GPU, in fp16.
    Cudnn,
    /// TensorRT on an NVIDIA GPU.
    TensorRt,
}

impl Executor {
    pub const ALL: [Executor; 4] = [Executor::Auto, Executor::Cpu, Executor::Cudnn, Executor::TensorRt];

    pub const fn as_str(self) -> &'static str {
        match self {
            Executor::Auto => "auto",
            Executor::Cpu => "cpu",
            Executor::Cudnn => "cudnn",
            Executor::TensorRt => "tensorrt",
        }
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Executor {
    type Err = String;
    fn from_str(text: &str) -> Result<Executor, String> {
        let known = Executor::ALL.into_iter().find(|executor| executor.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no executor: use \"auto\", \"cpu\", \"cudnn\" or \"tensorrt\""))
    }
}
