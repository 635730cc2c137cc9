//! Where the OpenVINO library is. Order: the folder in `MASKCAST_OPENVINO_DIR`; `../openvino` (an installation, and where
//! `make` puts it: target/openvino), `openvino` and `../../openvino` (the same for test programs) from the executable's
//! folder; then where the system's packages put it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::engine::EngineError;

/// Names the folder of `libopenvino_c.so`.
pub(super) const FOLDER_VARIABLE: &str = "MASKCAST_OPENVINO_DIR";

const FILE: &str = "libopenvino_c.so";

/// Called here or in the `openvino` crate, which panics when one of them is missing: so they are looked for first.
const NEEDED_SYMBOLS: [&str; 25] = [
    "ov_get_openvino_version",
    "ov_version_free",
    "ov_get_last_err_msg",
    "ov_core_create",
    "ov_core_free",
    "ov_core_set_property",
    "ov_core_get_property",
    "ov_core_read_model_from_memory_buffer",
    "ov_core_compile_model",
    "ov_compiled_model_inputs_size",
    "ov_compiled_model_outputs_size",
    "ov_compiled_model_create_infer_request",
    "ov_infer_request_get_tensor",
    "ov_infer_request_get_input_tensor_by_index",
    "ov_infer_request_get_output_tensor_by_index",
    "ov_infer_request_infer",
    "ov_infer_request_set_tensor",
    "ov_shape_create",
    "ov_shape_free",
    "ov_tensor_create",
    "ov_tensor_set_shape",
    "ov_tensor_get_element_type",
    "ov_tensor_data",
    "ov_tensor_get_size",
    "ov_tensor_get_byte_size",
];

/// The library of this process: only the first one found is ever loaded.
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Finds, checks and loads the library; afterwards says where it was found.
pub(super) fn load() -> Result<PathBuf, EngineError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*loaded {
        return Ok(path.clone());
    }
    let executable = std::env::current_exe().ok();
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let path = find(folder.as_deref(), executable.as_deref())?;
    check(&path)?;
    openvino_sys::library::load_from(path.clone()).map_err(|reason| EngineError::WrongLibrary {
        path: path.clone(),
        reason,
    })?;
    *loaded = Some(path.clone());
    Ok(path)
}

/// Build number of the loaded library; only after [`load`].
pub(super) fn version() -> String {
    ::openvino::version().build_number
}

/// The library's path. A folder that is named but holds no library is an error: nobody wants another one silently.
pub(super) fn find(named_folder: Option<&Path>, executable: Option<&Path>) -> Result<PathBuf, EngineError> {
    if let Some(folder) = named_folder.filter(|f| !f.as_os_str().is_empty()) {
        return in_folder(folder).ok_or_else(|| {
            let reason = format!("{FOLDER_VARIABLE} is {}, which has no {FILE}", folder.display());
            EngineError::NotInstalled(reason)
        });
    }
    let beside = executable.and_then(Path::parent).into_iter();
    let folders = beside.flat_map(|dir| ["../openvino", "openvino", "../../openvino"].map(|place| dir.join(place)));
    let found = folders.into_iter().find_map(|folder| in_folder(&folder));
    found.or_else(openvino_sys::library::find).ok_or_else(|| {
        EngineError::NotInstalled(format!(
            "{FILE} is neither beside the program nor in the system's folders"
        ))
    })
}

/// `libopenvino_c.so`, or as Python's wheel has it `libopenvino_c.so.<version>`, the highest.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(FILE);
    if plain.is_file() {
        return Some(plain);
    }
    let versioned = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.strip_prefix(FILE).is_some_and(|rest| rest.starts_with('.')) && path.is_file()
    };
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(versioned)
        .max()
}

/// Reads the file without running it: an executable library that has the functions we call?
pub(super) fn check(path: &Path) -> Result<(), EngineError> {
    let wrong = |reason: String| EngineError::WrongLibrary {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(wrong("it is no shared library".to_owned()));
    }
    // Names stand in the string table, each with a zero behind.
    let names: std::collections::HashSet<&[u8]> = bytes.split(|&b| b == 0).filter(|n| n.starts_with(b"ov_")).collect();
    match NEEDED_SYMBOLS.iter().find(|name| !names.contains(name.as_bytes())) {
        Some(missing) => Err(wrong(format!("it has no function {missing}"))),
        None => Ok(()),
    }
}
