//! Streams: work waits in them until someone waits for it, and runs in an order that the seed draws, within what streams,
//! events and graphs promise. One piece runs at a time.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::capture::GraphRun;
use crate::driver::driver;
use crate::handles::fresh;
use crate::settings::settings;
use crate::status::{ILLEGAL_ADDRESS, INVALID_HANDLE, Outcome};

/// A piece of work; run once, or once a launch of the graph it is part of.
pub type Work = Arc<dyn Fn() -> Result<(), Fault> + Send + Sync>;

/// What went wrong in a piece of work. As on a GPU, nothing runs after it.
#[derive(Debug)]
pub struct Fault {
    pub code: c_int,
    pub words: String,
}

/// A place in a stream: when the device passed it.
#[derive(Debug, Default)]
pub struct Marker(OnceLock<Instant>);

pub enum Item {
    Work(Work),
    Record(Arc<Marker>),
    Wait(Arc<Marker>),
    Graph(GraphRun),
}

#[derive(Default)]
pub struct Stream {
    items: VecDeque<Item>,
    /// Waits for the legacy stream, and that for it.
    blocking: bool,
    destroyed: bool,
    /// The capture it is part of.
    pub capture: Option<usize>,
}

pub struct Queue {
    streams: BTreeMap<usize, Stream>,
    random: u64,
    mood: Mood,
}

/// What runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Only what is waited for, as late as can be.
    Late,
    /// Any stream that can go on, also before someone waits.
    Any,
}

/// The legacy default stream: both its names, null and 1.
const LEGACY: usize = 0;
/// The default stream of each thread, here one for all.
const PER_THREAD: usize = 2;
/// Pieces of work in one stream before queueing one more waits for the oldest, as in the driver.
const LONGEST: usize = 1024;

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread runs queued work: that must not call the driver.
pub fn is_running_work() -> bool {
    RUNNING.get()
}

