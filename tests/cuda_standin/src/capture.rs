//! Captured graphs, by the rules of cuStreamBeginCapture: what joins a capture, what ends it, and what must not be done
//! meanwhile. A fault invalidates the capture.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::thread::ThreadId;

use crate::driver::{Driver, EventState};
use crate::handles::fresh;
use crate::queue::{Item, Queue, Work, key};
use crate::status::{
    CAPTURED_EVENT, INVALID_VALUE, Outcome, STREAM_CAPTURE_IMPLICIT, STREAM_CAPTURE_INVALIDATED,
    STREAM_CAPTURE_ISOLATION, STREAM_CAPTURE_MERGE, STREAM_CAPTURE_UNJOINED, STREAM_CAPTURE_UNMATCHED,
    STREAM_CAPTURE_UNSUPPORTED, STREAM_CAPTURE_WRONG_THREAD,
};

struct Node {
    work: Work,
    after: Vec<usize>,
}

/// Work with what each piece waits for.
pub struct Graph(Vec<Node>);

/// One launch of a graph, underway.
pub struct GraphRun {
    graph: Arc<Graph>,
    done: Vec<bool>,
    left: usize,
}

pub struct Capture {
    origin: usize,
    thread: ThreadId,
    mode: c_int,
    nodes: Vec<Node>,
    /// Last pieces of each stream that is part of it.
    ends: BTreeMap<usize, Vec<usize>>,
    invalid: bool,
}

/// CUstreamCaptureMode: 0 forbids unsafe calls on all threads, 1 on the capturing one, 2 nowhere.
const GLOBAL: c_int = 0;
const RELAXED: c_int = 2;

