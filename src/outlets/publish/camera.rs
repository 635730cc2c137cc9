//! One camera as the outlet sees it: its channels, who wants which form, and what its status says.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use zenoh::bytes::ZBytes;

use super::channel::{Channel, Urgency};
use super::demand::{FormDemand, lock};
use super::figures::{CameraFigures, Log};
use super::handle::{Shared, Wake};
use super::heartbeat::STATUS_PERIOD;
use super::session::PublishError;
use super::{CameraInfo, PublishSettings};
use crate::config::DemandPolicy;
use crate::names::CameraId;
use crate::outlets::{Outcome, Report};
use crate::time::{Clocks, nanos};
use crate::wire::encode::{Encoded, FrameParts, Marks, OutcomeParts, Published, encode_result};
use crate::wire::keyexpr::{CameraKey, Key, KeyPrefix};
use crate::wire::{Attachment, Form, SessionId, v1};

/// A camera's channels and state.
#[derive(Debug)]
pub(super) struct CameraRoom {
    pub(super) id: CameraId,
    pub(super) status: Channel,
    pub(super) labels: Channel,
    forms: [FormChannel; 2],
    book: Mutex<Book>,
    /// A status is to be sent at once.
    status_due: AtomicBool,
}

#[derive(Debug)]
struct FormChannel {
    form: Form,
    channel: Channel,
    demand: Arc<FormDemand>,
}

/// What status and queries tell.
#[derive(Debug)]
struct Book {
    info: CameraInfo,
    state: v1::CameraState,
    state_since_unix_nanos: i64,
    detail: String,
    reconnects: u32,
    status_number: u64,
    last_result_number: u64,
    last_frame_number: u64,
    last_answer_capture_unix_nanos: i64,
    capture_time_source: v1::CaptureTimeSource,
    camera_clock_offset_nanos: i64,
    degraded: Vec<v1::Degradation>,
    log: Log,
    latest_answer: Option<Arc<Latest>>,
    latest: Option<Arc<Latest>>,
}

/// The last result, for those who ask instead of listening.
#[derive(Debug)]
pub(super) struct Latest {
    /// Without its picture, which belongs to a pool of few.
    report: Report,
    published: Published,
    /// As sent, by place in [`Form::ALL`]; `None` where nobody wanted it.
    sent: [Option<ZBytes>; 2],
}

impl CameraRoom {
    pub(super) fn declare(
        session: &zenoh::Session,
        prefix: &KeyPrefix,
        info: &CameraInfo,
        settings: &PublishSettings,
        clocks: &Arc<dyn Clocks>,
        wake: &Arc<Wake>,
    ) -> Result<CameraRoom, PublishError> {
        let key = |key| Key::Camera(info.camera.clone(), key);
        let form = |form: Form| -> Result<FormChannel, PublishError> {
            let result = key(CameraKey::Result(form));
            let channel = Channel::declare::<v1::FrameResult>(session, prefix, &result, Urgency::Result)?;
            let demand = Arc::new(FormDemand::new(form, settings.publish.demand));
            if settings.publish.demand == DemandPolicy::Matching {
                let (demand, clocks, wake) = (demand.clone(), clocks.clone(), wake.clone());
                channel.watch(move |matching| {
                    demand.set_matching(matching, clocks.mono_nanos());
                    wake.statuses();
                })?;
            }
            Ok(FormChannel { form, channel, demand })
        };
        let [first, second] = Form::ALL;
        Ok(CameraRoom {
            id: info.camera.clone(),
            status: Channel::declare::<v1::CameraStatus>(session, prefix, &key(CameraKey::Status), Urgency::Heartbeat)?,
            labels: Channel::declare::<v1::LabelMap>(session, prefix, &key(CameraKey::Labels), Urgency::Description)?,
            forms: [form(first)?, form(second)?],
            book: Mutex::new(Book {
                info: info.clone(),
                state: v1::CameraState::Connecting,
                state_since_unix_nanos: clocks.unix_nanos(),
                detail: String::new(),
                reconnects: 0,
                status_number: 0,
                last_result_number: 0,
                last_frame_number: 0,
                last_answer_capture_unix_nanos: 0,
                capture_time_source: v1::CaptureTimeSource::Unspecified,
                camera_clock_offset_nanos: 0,
                degraded: Vec::new(),
                log: Log::new(clocks.mono_nanos()),
                latest_answer: None,
                latest: None,
            }),
            status_due: AtomicBool::new(true),
        })
    }

    pub(super) fn wants(&self, form: Form, now: i64) -> bool {
        self.forms.iter().any(|f| f.form == form && f.demand.wanted(now))
    }

