//! Kernels compiled on this machine by NVRTC, NVIDIA's compiler library; no toolkit and no GPU are needed for it.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::nvrtc::{result, sys};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::DeviceError;
use super::kernels::KernelSource;

/// Names the folder that holds `libnvrtc.so.13`, as the PyPI wheel has it.
pub const FOLDER_VARIABLE: &str = "MASKCAST_NVRTC_DIR";

/// Architectures that the program is kept fit for: Turing to Blackwell.
pub const ARCHITECTURES: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];

const HOW_TO_INSTALL: &str = "NVRTC is not here; install it (pip install nvidia-cuda-nvrtc==13.0.88) and set \
                              MASKCAST_NVRTC_DIR to the folder of its libnvrtc.so.13, or set MASKCAST_CUBINS to a \
                              folder of packed cubins";

/// What one kernel takes of a multiprocessor, as ptxas says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelResources {
    pub kernel: String,
    /// Of 32 bits, a thread.
    pub registers: u32,
    /// Bytes of shared memory a block has without asking at launch.
    pub shared_bytes: u32,
    /// Bytes of local memory a thread; with them each access goes to memory.
    pub stack_bytes: u32,
    pub spill_store_bytes: u32,
    pub spill_load_bytes: u32,
}

/// Machine code of one source for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub source: KernelSource,
    /// 90 = sm_90.
    pub sm: u32,
    pub cubin: Vec<u8>,
    pub kernels: Vec<KernelResources>,
}

/// The compiler, loaded. Programs are compiled one at a time.
#[derive(Debug)]
pub(super) struct Nvrtc {
    pub version: (u32, u32),
    _alone: MutexGuard<'static, ()>,
}

/// Compiles every source for every architecture of `sms`.
pub fn compile_all(sources: &[KernelSource], sms: &[u32]) -> Result<Vec<Compiled>, DeviceError> {
    let newest = sms.iter().copied().max().unwrap_or_default();
    let nvrtc = Nvrtc::load(newest)?;
    let pairs = sources
        .iter()
        .flat_map(|source| sms.iter().map(move |&sm| (source, sm)));
    pairs.map(|(source, sm)| nvrtc.cubin(source, sm)).collect()
}

