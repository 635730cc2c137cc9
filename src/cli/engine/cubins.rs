//! `maskcast engine cubins`: the program's kernels compiled for GPUs that have no compiler beside them.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::device::cubins::{self, FOLDER_VARIABLE};
use crate::device::nvrtc::{ARCHITECTURES, compile_all};
use crate::pipeline::kernel_sources;

/// Compile the CUDA kernels with NVRTC into a folder for MASKCAST_CUBINS; needs no GPU.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the cubins; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// GPU architectures; all that are supported where none is given.
    #[arg(long, value_name = "sm_90", value_parser = architecture)]
    arch: Vec<u32>,
}

/// `sm_90` or `90`.
fn architecture(text: &str) -> Result<u32, String> {
    let known = || ARCHITECTURES.map(|sm| format!("sm_{sm}")).join(", ");
    let number = text.strip_prefix("sm_").unwrap_or(text).parse().ok();
    number
        .filter(|sm| (50..1000).contains(sm))
        .ok_or_else(|| format!("not an architecture such as {}", known()))
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let sms = if args.arch.is_empty() {
        &ARCHITECTURES[..]
    } else {
        &args.arch
    };
    let sources = kernel_sources();
    let compiled = compile_all(&sources, sms)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    for one in &compiled {
        cubins::pack(&args.out, one)?;
    }
    let bytes: usize = compiled.iter().map(|one| one.cubin.len()).sum();
    let kernels: usize = compiled.iter().map(|one| one.kernels.len()).sum::<usize>() / sms.len().max(1);
    crate::cli::answer(format!(
        "{kernels} kernels of {} sources for {} architectures, {} kB: set {FOLDER_VARIABLE}={}",
        sources.len(),
        sms.len(),
        bytes / 1000,
        args.out.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_read_with_and_without_their_prefix() {
        assert_eq!((architecture("sm_90"), architecture("120")), (Ok(90), Ok(120)));
        assert!(architecture("hopper").is_err() && architecture("9").is_err());
    }
}
