//! Streams, events and captured graphs: what runs in which order on a GPU.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::result;
use cudarc::driver::sys;

use super::context::Context;
use super::error::refused;
use super::{Device, DeviceError};

/// An ordered queue of work on the device, named for logs. One thread uses it at a time.
#[derive(Debug)]
pub struct CudaStream {
    name: String,
    raw: sys::CUstream,
    context: Arc<Context>,
    /// While work is captured instead of run: the host buffers it will touch.
    capturing: RefCell<Option<Vec<Arc<Fence>>>>,
}

// SAFETY: a CUstream is a handle the driver takes from any thread; `!Sync` by the RefCell.
unsafe impl Send for CudaStream {}

/// A point in a stream that others can wait for.
#[derive(Debug)]
pub struct Event {
    raw: sys::CUevent,
    context: Arc<Context>,
}

// SAFETY: a CUevent is a handle; recording, waiting and querying are thread-safe in the driver.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

/// Whether an event carries a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    Yes,
    No,
}

/// Says when the device is done with a host buffer, so that neither side sees it half written.
#[derive(Debug)]
pub(super) struct Fence {
    event: Event,
    pending: AtomicBool,
}

/// Captured work: one launch runs all of it.
#[derive(Debug)]
pub struct CudaGraph {
    exec: sys::CUgraphExec,
    context: Arc<Context>,
    fences: Vec<Arc<Fence>>,
}

// SAFETY: a CUgraphExec is a handle; launches of one are serialised by `&mut self`.
unsafe impl Send for CudaGraph {}

impl Device {
    /// A stream that does not wait for the legacy default stream, nor that for it.
    pub fn stream(&self, name: &str) -> Result<CudaStream, DeviceError> {
        self.bind()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(|e| refused("cuStreamCreate", e))?;
        Ok(CudaStream {
            name: name.to_owned(),
            raw,
            context: Arc::clone(self.context()),
            capturing: RefCell::new(None),
        })
    }

    pub fn event(&self, timing: Timing) -> Result<Event, DeviceError> {
        Event::new(Arc::clone(self.context()), timing)
    }
}

impl CudaStream {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until everything queued so far is done. The first error of that work comes out here.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: `raw` lives until drop.
        unsafe { result::stream::synchronize(self.raw) }.map_err(|e| refused("cuStreamSynchronize", e))
    }

    /// Marks this point.
    pub fn record(&self, event: &Event) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: both handles live; both are of this process's primary context.
        unsafe { result::event::record(event.raw, self.raw) }.map_err(|e| refused("cuEventRecord", e))
    }

    /// What is queued from now on runs after `event`. While capturing, this joins the stream that recorded it.
    pub fn wait(&self, event: &Event) -> Result<(), DeviceError> {
        self.context.bind()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both handles live.
        unsafe { result::stream::wait_event(self.raw, event.raw, flags) }.map_err(|e| refused("cuStreamWaitEvent", e))
    }

    /// Runs `queue`, whose work is not done but kept as a graph. Work on other streams is part of it where they wait for
    /// an event of this one; they must be joined again. Nothing may be allocated, nor waited for on the host.
    pub fn capture<E: From<DeviceError>>(&self, queue: impl FnOnce() -> Result<(), E>) -> Result<CudaGraph, E> {
        self.context.bind()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: `raw` is no null stream (created by us), and is not capturing: `capture` is not entered twice, since
        // its closure's own call fails in the driver.
        unsafe { result::stream::begin_capture(self.raw, mode) }.map_err(|e| refused("cuStreamBeginCapture", e))?;
        *self.capturing.borrow_mut() = Some(Vec::new());
        let open = OpenCapture(self);
        let queued = queue();
        let fences = self.capturing.borrow_mut().take().unwrap_or_default();
        std::mem::forget(open); // ended on the next line
        // SAFETY: capture began above on this stream.
        let ended = unsafe { result::stream::end_capture(self.raw) };
        if let (Err(_), Ok(unused)) = (&queued, ended) {
            // SAFETY: the graph just captured; nobody else has it. The closure's error is the one to tell.
            let _ = unsafe { result::graph::destroy(unused) };
        }
        queued?; // the first cause, before what it led to
        let graph = ended.map_err(|e| refused("cuStreamEndCapture", e))?;
        let mut exec = std::ptr::null_mut();
        // SAFETY: `graph` is the one just captured; `exec` is a valid place for a handle; 0 = no flags.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0) }.result();
        // SAFETY: the executable form does not need the graph.
        let destroyed = unsafe { result::graph::destroy(graph) };
        made.map_err(|e| refused("cuGraphInstantiate", e))?;
        destroyed.map_err(|e| refused("cuGraphDestroy", e))?;
        Ok(CudaGraph {
            exec,
            context: Arc::clone(&self.context),
            fences,
        })
    }

    /// The handle as other libraries take it.
    pub fn raw_stream(&self) -> *mut std::ffi::c_void {
        self.raw.cast()
    }

    pub(super) fn raw(&self) -> sys::CUstream {
        self.raw
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Refuses work on host buffers where their fences would be captured with it, and never be raised: on a stream that
    /// has joined a capture of another.
    pub(super) fn expect_fences(&self) -> Result<(), DeviceError> {
        match &*self.capturing.borrow() {
            Some(_) => Ok(()), // kept for the graph's launches
            None => self.expect_not_captured("a copy from or to pinned memory"),
        }
    }

    fn expect_not_captured(&self, what: &'static str) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: `raw` lives until drop.
        let status =
            unsafe { result::stream::is_capturing(self.raw) }.map_err(|e| refused("cuStreamIsCapturing", e))?;
        if status == sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE {
            return Ok(());
        }
        Err(DeviceError::Captured {
            stream: self.name.clone(),
            what,
        })
    }

    /// The device touches the fence's buffer with what was queued last, which [`Self::expect_fences`] allowed.
    pub(super) fn touch(&self, fence: &Arc<Fence>) -> Result<(), DeviceError> {
        if let Some(fences) = &mut *self.capturing.borrow_mut() {
            fences.push(Arc::clone(fence));
            return Ok(());
        }
        fence.raise(self)
    }
}

