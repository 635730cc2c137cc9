//! What networks can run on.

use super::report::{Finding, Group, Need, Status};
use crate::device;
use crate::device::libraries;
use crate::engine;

pub(super) fn probe(findings: &mut Vec<Finding>) {
    let openvino = engine::openvino::probe()
        .map(|p| {
            let computes = precisions(p.native_bf16, p.native_int8);
            format!("{} on {}, {computes}, {}", p.version, p.device, p.path.display())
        })
        .map_err(|e| e.to_string());
    let cuda = device::probe().map_err(|e| e.to_string()).map(|p| {
        let (major, minor) = p.driver_version;
        let devices = p.devices.iter().map(|d| {
            let (cc_major, cc_minor) = d.compute_capability;
            format!("{} (sm_{cc_major}{cc_minor}, {} GiB)", d.name, d.memory_bytes >> 30)
        });
        let list: Vec<String> = devices.collect();
        format!(
            "CUDA {major}.{minor}; {}",
            if list.is_empty() {
                "no device".to_owned()
            } else {
                list.join(", ")
            }
        )
    });
    findings.extend(findings_of(
        openvino,
        cuda,
        engine::cudnn::probe().map_err(|e| e.to_string()),
        kernel_code(),
        libraries::probe_tensorrt()
            .map(|f| format!("{} ({})", f.version, f.soname))
            .map_err(|e| e.to_string()),
    ));
}

/// Where the machine code of our kernels would come from.
fn kernel_code() -> Outcome {
    if let Some(folder) = std::env::var_os(device::cubins::FOLDER_VARIABLE).filter(|f| !f.is_empty()) {
        return Ok(format!("packed in {}", folder.display()));
    }
    let compiler = device::nvrtc::version().map_err(|e| e.to_string())?;
    Ok(format!(
        "compiled at the first start by NVRTC {}.{}",
        compiler.0, compiler.1
    ))
}

/// What the processor computes in by itself, and what it lacks.
fn precisions(bf16: bool, int8: bool) -> &'static str {
    match (int8, bf16) {
        (true, true) => "int8, bf16 and fp32",
        (true, false) => "int8 and fp32 (no bf16)",
        (false, true) => "bf16 and fp32 (no int8)",
        (false, false) => "fp32 (no int8, no bf16)",
    }
}

type Outcome = Result<String, String>;

/// The driver's package has another name on Ubuntu. `os_release` is /etc/os-release.
fn driver_install(os_release: &str) -> &'static str {
    match os_release
        .lines()
        .any(|l| l == "ID=ubuntu" || l.starts_with("ID_LIKE") && l.contains("ubuntu"))
    {
        true => "sudo ubuntu-drivers install",
        false => "sudo apt-get install nvidia-driver",
    }
}

fn findings_of(openvino: Outcome, cuda: Outcome, cudnn: Outcome, kernels: Outcome, tensorrt: Outcome) -> [Finding; 5] {
    let finding = |key, title: &str, need, outcome: Outcome, gives, install: &str| Finding {
        key,
        group: Group::Inference,
        title: title.to_owned(),
        status: if outcome.is_ok() { Status::Ok } else { Status::Missing },
        need,
        found: outcome.unwrap_or_else(|why| why),
        gives,
        install: Some(install.to_owned()),
    };
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    [
        finding(
            "openvino",
            "OpenVINO",
            Need::MainJob,
            openvino,
            "networks on the processor",
            "pip install 'openvino==2026.4.*'",
        ),
        finding(
            "cuda",
            "NVIDIA driver",
            Need::Optional,
            cuda,
            "an NVIDIA GPU: executor cudnn, and auto takes it",
            driver_install(&os_release),
        ),
        finding(
            "cudnn",
            "cuDNN",
            Need::Optional,
            cudnn,
            "networks on an NVIDIA GPU",
            "pip install nvidia-cudnn-cu13, then set MASKCAST_CUDNN_DIR to its nvidia/cudnn/lib",
        ),
        finding(
            "kernels",
            "CUDA kernels",
            Need::Optional,
            kernels,
            "what runs between the layers on an NVIDIA GPU",
            "pip install nvidia-cuda-nvrtc==13.0.88, then set MASKCAST_NVRTC_DIR to its nvidia/cu13/lib",
        ),
        finding(
            "tensorrt",
            "TensorRT",
            Need::Optional,
            tensorrt,
            "the fastest plans for an NVIDIA GPU; not used by this version",
            "pip install tensorrt",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_lacks_is_said() {
        assert_eq!(precisions(true, true), "int8, bf16 and fp32");
        assert_eq!(precisions(true, false), "bf16 and fp32 (no int8)");
        assert_eq!(precisions(false, false), "fp32 (no int8, no bf16)");
    }

    #[test]
    fn only_openvino_is_needed() {
        let no = || Err("libx.so: cannot open".to_owned());
        let findings = findings_of(Ok("2026.4".to_owned()), no(), no(), no(), no());
        let missing: Vec<(&str, bool)> = findings
            .iter()
            .filter(|f| f.status == Status::Missing)
            .map(|f| (f.key, f.need == Need::MainJob))
            .collect();
        assert_eq!(
            missing,
            [
                ("cuda", false),
                ("cudnn", false),
                ("kernels", false),
                ("tensorrt", false)
            ]
        );
        assert_eq!((findings[0].status, findings[0].found.as_str()), (Status::Ok, "2026.4"));
        let without = findings_of(no(), no(), no(), no(), no());
        assert_eq!((without[0].status, without[0].need), (Status::Missing, Need::MainJob));
        assert_eq!(driver_install("NAME=x\nID=ubuntu\n"), "sudo ubuntu-drivers install");
        assert_eq!(driver_install("ID=debian\n"), "sudo apt-get install nvidia-driver");
        assert_eq!(without[0].found, "libx.so: cannot open");
    }
}
