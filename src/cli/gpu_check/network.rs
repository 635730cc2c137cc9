//! Step `network`: the whole network from a prepared tensor to boxes, labels, scores and 28x28 masks, wall time with the
//! host.

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

/// What the row of a batch is called once there is a faster one.
fn first_name(batch: usize) -> String {
    format!("{}, first suggestions", name(batch))
}

/// `prepare` makes the network for a batch, of the best of so many configurations a layer. What cuDNN suggests first is timed
/// before anything is tuned, so that a run cut short has figures; a tuned figure then takes its row's name.
pub(super) fn run(
    rounds: usize,
    tune: u32,
    record: &mut Record,
    mut prepare: impl FnMut(usize, u32) -> anyhow::Result<Forward>,
) -> anyhow::Result<()> {
    for batch in BATCHES {
        let timed = prepare(batch, 1).and_then(|forward| time(forward, &name(batch), rounds));
        record.add(match timed {
            Ok(row) => Row {
                note: "what cuDNN suggests first".to_owned(),
                ..row
            },
            Err(error) => Row::missing(name(batch), "ms", format!("{error:#}")),
        })?;
    }
    for batch in BATCHES.into_iter().filter(|_| tune > 1) {
        let row = match prepare(batch, tune).and_then(|forward| time(forward, &name(batch), rounds)) {
            Ok(row) => {
                record.rename(&name(batch), first_name(batch));
                Row {
                    note: format!("the best of up to {tune} configurations a layer"),
                    ..row
                }
            }
            Err(error) => Row::missing(format!("{}, tuned", name(batch)), "ms", format!("{error:#}")),
        };
        record.add(row)?;
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
