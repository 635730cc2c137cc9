//! One published key: its priority, its encoding, its attachment. Priorities and congestion control of every key stand here.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::matching::MatchingStatus;
use zenoh::qos::{CongestionControl, Priority};

use super::demand::lock;
use super::session::{PublishError, failed};
use crate::wire::keyexpr::{Key, KeyPrefix};
use crate::wire::{Attachment, Named};

/// How urgent a key's messages are. Congestion always drops: blocking would stall the publisher for seconds and then
/// close the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// status, health.
    Heartbeat,
    /// result, result/*.
    Result,
    /// labels, info.
    Description,
}

impl Urgency {
    fn priority(self) -> Priority {
        match self {
            Urgency::Heartbeat => Priority::RealTime,
            Urgency::Result => Priority::InteractiveHigh,
            Urgency::Description => Priority::Data,
        }
    }

    /// Whether a message is sent at once instead of waiting for its batch to fill.
    fn express(self) -> bool {
        self != Urgency::Description
    }
}

/// A declared publisher.
#[derive(Debug)]
pub(super) struct Channel {
    publisher: zenoh::pubsub::Publisher<'static>,
    failures: AtomicU64,
    /// The last message of a description or heartbeat, for those who ask.
    last: Mutex<Option<(ZBytes, Attachment)>>,
}

impl Channel {
    pub(super) fn declare<M: Named>(
        session: &zenoh::Session,
        prefix: &KeyPrefix,
        key: &Key,
        urgency: Urgency,
    ) -> Result<Channel, PublishError> {
        let expr = KeyExpr::from(prefix.expr(key)?);
        let publisher = session
            .declare_publisher(expr)
            .encoding(M::encoding())
            .congestion_control(CongestionControl::Drop)
            .priority(urgency.priority())
            .express(urgency.express())
            .wait()
            .map_err(failed(format!("declare {}", prefix.text(key))))?;
        Ok(Channel {
            publisher,
            failures: AtomicU64::new(0),
            last: Mutex::default(),
        })
    }

    /// Calls `changed` from zenoh's thread whenever the first subscriber comes or the last one goes.
    pub(super) fn watch(&self, changed: impl Fn(bool) + Send + Sync + 'static) -> Result<(), PublishError> {
        let name = self.publisher.key_expr().to_string();
        let status = |s: MatchingStatus| s.matching();
        let changed = std::sync::Arc::new(changed);
        let listener = changed.clone();
        self.publisher
            .matching_listener()
            .callback(move |s| listener(status(s)))
            .background()
            .wait()
            .map_err(failed(format!("watch the demand for {name}")))?;
        // The listener reports changes only; who was there before it is asked for once.
        let now = self
            .publisher
            .matching_status()
            .wait()
            .map_err(failed(format!("ask for the demand for {name}")))?;
        if status(now) {
            changed(true);
        }
        Ok(())
    }

    /// Like [`Channel::put`], and keeps the message for [`Channel::last`].
    pub(super) fn put_kept(&self, payload: ZBytes, attachment: Attachment) {
        self.put(payload.clone(), &attachment);
        *lock(&self.last) = Some((payload, attachment));
    }

    pub(super) fn last(&self) -> Option<(ZBytes, Attachment)> {
        lock(&self.last).clone()
    }

    /// Hands one message to zenoh. Failures are counted and logged, the first of every hundred.
    pub(super) fn put(&self, payload: ZBytes, attachment: &Attachment) {
        let put = self.publisher.put(payload).attachment(attachment.encode()).wait();
        if let Err(why) = put {
            let before = self.failures.fetch_add(1, Ordering::Relaxed);
            if before.is_multiple_of(100) {
                tracing::warn!(key = %self.publisher.key_expr(), failures = before + 1, %why, "put failed");
            }
        }
    }
}
