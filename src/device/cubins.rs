//! Where a kernel's machine code comes from: a folder of packed cubins, the cache, or NVRTC, whose work is kept.
//!
//! A cubin file is the cubin, followed by [`MARK`], the digest of the source it was made of and that of the cubin: a
//! file that is torn, or of another version of the source, is seen before a GPU sees it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::DeviceError;
use super::kernels::KernelSource;
use super::nvrtc::{Compiled, Nvrtc, best_for};

/// Names the folder of packed cubins, as `maskcast engine cubins` writes it.
pub const FOLDER_VARIABLE: &str = "MASKCAST_CUBINS";

const MARK: &[u8; 16] = b"\0maskcast cubin1";
const DIGEST: usize = 32;

/// Machine code of `source` that runs on `sm`.
pub(super) fn find(source: &KernelSource, sm: u32) -> Result<Vec<u8>, DeviceError> {
    if let Some(folder) = folder_of(FOLDER_VARIABLE) {
        return packed(&folder, source, sm);
    }
    let digest = digest(source);
    let cache = cache_folder();
    let nvrtc = match Nvrtc::load(sm) {
        Ok(nvrtc) => nvrtc,
        // What was compiled here before serves without the compiler too.
        Err(absent) => return cache.and_then(|cache| any_cached(&cache, &digest, sm)).ok_or(absent),
    };
    let target = nvrtc.target_for(sm)?;
    let (major, minor) = nvrtc.version;
    let kept = cache.map(|cache| cache.join(format!("{}.{major}.{minor}.sm_{target}.cubin", hex(&digest))));
    if let Some(Ok(code)) = kept.as_deref().map(|path| read(path, &digest)) {
        return Ok(code);
    }
    let compiled = nvrtc.cubin(source, target)?;
    if let Some(Err(error)) = kept.as_deref().map(|path| write(path, &digest, &compiled.cubin)) {
        tracing::debug!("compiled kernels are not kept: {error}");
    }
    Ok(compiled.cubin)
}

/// Writes `compiled` where [`FOLDER_VARIABLE`] may point; returns the path.
pub fn pack(folder: &Path, compiled: &Compiled) -> Result<PathBuf, DeviceError> {
    let path = folder.join(file_name(compiled.source.name, compiled.sm));
    write(&path, &digest(&compiled.source), &compiled.cubin).map_err(|error| DeviceError::Cubins {
        sm: compiled.sm,
        reason: format!("{}: {error}", path.display()),
    })?;
    Ok(path)
}

fn file_name(name: &str, sm: u32) -> String {
    format!("{name}.sm_{sm}.cubin")
}

/// The architecture in the name of a cubin file.
fn sm_of(name: &str) -> Option<u32> {
    name.strip_suffix(".cubin")?.rsplit_once(".sm_")?.1.parse().ok()
}

fn packed(folder: &Path, source: &KernelSource, sm: u32) -> Result<Vec<u8>, DeviceError> {
    let failed = |reason: String| DeviceError::Cubins {
        sm,
        reason: format!("{FOLDER_VARIABLE}: {reason}"),
    };
    let entries = fs::read_dir(folder).map_err(|e| failed(format!("{}: {e}", folder.display())))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut known: Vec<u32> = names
        .filter(|name| name.split('.').next() == Some(source.name))
        .filter_map(|name| sm_of(&name))
        .collect();
    known.sort_unstable();
    let Some(best) = best_for(sm, known.iter().copied()) else {
        let shown = folder.display();
        return Err(failed(format!(
            "{shown} has {} for {known:?}, nothing that runs here",
            source.name
        )));
    };
    let path = folder.join(file_name(source.name, best));
    read(&path, &digest(source)).map_err(|reason| {
        failed(format!(
            "{}: {reason}; write it again with `maskcast engine cubins`",
            path.display()
        ))
    })
}

fn any_cached(cache: &Path, digest: &[u8], sm: u32) -> Option<Vec<u8>> {
    let prefix = format!("{}.", hex(digest));
    let mut names: Vec<(u32, String)> = fs::read_dir(cache)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&prefix))
        .filter_map(|name| Some((best_for(sm, sm_of(&name).into_iter())?, name)))
        .collect();
    names.sort_unstable();
    names
        .iter()
        .rev()
        .find_map(|(_, name)| read(&cache.join(name), digest).ok())
}

