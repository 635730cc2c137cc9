//! The daemon's zenoh session: its settings, and the claim on a prefix.
//!
//! Without a json5 file: peer, no multicast, timestamps on, lease 1000 ms, deep queues, listening on [`DEFAULT_ENDPOINT`] so that
//! `maskcast watch` and robots on this host find it without a router. When another process listens there already, a free
//! port is taken and the session connects to it, so that both stay in one network. A json5 file says everything itself;
//! `mode`, `connect` and `listen` of the launch file go over it.

use std::time::Duration;

use zenoh::Wait;
use zenoh::handlers::FifoChannel;

use crate::config;
use crate::wire::keyexpr::{Key, KeyError, KeyPrefix, Pattern};
use crate::wire::{DEFAULT_ENDPOINT, LEASE, SessionId, without_source_lines};

/// The priorities we publish with.
const QUEUES: [&str; 3] = [
    "transport/link/tx/queue/size/real_time",
    "transport/link/tx/queue/size/interactive_high",
    "transport/link/tx/queue/size/data",
];

/// zenoh's maximum.
const QUEUE_BATCHES: u32 = 16;

const ANY_PORT: &str = "tcp/127.0.0.1:0";

/// Why the outlet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("zenoh config {file:?}: {why}")]
    ConfigFile { file: std::path::PathBuf, why: String },
    #[error("[zenoh] {key} = {value}: {why}")]
    Setting {
        key: &'static str,
        value: String,
        why: String,
    },
    #[error("cannot open the zenoh session (listen {listen:?}, connect {connect:?}): {why}")]
    Open {
        listen: Vec<String>,
        connect: Vec<String>,
        why: String,
    },
    #[error(
        "key prefix {prefix:?} is in use by the running session {session}: stop it, or set another [publish] key_prefix"
    )]
    PrefixInUse { prefix: String, session: SessionId },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("zenoh: cannot {what}: {why}")]
    Zenoh { what: String, why: String },
    #[error("cannot start thread {name}: {why}")]
    Thread { name: &'static str, why: std::io::Error },
}

/// Names what failed at the zenoh call that failed.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(zenoh::Error) -> PublishError {
    let what = what.into();
    move |why| PublishError::Zenoh {
        what,
        why: without_source_lines(&why),
    }
}

/// A running session.
pub(super) struct Opened {
    pub(super) session: zenoh::Session,
    /// Endpoints that others may connect to.
    pub(super) listening: Vec<String>,
}

/// Opens the session of `[zenoh]`.
pub(super) fn open(settings: &config::Zenoh) -> Result<Opened, PublishError> {
    let default_listen =
        settings.config.is_none() && settings.listen.is_empty() && settings.mode.as_deref() != Some("client");
    if !default_listen {
        return open_with(settings, &settings.listen, &settings.connect);
    }
    match open_with(settings, &[DEFAULT_ENDPOINT.to_owned()], &settings.connect) {
        Err(PublishError::Open { why, .. }) => {
            // Only the port differs in the second attempt: any other fault shows again, with its own words.
            let mut connect = settings.connect.clone();
            connect.push(DEFAULT_ENDPOINT.to_owned());
            let opened = open_with(settings, &[ANY_PORT.to_owned()], &connect)?;
            tracing::warn!(
                %why,
                "cannot listen on {DEFAULT_ENDPOINT}, another process does: listening on {:?} and connecting there",
                opened.listening
            );
            Ok(opened)
        }
        other => other,
    }
}

fn open_with(settings: &config::Zenoh, listen: &[String], connect: &[String]) -> Result<Opened, PublishError> {
    let listen: Vec<String> = listen.iter().map(|endpoint| with_port(endpoint)).collect();
    let config = zenoh_config(settings, &listen, connect)?;
    let listening = listen_endpoints(&config);
    let session = zenoh::open(config).wait().map_err(|why| PublishError::Open {
        listen,
        connect: connect.to_vec(),
        why: without_source_lines(&why),
    })?;
    Ok(Opened { session, listening })
}

