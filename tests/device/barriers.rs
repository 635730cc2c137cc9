//! No barrier of a kernel is there for nothing, and none is missing unnoticed: the checks of the ops are run once for each
//! `__syncthreads()` and `__syncwarp()` of the tree, without that one, in a process of their own. Some check must fail
//! under some order of blocks, warps and lanes.

use std::ffi::{CStr, c_char, c_int};
use std::process::{Command, Stdio};

use super::standin;

/// Orders tried before a barrier is said to be needless.
const SEEDS: [&str; 4] = ["1", "2", "3", "4"];

/// `(path:line of the barrier, why no order shows that it is needed)`.
const ARGUED: &[(&str, &str)] = &[(
    "ops/select.cuh:47",
    "sort_keys ends with a barrier, as it says; where it sorted at most 32 keys its last step is one of a warp, and the \
     kernels of today go on with such keys in the warp that sorted them",
)];

/// Which tests of this binary run a file's kernels.
fn tests_of(place: &str) -> &'static [&'static str] {
    let file = place.split(':').next().unwrap_or_default();
    match file.trim_start_matches("ops/") {
        "proposals/kernel.cu" => &["proposals::"],
        "detections/kernel.cu" => &["detections::"],
        "encode_rle/kernel.cu" | "paste_masks/kernel.cu" | "bitmaps.cuh" | "block_scan.cuh" => &["masks::"],
        "select.cuh" | "nms.cuh" | "boxes.cuh" => &["detections::", "proposals::"],
        _ => &["as_the_plain_loop", "kernels_", "masks::", "preprocess::"],
    }
}

/// Whether every test of `tests` passes without barrier `number`.
fn pass(tests: &[&str], number: usize, seed: &str) -> bool {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program);
    child
        .args(tests)
        .args(["--skip", "barriers::", "--skip", "resources::"]);
    child
        .env("CUDA_STANDIN_WITHOUT", number.to_string())
        .env("CUDA_STANDIN_SEED", seed);
    child
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    // Without a barrier a loop may never end: two minutes are far more than any of them takes.
    for _ in 0..1200 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// Where each barrier stands, by number.
fn barriers() -> Vec<String> {
    // SAFETY: as api/own.rs of the stand-in declares it.
    let place = unsafe { standin().get::<unsafe extern "C" fn(c_int) -> *const c_char>(b"cuda_standin_barrier\0") };
    let place = place.unwrap();
    (0..)
        .map_while(|number| {
            // SAFETY: any number may be asked for; null or a static string.
            let text = unsafe { place(number) };
            // SAFETY: as above.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        })
        .collect()
}

#[test]
#[ignore = "runs the checks once a barrier: make barriers"]
fn each_barrier_is_needed() {
    let barriers = barriers();
    assert!(barriers.len() > 10, "{barriers:?}");
    // A number past the last: all barriers are there, and all is well.
    for seed in &SEEDS[..2] {
        assert!(
            pass(&["detections::", "proposals::", "masks::"], barriers.len(), seed),
            "seed {seed}"
        );
    }
    let mut needless = Vec::new();
    for (number, place) in barriers.iter().enumerate() {
        let shown = place.rsplit_once(':').map_or(place.as_str(), |(line, _)| line);
        let fails_at = SEEDS.iter().find(|seed| !pass(tests_of(place), number, seed));
        let argued = ARGUED.iter().any(|(known, _)| *known == shown);
        match fails_at {
            Some(seed) => println!("{shown}: a check fails at seed {seed}"),
            None if argued => println!("{shown}: no check fails, as argued"),
            None => needless.push(place.clone()),
        }
        assert!(
            !(argued && fails_at.is_some()),
            "{shown} is shown to be needed: take it off the list"
        );
    }
    assert!(
        needless.is_empty(),
        "no check fails without these barriers: {needless:#?}"
    );
}
