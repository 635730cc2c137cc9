//! The functions of libcudnn.so.9 that engine/cudnn calls. Everything is checked as the real library checks it, and run
//! on the host where the stand-in driver runs its kernels: queued on its streams, captured in its graphs.
#![allow(non_snake_case, clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

mod conv;
mod node;
mod table;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock};

use conv::Fused;
use node::{Attribute, Attributes, Node};
use table as t;

type Status = u32;
const SUCCESS: Status = 0;
const NOT_INITIALIZED: Status = 1001;
const BAD_PARAM: Status = 2000;
const NOT_FINALIZED: Status = 2004;
const EXECUTION_FAILED: Status = 5000;

/// Says that it is 9.19.0, whose habits it has.
const VERSION: usize = 91_900;
/// Bytes of workspace of each configuration.
const WORKSPACE: i64 = 4096;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

fn refuse(status: Status, text: impl Into<String>) -> Status {
    SAID.with_borrow_mut(|said| *said = text.into());
    status
}

enum State {
    Open(Attributes),
    Final(Arc<Node>),
}

/// What a descriptor points at.
pub struct Slot {
    magic: u64,
    kind: u32,
    state: Mutex<State>,
}

const MAGIC: u64 = 0x637564_6e6e_2d39;

/// What a handle points at.
pub struct Library {
    magic: u64,
    stream: Mutex<usize>,
}

unsafe fn slot<'a>(descriptor: *mut Slot) -> Result<&'a Slot, Status> {
    match descriptor.as_ref() {
        Some(slot) if slot.magic == MAGIC => Ok(slot),
        _ => Err(refuse(BAD_PARAM, "no descriptor")),
    }
}

unsafe fn library<'a>(handle: *mut Library) -> Result<&'a Library, Status> {
    match handle.as_ref() {
        Some(library) if library.magic == MAGIC => Ok(library),
        _ => Err(refuse(NOT_INITIALIZED, "no handle")),
    }
}

unsafe fn finalized(descriptor: *mut Slot) -> Result<Arc<Node>, Status> {
    match &*slot(descriptor)?.state.lock().unwrap() {
        State::Final(node) => Ok(Arc::clone(node)),
        State::Open(_) => Err(refuse(NOT_FINALIZED, "a descriptor is used before it is finalized")),
    }
}

