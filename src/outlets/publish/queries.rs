//! Answers to `get`: the last status, health, info and labels as sent, the schema, and the latest result.
//!
//! zenoh's thread only queues a query; a thread of ours answers. A full queue answers BUSY at once.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use prost::Message;
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::query::{Query, Queryable};

use super::camera::LatestOf;
use super::channel::Channel;
use super::handle::Shared;
use super::session::{PublishError, failed};
use crate::names::CameraId;
use crate::wire::keyexpr::{CameraKey, Key};
use crate::wire::{Attachment, Form, Named, SCHEMA_ENCODING, v1};

/// Queries that may wait.
const QUEUE: usize = 64;
const THREAD: &str = "publish/queries";

/// The running thread and its queryables.
#[derive(Debug)]
pub(super) struct Queries {
    queryables: Vec<Queryable<()>>,
    queue: Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Answer(Key, Query),
    Stop,
}

/// A refusal, as `maskcast.v1.Error` says it.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: v1::ErrorCode,
    message: String,
    field: String,
    hint: &'static str,
}

struct Reply {
    payload: ZBytes,
    encoding: String,
    attachment: Option<Attachment>,
}

impl Queries {
    pub(super) fn declare(session: &zenoh::Session, shared: &Arc<Shared>) -> Result<Queries, PublishError> {
        let (queue, jobs) = bounded(QUEUE);
        let mut queryables = Vec::new();
        for key in shared.keys() {
            if matches!(key, Key::Alive(_) | Key::Camera(_, CameraKey::Alive(_))) {
                continue;
            }
            queryables.push(queryable(session, shared, key, queue.clone())?);
        }
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || run(&worker, &jobs))
            .map_err(|why| PublishError::Thread { name: THREAD, why })?;
        Ok(Queries {
            queryables,
            queue,
            thread: Some(thread),
        })
    }

    pub(super) fn stop(mut self) {
        for queryable in self.queryables.drain(..) {
            if let Err(why) = queryable.undeclare().wait() {
                tracing::debug!(%why, "queryable was not undeclared");
            }
        }
        // The thread empties its queue first, so there is room sooner or later.
        let told = self.queue.send(Job::Stop);
        if told.is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("thread {THREAD} panicked");
        }
    }
}

fn queryable(
    session: &zenoh::Session,
    shared: &Shared,
    key: Key,
    queue: Sender<Job>,
) -> Result<Queryable<()>, PublishError> {
    let expr = KeyExpr::from(shared.prefix.expr(&key)?);
    let text = shared.prefix.text(&key);
    session
        .declare_queryable(expr)
        .callback(move |query| {
            if let Err(TrySendError::Full(Job::Answer(_, query))) = queue.try_send(Job::Answer(key.clone(), query)) {
                refuse(
                    &query,
                    &Refusal {
                        code: v1::ErrorCode::Busy,
                        message: format!("{QUEUE} queries are waiting already"),
                        field: String::new(),
                        hint: "ask again later",
                    },
                );
            }
        })
        .wait()
        .map_err(failed(format!("answer queries for {text}")))
}

fn run(shared: &Shared, jobs: &Receiver<Job>) {
    while let Ok(Job::Answer(key, query)) = jobs.recv() {
        match answer(shared, &key, query.parameters().as_str()) {
            Ok(reply) => {
                let mut builder = query
                    .reply(shared.prefix.text(&key), reply.payload)
                    .encoding(reply.encoding);
                if let Some(attachment) = reply.attachment {
                    builder = builder.attachment(attachment.encode());
                }
                if let Err(why) = builder.wait() {
                    tracing::debug!(%why, "reply failed");
                }
            }
            Err(refusal) => refuse(&query, &refusal),
        }
    }
}

fn refuse(query: &Query, refusal: &Refusal) {
    let error = v1::Error {
        code: refusal.code.into(),
        message: refusal.message.clone(),
        field: refusal.field.clone(),
        hint: refusal.hint.to_owned(),
    };
    let reply = query
        .reply_err(error.encode_to_vec())
        .encoding(v1::Error::encoding())
        .wait();
    if let Err(why) = reply {
        tracing::debug!(%why, "error reply failed");
    }
}

