//! Step `network`: the whole network from a prepared tensor to boxes, labels, scores and 28x28 masks, wall time with the
//! host; and step `layers`, its dense layers alone.

use super::record::{Record, Row};
use crate::time::{Clocks, SystemClocks};

/// Runs before any is counted.
const WARM_UP: usize = 10;
pub(super) const BATCHES: [usize; 2] = [1, 8];
/// The name of a batch's row.
pub(super) fn name(batch: usize) -> String {
    format!("whole network, batch {batch}")
}

/// A whole network of seeded weights on a device, ready for one batch: each call runs it once and waits for its answer.
pub(super) type Forward = Box<dyn FnMut() -> anyhow::Result<()>>;

/// `prepare` makes the network for a batch: ResNet-50-FPN, 800x1344, 1000 proposals, 100 detections a picture.
pub(super) fn run(
    rounds: usize,
    record: &mut Record,
    mut prepare: impl FnMut(usize) -> anyhow::Result<Forward>,
) -> anyhow::Result<()> {
    for batch in BATCHES {
        let timed = prepare(batch).and_then(|forward| time(forward, &name(batch), rounds));
        record.add(timed.unwrap_or_else(|error| Row::missing(name(batch), "ms", format!("{error:#}"))))?;
    }
    Ok(())
}

fn time(mut forward: Forward, name: &str, rounds: usize) -> anyhow::Result<Row> {
    for _ in 0..WARM_UP.min(rounds) {
        forward()?;
    }
    let mut millis = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = SystemClocks.mono_nanos();
        forward()?;
        millis.push((SystemClocks.mono_nanos() - start) as f64 * 1e-6);
    }
    Ok(Row::median(name, "ms", millis))
}
