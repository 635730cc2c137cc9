//! Time on a device: events around work that was captured once.

use crate::device::{CudaGraph, Device, DeviceError, Timing};
use crate::ops::bench::device::Work;

use super::record::{Row, STAND_IN, is_stand_in};

/// Runs before any is counted.
const WARM_UP: usize = 10;

/// The same work over several sets of buffers: taking turns, they leave the L2 cache to nobody.
pub(super) type Turns = Vec<Work>;

/// Median milliseconds of one run of `turns`, by events around `rounds` launches of captured graphs of all turns.
pub(super) fn time(device: &Device, name: &str, mut turns: Turns, rounds: usize) -> Result<Row, DeviceError> {
    let stream = device.stream("timing")?;
    for work in &mut turns {
        work(&stream)?; // what compiles or grows does so here
    }
    stream.synchronize()?;
    let mut graph: CudaGraph = stream.capture(|| turns.iter_mut().try_for_each(|work| work(&stream)))?;
    if is_stand_in(device) {
        graph.launch(&stream)?;
        stream.synchronize()?;
        return Ok(Row::missing(name, "ms", STAND_IN));
    }
    for _ in 0..WARM_UP {
        graph.launch(&stream)?;
    }
    stream.synchronize()?;
    let (start, end) = (device.event(Timing::Yes)?, device.event(Timing::Yes)?);
    let mut millis = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        stream.record(&start)?;
        graph.launch(&stream)?;
        stream.record(&end)?;
        end.synchronize()?;
        millis.push(f64::from(end.millis_since(&start)?) / turns.len().max(1) as f64);
    }
    let note = format!("{} sets of buffers in turn, one graph", turns.len());
    Ok(Row {
        note,
        ..Row::median(name, "ms", millis)
    })
}