    /// Sends the report in each form that is wanted and notes it. Returns whether the camera's description changed.
    pub(super) fn deliver(&self, shared: &Shared, report: &Report) -> bool {
        let now = shared.clocks.mono_nanos();
        let mut sent = [None, None];
        let mut first = None;
        for (place, f) in self.forms.iter().enumerate() {
            if !f.demand.admits(report, now) {
                continue;
            }
            let encoded = shared.encode(report, f.form, || shared.now());
            let published = encoded.published;
            let payload = ZBytes::from(encoded.bytes);
            f.channel.put(payload.clone(), &shared.attachment(report, published));
            sent[place] = Some(payload);
            first.get_or_insert(published);
        }
        self.note(report, first.unwrap_or_else(|| shared.now()), sent)
    }

    fn note(&self, report: &Report, published: Published, sent: [Option<ZBytes>; 2]) -> bool {
        let latest = Arc::new(Latest {
            report: Report {
                image: None,
                ..report.clone()
            },
            published,
            sent,
        });
        let mut book = lock(&self.book);
        book.last_result_number = report.result_number;
        if report.frame_number > 0 {
            book.last_frame_number = report.frame_number;
        }
        if let Some(capture) = report.capture_time {
            book.capture_time_source = capture.source.into();
        }
        book.degraded.clone_from(&report.degraded);
        match &report.outcome {
            Outcome::Answer { .. } => {
                let capture = report.capture_time;
                let latency = capture.map(|c| published.mono_nanos.saturating_sub(c.mono_nanos).max(0));
                book.log.answer(published.mono_nanos, latency);
                book.last_answer_capture_unix_nanos = capture.map_or(0, |c| c.unix_nanos);
                book.latest_answer = Some(latest.clone());
            }
            Outcome::Tombstone { reason, .. } => book.log.tombstone(published.mono_nanos, *reason),
        }
        book.latest = Some(latest);
        let learnt = report.size.is_some() && report.size != book.info.size;
        if learnt {
            book.info.size = report.size;
        }
        learnt
    }

    /// Returns whether anything changed.
    pub(super) fn set_state(&self, state: v1::CameraState, detail: &str, reconnects: u32, unix_nanos: i64) -> bool {
        let mut book = lock(&self.book);
        let same = (book.state, book.detail.as_str(), book.reconnects) == (state, detail, reconnects);
        if same {
            return false;
        }
        if book.state != state {
            book.state = state;
            book.state_since_unix_nanos = unix_nanos;
        }
        book.detail = detail.to_owned();
        book.reconnects = reconnects;
        self.status_due.store(true, Ordering::SeqCst);
        true
    }

    /// Returns whether the description changed.
    pub(super) fn set_nominal_hz(&self, hz: f32) -> bool {
        let mut book = lock(&self.book);
        let changed = book.info.nominal_hz != hz;
        book.info.nominal_hz = hz;
        changed
    }

    pub(super) fn set_clock_offset(&self, nanos: i64) {
        lock(&self.book).camera_clock_offset_nanos = nanos;
    }

    pub(super) fn state(&self) -> v1::CameraState {
        lock(&self.book).state
    }

    pub(super) fn reconnects(&self) -> u32 {
        lock(&self.book).reconnects
    }

    pub(super) fn figures(&self, now: i64) -> CameraFigures {
        let snapshot = lock(&self.book).log.snapshot(now);
        snapshot.figures()
    }

    pub(super) fn take_status_due(&self) -> bool {
        self.status_due.swap(false, Ordering::SeqCst)
    }

    pub(super) fn summary(&self) -> v1::system_info::CameraSummary {
        let info = &lock(&self.book).info;
        v1::system_info::CameraSummary {
            camera: info.camera.to_string(),
            source: info.source.clone(),
            width_px: info.size.map_or(0, |s| s.width),
            height_px: info.size.map_or(0, |s| s.height),
            nominal_hz: info.nominal_hz,
            valid_for_nanos: nanos(info.valid_for),
        }
    }

