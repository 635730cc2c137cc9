//! Everything a daemon says, unjudged: for `maskcast watch`, tests and tools. A robot uses [`super::Camera`].

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};

use super::connect::{ClientError, Maskcast, failed};
use super::ring::Ring;
use crate::names::CameraId;
use crate::wire::attachment::Attachment;
use crate::wire::decode::{DecodeError, Decoded, decode_result};
use crate::wire::keyexpr::{CameraKey, Cameras, Key, KeyPrefix, Pattern};
use crate::wire::{Form, SessionId, v1};

/// Messages that may wait.
const RING: usize = 4096;

/// One message as it came.
#[derive(Debug)]
pub struct Observed {
    pub what: Observation,
    /// `None` where it is missing or malformed.
    pub attachment: Option<Attachment>,
    pub received_unix_nanos: i64,
    /// Length of the payload.
    pub bytes: usize,
    /// Messages overwritten in our ring before this one.
    pub skipped: u64,
}

#[derive(Debug)]
pub enum Observation {
    Result(CameraId, Box<Result<Decoded, DecodeError>>),
    Status(CameraId, Box<v1::CameraStatus>),
    Health(Box<v1::Health>),
    /// A camera's token came or went.
    Token(CameraId, SessionId, Liveliness),
    /// The daemon's.
    Daemon(SessionId, Liveliness),
    /// Not readable as what its key says.
    Malformed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveliness {
    Alive,
    Gone,
}

/// As zenoh handed it over: reading it is left to the user's thread.
#[derive(Debug)]
struct Raw {
    sample: Sample,
    received_unix_nanos: i64,
}

/// A subscription to results of one form, status, health and tokens.
#[derive(Debug)]
pub struct Observer {
    prefix: KeyPrefix,
    ring: Arc<Ring<Raw>>,
    _subscribers: Vec<Subscriber<()>>,
}

impl Observer {
    pub(super) fn open(maskcast: &Maskcast, form: Form, cameras: Cameras) -> Result<Observer, ClientError> {
        let ring = Arc::new(Ring::new(RING));
        let prefix = &maskcast.prefix;
        let deliver = || {
            let (ring, clocks) = (ring.clone(), maskcast.clocks.clone());
            move |sample: Sample| {
                ring.push(Raw {
                    sample,
                    received_unix_nanos: clocks.unix_nanos(),
                });
            }
        };
        let mut subscribers = Vec::new();
        for pattern in [Pattern::DaemonTokens, Pattern::CameraTokens(cameras.clone())] {
            let expr = prefix.pattern(&pattern)?;
            let subscriber = maskcast
                .session
                .liveliness()
                .declare_subscriber(&expr)
                .history(true)
                .callback(deliver())
                .wait()
                .map_err(failed(format!("watch {expr}")))?;
            subscribers.push(subscriber);
        }
        let health = prefix.expr(&Key::Health)?;
        let status = prefix.pattern(&Pattern::Status(cameras.clone()))?;
        let results = prefix.pattern(&Pattern::Result(cameras, form))?;
        for expr in [health, status, results] {
            let text = expr.to_string();
            let subscriber = maskcast
                .session
                .declare_subscriber(KeyExpr::from(expr))
                .callback(deliver())
                .wait()
                .map_err(failed(format!("subscribe to {text}")))?;
            subscribers.push(subscriber);
        }
        Ok(Observer {
            prefix: prefix.clone(),
            ring,
            _subscribers: subscribers,
        })
    }

    /// The next message in order of arrival, or nothing within `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Observed> {
        let taken = self.ring.take(timeout)?;
        let Raw {
            sample,
            received_unix_nanos,
        } = taken.item;
        let payload = sample.payload().to_bytes();
        Some(Observed {
            what: observation(&self.prefix, &sample, &payload),
            attachment: sample.attachment().and_then(|a| Attachment::decode(&a.to_bytes()).ok()),
            received_unix_nanos,
            bytes: payload.len(),
            skipped: taken.overwritten,
        })
    }
}

fn observation(prefix: &KeyPrefix, sample: &Sample, payload: &[u8]) -> Observation {
    let liveliness = match sample.kind() {
        SampleKind::Put => Liveliness::Alive,
        SampleKind::Delete => Liveliness::Gone,
    };
    let key = sample.key_expr().as_str();
    let malformed = |why: &dyn std::fmt::Display| Observation::Malformed(format!("{key}: {why}"));
    match prefix.parse(key) {
        Ok(Key::Alive(session)) => Observation::Daemon(session, liveliness),
        Ok(Key::Camera(id, CameraKey::Alive(session))) => Observation::Token(id, session, liveliness),
        Ok(Key::Camera(id, CameraKey::Result(_))) => Observation::Result(id, Box::new(decode_result(payload))),
        Ok(Key::Camera(id, CameraKey::Status)) => match v1::CameraStatus::decode(payload) {
            Ok(status) => Observation::Status(id, Box::new(status)),
            Err(why) => malformed(&why),
        },
        Ok(Key::Health) => match v1::Health::decode(payload) {
            Ok(health) => Observation::Health(Box::new(health)),
            Err(why) => malformed(&why),
        },
        Ok(_) => malformed(&"not expected here"),
        Err(why) => malformed(&why),
    }
}
