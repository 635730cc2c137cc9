//! The session of a client, and the questions it may ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::key_expr::KeyExpr;

use super::camera::CameraBuilder;
use super::observe::Observer;
use crate::instances::ClassMap;
use crate::names::{CameraId, CameraIdError};
use crate::time::{Clocks, SystemClocks};
use crate::wire::keyexpr::{CameraKey, Cameras, Key, KeyError, KeyPrefix, Pattern};
use crate::wire::{DEFAULT_ENDPOINT, DEFAULT_PREFIX, Form, LEASE, v1, without_source_lines};

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectConfig {
    /// zenoh endpoints, e.g. `tcp/10.0.0.5:7447`. Empty: what `config` says.
    pub endpoints: Vec<String>,
    pub prefix: String,
    pub mode: ConnectMode,
    /// A zenoh json5 file: credentials, TLS, limits.
    pub config: Option<PathBuf>,
    /// How long `connect` tries.
    pub connect_timeout: Duration,
}

/// How the client joins zenoh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectMode {
    /// One link to a daemon or router; reconnects by itself.
    #[default]
    Client,
    /// A peer among peers.
    Peer,
}

impl Default for ConnectConfig {
    fn default() -> ConnectConfig {
        ConnectConfig {
            endpoints: vec![DEFAULT_ENDPOINT.to_owned()],
            prefix: DEFAULT_PREFIX.to_owned(),
            mode: ConnectMode::Client,
            config: None,
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// Why the client cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach {endpoints:?}: {why}; is maskcast running, and does it listen there ([zenoh] listen)?")]
    Connect { endpoints: Vec<String>, why: String },
    #[error("zenoh config {file:?}: {why}")]
    ConfigFile { file: PathBuf, why: String },
    #[error("zenoh setting {key}: {why}")]
    Setting { key: &'static str, why: String },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Camera(#[from] CameraIdError),
    #[error("zenoh: cannot {what}: {why}")]
    Zenoh { what: String, why: String },
    #[error("no reply from {key} within {millis} ms")]
    NoReply { key: String, millis: u128 },
    #[error("{key}: refused: {}{}", error.message, if error.hint.is_empty() { String::new() } else { format!(" ({})", error.hint) })]
    Refused { key: String, error: v1::Error },
    #[error("{key}: malformed reply: {why}")]
    Malformed { key: String, why: String },
}

/// Names what failed at the zenoh call that failed.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(zenoh::Error) -> ClientError {
    let what = what.into();
    move |why| ClientError::Zenoh {
        what,
        why: without_source_lines(&why),
    }
}

/// A connection to a daemon. Cheap to clone; lives as long as a clone or one of its cameras.
#[derive(Debug, Clone)]
pub struct Maskcast {
    pub(super) session: zenoh::Session,
    pub(super) prefix: KeyPrefix,
    pub(super) clocks: Arc<dyn Clocks>,
}

impl Maskcast {
    pub fn connect(config: &ConnectConfig) -> Result<Maskcast, ClientError> {
        let prefix = KeyPrefix::new(&config.prefix)?;
        let session = zenoh::open(zenoh_config(config)?)
            .wait()
            .map_err(|why| ClientError::Connect {
                endpoints: config.endpoints.clone(),
                why: without_source_lines(&why),
            })?;
        Ok(Maskcast {
            session,
            prefix,
            clocks: Arc::new(SystemClocks),
        })
    }

    /// Results of one camera; see [`CameraBuilder::open`].
    pub fn camera(&self, id: &str) -> CameraBuilder {
        CameraBuilder::new(self.clone(), id)
    }

    /// Every message of one camera or of all: for people and tools, without any judgement.
    pub fn observe(&self, form: Form, cameras: Cameras) -> Result<Observer, ClientError> {
        Observer::open(self, form, cameras)
    }

    /// Cameras that are declared by a daemon, streaming or not.
    pub fn cameras(&self, timeout: Duration) -> Result<Vec<CameraId>, ClientError> {
        let info = self.info(timeout)?;
        info.cameras.iter().map(|c| Ok(CameraId::new(&c.camera)?)).collect()
    }

    pub fn info(&self, timeout: Duration) -> Result<v1::SystemInfo, ClientError> {
        self.get(&Key::Info, "", timeout)
    }

    pub fn health(&self, timeout: Duration) -> Result<v1::Health, ClientError> {
        self.get(&Key::Health, "", timeout)
    }

    pub fn status(&self, camera: &CameraId, timeout: Duration) -> Result<v1::CameraStatus, ClientError> {
        self.get(&Key::Camera(camera.clone(), CameraKey::Status), "", timeout)
    }

    /// Class names of a camera, checked against their id.
    pub fn labels(&self, camera: &CameraId, timeout: Duration) -> Result<ClassMap, ClientError> {
        let key = Key::Camera(camera.clone(), CameraKey::Labels);
        let labels: v1::LabelMap = self.get(&key, "", timeout)?;
        class_map(&labels).map_err(|why| ClientError::Malformed {
            key: self.prefix.text(&key),
            why,
        })
    }

    /// Sessions that hold a token of the prefix.
    pub fn daemons(&self, timeout: Duration) -> Result<Vec<crate::wire::SessionId>, ClientError> {
        let tokens = self.prefix.pattern(&Pattern::DaemonTokens)?;
        let replies = self
            .session
            .liveliness()
            .get(&tokens)
            .timeout(timeout)
            .with(FifoChannel::new(64))
            .wait()
            .map_err(failed(format!("ask for tokens under {tokens}")))?;
        let sessions =
            replies.iter().filter_map(
                |reply| match self.prefix.parse(reply.into_result().ok()?.key_expr().as_str()) {
                    Ok(Key::Alive(session)) => Some(session),
                    _ => None,
                },
            );
        Ok(sessions.collect())
    }

    /// Asks one key for one message. `parameters`: `name=value` separated by `;`.
    pub fn get<M: Message + Default>(&self, key: &Key, parameters: &str, timeout: Duration) -> Result<M, ClientError> {
        let text = self.prefix.text(key);
        let payload = self.get_bytes(key, parameters, timeout)?;
        M::decode(&payload[..]).map_err(|why| ClientError::Malformed {
            key: text,
            why: without_source_lines(&why),
        })
    }

    /// As [`Maskcast::get`], without reading the payload.
    pub fn get_bytes(&self, key: &Key, parameters: &str, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let text = self.prefix.text(key);
        let selector = zenoh::query::Selector::from((KeyExpr::from(self.prefix.expr(key)?), parameters));
        let replies = self
            .session
            .get(selector)
            .timeout(timeout)
            .with(FifoChannel::new(4))
            .wait()
            .map_err(failed(format!("ask {text}")))?;
        let Some(reply) = replies.iter().next() else {
            return Err(ClientError::NoReply {
                key: text,
                millis: timeout.as_millis(),
            });
        };
        match reply.into_result() {
            Ok(sample) => Ok(sample.payload().to_bytes().into_owned()),
            Err(error) => {
                let bytes = error.payload().to_bytes();
                Err(match v1::Error::decode(&bytes[..]) {
                    Ok(error) if !error.message.is_empty() => ClientError::Refused { key: text, error },
                    // zenoh's own error reply: a query that timed out on the way.
                    _ => ClientError::NoReply {
                        key: text,
                        millis: timeout.as_millis(),
                    },
                })
            }
        }
    }
}

/// The class map of a message, with its id recomputed.
pub(super) fn class_map(labels: &v1::LabelMap) -> Result<ClassMap, String> {
    let in_order = (0u32..).zip(&labels.entries).all(|(id, entry)| entry.class_id == id);
    if !in_order {
        return Err("label map: expected class ids 0, 1, 2 ... in order".to_owned());
    }
    let classes = ClassMap {
        names: labels.entries.iter().map(|e| e.name.clone()).collect(),
    };
    if classes.id() != labels.id {
        return Err(format!(
            "label map: expected id {:#010x} of its entries, got {:#010x}",
            classes.id(),
            labels.id
        ));
    }
    Ok(classes)
}

fn zenoh_config(connect: &ConnectConfig) -> Result<zenoh::Config, ClientError> {
    let mut config = match &connect.config {
        Some(file) => zenoh::Config::from_file(file).map_err(|why| ClientError::ConfigFile {
            file: file.clone(),
            why: without_source_lines(&why),
        })?,
        None => zenoh::Config::default(),
    };
    let mut set = |key: &'static str, value: String| {
        config.insert_json5(key, &value).map_err(|why| ClientError::Setting {
            key,
            why: format!("{value}: {}", without_source_lines(&why)),
        })
    };
    if connect.config.is_none() {
        let mode = match connect.mode {
            ConnectMode::Client => "client",
            ConnectMode::Peer => "peer",
        };
        set("mode", format!("\"{mode}\""))?;
        set("scouting/multicast/enabled", "false".to_owned())?;
        set("transport/link/tx/lease", LEASE.as_millis().to_string())?;
        // A client of peers listens nowhere itself.
        set("listen/endpoints", "[]".to_owned())?;
        set("connect/timeout_ms", connect.connect_timeout.as_millis().to_string())?;
        set("connect/exit_on_failure", "true".to_owned())?;
        set(
            "connect/retry",
            r#"{ period_init_ms: 100, period_max_ms: 1000, period_increase_factor: 2 }"#.to_owned(),
        )?;
    }
    if !connect.endpoints.is_empty() {
        set(
            "connect/endpoints",
            serde_json::Value::from(connect.endpoints.as_slice()).to_string(),
        )?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_maps_are_checked_against_their_id() {
        let classes = ClassMap {
            names: vec!["box".to_owned(), "pallet".to_owned()],
        };
        let mut labels = crate::wire::label_map(&classes);
        assert_eq!(class_map(&labels), Ok(classes));
        labels.entries[1].name = "crate".to_owned();
        assert!(class_map(&labels).is_err());
        labels.entries.swap(0, 1);
        assert_eq!(
            class_map(&labels).unwrap_err(),
            "label map: expected class ids 0, 1, 2 ... in order"
        );
    }

    #[test]
    fn nothing_there_is_said_with_the_endpoint() {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = ConnectConfig {
            endpoints: vec![format!("tcp/{free}")],
            connect_timeout: Duration::from_millis(300),
            ..ConnectConfig::default()
        };
        let error = Maskcast::connect(&config).unwrap_err().to_string();
        assert!(
            error.contains(&free.to_string()) && error.contains("is maskcast running"),
            "{error}"
        );
    }
}
