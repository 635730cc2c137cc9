//! Streams, events, captures and graphs.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::{api, give};
use crate::driver::{Event, EventState, driver};
use crate::queue::{Marker, key, nudge, poll, run_until};
use crate::status::{INVALID_HANDLE, INVALID_VALUE, NOT_READY, Outcome};

type P = *mut c_void;

const NON_BLOCKING: c_uint = 1;
const DISABLE_TIMING: c_uint = 2;

fn create_stream(stream: *mut P, flags: c_uint) -> Outcome {
    if flags > NON_BLOCKING {
        return Err(INVALID_VALUE);
    }
    let made = driver().queue.create(flags != NON_BLOCKING);
    // SAFETY: the caller's place.
    unsafe { give(stream, made) }
}

fn answer(marker: &Arc<Marker>) -> Outcome {
    if poll(marker)? { Ok(()) } else { Err(NOT_READY) }
}

/// Where the event was recorded last; `None` where it never was.
fn recorded(event: P) -> Result<Option<Arc<Marker>>, c_int> {
    let mut driver = driver();
    driver.expect_event_not_captured(event)?;
    driver.expect_no_capture()?;
    Ok(match &driver.events.get(event)?.state {
        EventState::Recorded(marker) => Some(Arc::clone(marker)),
        _ => None,
    })
}

api! {
    Context fn cuStreamCreate(stream: *mut P, flags: c_uint) { create_stream(stream, flags) }
    Context fn cuStreamCreateWithPriority(stream: *mut P, flags: c_uint, _priority: c_int) {
        create_stream(stream, flags)
    }
    Context fn cuStreamDestroy_v2(stream: P) { driver().queue.destroy(stream) }
    Context fn cuStreamSynchronize(stream: P) {
        let marker = {
            let mut driver = driver();
            driver.expect_not_captured(stream)?;
            driver.expect_no_capture()?;
            driver.queue.mark(key(stream))?
        };
        run_until(&[marker])
    }
    Context fn cuStreamQuery(stream: P) {
        let marker = {
            let mut driver = driver();
            driver.expect_not_captured(stream)?;
            driver.expect_no_capture()?;
            driver.queue.mark(key(stream))?
        };
        // The marker itself is a piece: two are looked at.
        if poll(&marker)? { Ok(()) } else { answer(&marker) }
    }
    Context fn cuStreamWaitEvent(stream: P, event: P, _flags: c_uint) { driver().wait(stream, event) }
    Context fn cuEventCreate(event: *mut P, flags: c_uint) {
        let made = driver().events.add(Event {
            timing: flags & DISABLE_TIMING == 0,
            state: EventState::Never,
        });
        // SAFETY: the caller's place.
        unsafe { give(event, made) }
    }
    Context fn cuEventDestroy_v2(event: P) { driver().events.remove(event).map(|_| ()) }
    Context fn cuEventRecord(event: P, stream: P) {
        driver().record(event, stream)?;
        nudge(stream)
    }
    Context fn cuEventSynchronize(event: P) {
        match recorded(event)? {
            Some(marker) => run_until(&[marker]),
            None => Ok(()),
        }
    }
    Context fn cuEventQuery(event: P) {
        match recorded(event)? {
            Some(marker) => answer(&marker),
            None => Ok(()),
        }
    }
    Context fn cuEventElapsedTime(millis: *mut f32, start: P, end: P) {
        let time = |event: P| -> Result<_, c_int> {
            if !driver().events.get(event)?.timing {
                return Err(INVALID_HANDLE);
            }
            recorded(event)?.ok_or(INVALID_HANDLE)?.passed().ok_or(NOT_READY)
        };
        let (start, end) = (time(start)?, time(end)?);
        // SAFETY: the caller's place.
        unsafe { give(millis, end.saturating_duration_since(start).as_secs_f32() * 1e3) }
    }
    Context fn cuEventElapsedTime_v2(millis: *mut f32, start: P, end: P) {
        // SAFETY: as cuda.h has it.
        match unsafe { cuEventElapsedTime(millis, start, end) } {
            0 => Ok(()),
            code => Err(code),
        }
    }
    Context fn cuStreamBeginCapture_v2(stream: P, mode: c_int) { driver().begin_capture(stream, mode) }
    Context fn cuStreamEndCapture(stream: P, graph: *mut P) {
        let mut driver = driver();
        let captured = driver.end_capture(stream);
        let made = captured.map(|captured| driver.graphs.add(Arc::new(captured)));
        // SAFETY: the caller's place.
        unsafe { give(graph, made.unwrap_or(std::ptr::null_mut())) }?;
        made.map(|_| ())
    }
    Context fn cuStreamIsCapturing(stream: P, status: *mut c_int) {
        // SAFETY: the caller's place.
        unsafe { give(status, driver().is_capturing(stream)?) }
    }
    Context fn cuGraphInstantiateWithFlags(exec: *mut P, graph: P, _flags: u64) {
        let mut driver = driver();
        let graph = Arc::clone(driver.graphs.get(graph)?);
        // SAFETY: the caller's place.
        unsafe { give(exec, driver.execs.add(graph)) }
    }
    Context fn cuGraphUpload(exec: P, _stream: P) { driver().execs.get(exec).map(|_| ()) }
    Context fn cuGraphLaunch(exec: P, stream: P) {
        driver().launch_graph(exec, stream)?;
        nudge(stream)
    }
    Context fn cuGraphExecDestroy(exec: P) {
        let removed = driver().execs.remove(exec)?;
        drop(removed); // may call foreign release functions: not under the lock
        Ok(())
    }
    Context fn cuGraphDestroy(graph: P) {
        let removed = driver().graphs.remove(graph)?;
        drop(removed);
        Ok(())
    }
}

/// The name of before version 2.
///
/// # Safety
/// As `cuStreamDestroy_v2`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy(stream: P) -> c_int {
    // SAFETY: the caller's.
    unsafe { cuStreamDestroy_v2(stream) }
}