/// PTX of one source, for tests of what the compiler made of it.
pub fn ptx(source: &KernelSource, sm: u32) -> Result<String, DeviceError> {
    let (code, _) = Nvrtc::load(sm)?.compile(source, sm, "compute")?;
    let text = code.strip_suffix(&[0]).unwrap_or(&code);
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// The version of the NVRTC that is here: (13, 0).
pub fn version() -> Result<(u32, u32), DeviceError> {
    Nvrtc::load(0).map(|nvrtc| nvrtc.version)
}

impl Nvrtc {
    /// Loads NVRTC from the folder of [`FOLDER_VARIABLE`], else from where the system finds it. `sm` is for the error.
    pub(super) fn load(sm: u32) -> Result<Nvrtc, DeviceError> {
        static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
        static ALONE: Mutex<()> = Mutex::new(());
        let failed = |reason| DeviceError::Cubins { sm, reason };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        LOADED.get_or_init(preload).clone().map_err(failed)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the library loads (`preload`); both places are valid for one integer.
        unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
            .result()
            .map_err(|e| failed(format!("NVRTC does not tell its version: {:?}", e.0)))?;
        Ok(Nvrtc {
            version: (major.unsigned_abs(), minor.unsigned_abs()),
            _alone: alone,
        })
    }

    /// The architecture to compile for where the code shall run on `sm`: itself, or the newest one before it that the
    /// compiler knows and that runs there (same major number).
    pub(super) fn target_for(&self, sm: u32) -> Result<u32, DeviceError> {
        let failed = |reason| DeviceError::Cubins { sm, reason };
        let refused = |e: result::NvrtcError| failed(format!("NVRTC does not tell its architectures: {:?}", e.0));
        let mut count: c_int = 0;
        // SAFETY: `count` is a valid place for one integer.
        unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }
            .result()
            .map_err(refused)?;
        let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: `known` has the number of places that the call above asked for.
        unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }
            .result()
            .map_err(refused)?;
        let known = known.into_iter().filter_map(|arch| u32::try_from(arch).ok());
        best_for(sm, known).ok_or_else(|| {
            let (major, minor) = self.version;
            failed(format!(
                "NVRTC {major}.{minor} compiles for no architecture of this generation"
            ))
        })
    }

    /// Machine code of `source` for exactly `sm`.
    pub(super) fn cubin(&self, source: &KernelSource, sm: u32) -> Result<Compiled, DeviceError> {
        let (cubin, log) = self.compile(source, sm, "sm")?;
        Ok(Compiled {
            source: *source,
            sm,
            cubin,
            kernels: resources(&log),
        })
    }

    /// Code and the compiler's log. `kind` is `sm` for machine code, `compute` for PTX.
    fn compile(&self, source: &KernelSource, sm: u32, kind: &str) -> Result<(Vec<u8>, String), DeviceError> {
        let failed = |reason| DeviceError::Cubins { sm, reason };
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| failed(format!("{}: the source holds a zero byte", source.name)))
        };
        let (text, name) = (c_string(source.text)?, c_string(&format!("{}/kernel.cu", source.name))?);
        let headers = source
            .headers
            .iter()
            .map(|(name, text)| Ok((c_string(name)?, c_string(text)?)));
        let headers: Vec<(CString, CString)> = headers.collect::<Result<_, DeviceError>>()?;
        let header_names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
        let header_texts: Vec<*const c_char> = headers.iter().map(|(_, text)| text.as_ptr()).collect();
        let mut program = Program(std::ptr::null_mut());
        // SAFETY: all strings end with zero and outlive the call; the two lists have `headers.len()` entries each.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                text.as_ptr(),
                name.as_ptr(),
                c_int::try_from(headers.len()).unwrap_or(c_int::MAX),
                header_texts.as_ptr(),
                header_names.as_ptr(),
            )
        }
        .result()
        .map_err(|e| failed(format!("{}: NVRTC takes no program: {:?}", source.name, e.0)))?;
        let mut options = vec![
            format!("--gpu-architecture={kind}_{sm}"),
            "--std=c++17".to_owned(),
            // The same bits as the plain loops: only what the source writes as fmaf() is fused; the rest is IEEE.
            "--fmad=false".to_owned(),
            "--prec-div=true".to_owned(),
            "--prec-sqrt=true".to_owned(),
            "--ftz=false".to_owned(),
        ];
        if kind == "sm" {
            options.push("--ptxas-options=-v".to_owned());
        }
        // SAFETY: the program was created just above and is destroyed when `program` is dropped.
        let compiled = unsafe { result::compile_program(program.0, &options) };
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.iter().map(|&c| c.cast_unsigned()).collect();
        let log = CStr::from_bytes_until_nul(&log)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        compiled.map_err(|e| {
            failed(format!(
                "{} does not compile: {:?}\n{}",
                source.name,
                e.0,
                log.trim_end()
            ))
        })?;
        let code = program
            .code(kind)
            .map_err(|e| failed(format!("{}: no code: {:?}", source.name, e.0)))?;
        Ok((code, log))
    }
}

struct Program(sys::nvrtcProgram);

impl Program {
    fn code(&self, kind: &str) -> Result<Vec<u8>, result::NvrtcError> {
        let mut size = 0;
        // SAFETY: the program is compiled; the size asked for first is the size of what the second call writes.
        unsafe {
            if kind == "sm" {
                sys::nvrtcGetCUBINSize(self.0, &raw mut size).result()?;
                let mut code = vec![0_u8; size];
                sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()).result()?;
                return Ok(code);
            }
            sys::nvrtcGetPTXSize(self.0, &raw mut size).result()?;
            let mut code = vec![0_u8; size];
            sys::nvrtcGetPTX(self.0, code.as_mut_ptr().cast()).result()?;
            Ok(code)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: created by nvrtcCreateProgram and destroyed nowhere else. It fails for a null handle only.
            let _ = unsafe { result::destroy_program(self.0) };
        }
    }
}