/// zenoh (without its unstable API) does not tell which port it took for port 0, so a free one is found here.
fn with_port(endpoint: &str) -> String {
    let free = || {
        let address = endpoint.strip_prefix("tcp/").filter(|a| a.ends_with(":0"))?;
        let socket = std::net::TcpListener::bind(address).ok()?;
        Some(format!("tcp/{}", socket.local_addr().ok()?))
    };
    free().unwrap_or_else(|| endpoint.to_owned())
}

/// What the config says for our mode; empty where it says nothing we can read.
fn listen_endpoints(config: &zenoh::Config) -> Vec<String> {
    let get = |key: &str| -> Option<serde_json::Value> { serde_json::from_str(&config.get_json(key).ok()?).ok() };
    let all = get("listen/endpoints").unwrap_or_default();
    let mode = get("mode")
        .and_then(|m| m.as_str().map(str::to_owned))
        .unwrap_or_default();
    let list = if all.is_object() { &all[mode.as_str()] } else { &all };
    let texts = list.as_array().into_iter().flatten().filter_map(|v| v.as_str());
    texts.map(str::to_owned).collect()
}

fn zenoh_config(
    settings: &config::Zenoh,
    listen: &[String],
    connect: &[String],
) -> Result<zenoh::Config, PublishError> {
    let mut config = match &settings.config {
        Some(file) => zenoh::Config::from_file(file).map_err(|why| PublishError::ConfigFile {
            file: file.clone(),
            why: without_source_lines(&why),
        })?,
        None => zenoh::Config::default(),
    };
    let mut set = |key: &'static str, value: String| {
        config.insert_json5(key, &value).map_err(|why| PublishError::Setting {
            key,
            value,
            why: without_source_lines(&why),
        })
    };
    let list = |endpoints: &[String]| serde_json::Value::from(endpoints).to_string();
    if settings.config.is_none() {
        set("mode", "\"peer\"".to_owned())?;
        set("scouting/multicast/enabled", "false".to_owned())?;
        set("timestamping/enabled", "true".to_owned())?;
        set("transport/link/tx/lease", LEASE.as_millis().to_string())?;
        // Each express message takes a batch of its own, and zenoh's default is 2 a priority: on a busy machine a tombstone
        // right behind an answer was lost in 9 of 18 runs of 2.5 s, with 16 in none. Allocated only when needed.
        for queue in QUEUES {
            set(queue, QUEUE_BATCHES.to_string())?;
        }
    }
    if let Some(mode) = &settings.mode {
        set("mode", serde_json::Value::from(mode.as_str()).to_string())?;
    }
    if !listen.is_empty() {
        set("listen/endpoints", list(listen))?;
    }
    if !connect.is_empty() {
        set("connect/endpoints", list(connect))?;
    }
    Ok(config)
}

/// Refuses a prefix that another session holds: its token still answers after 1.5 leases.
pub(super) fn claim(session: &zenoh::Session, prefix: &KeyPrefix, own: SessionId) -> Result<(), PublishError> {
    let tokens = prefix.pattern(&Pattern::DaemonTokens)?;
    let mut waited = Duration::ZERO;
    let step = Duration::from_millis(300);
    loop {
        let replies = session
            .liveliness()
            .get(&tokens)
            .timeout(step)
            .with(FifoChannel::new(64))
            .wait()
            .map_err(failed(format!("ask for tokens under {tokens}")))?;
        let other = replies.iter().find_map(|reply| {
            let sample = reply.into_result().ok()?;
            match prefix.parse(sample.key_expr().as_str()) {
                Ok(Key::Alive(session)) if session != own => Some(session),
                _ => None,
            }
        });
        let Some(other) = other else { return Ok(()) };
        if waited >= LEASE * 3 / 2 {
            return Err(PublishError::PrefixInUse {
                prefix: prefix.to_string(),
                session: other,
            });
        }
        std::thread::sleep(step);
        waited += step;
    }
}
