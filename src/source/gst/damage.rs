//! Frames that a decoder refused or should have refused, until their turn in the stream comes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Above this the oldest are forgotten: a decoder that runs far ahead of its reader, refusing every frame.
const KEPT: usize = 1 << 16;
/// Two who say so of one frame say it shortly after each other.
const NEIGHBOURS: usize = 64;

/// Who says that a frame is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// Its bytes, before they were decoded.
    Bytes,
    Decoder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// Nanoseconds of the stream's own time.
    pub(super) pts: Option<u64>,
    pub(super) witness: Witness,
    pub(super) detail: String,
}

/// Filled by streaming threads, emptied by the reader.
#[derive(Debug, Default)]
pub(super) struct DamageLog {
    entries: Mutex<VecDeque<Damage>>,
}

impl DamageLog {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Damage>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame is known once: the first who says so is quoted.
    pub(super) fn add(&self, damage: Damage) {
        let mut entries = self.entries();
        let known = |other: &Damage| damage.pts.is_some() && other.pts == damage.pts;
        if entries.iter().rev().take(NEIGHBOURS).any(known) {
            return;
        }
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(damage);
    }

    /// The next damaged frame before the one stamped `pts`, that one included; with `None` any.
    pub(super) fn next_until(&self, pts: Option<u64>) -> Option<Damage> {
        let mut entries = self.entries();
        let at = entries
            .iter()
            .enumerate()
            .filter(|(_, damage)| match (pts, damage.pts) {
                (Some(pts), Some(other)) => other <= pts,
                (None, _) | (_, None) => true,
            })
            .min_by_key(|(_, damage)| damage.pts.unwrap_or(0))?
            .0;
        entries.remove(at)
    }

    /// Forgets what a decoder refused: it was asked in the middle of a stream.
    pub(super) fn forget_refused(&self) {
        self.entries().retain(|damage| damage.witness == Witness::Bytes);
    }

    pub(super) fn clear(&self) {
        self.entries().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(pts: u64, witness: Witness) -> Damage {
        Damage {
            pts: Some(pts),
            witness,
            detail: format!("{witness:?}"),
        }
    }

    #[test]
    fn damaged_frames_come_in_their_turn_and_once() {
        let log = DamageLog::default();
        for pts in [30, 10, 20] {
            log.add(damage(pts, Witness::Bytes));
            log.add(damage(pts, Witness::Decoder));
        }
        let next = |until| log.next_until(until).map(|d| (d.pts, d.detail));
        let found = |pts| Some((Some(pts), "Bytes".to_owned()));
        assert_eq!(next(Some(5)), None);
        assert_eq!(next(Some(20)), found(10));
        assert_eq!(next(Some(20)), found(20));
        assert_eq!(next(Some(20)), None);
        assert_eq!(next(None), found(30));
        assert_eq!(next(None), None);
    }

    #[test]
    fn what_was_refused_can_be_forgotten() {
        let log = DamageLog::default();
        log.add(damage(1, Witness::Decoder));
        log.add(damage(2, Witness::Bytes));
        log.forget_refused();
        assert_eq!(log.next_until(None), Some(damage(2, Witness::Bytes)));
        assert_eq!(log.next_until(None), None);
    }
}