/// Loads the libraries of the folder of [`FOLDER_VARIABLE`] by their full paths: cudarc then finds NVRTC by its name,
/// and NVRTC, which has no search path of its own, its builtins.
fn preload() -> Result<(), String> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
        let shown = std::path::Path::new(&folder).display().to_string();
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{FOLDER_VARIABLE}: {shown}: {e}"))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{FOLDER_VARIABLE}: {shown}: {e}"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let wanted = name.starts_with("libnvrtc.so.") || name.starts_with("libnvrtc-builtins.so.");
            if !wanted {
                continue;
            }
            // SAFETY: loading runs the initialisers of NVIDIA's library in the folder that the user named for it.
            let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
            // Kept until the process ends: cudarc holds functions of it.
            std::mem::forget(library.map_err(|e| format!("{FOLDER_VARIABLE}: {}: {e}", path.display()))?);
        }
    }
    // SAFETY: opens the library by name and closes it; its initialisers have no preconditions.
    if unsafe { sys::is_culib_present() } {
        Ok(())
    } else {
        Err(HOW_TO_INSTALL.to_owned())
    }
}

/// Of `known` architectures the newest whose machine code runs on `sm`: same major number, minor number no higher.
pub(super) fn best_for(sm: u32, known: impl Iterator<Item = u32>) -> Option<u32> {
    known.filter(|&arch| arch / 10 == sm / 10 && arch <= sm).max()
}

/// Reads ptxas' report: "Compiling entry function 'NAME'", a line on stack and spills, "Used N registers, ...".
fn resources(log: &str) -> Vec<KernelResources> {
    let mut kernels: Vec<KernelResources> = Vec::new();
    let number_before = |line: &str, word: &str| -> u32 {
        let before = line.split(word).next().filter(|before| before.len() < line.len());
        let digits = before.and_then(|before| before.trim_end().rsplit([' ', ',', '+']).next());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some(kernel) = line
            .split("Compiling entry function '")
            .nth(1)
            .and_then(|rest| rest.split('\'').next())
        {
            kernels.push(KernelResources {
                kernel: kernel.to_owned(),
                registers: 0,
                shared_bytes: 0,
                stack_bytes: 0,
                spill_store_bytes: 0,
                spill_load_bytes: 0,
            });
        }
        let Some(last) = kernels.last_mut() else { continue };
        if line.contains("bytes stack frame") {
            last.stack_bytes = number_before(line, "bytes stack frame");
            last.spill_store_bytes = number_before(line, "bytes spill stores");
            last.spill_load_bytes = number_before(line, "bytes spill loads");
        }
        if line.contains("Used ") {
            last.registers = number_before(line, "registers");
            last.shared_bytes = number_before(line, "bytes smem");
        }
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_code_of_the_same_generation_is_taken() {
        let known = [75, 80, 86, 89, 90, 100];
        assert_eq!(best_for(87, known.into_iter()), Some(86));
        assert_eq!(best_for(90, known.into_iter()), Some(90));
        assert_eq!(best_for(103, known.into_iter()), Some(100));
        assert_eq!(best_for(70, known.into_iter()), None);
        assert_eq!(best_for(120, known.into_iter()), None);
    }

    #[test]
    fn the_report_of_ptxas_is_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Compiling entry function 'a' for 'sm_90'\n\
                   ptxas info    : Function properties for a\n    \
                   8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
                   ptxas info    : Used 33 registers, used 1 barriers, 4096 bytes smem, 8 bytes cumulative stack size\n\
                   ptxas info    : Compiling entry function 'b' for 'sm_90'\n\
                   ptxas info    : Used 7 registers, used 0 barriers\n";
        let read = resources(log);
        let first = KernelResources {
            kernel: "a".to_owned(),
            registers: 33,
            shared_bytes: 4096,
            stack_bytes: 8,
            spill_store_bytes: 4,
            spill_load_bytes: 12,
        };
        assert_eq!(read.first(), Some(&first));
        assert_eq!(
            read.get(1).map(|k| (k.kernel.as_str(), k.registers, k.shared_bytes)),
            Some(("b", 7, 0))
        );
    }
}
