//! Where each buffer lies in one piece of memory: two that are never alive together may share bytes.

use super::steps::Steps;

/// What cuDNN and 16-byte reads want, and what the driver's own allocations start at.
pub(super) const ALIGNMENT: usize = 256;

/// Steps at which a buffer holds what someone will read, both included. A step's output is alive beside its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets in bytes, of each buffer, and the size of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arena {
    pub offsets: Vec<usize>,
    pub bytes: usize,
}

/// Lives of the buffers of `steps`. Inputs live from before the first step to after the last, so that a run can be
/// repeated; outputs from their step to after the last.
pub(super) fn lives(steps: &Steps) -> Vec<Life> {
    let end = steps.steps.len();
    let mut lives: Vec<Life> = steps
        .buffers
        .iter()
        .map(|buffer| Life {
            bytes: buffer.bytes(),
            first: usize::MAX,
            last: 0,
        })
        .collect();
    for (at, step) in steps.steps.iter().enumerate() {
        for buffer in step.reads() {
            lives[buffer].last = lives[buffer].last.max(at);
        }
        let written = &mut lives[step.writes()];
        written.first = written.first.min(at);
        written.last = written.last.max(at);
    }
    for input in &steps.inputs {
        (lives[input.buffer].first, lives[input.buffer].last) = (0, end);
    }
    for output in &steps.outputs {
        lives[output.buffer].last = end;
    }
    for life in &mut lives {
        life.first = life.first.min(life.last);
    }
    lives
}

/// Large ones first, each at the lowest place where it meets nobody.
pub(super) fn plan(lives: &[Life]) -> Arena {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].bytes), lives[i].first, i));
    let mut offsets = vec![0; lives.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(lives.len());
    let mut whole = 0;
    for i in order {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| lives[i].meets(&lives[other]))
            .map(|&other| (offsets[other], offsets[other] + lives[other].bytes))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + lives[i].bytes <= start {
                break;
            }
            at = at.max(end.next_multiple_of(ALIGNMENT));
        }
        offsets[i] = at;
        whole = whole.max(at + lives[i].bytes);
        placed.push(i);
    }
    Arena {
        offsets,
        bytes: whole.next_multiple_of(ALIGNMENT),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let life = |bytes, first| Life {
            bytes,
            first,
            last: first + 1,
        };
        let lives = [life(1000, 0), life(512, 1), life(2000, 2), life(256, 3)];
        let arena = plan(&lives);
        assert_eq!(arena.bytes, 2048 + 512);
        let sum: usize = lives.iter().map(|l| l.bytes).sum();
        assert!(arena.bytes < sum);
    }

    proptest! {
        #[test]
        fn no_two_that_live_together_overlap(
            given in proptest::collection::vec((1usize..5000, 0usize..40, 0usize..12), 1..60)
        ) {
            let lives: Vec<Life> = given
                .iter()
                .map(|&(bytes, first, more)| Life { bytes, first, last: first + more })
                .collect();
            let arena = plan(&lives);
            for (i, a) in lives.iter().enumerate() {
                prop_assert_eq!(arena.offsets[i] % ALIGNMENT, 0);
                prop_assert!(arena.offsets[i] + a.bytes <= arena.bytes);
                for (j, b) in lives.iter().enumerate().skip(i + 1) {
                    let apart = arena.offsets[i] + a.bytes <= arena.offsets[j]
                        || arena.offsets[j] + b.bytes <= arena.offsets[i];
                    prop_assert!(apart || !a.meets(b), "{} and {}", i, j);
                }
            }
            let sum: usize = lives.iter().map(|l| l.bytes.next_multiple_of(ALIGNMENT)).sum();
            prop_assert!(arena.bytes <= sum);
        }
    }
}
