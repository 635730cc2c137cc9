//! One camera, judged: [`Camera::next`] for loops that follow results, [`Camera::latest`] for loops of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message;
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};

use super::connect::{ClientError, Maskcast, class_map, failed};
use super::event::{Answer, Counts, Event, LostReason, NoAnswer, Rejection};
use super::judge::{Judge, Order, Replay, Rules, Verdict};
use super::ring::{Ring, Taken};
use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::time::nanos;
use crate::wire::attachment::{Attachment, AttachmentError};
use crate::wire::decode::{Decoded, Outcome, decode_result};
use crate::wire::keyexpr::{CameraKey, Cameras, Key, KeyPrefix, Pattern};
use crate::wire::{Form, SessionId, v1};

/// Queries for label maps wait this long.
const LABELS_TIMEOUT: Duration = Duration::from_millis(500);

/// Settings of a [`Camera`] before it is opened.
#[derive(Debug, Clone)]
#[must_use = "nothing is subscribed before open()"]
pub struct CameraBuilder {
    maskcast: Maskcast,
    id: String,
    form: Form,
    rules: Rules,
    min_score: f32,
    history: usize,
}

/// A subscription to the results of one camera.
#[derive(Debug)]
pub struct Camera {
    maskcast: Maskcast,
    id: CameraId,
    min_score: f32,
    judge: Judge,
    inbox: Arc<Inbox>,
    /// Events that a message gave beyond the first.
    pending: VecDeque<Event>,
    newest: Option<Answer>,
    /// UNIX nanoseconds of the last good capture, or of opening.
    good_unix_nanos: i64,
    /// Some session held a token when we last looked; ever.
    alive: bool,
    seen_alive: bool,
    labels_asked_mono_nanos: i64,
    _subscribers: [Subscriber<()>; 3],
}

/// Written by zenoh's thread, read by the user's.
#[derive(Debug)]
struct Inbox {
    results: Ring<Arrival>,
    beside: Mutex<Beside>,
}

#[derive(Debug, Default)]
struct Beside {
    /// Sessions that hold a token of this camera.
    alive: BTreeSet<SessionId>,
    /// Checked label maps by id.
    labels: BTreeMap<u32, Arc<ClassMap>>,
}

#[derive(Debug)]
struct Arrival {
    payload: ZBytes,
    attachment: Result<Attachment, Rejection>,
    received_unix_nanos: i64,
}

impl CameraBuilder {
    pub(super) fn new(maskcast: Maskcast, id: &str) -> CameraBuilder {
        CameraBuilder {
            maskcast,
            id: id.to_owned(),
            form: Form::Rle,
            rules: Rules {
                max_age: Duration::from_millis(250),
                require_uncertainty: false,
                replay: Replay::Refuse,
            },
            min_score: 0.0,
            history: 1,
        }
    }

    /// Default [`Form::Rle`].
    pub fn form(mut self, form: Form) -> CameraBuilder {
        self.form = form;
        self
    }

    /// Oldest answer to act on, from capture to now. Default 250 ms; the daemon's `valid_for` holds as well.
    pub fn max_age(mut self, max_age: Duration) -> CameraBuilder {
        self.rules.max_age = max_age;
        self
    }

    /// Instances below are not shown by [`Answer::instances`].
    pub fn min_score(mut self, min_score: f32) -> CameraBuilder {
        self.min_score = min_score;
        self
    }

    /// Messages that may wait for `next`; older ones are overwritten and counted. Default 1: always the newest.
    pub fn history(mut self, messages: usize) -> CameraBuilder {
        self.history = messages;
        self
    }

    /// Refuse answers whose capture time has no stated uncertainty.
    pub fn require_uncertainty(mut self) -> CameraBuilder {
        self.rules.require_uncertainty = true;
        self
    }

    pub fn replay(mut self, replay: Replay) -> CameraBuilder {
        self.rules.replay = replay;
        self
    }

    /// Subscribes. The camera need not be there yet.
    pub fn open(self) -> Result<Camera, ClientError> {
        let id = CameraId::new(&self.id)?;
        let prefix = &self.maskcast.prefix;
        let inbox = Arc::new(Inbox {
            results: Ring::new(self.history),
            beside: Mutex::default(),
        });
        let session = &self.maskcast.session;
        let subscribe = |key: CameraKey, deliver: Box<dyn Fn(Sample) + Send + Sync>| {
            let key = Key::Camera(id.clone(), key);
            let expr = KeyExpr::from(prefix.expr(&key)?);
            let text = prefix.text(&key);
            session
                .declare_subscriber(expr)
                .callback(deliver)
                .wait()
                .map_err(failed(format!("subscribe to {text}")))
        };
        // Labels and tokens first: the first result may need both.
        let to = inbox.clone();
        let labels = subscribe(CameraKey::Labels, Box::new(move |sample| to.labels(sample.payload())))?;
        let tokens = prefix.pattern(&Pattern::CameraTokens(Cameras::One(id.clone())))?;
        let (to, of) = (inbox.clone(), prefix.clone());
        let alive = session
            .liveliness()
            .declare_subscriber(&tokens)
            .history(true)
            .callback(move |sample| to.token(&of, &sample))
            .wait()
            .map_err(failed(format!("watch {tokens}")))?;
        let (to, clocks) = (inbox.clone(), self.maskcast.clocks.clone());
        let results = subscribe(
            CameraKey::Result(self.form),
            Box::new(move |sample| to.results.push(Arrival::of(&sample, clocks.unix_nanos()))),
        )?;
        let mut camera = Camera {
            good_unix_nanos: self.maskcast.clocks.unix_nanos(),
            maskcast: self.maskcast,
            id,
            min_score: self.min_score,
            judge: Judge::new(self.rules),
            inbox,
            pending: VecDeque::new(),
            newest: None,
            alive: false,
            seen_alive: false,
            labels_asked_mono_nanos: 0,
            _subscribers: [labels, alive, results],
        };
        camera.ask_for_labels();
        Ok(camera)
    }
}

