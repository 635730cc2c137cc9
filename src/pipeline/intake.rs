//! The queue between sources and the engine: one place a camera, so that nothing grows old in it.
//!
//! Name: intake. Capacity: 1 a camera. Policy: newest wins ([`Intake::offer_newest`], the replaced frame goes back to
//! the caller, who accounts for it) or wait ([`Intake::offer_and_wait`], unpaced sources). Cameras take turns.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What became of an offered item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer<T> {
    Accepted,
    /// Accepted; this older one of the same camera was pushed out.
    Replaced(T),
    /// The intake is closed; the item comes back.
    Closed(T),
}

#[derive(Debug)]
struct State<T> {
    /// By camera index.
    waiting: Vec<Option<T>>,
    next_turn: usize,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Intake<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Intake<T> {
    pub(super) fn new(cameras: usize) -> Intake<T> {
        let waiting = (0..cameras).map(|_| None).collect();
        Intake {
            state: Mutex::new(State {
                waiting,
                next_turn: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is a few moves; it is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn offer_newest(&self, camera: usize, item: T) -> Offer<T> {
        let mut state = self.lock();
        if state.closed {
            return Offer::Closed(item);
        }
        let old = state.waiting[camera].replace(item);
        drop(state);
        self.changed.notify_all();
        old.map_or(Offer::Accepted, Offer::Replaced)
    }

    /// Waits until the camera's place is free.
    pub(super) fn offer_and_wait(&self, camera: usize, item: T) -> Offer<T> {
        let mut state = self.lock();
        while !state.closed && state.waiting[camera].is_some() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Offer::Closed(item);
        }
        state.waiting[camera] = Some(item);
        drop(state);
        self.changed.notify_all();
        Offer::Accepted
    }

    /// The items of the next cameras in turn, one a camera, at most `most`; none after `timeout`, or when closed and empty.
    pub(super) fn take_some(&self, timeout: Duration, most: usize) -> Vec<(usize, T)> {
        let state = self.lock();
        let empty = |s: &mut State<T>| !s.closed && s.waiting.iter().all(Option::is_none);
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        let (cameras, first) = (state.waiting.len(), state.next_turn);
        let mut taken = Vec::new();
        for camera in (0..cameras).map(|i| (first + i) % cameras) {
            if taken.len() == most {
                break;
            }
            if let Some(item) = state.waiting[camera].take() {
                state.next_turn = (camera + 1) % cameras;
                taken.push((camera, item));
            }
        }
        drop(state);
        if !taken.is_empty() {
            self.changed.notify_all();
        }
        taken
    }

    /// No more offers; what waits comes back.
    pub(super) fn close(&self) -> Vec<(usize, T)> {
        let mut state = self.lock();
        state.closed = true;
        let rest = state
            .waiting
            .iter_mut()
            .enumerate()
            .filter_map(|(c, w)| Some((c, w.take()?)))
            .collect();
        drop(state);
        self.changed.notify_all();
        rest
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    impl<T> Intake<T> {
        fn take(&self, timeout: Duration) -> Option<(usize, T)> {
            self.take_some(timeout, 1).pop()
        }
    }

    #[test]
    fn the_newest_frame_wins_and_the_old_one_comes_back() {
        let intake = Intake::new(1);
        assert_eq!(intake.offer_newest(0, 1), Offer::Accepted);
        assert_eq!(intake.offer_newest(0, 2), Offer::Replaced(1));
        assert_eq!(intake.take(Duration::ZERO), Some((0, 2)));
        assert_eq!(intake.take(Duration::ZERO), None);
    }

    #[test]
    fn cameras_take_turns() {
        let intake = Intake::new(3);
        for camera in [0, 1, 2] {
            assert_eq!(intake.offer_newest(camera, camera), Offer::Accepted);
        }
        assert_eq!(intake.take(Duration::ZERO), Some((0, 0)));
        assert_eq!(intake.offer_newest(0, 10), Offer::Accepted);
        assert_eq!(intake.take(Duration::ZERO), Some((1, 1)));
        assert_eq!(intake.take(Duration::ZERO), Some((2, 2)));
        assert_eq!(intake.take(Duration::ZERO), Some((0, 10)));
    }

    #[test]
    fn several_cameras_are_taken_at_once_and_none_is_left_behind() {
        let intake = Intake::new(3);
        for camera in [0, 1, 2] {
            assert_eq!(intake.offer_newest(camera, camera), Offer::Accepted);
        }
        assert_eq!(intake.take_some(Duration::ZERO, 2), [(0, 0), (1, 1)]);
        assert_eq!(intake.offer_newest(0, 10), Offer::Accepted);
        assert_eq!(intake.take_some(Duration::ZERO, 2), [(2, 2), (0, 10)]);
        assert_eq!(intake.take_some(Duration::ZERO, 2), []);
    }

    #[test]
    fn waiting_offers_are_released_by_a_take_and_by_closing() {
        let intake = Arc::new(Intake::new(1));
        assert_eq!(intake.offer_and_wait(0, 1), Offer::Accepted);
        let other = Arc::clone(&intake);
        let thread = std::thread::spawn(move || (other.offer_and_wait(0, 2), other.offer_and_wait(0, 3)));
        assert_eq!(intake.take(Duration::from_secs(5)), Some((0, 1)));
        assert_eq!(intake.take(Duration::from_secs(5)), Some((0, 2)));
        assert_eq!(intake.take(Duration::from_secs(5)), Some((0, 3)));
        assert_eq!(thread.join().expect("no panic"), (Offer::Accepted, Offer::Accepted));
        assert_eq!(intake.offer_newest(0, 4), Offer::Accepted);
        assert_eq!(intake.close(), vec![(0, 4)]);
        assert_eq!(intake.offer_and_wait(0, 5), Offer::Closed(5));
        assert_eq!(intake.take(Duration::from_secs(5)), None);
    }
}
