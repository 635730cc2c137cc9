//! The only way from zenoh's thread to the user's: a bounded ring that keeps the newest and counts what it overwrote.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounded, never blocks the writer.
#[derive(Debug)]
pub(super) struct Ring<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Since the last item was taken.
    overwritten: u64,
    /// A change beside the ring (tokens, labels) that waiters should look at.
    nudged: bool,
}

/// One item, and how many older ones were overwritten since the one taken before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<T> {
    pub(super) item: T,
    pub(super) overwritten: u64,
}

impl<T> Ring<T> {
    /// `capacity` of at least 1.
    pub(super) fn new(capacity: usize) -> Ring<T> {
        Ring {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                items: VecDeque::new(),
                overwritten: 0,
                nudged: false,
            }),
            arrived: Condvar::new(),
        }
    }

    pub(super) fn push(&self, item: T) {
        let mut state = self.lock();
        if state.items.len() >= self.capacity {
            state.items.pop_front();
            state.overwritten += 1;
        }
        state.items.push_back(item);
        self.arrived.notify_all();
    }

    /// Wakes a waiter though nothing arrived.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.arrived.notify_all();
    }

    pub(super) fn try_take(&self) -> Option<Taken<T>> {
        take(&mut self.lock())
    }

    /// The oldest item; `None` after `timeout` or a nudge.
    pub(super) fn take(&self, timeout: Duration) -> Option<Taken<T>> {
        let idle = |state: &mut State<T>| state.items.is_empty() && !state.nudged;
        let (mut state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), timeout, idle)
            .unwrap_or_else(PoisonError::into_inner);
        state.nudged = false;
        take(&mut state)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // What is guarded is whole at every step, whoever panicked elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<T>(state: &mut State<T>) -> Option<Taken<T>> {
    let item = state.items.pop_front()?;
    Some(Taken {
        item,
        overwritten: std::mem::take(&mut state.overwritten),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_newest_stays_and_losses_are_counted() {
        let ring = Ring::new(2);
        (1..=5).for_each(|i| ring.push(i));
        assert_eq!(
            ring.try_take(),
            Some(Taken {
                item: 4,
                overwritten: 3
            })
        );
        assert_eq!(
            ring.try_take(),
            Some(Taken {
                item: 5,
                overwritten: 0
            })
        );
        assert_eq!(ring.try_take(), None);
        assert_eq!(ring.take(Duration::from_millis(1)), None);
    }

    #[test]
    fn a_waiter_wakes_for_items_and_nudges() {
        let ring = Arc::new(Ring::new(1));
        let writer = ring.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            writer.push(7);
        });
        let long = Duration::from_secs(20);
        assert_eq!(
            ring.take(long),
            Some(Taken {
                item: 7,
                overwritten: 0
            })
        );
        thread.join().unwrap();
        ring.nudge();
        assert_eq!(ring.take(long), None);
    }
}