impl Camera {
    pub fn id(&self) -> &CameraId {
        &self.id
    }

    /// What happened since the camera was opened.
    pub fn counts(&self) -> Counts {
        self.judge.counts
    }

    /// The next event, in time: without any message `Stale` or `Lost` after `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Event {
        if let Some(event) = self.pending.pop_front() {
            return event;
        }
        let deadline = self.maskcast.clocks.mono_nanos().saturating_add(nanos(timeout));
        while let Some(left) = self.left(deadline) {
            let event = match self.inbox.results.take(left) {
                Some(taken) => self.process(taken, deadline),
                None => self.departure(),
            };
            if let Some(event) = event {
                return event;
            }
        }
        self.silence()
    }

    /// The newest answer that is still fresh, without waiting. Reads all that arrived; of other events only
    /// [`Camera::counts`] tells.
    pub fn latest(&mut self) -> Option<&Answer> {
        let now = self.maskcast.clocks.mono_nanos();
        while let Some(taken) = self.inbox.results.try_take() {
            self.process(taken, now);
            self.pending.clear();
        }
        let newest = self.newest.as_mut()?;
        let Verdict::Fresh { age } = self.judge.verdict(&newest.result, self.maskcast.clocks.unix_nanos()) else {
            return None;
        };
        newest.age = age;
        self.newest.as_ref()
    }

    fn left(&self, deadline: i64) -> Option<Duration> {
        let left = deadline.saturating_sub(self.maskcast.clocks.mono_nanos());
        (left > 0).then(|| Duration::from_nanos(left.unsigned_abs()))
    }

    /// One message: its event, or nothing where it is ignored.
    fn process(&mut self, taken: Taken<Arrival>, deadline: i64) -> Option<Event> {
        let Taken {
            item: arrival,
            overwritten,
        } = taken;
        match self.judged(arrival, overwritten, deadline) {
            Ok(event) => event,
            Err(why) => {
                self.judge.counts.rejected += 1;
                Some(Event::Rejected(why))
            }
        }
    }

    fn judged(&mut self, arrival: Arrival, overwritten: u64, deadline: i64) -> Result<Option<Event>, Rejection> {
        let attachment = arrival.attachment?;
        let alive = self.inbox.beside().alive.clone();
        self.alive = !alive.is_empty();
        self.seen_alive |= self.alive;
        let Order::Next { missed, skipped } = self.judge.order(&attachment, &alive, overwritten) else {
            return Ok(None);
        };
        let result = decode_result(&arrival.payload.to_bytes())?;
        let header = &result.header;
        let agrees = header.session_id == attachment.session_id
            && i64::try_from(header.result_number) == Ok(attachment.sequence)
            && header.camera == self.id;
        if !agrees {
            return Err(Rejection::Mismatch);
        }
        let event = match self.judge.verdict(&result, self.maskcast.clocks.unix_nanos()) {
            Verdict::Rejected(why) => return Err(why),
            Verdict::ClockFault(why) => Event::Lost(why),
            Verdict::Tombstone => {
                self.judge.counts.tombstones += 1;
                no_answer(&result, missed, skipped)
            }
            verdict @ (Verdict::Fresh { .. } | Verdict::Stale { .. }) => {
                let classes = self.classes(&result, deadline)?;
                self.judge.counts.answers += 1;
                self.good_unix_nanos = header.capture_time_unix_nanos;
                match verdict {
                    Verdict::Fresh { age } => {
                        let answer = Answer {
                            result: Arc::new(result.clone()),
                            classes,
                            age,
                            missed,
                            skipped,
                            received_unix_nanos: arrival.received_unix_nanos,
                            min_score: self.min_score,
                        };
                        self.newest = Some(answer.clone());
                        Event::Answer(answer)
                    }
                    Verdict::Stale { age } => Event::Stale { age },
                    _ => return Ok(None),
                }
            }
        };
        let Some(words) = self.judge.new_words(&result) else {
            return Ok(Some(event));
        };
        self.pending.push_back(event);
        Ok(Some(Event::Degraded(words)))
    }

    /// The label map of a result; waits for it until `deadline` where it is not known yet.
    fn classes(&mut self, result: &Decoded, deadline: i64) -> Result<Arc<ClassMap>, Rejection> {
        let Outcome::Answer { instances, .. } = &result.outcome else {
            return Ok(Arc::new(ClassMap { names: Vec::new() }));
        };
        let id = result.label_map_id;
        if instances.is_empty() {
            return Ok(self
                .inbox
                .known(id)
                .unwrap_or_else(|| Arc::new(ClassMap { names: Vec::new() })));
        }
        let classes = loop {
            if let Some(classes) = self.inbox.known(id) {
                break classes;
            }
            self.ask_for_labels();
            let left = self.left(deadline).ok_or(Rejection::UnknownLabelMap { id })?;
            self.maskcast.clocks.sleep(left.min(Duration::from_millis(5)));
        };
        match instances.iter().find(|i| classes.name(i.class_id).is_none()) {
            Some(i) => Err(Rejection::UnknownClass {
                class_id: i.class_id,
                id,
            }),
            None => Ok(classes),
        }
    }

    /// Does not wait: the reply comes in beside the results. At most one question in 500 ms.
    fn ask_for_labels(&mut self) {
        let now = self.maskcast.clocks.mono_nanos();
        let last = self.labels_asked_mono_nanos;
        if last != 0 && now.saturating_sub(last) < nanos(LABELS_TIMEOUT) {
            return;
        }
        self.labels_asked_mono_nanos = now;
        let key = Key::Camera(self.id.clone(), CameraKey::Labels);
        let Ok(expr) = self.maskcast.prefix.expr(&key) else {
            return;
        };
        let to = self.inbox.clone();
        let asked = self
            .maskcast
            .session
            .get(KeyExpr::from(expr))
            .timeout(LABELS_TIMEOUT)
            .callback(move |reply| {
                if let Ok(sample) = reply.result() {
                    to.labels(sample.payload());
                }
            })
            .wait();
        if let Err(why) = asked {
            tracing::warn!(camera = %self.id, %why, "cannot ask for the label map");
        }
    }

    /// The token went: told at once, not only when the time is over.
    fn departure(&mut self) -> Option<Event> {
        let alive = !self.inbox.beside().alive.is_empty();
        let gone = self.alive && !alive;
        self.alive = alive;
        self.seen_alive |= alive;
        gone.then_some(Event::Lost(LostReason::CameraGone))
    }

    fn silence(&mut self) -> Event {
        if let Some(event) = self.departure() {
            return event;
        }
        if !self.alive {
            return Event::Lost(if self.seen_alive {
                LostReason::CameraGone
            } else {
                LostReason::NotFound
            });
        }
        let age = self
            .maskcast
            .clocks
            .unix_nanos()
            .saturating_sub(self.good_unix_nanos)
            .max(0);
        Event::Stale {
            age: Duration::from_nanos(age.unsigned_abs()),
        }
    }
}