    /// Builds the next heartbeat.
    pub(super) fn next_status(&self, session: SessionId, now: Published) -> v1::CameraStatus {
        let (snapshot, mut status) = {
            let mut book = lock(&self.book);
            book.status_number += 1;
            let status = v1::CameraStatus {
                camera: self.id.to_string(),
                session_id: session.as_bytes().to_vec().into(),
                status_number: book.status_number,
                time_unix_nanos: now.unix_nanos,
                period_nanos: nanos(STATUS_PERIOD),
                state: book.state.into(),
                state_since_unix_nanos: book.state_since_unix_nanos,
                last_result_number: book.last_result_number,
                last_frame_number: book.last_frame_number,
                last_answer_capture_time_unix_nanos: book.last_answer_capture_unix_nanos,
                capture_time_source: book.capture_time_source.into(),
                camera_clock_offset_nanos: book.camera_clock_offset_nanos,
                degraded: book.degraded.iter().map(|d| i32::from(*d)).collect(),
                detail: book.detail.clone(),
                reconnects: book.reconnects,
                ..v1::CameraStatus::default()
            };
            (book.log.snapshot(now.mono_nanos), status)
        };
        // Sorting happens without the lock: the publishing thread waits for nobody.
        let figures = snapshot.figures();
        status.source_hz = figures.source_hz;
        status.answer_hz = figures.answer_hz;
        status.tombstone_hz = figures.tombstone_hz;
        status.capture_to_published_p50_millis = figures.capture_to_published_p50_millis;
        status.capture_to_published_p99_millis = figures.capture_to_published_p99_millis;
        status.tombstones = figures
            .tombstones
            .iter()
            .map(|(reason, count)| v1::camera_status::Count {
                reason: (*reason).into(),
                count: *count,
            })
            .collect();
        let forms = self.forms.iter().filter(|f| f.demand.wanted(now.mono_nanos));
        status.forms_published = forms.map(|f| v1::Form::from(f.form).into()).collect();
        status
    }

    /// The last answer, or with tombstones the last result of whatever kind.
    pub(super) fn latest(&self, what: LatestOf) -> Option<Arc<Latest>> {
        let book = lock(&self.book);
        match what {
            LatestOf::Answers => book.latest_answer.clone(),
            LatestOf::Results => book.latest.clone(),
        }
    }
}

/// What a query for the latest result accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LatestOf {
    Answers,
    /// Tombstones too.
    Results,
}

impl Latest {
    /// The message in `form`: the very bytes that were sent, else encoded now with its time of publication. `None`
    /// when masks were not computed for this frame.
    pub(super) fn message(&self, shared: &Shared, form: Form) -> Option<ZBytes> {
        let place = Form::ALL.iter().position(|f| *f == form)?;
        if let Some(sent) = &self.sent[place] {
            return Some(sent.clone());
        }
        if let Outcome::Answer { instances, .. } = &self.report.outcome
            && form.has_masks()
            && instances.iter().any(|i| i.mask.is_none())
        {
            return None;
        }
        Some(ZBytes::from(shared.encode(&self.report, form, || self.published).bytes))
    }

    pub(super) fn attachment(&self, shared: &Shared) -> Attachment {
        shared.attachment(&self.report, self.published)
    }

    /// Age of the frame, by capture time where known.
    pub(super) fn age_nanos(&self, now_unix_nanos: i64) -> i64 {
        let taken = self
            .report
            .capture_time
            .map_or(self.published.unix_nanos, |c| c.unix_nanos);
        now_unix_nanos.saturating_sub(taken)
    }
}

impl Shared {
    fn encode(&self, report: &Report, form: Form, publish: impl FnOnce() -> Published) -> Encoded {
        let marks = &report.marks;
        let parts = FrameParts {
            camera: &report.camera,
            session_id: self.identity.session_id,
            result_number: report.result_number,
            frame_number: report.frame_number,
            pts: report.pts,
            capture_time: report.capture_time,
            clock_state: self.clock_state(),
            size: report.size,
            outcome: match &report.outcome {
                Outcome::Answer {
                    instances,
                    score_threshold,
                } => OutcomeParts::Answer {
                    instances,
                    score_threshold: *score_threshold,
                },
                Outcome::Tombstone {
                    reason,
                    detail,
                    stalled_for_nanos,
                } => OutcomeParts::Tombstone {
                    reason: *reason,
                    detail,
                    stalled_for_nanos: *stalled_for_nanos,
                },
            },
            marks: Marks {
                arrival: marks.arrival,
                decoded: marks.decoded,
                submitted: marks.submitted,
                preprocessed: marks.preprocessed,
                inferred: marks.inferred,
                instances: marks.instances,
            },
            valid_for_nanos: report.valid_for_nanos,
            // A frame that was not submitted met no engine.
            engine_id: (marks.submitted != 0 || matches!(report.outcome, Outcome::Answer { .. }))
                .then_some(self.engine_id),
            label_map_id: self.label_map.id,
            degraded: &report.degraded,
        };
        encode_result(&parts, form, &self.limits, publish)
    }

    fn attachment(&self, report: &Report, published: Published) -> Attachment {
        Attachment {
            sequence: i64::try_from(report.result_number).unwrap_or(i64::MAX),
            unix_nanos: report.capture_time.map_or(published.unix_nanos, |c| c.unix_nanos),
            session_id: self.identity.session_id,
        }
    }
}