impl GraphRun {
    pub fn new(graph: &Arc<Graph>) -> GraphRun {
        GraphRun {
            graph: Arc::clone(graph),
            done: vec![false; graph.0.len()],
            left: graph.0.len(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// A piece that waits for none that is left; `draw` = 0 takes the first.
    pub fn next(&mut self, draw: u64) -> Option<Work> {
        let nodes = &self.graph.0;
        let ready = |at: &usize| !self.done[*at] && nodes[*at].after.iter().all(|&before| self.done[before]);
        let ready: Vec<usize> = (0..nodes.len()).filter(ready).collect();
        let at = *ready.get(draw.checked_rem(ready.len() as u64)? as usize)?;
        self.done[at] = true;
        self.left -= 1;
        Some(Arc::clone(&nodes[at].work))
    }
}

impl Driver {
    /// The capture that `stream` is part of; an error where it was invalidated.
    fn capture_of(&mut self, stream: usize) -> Result<Option<&mut Capture>, c_int> {
        let Some(id) = self.queue.stream(stream)?.capture else {
            return Ok(None);
        };
        let capture = self.captures.get_mut(&id).ok_or(STREAM_CAPTURE_INVALIDATED)?;
        if capture.invalid {
            return Err(STREAM_CAPTURE_INVALIDATED);
        }
        Ok(Some(capture))
    }

    fn invalidate(&mut self, id: usize, code: c_int) -> c_int {
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.invalid = true;
        }
        code
    }

    /// Queues work, or adds it to the stream's capture.
    pub fn push(&mut self, stream: *mut c_void, work: Work) -> Outcome {
        let stream = key(stream);
        if let Some(capture) = self.capture_of(stream)? {
            let after = capture.ends.remove(&stream).unwrap_or_default();
            capture.ends.insert(stream, vec![capture.nodes.len()]);
            capture.nodes.push(Node { work, after });
            return Ok(());
        }
        self.expect_no_implicit_wait(stream)?;
        self.queue.push(stream, Item::Work(work))
    }

    /// The legacy stream would wait for the streams that are captured.
    fn expect_no_implicit_wait(&mut self, stream: usize) -> Outcome {
        let captures = if Queue::is_legacy(stream) {
            self.queue.blocking_captures()
        } else {
            Vec::new()
        };
        match captures.first() {
            Some(&id) => Err(self.invalidate(id, STREAM_CAPTURE_IMPLICIT)),
            None => Ok(()),
        }
    }

    /// Refuses what may wait or allocate while the calling thread captures.
    pub fn expect_no_capture(&mut self) -> Outcome {
        let here = std::thread::current().id();
        let forbids =
            |capture: &&mut Capture| capture.mode == GLOBAL || capture.mode != RELAXED && capture.thread == here;
        match self.captures.values_mut().find(forbids) {
            Some(capture) => {
                capture.invalid = true;
                Err(STREAM_CAPTURE_UNSUPPORTED)
            }
            None => Ok(()),
        }
    }

    /// Refuses waiting for a stream that is captured.
    pub fn expect_not_captured(&mut self, stream: *mut c_void) -> Outcome {
        match self.queue.stream(key(stream))?.capture {
            Some(id) => Err(self.invalidate(id, STREAM_CAPTURE_UNSUPPORTED)),
            None => Ok(()),
        }
    }

    pub fn record(&mut self, event: *mut c_void, stream: *mut c_void) -> Outcome {
        let stream = key(stream);
        self.events.get(event)?;
        let id = self.queue.stream(stream)?.capture;
        let state = match (self.capture_of(stream)?, id) {
            (Some(capture), Some(id)) => {
                EventState::Captured(id, capture.ends.get(&stream).cloned().unwrap_or_default())
            }
            _ => {
                self.expect_no_implicit_wait(stream)?;
                EventState::Recorded(self.queue.mark(stream)?)
            }
        };
        self.events.get(event)?.state = state;
        Ok(())
    }

    pub fn wait(&mut self, stream: *mut c_void, event: *mut c_void) -> Outcome {
        let stream = key(stream);
        let state = self.events.get(event)?.state.clone();
        let own = self.queue.stream(stream)?.capture;
        self.capture_of(stream)?;
        match (state, own) {
            (EventState::Never, _) => Ok(()),
            (EventState::Recorded(marker), None) => self.queue.push(stream, Item::Wait(marker)),
            (EventState::Recorded(_), Some(own)) => Err(self.invalidate(own, STREAM_CAPTURE_ISOLATION)),
            (EventState::Captured(id, after), own) => {
                if let Some(own) = own.filter(|own| *own != id) {
                    self.invalidate(own, STREAM_CAPTURE_MERGE);
                    return Err(self.invalidate(id, STREAM_CAPTURE_MERGE));
                }
                let capture = self.captures.get_mut(&id).ok_or(CAPTURED_EVENT)?;
                if capture.invalid {
                    return Err(STREAM_CAPTURE_INVALIDATED);
                }
                let ends = capture.ends.entry(stream).or_default();
                ends.extend(after);
                ends.sort_unstable();
                ends.dedup();
                self.queue.stream(stream)?.capture = Some(id);
                Ok(())
            }
        }
    }

    /// Refuses waiting for an event that stands for captured work, and invalidates the capture.
    pub fn expect_event_not_captured(&mut self, event: *mut c_void) -> Outcome {
        match self.events.get(event)?.state {
            EventState::Captured(id, _) => Err(self.invalidate(id, CAPTURED_EVENT)),
            _ => Ok(()),
        }
    }

    pub fn begin_capture(&mut self, stream: *mut c_void, mode: c_int) -> Outcome {
        let origin = key(stream);
        if Queue::is_legacy(origin) {
            return Err(STREAM_CAPTURE_UNSUPPORTED);
        }
        if !(GLOBAL..=RELAXED).contains(&mode) {
            return Err(INVALID_VALUE);
        }
        self.expect_not_captured(stream)?;
        let id = fresh();
        self.queue.stream(origin)?.capture = Some(id);
        let capture = Capture {
            origin,
            thread: std::thread::current().id(),
            mode,
            nodes: Vec::new(),
            ends: BTreeMap::from([(origin, Vec::new())]),
            invalid: false,
        };
        self.captures.insert(id, capture);
        Ok(())
    }

    pub fn end_capture(&mut self, stream: *mut c_void) -> Result<Graph, c_int> {
        let stream = key(stream);
        let Some(id) = self.queue.stream(stream)?.capture else {
            return Err(INVALID_VALUE);
        };
        let capture = self.captures.get(&id).ok_or(STREAM_CAPTURE_INVALIDATED)?;
        if capture.origin != stream {
            return Err(self.invalidate(id, STREAM_CAPTURE_UNMATCHED));
        }
        if capture.mode != RELAXED && capture.thread != std::thread::current().id() {
            return Err(self.invalidate(id, STREAM_CAPTURE_WRONG_THREAD));
        }
        let capture = self.captures.remove(&id).ok_or(STREAM_CAPTURE_INVALIDATED)?;
        for joined in capture.ends.keys() {
            if let Ok(stream) = self.queue.stream(*joined) {
                stream.capture = None;
            }
        }
        if capture.invalid {
            return Err(STREAM_CAPTURE_INVALIDATED);
        }
        let mut joined = vec![false; capture.nodes.len()];
        let mut open = capture.ends.get(&stream).cloned().unwrap_or_default();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut joined[at], true) {
                open.extend(&capture.nodes[at].after);
            }
        }
        if joined.contains(&false) {
            return Err(STREAM_CAPTURE_UNJOINED);
        }
        Ok(Graph(capture.nodes))
    }

    pub fn is_capturing(&mut self, stream: *mut c_void) -> Result<c_int, c_int> {
        let Some(id) = self.queue.stream(key(stream))?.capture else {
            return Ok(0);
        };
        Ok(if self.captures.get(&id).is_some_and(|capture| !capture.invalid) {
            1
        } else {
            2
        })
    }

    pub fn launch_graph(&mut self, exec: *mut c_void, stream: *mut c_void) -> Outcome {
        let graph = Arc::clone(self.execs.get(exec)?);
        let stream = key(stream);
        if self.capture_of(stream)?.is_some() {
            self.expect_not_captured(stream as *mut c_void)?; // a child graph: not here
        }
        if graph.0.is_empty() {
            return Ok(());
        }
        self.queue.push(stream, Item::Graph(GraphRun::new(&graph)))
    }
}