/// A capture that nobody ends: a stream left capturing by a panic would swallow all later work.
struct OpenCapture<'a>(&'a CudaStream);

impl Drop for OpenCapture<'_> {
    fn drop(&mut self) {
        self.0.capturing.replace(None);
        // SAFETY: the stream is capturing: this exists between the beginning and the end only.
        if let Ok(graph) = unsafe { result::stream::end_capture(self.0.raw) } {
            // SAFETY: the graph just captured; nobody else has it.
            let _ = unsafe { result::graph::destroy(graph) };
        }
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more; the driver finishes queued work before it frees the stream.
        let done = self
            .context
            .bind()
            .and_then(|()| unsafe { result::stream::destroy(self.raw) }.map_err(|e| refused("cuStreamDestroy", e)));
        if let Err(error) = done {
            tracing::warn!("stream {}: {error}", self.name);
        }
    }
}

impl Event {
    fn new(context: Arc<Context>, timing: Timing) -> Result<Event, DeviceError> {
        context.bind()?;
        let flags = match timing {
            Timing::Yes => sys::CUevent_flags::CU_EVENT_DEFAULT,
            Timing::No => sys::CUevent_flags::CU_EVENT_DISABLE_TIMING,
        };
        let raw = result::event::create(flags).map_err(|e| refused("cuEventCreate", e))?;
        Ok(Event { raw, context })
    }

    /// Waits on the host until the device has passed the point; at once when it was never recorded.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: `raw` lives until drop.
        unsafe { result::event::synchronize(self.raw) }.map_err(|e| refused("cuEventSynchronize", e))
    }

    /// Whether the device has passed the point.
    pub fn is_done(&self) -> Result<bool, DeviceError> {
        self.context.bind()?;
        // SAFETY: as above.
        match unsafe { result::event::query(self.raw) } {
            Ok(()) => Ok(true),
            Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            Err(e) => Err(refused("cuEventQuery", e)),
        }
    }

    /// Milliseconds from `start` to this; both were recorded, with timing, and are done.
    pub fn millis_since(&self, start: &Event) -> Result<f32, DeviceError> {
        self.context.bind()?;
        // SAFETY: as above, for both.
        unsafe { result::event::elapsed(start.raw, self.raw) }.map_err(|e| refused("cuEventElapsedTime", e))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more.
        let done = self
            .context
            .bind()
            .and_then(|()| unsafe { result::event::destroy(self.raw) }.map_err(|e| refused("cuEventDestroy", e)));
        if let Err(error) = done {
            tracing::warn!("{error}");
        }
    }
}

impl Fence {
    pub(super) fn new(context: Arc<Context>) -> Result<Fence, DeviceError> {
        Ok(Fence {
            event: Event::new(context, Timing::No)?,
            pending: AtomicBool::new(false),
        })
    }

    fn raise(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.record(&self.event)?;
        self.pending.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until the device is done with the buffer.
    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        if self.pending.load(Ordering::Acquire) {
            self.event.synchronize()?;
            self.pending.store(false, Ordering::Release);
        }
        Ok(())
    }
}

impl CudaGraph {
    /// Queues all of it. The host buffers it reads or writes are the device's until it is done; reading one waits.
    pub fn launch(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.expect_not_captured("the launch of a graph")?;
        // SAFETY: both handles live. The buffers that the graph names live too: whoever captured it keeps them beside it.
        unsafe { result::graph::launch(self.exec, stream.raw) }.map_err(|e| refused("cuGraphLaunch", e))?;
        self.fences.iter().try_for_each(|fence| fence.raise(stream))
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        let done = self.context.bind().and_then(|()| {
            // SAFETY: nobody has the handle any more; the driver keeps what a running launch needs.
            unsafe { result::graph::exec_destroy(self.exec) }.map_err(|e| refused("cuGraphExecDestroy", e))
        });
        if let Err(error) = done {
            tracing::warn!("{error}");
        }
    }
}