impl Marker {
    pub fn passed(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

impl Default for Queue {
    fn default() -> Queue {
        let default = || Stream {
            blocking: true,
            ..Stream::default()
        };
        Queue {
            streams: BTreeMap::from([(LEGACY, default()), (PER_THREAD, default())]),
            random: settings().seed,
            mood: Mood::Late,
        }
    }
}

pub fn key(stream: *mut c_void) -> usize {
    if stream as usize == 1 { LEGACY } else { stream as usize }
}

impl Queue {
    pub fn create(&mut self, blocking: bool) -> *mut c_void {
        let handle = fresh();
        self.streams.insert(
            handle,
            Stream {
                blocking,
                ..Stream::default()
            },
        );
        handle as *mut c_void
    }

    /// Queued work still runs.
    pub fn destroy(&mut self, stream: *mut c_void) -> Outcome {
        let key = key(stream);
        if key == LEGACY || key == PER_THREAD {
            return Err(INVALID_HANDLE);
        }
        self.stream(key)?.destroyed = true;
        self.forget(key);
        Ok(())
    }

    fn forget(&mut self, key: usize) {
        if self
            .streams
            .get(&key)
            .is_some_and(|stream| stream.destroyed && stream.items.is_empty())
        {
            self.streams.remove(&key);
        }
    }

    /// Streams that were created and not destroyed.
    pub fn live(&self) -> usize {
        self.streams.values().filter(|stream| !stream.destroyed).count() - 2
    }

    pub fn stream(&mut self, key: usize) -> Result<&mut Stream, c_int> {
        self.streams
            .get_mut(&key)
            .filter(|stream| !stream.destroyed)
            .ok_or(INVALID_HANDLE)
    }

    pub fn is_legacy(key: usize) -> bool {
        key == LEGACY
    }

    /// Captures that the legacy stream would have to wait for.
    pub fn blocking_captures(&self) -> Vec<usize> {
        self.streams
            .values()
            .filter(|stream| stream.blocking)
            .filter_map(|stream| stream.capture)
            .collect()
    }

    pub fn push(&mut self, key: usize, item: Item) -> Outcome {
        let blocking = self.stream(key)?.blocking;
        if !blocking {
            self.streams.entry(key).or_default().items.push_back(item);
            return Ok(());
        }
        // The legacy stream and the blocking ones wait for each other.
        let others: Vec<usize> = if key == LEGACY {
            let blocking = self
                .streams
                .iter()
                .filter(|(other, stream)| **other != LEGACY && stream.blocking);
            blocking.map(|(other, _)| *other).collect()
        } else {
            vec![LEGACY]
        };
        for &other in &others {
            self.order(other, key);
        }
        self.streams.entry(key).or_default().items.push_back(item);
        for &other in others.iter().filter(|_| key == LEGACY) {
            self.order(key, other);
        }
        Ok(())
    }

    /// What comes in `second` waits for what is in `first`.
    fn order(&mut self, first: usize, second: usize) {
        let Some(stream) = self.streams.get_mut(&first).filter(|stream| !stream.items.is_empty()) else {
            return;
        };
        let marker = Arc::new(Marker::default());
        stream.items.push_back(Item::Record(Arc::clone(&marker)));
        self.streams
            .entry(second)
            .or_default()
            .items
            .push_back(Item::Wait(marker));
    }

    /// A marker behind everything queued in one stream.
    pub fn mark(&mut self, key: usize) -> Result<Arc<Marker>, c_int> {
        let marker = Arc::new(Marker::default());
        self.push(key, Item::Record(Arc::clone(&marker)))?;
        Ok(marker)
    }

    /// A marker behind everything queued, stream by stream.
    pub fn mark_all(&mut self) -> Vec<Arc<Marker>> {
        let streams = self.streams.values_mut().filter(|stream| !stream.items.is_empty());
        streams
            .map(|stream| {
                let marker = Arc::new(Marker::default());
                stream.items.push_back(Item::Record(Arc::clone(&marker)));
                marker
            })
            .collect()
    }

    pub fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The stream to go on with: one that `goal` hangs on, or any that can go on.
    fn choose(&mut self, goal: Option<&Arc<Marker>>) -> Option<usize> {
        if self.mood == Mood::Any || goal.is_none() {
            let open = self.streams.iter().filter(|(_, stream)| match stream.items.front() {
                None => false,
                Some(Item::Wait(marker)) => marker.passed().is_some(),
                Some(_) => true,
            });
            let open: Vec<usize> = open.map(|(key, _)| *key).collect();
            return (!open.is_empty()).then(|| open[(self.draw() % open.len() as u64) as usize]);
        }
        let mut wanted = Arc::clone(goal?);
        for _ in 0..=self.streams.len() {
            let held = |stream: &Stream| {
                stream
                    .items
                    .iter()
                    .any(|item| matches!(item, Item::Record(marker) if Arc::ptr_eq(marker, &wanted)))
            };
            let (key, stream) = self.streams.iter().find(|(_, stream)| held(stream))?;
            match stream.items.front() {
                Some(Item::Wait(marker)) if marker.passed().is_none() => wanted = Arc::clone(marker),
                _ => return Some(*key),
            }
        }
        None
    }

    /// Takes the next piece of work of a stream; `None` where only a marker was passed.
    fn advance(&mut self, key: usize) -> Option<Work> {
        let natural = settings().seed == 0;
        let draw = if natural { 0 } else { self.draw() };
        let stream = self.streams.get_mut(&key)?;
        let work = match stream.items.front_mut()? {
            Item::Graph(run) => {
                let work = run.next(draw);
                if !run.is_done() {
                    return work;
                }
                stream.items.pop_front();
                work
            }
            _ => match stream.items.pop_front()? {
                Item::Work(work) => Some(work),
                Item::Record(marker) => {
                    let _ = marker.0.set(Instant::now());
                    None
                }
                Item::Wait(_) | Item::Graph(_) => None,
            },
        };
        self.forget(key);
        work
    }
}

/// Runs one piece of what can run. Says whether there was any.
fn step(goal: Option<&Arc<Marker>>) -> Result<bool, c_int> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let work = {
        let mut driver = driver();
        driver.expect_whole()?;
        let Some(key) = driver.queue.choose(goal) else {
            return Ok(false);
        };
        driver.queue.advance(key)
    };
    let Some(work) = work else { return Ok(true) };
    RUNNING.set(true);
    let done = work();
    RUNNING.set(false);
    let mut driver = driver();
    if let Err(fault) = done {
        return Err(driver.break_with(&fault));
    }
    let faults = driver.memory.faults();
    if let Some(words) = faults.first() {
        let words = format!("{words}, by the work before this");
        return Err(driver.break_with(&Fault {
            code: ILLEGAL_ADDRESS,
            words,
        }));
    }
    drop(driver);
    drop(turn);
    drop(work); // may call a foreign release function: not under a lock
    Ok(true)
}

/// Runs work until the device has passed `markers`.
pub fn run_until(markers: &[Arc<Marker>]) -> Outcome {
    for marker in markers {
        while marker.passed().is_none() {
            // Where another thread took the last piece, it passes the marker.
            if !step(Some(marker))? {
                std::thread::yield_now();
            }
        }
    }
    driver().expect_whole()
}

/// Whether the device has passed `marker`; a question brings it on by one piece.
pub fn poll(marker: &Arc<Marker>) -> Result<bool, c_int> {
    if marker.passed().is_none() {
        step(Some(marker))?;
    }
    Ok(marker.passed().is_some())
}

/// Called after something was queued: sometimes the device is quick.
pub fn nudge(stream: *mut c_void) -> Outcome {
    let mut steps = 0;
    let full = {
        let mut driver = driver();
        let queue = &mut driver.queue;
        if settings().seed != 0 {
            let draw = queue.draw();
            if draw.is_multiple_of(8) {
                queue.mood = if draw & 64 == 0 { Mood::Late } else { Mood::Any };
            }
            if queue.mood == Mood::Any {
                steps = draw >> 8 & 3;
            }
        }
        queue
            .stream(key(stream))
            .is_ok_and(|stream| stream.items.len() > LONGEST)
    };
    for _ in 0..steps {
        step(None)?;
    }
    if full {
        let marker = driver().queue.mark(key(stream))?;
        run_until(&[marker])?;
    }
    Ok(())
}
