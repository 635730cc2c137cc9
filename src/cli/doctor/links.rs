//! zenoh: whether two sessions on this host can talk, and whether a daemon is running.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use zenoh::Wait;

use super::report::{Finding, Group, Need, Status};

/// Where a daemon listens unless told otherwise.
const DAEMON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7447);
/// A loopback exchange takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
const KEY: &str = "maskcast-doctor/ping";

pub(super) fn probe(findings: &mut Vec<Finding>) {
    let exchanged = exchange();
    findings.push(Finding {
        key: "zenoh.loopback",
        group: Group::Robots,
        title: "A message over loopback".to_owned(),
        status: if exchanged.is_ok() { Status::Ok } else { Status::Missing },
        need: Need::MainJob,
        found: match exchanged {
            Ok(endpoint) => format!("arrived through {endpoint}"),
            Err(why) => format!("{why}; zenoh is built in: a firewall or a missing loopback is in the way"),
        },
        gives: "publishing to robots",
        install: Some("sudo ip link set lo up".to_owned()),
    });
    let listens = TcpStream::connect_timeout(&DAEMON, Duration::from_millis(300)).is_ok();
    let words = match listens {
        true => "something listens there, a maskcast daemon unless you run another zenoh: see `maskcast watch`",
        false => "nobody listens: no daemon is running on this host",
    };
    findings.push(Finding::fact(
        "zenoh.daemon",
        Group::Robots,
        &format!("tcp/{DAEMON}"),
        words,
    ));
}

/// One session listens on a free port, another connects and sends. The endpoint it went through, or what failed.
fn exchange() -> Result<String, String> {
    let fail = |what: &'static str| move |e: zenoh::Error| format!("cannot {what}: {e}");
    // zenoh does not tell which free port it took: choose one, and again when somebody was quicker.
    let mut attempt = listen_on_a_free_port();
    for _ in 0..2 {
        attempt = attempt.or_else(|_| listen_on_a_free_port());
    }
    let (listener, endpoint) = attempt?;
    let (sender, received) = std::sync::mpsc::sync_channel(1);
    let subscriber = listener
        .declare_subscriber(KEY)
        .callback(move |_| {
            let _ = sender.try_send(()); // one is enough
        })
        .wait()
        .map_err(fail("subscribe"))?;
    let talker = open("connect", &endpoint)?;
    // The subscription may still be on its way to the talker: say it again until it is heard.
    let step = Duration::from_millis(20);
    let mut heard = false;
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        talker.put(KEY, "ping").wait().map_err(fail("publish"))?;
        if received.recv_timeout(step).is_ok() {
            heard = true;
            break;
        }
    }
    let _ = subscriber.undeclare().wait();
    let _ = talker.close().wait();
    let _ = listener.close().wait();
    match heard {
        true => Ok(endpoint),
        false => Err(format!(
            "no message arrived through {endpoint} within {} s",
            PATIENCE.as_secs()
        )),
    }
}

fn listen_on_a_free_port() -> Result<(zenoh::Session, String), String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .map_err(|e| format!("no free port on 127.0.0.1: {e}"))?
        .port();
    let endpoint = format!("tcp/127.0.0.1:{port}");
    open("listen", &endpoint).map(|session| (session, endpoint))
}

/// A peer that knows of one endpoint only: no multicast, no other sessions of this host.
fn open(role: &str, endpoint: &str) -> Result<zenoh::Session, String> {
    let mut config = zenoh::Config::default();
    let (listen, connect) = match role {
        "listen" => (format!("[{endpoint:?}]"), "[]".to_owned()),
        _ => ("[]".to_owned(), format!("[{endpoint:?}]")),
    };
    for (key, value) in [
        ("mode", "\"peer\"".to_owned()),
        ("scouting/multicast/enabled", "false".to_owned()),
        ("listen/endpoints", listen),
        ("connect/endpoints", connect),
    ] {
        config
            .insert_json5(key, &value)
            .map_err(|e| format!("zenoh refuses {key} = {value}: {e}"))?;
    }
    zenoh::open(config)
        .wait()
        .map_err(|e| format!("cannot open a session ({role} {endpoint}): {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sessions_of_this_process_exchange_a_message() {
        let endpoint = exchange();
        assert!(
            endpoint.as_ref().is_ok_and(|e| e.starts_with("tcp/127.0.0.1:")),
            "{endpoint:?}"
        );
    }
}
