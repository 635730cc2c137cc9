//! Which of cuDNN's configurations is the fastest here: each is timed by the device's own clock, over several sets of
//! arrays of random numbers, so that the second-level cache does not hold them and no multiplier rests on zeros.

use super::backend::{Arrays, Handle, Mode, Pack, Plan, Target, configurations};
use super::error::CudnnError;
use super::steps::ConvShape;
use crate::device::{CudaStream, Device, DeviceBuffer, Event, Timing};
use crate::engine::EngineError;

/// In the order in which cuDNN's own layers above the graph API ask.
pub(super) const MODES: [Mode; 3] = [
    Mode::CUDNN_HEUR_MODE_A,
    Mode::CUDNN_HEUR_MODE_B,
    Mode::CUDNN_HEUR_MODE_FALLBACK,
];

/// Bytes of random numbers: several times what a GPU's second-level cache holds.
const POOL_BYTES: usize = 512 << 20;
/// Plans that want more beside their arrays are passed over.
const MOST_WORKSPACE: usize = 256 << 20;
const MOST_SETS: usize = 8;
const WARM_UP: usize = 3;
const RUNS: usize = 20;

/// The first configuration that can be compiled.
pub(super) fn first_plan(shape: &ConvShape, target: Target<'_>) -> Result<Plan, CudnnError> {
    let mut last = None;
    for mode in MODES {
        // A mode that knows nothing of a shape may say so with an error.
        match configurations(shape, mode, target) {
            Ok(found) => {
                for configuration in &found {
                    match Plan::build(configuration, target) {
                        Ok(plan) => return Ok(plan),
                        Err(error) => last = Some(error),
                    }
                }
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| CudnnError::Call {
        call: "heuristics".to_owned(),
        reason: "no configuration".to_owned(),
    }))
}

/// The fastest plan, and the microseconds of one run.
pub(super) struct Best {
    pub plan: Plan,
    pub micros: f32,
}

/// What is needed to time plans.
pub(super) struct Tuner {
    device: Device,
    stream: CudaStream,
    /// Plans of a layer that are timed.
    most: usize,
    pool: DeviceBuffer<u32>,
    start: Event,
    end: Event,
}

/// Bytes of one set of arrays, and of each: x, weight, bias, residual, y.
fn sizes(shape: &ConvShape) -> [usize; 5] {
    let (h, w) = shape.output();
    let out = shape.n * h * w * shape.k;
    [
        2 * shape.n * shape.h * shape.w * shape.c,
        2 * shape.k * shape.kernel * shape.kernel * shape.c,
        4 * shape.k,
        if shape.residual { 2 * out } else { 0 },
        if shape.f32_out { 4 * out } else { 2 * out },
    ]
    .map(|bytes| bytes.next_multiple_of(256))
}

/// Of one set of arrays.
pub(super) fn bytes(shape: &ConvShape) -> usize {
    sizes(shape).iter().sum()
}

impl Tuner {
    /// With room for the largest of `shapes`. `most` plans of a layer are timed, or all.
    pub(super) fn new<'a>(
        device: &Device,
        shapes: impl Iterator<Item = &'a ConvShape>,
        most: Option<usize>,
        pool_bytes: Option<usize>,
    ) -> Result<Tuner, EngineError> {
        let largest = shapes
            .map(|shape| sizes(shape).iter().sum::<usize>())
            .max()
            .unwrap_or(0);
        let bytes = largest.max(pool_bytes.unwrap_or(POOL_BYTES));
        Ok(Tuner {
            device: device.clone(),
            stream: device.stream("cudnn/tune")?,
            most: most.unwrap_or(usize::MAX),
            pool: device.upload("numbers to time layers on", &random_halves(bytes / 4))?,
            start: device.event(Timing::Yes)?,
            end: device.event(Timing::Yes)?,
        })
    }

    pub(super) fn best(&mut self, shape: &ConvShape, handle: &mut Handle) -> Result<Option<Best>, EngineError> {
        let mut best: Option<Best> = None;
        let mut seen = Vec::new();
        let mut left = self.most;
        for mode in MODES {
            if left == 0 {
                break; // asking takes time too
            }
            let suggested = configurations(shape, mode, Target::Device(handle));
            for configuration in suggested.into_iter().flatten() {
                if left == 0 {
                    break;
                }
                let Ok(plan) = Plan::build(&configuration, Target::Device(handle)) else {
                    continue;
                };
                // The modes suggest much the same.
                let json = plan.json().unwrap_or_default();
                if plan.workspace > MOST_WORKSPACE || (!json.is_empty() && seen.contains(&json)) {
                    continue;
                }
                seen.push(json);
                match self.time(shape, &plan, handle) {
                    Ok(micros) => {
                        left -= 1;
                        if best.as_ref().is_none_or(|best| micros < best.micros) {
                            best = Some(Best { plan, micros });
                        }
                    }
                    Err(error) => tracing::debug!("a plan for {shape} does not run: {error}"),
                }
            }
        }
        Ok(best)
    }

    /// Microseconds of one run.
    pub(super) fn time(&mut self, shape: &ConvShape, plan: &Plan, handle: &mut Handle) -> Result<f32, EngineError> {
        let workspace: DeviceBuffer<u8> = self.device.buffer("workspace of a timed layer", plan.workspace)?;
        let sizes = sizes(shape);
        let set: usize = sizes.iter().sum();
        let sets = (self.pool.len() * 4 / set.max(1)).clamp(1, MOST_SETS);
        let base = self.pool.slice().address();
        let pack = |index: usize| {
            let mut at = base + (index * set) as u64;
            let [x, weight, bias, residual, y] = sizes.map(|bytes| {
                let here = at;
                at += bytes as u64;
                here
            });
            let arrays = Arrays {
                x,
                weight,
                bias,
                residual: shape.residual.then_some(residual),
                y,
                workspace: workspace.slice().address(),
            };
            // SAFETY: `sets` sets of `set` bytes lie in the pool, which holds the largest shape (`new`); the workspace
            // has the plan's bytes; both live until the device has been waited for, below.
            unsafe { Pack::new(&arrays) }
        };
        let packs = (0..sets).map(pack).collect::<Result<Vec<_>, _>>()?;
        handle.set_stream(self.stream.raw_stream())?;
        let run = |count: usize| {
            (0..count).try_for_each(|i| {
                // SAFETY: as above; the pool is nobody else's.
                unsafe { plan.execute(&packs[i % sets], handle) }
            })
        };
        run(WARM_UP)?;
        // As it will run: launched one by one, a small layer's time would be that of the calls.
        let mut graph = self.stream.capture(|| run(RUNS).map_err(EngineError::from))?;
        graph.launch(&self.stream)?;
        self.stream.record(&self.start)?;
        graph.launch(&self.stream)?;
        self.stream.record(&self.end)?;
        self.stream.synchronize()?;
        // The handle outlives this stream.
        handle.set_stream(std::ptr::null_mut())?;
        Ok(self.end.millis_since(&self.start)? * 1e3 / RUNS as f32)
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        // Its stream and pool are about to go.
        if let Err(error) = self.stream.synchronize() {
            tracing::warn!("{error}");
        }
    }
}

/// Pairs of f16 of magnitude 1/4 to 1, which as f32 are small numbers too.
fn random_halves(count: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    (0..count).map(|_| next() & 0x87ff_87ff | 0x3400_3400).collect()
}
