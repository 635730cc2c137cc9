//! Frames that a decoder refused or should have refused, until their turn in the stream comes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Above this the oldest are forgotten; none should ever wait longer than a decoder holds frames.
const KEPT: usize = 256;

/// By PTS, nanoseconds of the stream's own time. Filled by streaming threads, emptied by the reader.
#[derive(Debug, Default)]
pub(super) struct DamageLog {
    entries: Mutex<VecDeque<(Option<u64>, String)>>,
}

impl DamageLog {
    fn entries(&self) -> MutexGuard<'_, VecDeque<(Option<u64>, String)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame is known once: the first who says so is quoted.
    pub(super) fn add(&self, pts: Option<u64>, detail: String) {
        let mut entries = self.entries();
        if pts.is_some() && entries.iter().any(|(other, _)| *other == pts) {
            return;
        }
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back((pts, detail));
    }

    /// The next damaged frame before the one stamped `pts`, that one included; with `None` any.
    pub(super) fn next_until(&self, pts: Option<u64>) -> Option<(Option<u64>, String)> {
        let mut entries = self.entries();
        let at = entries
            .iter()
            .enumerate()
            .filter(|(_, (other, _))| match (pts, other) {
                (Some(pts), Some(other)) => *other <= pts,
                (None, _) | (_, None) => true,
            })
            .min_by_key(|(_, (other, _))| other.unwrap_or(0))?
            .0;
        entries.remove(at)
    }

    pub(super) fn clear(&self) {
        self.entries().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_frames_come_in_their_turn_and_once() {
        let log = DamageLog::default();
        log.add(Some(30), "c".into());
        log.add(Some(10), "a".into());
        log.add(Some(10), "again".into());
        log.add(Some(20), "b".into());
        assert_eq!(log.next_until(Some(5)), None);
        assert_eq!(log.next_until(Some(20)), Some((Some(10), "a".into())));
        assert_eq!(log.next_until(Some(20)), Some((Some(20), "b".into())));
        assert_eq!(log.next_until(Some(20)), None);
        assert_eq!(log.next_until(None), Some((Some(30), "c".into())));
        assert_eq!(log.next_until(None), None);
    }
}