fn answer(shared: &Shared, key: &Key, parameters: &str) -> Result<Reply, Refusal> {
    let parameters = parse(parameters)?;
    let room = |camera: &CameraId| shared.cameras.get(camera).ok_or_else(|| unknown_camera(camera));
    if let Key::Camera(camera, CameraKey::Result(form)) = key {
        let asked = ResultQuery::of(&parameters)?;
        let latest = room(camera)?
            .latest(asked.of)
            .ok_or_else(|| missing(v1::ErrorCode::NotFound, format!("camera {camera} has no result yet")))?;
        return asked.answer(shared, &latest, *form);
    }
    if let Some((name, _)) = parameters.first() {
        return Err(invalid(name, format!("parameter {name:?}: this key takes none")));
    }
    let kept = |channel: &Channel, encoding: String| {
        let (payload, attachment) = channel
            .last()
            .ok_or_else(|| missing(v1::ErrorCode::NotFound, "nothing was sent yet".to_owned()))?;
        Ok(Reply {
            payload,
            encoding,
            attachment: Some(attachment),
        })
    };
    match key {
        Key::Health => kept(&shared.health_channel, v1::Health::encoding()),
        Key::Info => kept(&shared.info_channel, v1::SystemInfo::encoding()),
        Key::Camera(camera, CameraKey::Status) => kept(&room(camera)?.status, v1::CameraStatus::encoding()),
        Key::Camera(camera, CameraKey::Labels) => kept(&room(camera)?.labels, v1::LabelMap::encoding()),
        _ => Ok(Reply {
            payload: ZBytes::from(crate::wire::schema()),
            encoding: SCHEMA_ENCODING.to_owned(),
            attachment: None,
        }),
    }
}

/// What a query for a result asks for.
#[derive(Debug, PartialEq, Eq)]
struct ResultQuery {
    of: LatestOf,
    max_age_millis: Option<u32>,
}

impl ResultQuery {
    fn of(parameters: &[(String, String)]) -> Result<ResultQuery, Refusal> {
        let mut query = ResultQuery {
            of: LatestOf::Answers,
            max_age_millis: None,
        };
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("tombstones", "1") => query.of = LatestOf::Results,
                ("tombstones", _) => return Err(invalid(name, format!("tombstones: expected 1, got {value:?}"))),
                ("max_age_millis", _) => {
                    let wrong = || invalid(name, format!("max_age_millis: expected 1 to 4294967295, got {value:?}"));
                    let millis = value.parse().ok().filter(|v| *v >= 1).ok_or_else(wrong)?;
                    query.max_age_millis = Some(millis);
                }
                _ => {
                    let known = "expected max_age_millis or tombstones";
                    return Err(invalid(name, format!("parameter {name:?} is unknown: {known}")));
                }
            }
        }
        Ok(query)
    }

    fn answer(&self, shared: &Shared, latest: &super::camera::Latest, form: Form) -> Result<Reply, Refusal> {
        if let Some(limit) = self.max_age_millis {
            let age = latest.age_nanos(shared.clocks.unix_nanos()) / 1_000_000;
            if age > i64::from(limit) {
                let message = format!("the latest result is {age} ms old, the limit is {limit} ms");
                return Err(missing(v1::ErrorCode::TooOld, message));
            }
        }
        let payload = latest.message(shared, form).ok_or_else(|| Refusal {
            code: v1::ErrorCode::NotComputed,
            message: "masks of the latest frame were not computed: nobody wanted them".to_owned(),
            field: String::new(),
            hint: "subscribe to result, or set [publish] idle = \"masks\"",
        })?;
        Ok(Reply {
            payload,
            encoding: v1::FrameResult::encoding(),
            attachment: Some(latest.attachment(shared)),
        })
    }
}

/// `name=value` pairs separated by `;`. `_anyke` is zenoh's own.
fn parse(parameters: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut found: Vec<(String, String)> = Vec::new();
    for part in parameters.split(';').filter(|p| !p.is_empty() && *p != "_anyke") {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let shown: String = name.chars().take(100).collect();
        if found.iter().any(|(other, _)| *other == shown) {
            return Err(invalid(&shown, format!("parameter {shown:?} is given twice")));
        }
        found.push((shown, value.chars().take(100).collect()));
    }
    Ok(found)
}

fn invalid(field: &str, message: String) -> Refusal {
    Refusal {
        code: v1::ErrorCode::InvalidRequest,
        message,
        field: field.to_owned(),
        hint: "",
    }
}

fn missing(code: v1::ErrorCode, message: String) -> Refusal {
    Refusal {
        code,
        message,
        field: String::new(),
        hint: "",
    }
}

fn unknown_camera(camera: &CameraId) -> Refusal {
    missing(v1::ErrorCode::UnknownCamera, format!("camera {camera} is not served"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<ResultQuery, Refusal> {
        ResultQuery::of(&parse(text)?)
    }

    #[test]
    fn parameters_are_read_strictly() {
        assert_eq!(
            query(""),
            Ok(ResultQuery {
                of: LatestOf::Answers,
                max_age_millis: None
            })
        );
        let both = ResultQuery {
            of: LatestOf::Results,
            max_age_millis: Some(250),
        };
        assert_eq!(query("max_age_millis=250;tombstones=1;_anyke"), Ok(both));
        for (text, field) in [
            ("fresh=1", "fresh"),
            ("tombstones=0", "tombstones"),
            ("max_age_millis=-1", "max_age_millis"),
            ("max_age_millis=0", "max_age_millis"),
            ("max_age_millis", "max_age_millis"),
            ("tombstones=1;tombstones=1", "tombstones"),
            ("Tombstones=1", "Tombstones"),
        ] {
            let refusal = query(text).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field.as_str()),
                (v1::ErrorCode::InvalidRequest, field),
                "{text}"
            );
        }
    }
}