fn status(result: Result<(), Status>) -> Status {
    result.err().unwrap_or(SUCCESS)
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetVersion() -> usize {
    VERSION
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetLastErrorString(to: *mut c_char, size: usize) {
    if to.is_null() || size == 0 {
        return;
    }
    SAID.with_borrow(|said| {
        let n = said.len().min(size - 1);
        std::ptr::copy_nonoverlapping(said.as_ptr(), to.cast(), n);
        *to.add(n) = 0;
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreate(handle: *mut *mut Library) -> Status {
    if handle.is_null() {
        return refuse(BAD_PARAM, "no place for a handle");
    }
    *handle = Box::into_raw(Box::new(Library { magic: MAGIC, stream: Mutex::new(0) }));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnDestroy(handle: *mut Library) -> Status {
    status(library(handle).map(|_| {
        (*handle).magic = 0;
        drop(Box::from_raw(handle));
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetStream(handle: *mut Library, stream: *mut c_void) -> Status {
    status(library(handle).map(|library| *library.stream.lock().unwrap() = stream as usize))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendCreateDescriptor(kind: u32, to: *mut *mut Slot) -> Status {
    if to.is_null() || !t::KINDS.contains(&kind) {
        return refuse(BAD_PARAM, format!("descriptor {kind} is not known here"));
    }
    let state = Mutex::new(State::Open(Attributes::new()));
    *to = Box::into_raw(Box::new(Slot { magic: MAGIC, kind, state }));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendDestroyDescriptor(descriptor: *mut Slot) -> Status {
    status(slot(descriptor).map(|_| {
        (*descriptor).magic = 0;
        drop(Box::from_raw(descriptor));
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendSetAttribute(
    descriptor: *mut Slot,
    name: u32,
    kind: u32,
    count: i64,
    values: *const c_void,
) -> Status {
    status(set(descriptor, name, kind, count, values))
}

unsafe fn set(descriptor: *mut Slot, name: u32, kind: u32, count: i64, values: *const c_void) -> Result<(), Status> {
    let slot = slot(descriptor)?;
    let mut state = slot.state.lock().unwrap();
    let State::Open(attributes) = &mut *state else {
        return Err(refuse(BAD_PARAM, format!("attribute {name} is set after finalizing")));
    };
    let Some(&(_, expected, times, _)) = t::rows(slot.kind).iter().find(|row| row.0 == name) else {
        return Err(refuse(BAD_PARAM, format!("descriptor {} has no attribute {name} to be set", slot.kind)));
    };
    if kind != expected {
        return Err(refuse(BAD_PARAM, format!("attribute {name} is of type {expected}, not {kind}")));
    }
    if count < 1 || times.is_some_and(|times| times != count) || values.is_null() {
        return Err(refuse(BAD_PARAM, format!("attribute {name} with {count} values: expected {times:?}")));
    }
    let size = t::size_of_type(kind).ok_or_else(|| refuse(BAD_PARAM, "a type that is not known here"))?;
    let bytes = std::slice::from_raw_parts(values.cast::<u8>(), count as usize * size).to_vec();
    let mut nodes = Vec::new();
    if kind == t::DESCRIPTOR {
        for index in 0..count as usize {
            nodes.push(finalized(*values.cast::<*mut Slot>().add(index))?);
        }
    }
    if kind == t::HANDLE {
        library(*values.cast::<*mut Library>())?;
    }
    attributes.insert(name, Attribute { bytes, nodes });
    Ok(())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendFinalize(descriptor: *mut Slot) -> Status {
    status(finalize(descriptor))
}

unsafe fn finalize(descriptor: *mut Slot) -> Result<(), Status> {
    let slot = slot(descriptor)?;
    let mut state = slot.state.lock().unwrap();
    let State::Open(attributes) = &*state else {
        return Err(refuse(BAD_PARAM, "a descriptor is finalized twice"));
    };
    let node = node::finalize(slot.kind, attributes).map_err(|text| refuse(BAD_PARAM, text))?;
    *state = State::Final(Arc::new(node));
    Ok(())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendGetAttribute(
    descriptor: *mut Slot,
    name: u32,
    kind: u32,
    room: i64,
    count: *mut i64,
    to: *mut c_void,
) -> Status {
    status(get(descriptor, name, kind, room, count, to))
}

unsafe fn get(
    descriptor: *mut Slot,
    name: u32,
    kind: u32,
    room: i64,
    count: *mut i64,
    to: *mut c_void,
) -> Result<(), Status> {
    if room < 0 || count.is_null() || (room > 0 && to.is_null()) {
        return Err(refuse(BAD_PARAM, "no place for an attribute"));
    }
    let room = room as usize;
    match (&*finalized(descriptor)?, name, kind) {
        (Node::Heuristics { graph, count: known }, t::HEUR_RESULTS, t::DESCRIPTOR) => {
            let given = if room == 0 { *known } else { room.min(*known) };
            for index in 0..given.min(room) {
                let place = slot(*to.cast::<*mut Slot>().add(index))?;
                let mut state = place.state.lock().unwrap();
                if place.kind != t::ENGINECFG || matches!(&*state, State::Final(_)) {
                    return Err(refuse(BAD_PARAM, "a result goes into a fresh engine configuration"));
                }
                *state = State::Final(Arc::new(Node::Config { graph: graph.clone(), index }));
            }
            *count = given as i64;
            Ok(())
        }
        (Node::Plan { .. }, t::PLAN_WORKSPACE, t::INT64) => {
            if room > 0 {
                *to.cast::<i64>() = WORKSPACE;
            }
            *count = 1;
            Ok(())
        }
        (Node::Plan { graph, index }, t::PLAN_JSON, t::CHAR) => {
            let text = graph.to_json(*index);
            let given = if room == 0 { text.len() } else { room.min(text.len()) };
            if room > 0 {
                std::ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), given);
            }
            *count = given as i64;
            Ok(())
        }
        _ => Err(refuse(BAD_PARAM, format!("there is no attribute {name} of type {kind} to be read"))),
    }
}

/// One run, queued.
struct Job {
    graph: Fused,
    arrays: Vec<usize>,
}

fn pool() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads"))
}

unsafe extern "C" fn run_job(job: *mut c_void) {
    let job = &*job.cast::<Job>();
    pool().install(|| job.graph.run(&job.arrays));
}

unsafe extern "C" fn drop_job(job: *mut c_void) {
    drop(Box::from_raw(job.cast::<Job>()));
}

type Enqueue = unsafe extern "C" fn(
    *mut c_void,
    unsafe extern "C" fn(*mut c_void),
    *mut c_void,
    Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int;

/// The stand-in driver's own queue.
fn enqueue() -> Option<Enqueue> {
    const NAME: &CStr = c"cuda_standin_enqueue";
    static FOUND: OnceLock<usize> = OnceLock::new();
    let address = *FOUND.get_or_init(|| unsafe {
        let driver = libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        let within = if driver.is_null() { libc::RTLD_DEFAULT } else { driver };
        libc::dlsym(within, NAME.as_ptr()) as usize
    });
    // SAFETY: the stand-in driver declares it so.
    (address != 0).then(|| unsafe { std::mem::transmute::<usize, Enqueue>(address) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendExecute(handle: *mut Library, plan: *mut Slot, pack: *mut Slot) -> Status {
    status(execute(handle, plan, pack))
}

unsafe fn execute(handle: *mut Library, plan: *mut Slot, pack: *mut Slot) -> Result<(), Status> {
    let stream = *library(handle)?.stream.lock().unwrap();
    let (plan, pack) = (finalized(plan)?, finalized(pack)?);
    let (Node::Plan { graph, .. }, Node::Pack { arrays, workspace }) = (&*plan, &*pack) else {
        return Err(refuse(BAD_PARAM, "no plan and pack"));
    };
    if *workspace == 0 {
        return Err(refuse(BAD_PARAM, format!("no workspace of {WORKSPACE} bytes")));
    }
    let ordered = in_order(graph, arrays).map_err(|text| refuse(BAD_PARAM, text))?;
    let job = Box::into_raw(Box::new(Job { graph: graph.clone(), arrays: ordered })).cast();
    match enqueue() {
        Some(enqueue) => match enqueue(stream as *mut c_void, run_job, job, Some(drop_job)) {
            0 => Ok(()),
            error => Err(refuse(EXECUTION_FAILED, format!("the driver answers {error}"))),
        },
        None => {
            run_job(job);
            drop_job(job);
            Ok(())
        }
    }
}

/// The pack's arrays as the graph names them: all of them, and no other.
fn in_order(graph: &Fused, arrays: &HashMap<i64, usize>) -> Result<Vec<usize>, String> {
    if let Some(id) = arrays.keys().find(|id| !graph.ids.contains(id)) {
        return Err(format!("the plan has no tensor {id}"));
    }
    let array = |id: &i64| arrays.get(id).copied().ok_or_else(|| format!("tensor {id} is not in the pack"));
    graph.ids.iter().map(array).collect()
}
