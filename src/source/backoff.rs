//! How long to wait before a source is opened again.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::names::CameraId;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// Cameras that fail together do not come back together.
const JITTER: f64 = 0.2;
/// A source that streamed this long has recovered.
pub(super) const RECOVERED_AFTER: Duration = Duration::from_secs(5);

/// 0.25 s, doubling to 5 s, each +-20 %.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    dice: Pcg32,
}

impl Backoff {
    pub(super) fn new(camera: &CameraId, seed: i64) -> Backoff {
        let mixed = camera.as_str().bytes().fold(seed as u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Backoff {
            next: FIRST,
            dice: Pcg32::seed_from_u64(mixed),
        }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(1.0 + JITTER * self.dice.random_range(-1.0..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_are_jittered() {
        let id = CameraId::new("dock-3").expect("id");
        let mut backoff = Backoff::new(&id, 1);
        let mut exact = 0;
        for (i, seconds) in [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0].into_iter().enumerate() {
            let wait = backoff.wait().as_secs_f64();
            assert!((0.8 * seconds..=1.2 * seconds).contains(&wait), "{i}: {wait}");
            exact += usize::from((wait - seconds).abs() < 1e-6);
        }
        assert_eq!(exact, 0, "jittered");
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(300));
    }

    #[test]
    fn cameras_wait_differently() {
        let wait = |id: &str| Backoff::new(&CameraId::new(id).expect("id"), 1).wait();
        assert_ne!(wait("a"), wait("b"));
        assert_eq!(wait("a"), wait("a"));
    }
}
