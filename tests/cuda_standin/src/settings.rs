//! What a test asks of the driver: by environment variables for a whole process, by `cuda_standin_fail` for a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::status;

#[derive(Debug)]
pub struct Settings {
    pub seed: u64,
    pub memory_bytes: usize,
    fail: Option<Failure>,
}

/// The `nth` call of `call` from now fails with `code`.
#[derive(Debug, Clone)]
struct Failure {
    call: String,
    nth: usize,
    code: c_int,
}

thread_local! {
    static HERE: RefCell<Vec<Failure>> = const { RefCell::new(Vec::new()) };
}

pub fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| Settings {
        seed: number("CUDA_STANDIN_SEED").unwrap_or(1),
        memory_bytes: number("CUDA_STANDIN_MEMORY")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(8 << 30),
        fail: std::env::var("CUDA_STANDIN_FAIL").ok().map(|text| {
            let parts: Vec<&str> = text.split(':').collect();
            let nth = parts.get(1).and_then(|n| n.parse().ok());
            let code = parts.get(2).and_then(|n| n.parse().ok());
            Failure {
                call: parts[0].to_owned(),
                nth: nth.expect("CUDA_STANDIN_FAIL=call:nth[:code]"),
                code: code.unwrap_or_else(|| usual(parts[0])),
            }
        }),
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text}: not a number")),
    )
}

/// The error a call is likeliest to give on a GPU.
fn usual(call: &str) -> c_int {
    if call.contains("Alloc") {
        status::OUT_OF_MEMORY
    } else {
        status::UNKNOWN
    }
}

/// The `nth` (1 = next) call of `call` by this thread fails; a code of 0 means the call's usual error.
pub fn fail_here(call: &str, nth: usize, code: c_int) {
    let code = if code == 0 { usual(call) } else { code };
    HERE.with_borrow_mut(|failures| {
        failures.push(Failure {
            call: call.to_owned(),
            nth,
            code,
        });
    });
}

/// The error to give instead of running `call`.
pub fn injected(call: &str) -> Option<c_int> {
    if let Some(failure) = settings().fail.as_ref().filter(|failure| failure.call == call) {
        static SEEN: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.get_or_insert_default().entry(call.to_owned()).or_default();
        *count += 1;
        if *count == failure.nth {
            return Some(failure.code);
        }
    }
    HERE.with_borrow_mut(|failures| {
        let at = failures.iter().position(|failure| failure.call == call)?;
        failures[at].nth -= 1;
        (failures[at].nth == 0).then(|| failures.remove(at).code)
    })
}