fn no_answer(result: &Decoded, missed: u64, skipped: u64) -> Event {
    let (reason, detail) = match &result.outcome {
        Outcome::Tombstone { reason, detail, .. } => (*reason, detail.clone()),
        Outcome::Answer { .. } => (v1::TombstoneReason::Unspecified, String::new()),
    };
    Event::NoAnswer(NoAnswer {
        reason,
        detail,
        result_number: result.header.result_number,
        missed,
        skipped,
    })
}

impl Arrival {
    fn of(sample: &Sample, received_unix_nanos: i64) -> Arrival {
        let attachment = match sample.attachment() {
            None => Err(Rejection::NoAttachment),
            Some(bytes) => Attachment::decode(&bytes.to_bytes()).map_err(|e: AttachmentError| Rejection::Attachment(e)),
        };
        Arrival {
            payload: sample.payload().clone(),
            attachment,
            received_unix_nanos,
        }
    }
}

impl Inbox {
    fn beside(&self) -> MutexGuard<'_, Beside> {
        // What is guarded is whole at every step, whoever panicked elsewhere.
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: u32) -> Option<Arc<ClassMap>> {
        self.beside().labels.get(&id).cloned()
    }

    fn labels(&self, payload: &ZBytes) {
        let checked = v1::LabelMap::decode(&payload.to_bytes()[..])
            .map_err(|e| e.to_string())
            .and_then(|labels| class_map(&labels));
        match checked {
            Ok(classes) => {
                let mut beside = self.beside();
                // A camera has one map at a time; a restarted daemon may bring another.
                if beside.labels.len() >= 8 {
                    beside.labels.pop_first();
                }
                beside.labels.insert(classes.id(), Arc::new(classes));
            }
            Err(why) => tracing::warn!(%why, "label map refused"),
        }
    }

    fn token(&self, prefix: &KeyPrefix, sample: &Sample) {
        if let Ok(Key::Camera(_, CameraKey::Alive(session))) = prefix.parse(sample.key_expr().as_str()) {
            let mut beside = self.beside();
            match sample.kind() {
                SampleKind::Put => beside.alive.insert(session),
                SampleKind::Delete => beside.alive.remove(&session),
            };
            drop(beside);
            self.results.nudge();
        }
    }
}
