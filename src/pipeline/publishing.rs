//! The publishing thread: keeps each camera's ledger, hands reports to the outlets in order, watches deadlines.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::assemble::CameraStateSink;
use super::events::{DemandBoard, Event};
use super::ledger::Ledger;
use super::metrics::Metrics;
use crate::names::CameraId;
use crate::outlets::{Demand, Outlet};
use crate::source::SourceState;
use crate::time::Clocks;

/// How often demand is asked for although nothing happens.
const TICK: Duration = Duration::from_millis(20);

/// A camera's state, said when the results before it have left: a robot must not hear that a camera is gone before the
/// camera's last answer.
#[derive(Debug)]
pub(super) struct WaitingState {
    camera: usize,
    /// The last result expected when the state came.
    after: u64,
    state: SourceState,
    detail: String,
    reconnects: u32,
}

pub(super) struct Publishing {
    pub(super) cameras: Vec<CameraId>,
    pub(super) outlets: Vec<Box<dyn Outlet>>,
    pub(super) states: Box<dyn CameraStateSink>,
    pub(super) desk: Receiver<Event>,
    pub(super) demand: Arc<DemandBoard>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clocks: Arc<dyn Clocks>,
    pub(super) ledgers: HashMap<usize, Ledger>,
    pub(super) waiting_states: VecDeque<WaitingState>,
}

impl Publishing {
    /// Until the desk is closed, or every sender is gone.
    pub(super) fn run(mut self) {
        self.ask_demand();
        loop {
            match self.desk.recv_timeout(self.patience()) {
                Ok(Event::Close) => break,
                Ok(event) => self.event(event),
                Err(RecvTimeoutError::Timeout) => self.ask_demand(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // A burst is taken in whole before anything is judged late.
            while let Ok(event) = self.desk.try_recv() {
                if matches!(event, Event::Close) {
                    return self.finish();
                }
                self.event(event);
            }
            self.deliver();
        }
        self.finish();
    }

    fn finish(&mut self) {
        for ledger in self.ledgers.values_mut() {
            ledger.stop();
        }
        self.deliver();
        for outlet in &mut self.outlets {
            outlet.finish();
        }
    }

    fn patience(&self) -> Duration {
        let now = self.clocks.mono_nanos();
        let next = self.ledgers.values().filter_map(Ledger::next_deadline).min();
        let wait = next.map_or(TICK, |d| Duration::from_nanos(u64::try_from(d + 1 - now).unwrap_or(0)));
        wait.clamp(Duration::from_micros(100), TICK)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Expected {
                camera,
                report,
                deadline_mono_nanos,
            } => {
                self.ledgers
                    .entry(camera)
                    .or_default()
                    .expect(*report, deadline_mono_nanos);
            }
            Event::Settled { camera, report } => {
                let number = report.result_number;
                self.ledgers.entry(camera).or_default().settle(number, |r| *r = *report);
            }
            Event::State {
                camera,
                state,
                detail,
                reconnects,
            } => {
                let after = self.ledgers.entry(camera).or_default().last_expected();
                self.waiting_states.push_back(WaitingState {
                    camera,
                    after,
                    state,
                    detail,
                    reconnects,
                });
            }
            Event::Close => {}
        }
    }

    fn deliver(&mut self) {
        let mut any = false;
        for index in 0..self.cameras.len() {
            let Some(ledger) = self.ledgers.get_mut(&index) else {
                continue;
            };
            for report in ledger.leave(self.clocks.mono_nanos()) {
                any = true;
                let report = Arc::new(report);
                for (place, outlet) in self.outlets.iter_mut().enumerate() {
                    outlet.deliver(&report);
                    if place == 0 {
                        // The first outlet is the publisher: what follows is not part of capture_to_publish.
                        self.metrics.published(&report, self.clocks.mono_nanos());
                    }
                }
                if self.outlets.is_empty() {
                    self.metrics.published(&report, self.clocks.mono_nanos());
                }
            }
        }
        self.say_states();
        if any {
            self.ask_demand();
        }
    }

    fn say_states(&mut self) {
        let mut kept = VecDeque::new();
        for waiting in self.waiting_states.drain(..) {
            let behind = self.ledgers.get(&waiting.camera).and_then(Ledger::first_open);
            let earlier = kept.iter().any(|k: &WaitingState| k.camera == waiting.camera);
            if earlier || behind.is_some_and(|first| first <= waiting.after) {
                kept.push_back(waiting);
                continue;
            }
            let camera = &self.cameras[waiting.camera];
            self.states
                .camera_state(camera, waiting.state, &waiting.detail, waiting.reconnects);
        }
        self.waiting_states = kept;
    }

    fn ask_demand(&self) {
        for (index, camera) in self.cameras.iter().enumerate() {
            let sum = self
                .outlets
                .iter()
                .map(|o| o.demand(camera))
                .fold(Demand::default(), |a, b| Demand {
                    boxes: a.boxes || b.boxes,
                    masks: a.masks || b.masks,
                });
            self.demand.set(index, sum);
        }
    }
}