/// The cubin in the file at `path`, or why it does not serve.
fn read(path: &Path, source: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = fs::read(path).map_err(|e| e.to_string())?;
    let no_cubin = || "not a whole cubin file".to_owned();
    let length = bytes.len().checked_sub(MARK.len() + 2 * DIGEST).ok_or_else(no_cubin)?;
    let (cubin, end) = bytes.split_at(length);
    let (mark, digests) = end.split_at(MARK.len());
    let (made_of, of_cubin) = digests.split_at(DIGEST);
    if mark != MARK || Sha256::digest(cubin).as_slice() != of_cubin {
        return Err(no_cubin());
    }
    if made_of != source {
        return Err("made of another version of the kernel's source".to_owned());
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Writes the file under a name of its own and renames it: no reader sees half of it.
fn write(path: &Path, source: &[u8], cubin: &[u8]) -> std::io::Result<()> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let unfinished = folder.join(format!(".{}.{count}.unfinished", std::process::id()));
    let written = fs::File::create(&unfinished).and_then(|mut file| {
        for part in [cubin, MARK, source, Sha256::digest(cubin).as_slice()] {
            file.write_all(part)?;
        }
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&unfinished, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    renamed
}

/// SHA-256 over name, text and headers, each with its length.
fn digest(source: &KernelSource) -> [u8; DIGEST] {
    let mut hash = Sha256::new();
    let headers = source.headers.iter().flat_map(|(name, text)| [*name, *text]);
    for part in [source.name, source.text].into_iter().chain(headers) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cache_folder() -> Option<PathBuf> {
    let cache = folder_of("XDG_CACHE_HOME").or_else(|| folder_of("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("maskcast/kernels"))
}

fn folder_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: KernelSource = KernelSource {
        name: "thing",
        text: "text",
        headers: &[("a.cuh", "b")],
    };

    #[test]
    fn a_packed_cubin_serves_its_source_and_generation_only() {
        let folder = tempfile::tempdir().unwrap();
        for sm in [80, 86, 90] {
            let compiled = Compiled {
                source: SOURCE,
                sm,
                cubin: vec![u8::try_from(sm).unwrap(); 5],
                kernels: Vec::new(),
            };
            pack(folder.path(), &compiled).unwrap();
        }
        assert_eq!(packed(folder.path(), &SOURCE, 89).unwrap(), [86; 5]);
        assert_eq!(packed(folder.path(), &SOURCE, 90).unwrap(), [90; 5]);
        let refused = packed(folder.path(), &SOURCE, 75).unwrap_err().to_string();
        assert!(
            refused.contains("[80, 86, 90]") && refused.contains("thing"),
            "{refused}"
        );
        let changed = KernelSource {
            headers: &[("a.cuh", "c")],
            ..SOURCE
        };
        let refused = packed(folder.path(), &changed, 90).unwrap_err().to_string();
        assert!(refused.contains("another version of the kernel's source"), "{refused}");
        let path = folder.path().join("thing.sm_90.cubin");
        let whole = fs::read(&path).unwrap();
        for damaged in [
            whole[..whole.len() - 1].to_vec(),
            Vec::new(),
            [&[1], &whole[1..]].concat(),
        ] {
            fs::write(&path, damaged).unwrap();
            let refused = packed(folder.path(), &SOURCE, 90).unwrap_err().to_string();
            assert!(refused.contains("not a whole cubin file"), "{refused}");
        }
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 3, "no unfinished file stays");
    }

    #[test]
    fn what_was_compiled_here_serves_without_the_compiler() {
        let cache = tempfile::tempdir().unwrap();
        let own = digest(&SOURCE);
        write(
            &cache.path().join(format!("{}.13.0.sm_90.cubin", hex(&own))),
            &own,
            b"code",
        )
        .unwrap();
        assert_eq!(any_cached(cache.path(), &own, 90).as_deref(), Some(&b"code"[..]));
        assert_eq!(any_cached(cache.path(), &own, 80), None);
        assert_eq!(any_cached(cache.path(), &[0; 32], 90), None);
    }
}
