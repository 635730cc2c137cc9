//! `maskcast watch`: what a daemon publishes, live. A table for people, one JSON object a message for programs.

mod book;
mod json;
mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use self::book::Book;
use self::table::{Colours, Screen};
use crate::client::{ClientError, ConnectConfig, Maskcast, Observation};
use crate::names::CameraId;
use crate::time::{Clocks, SystemClocks};
use crate::wire::keyexpr::Cameras;
use crate::wire::{DEFAULT_ENDPOINT, DEFAULT_PREFIX, Form};

/// Shows what a running maskcast publishes.
#[derive(Debug, clap::Args)]
#[command(after_help = json::HELP)]
pub struct Args {
    /// Only this camera; default: all of them.
    #[arg(long, value_name = "ID")]
    camera: Option<CameraId>,
    /// One JSON object a line for every message, instead of a table.
    #[arg(long)]
    json: bool,
    /// Where maskcast or a zenoh router listens. May be given several times.
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT)]
    connect: Vec<String>,
    /// [publish] key_prefix of the daemon.
    #[arg(long, value_name = "KEY", default_value = DEFAULT_PREFIX)]
    prefix: String,
    /// rle (with masks) or boxes.
    #[arg(long, default_value = "rle")]
    form: Form,
    /// End after so many results.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End with status 1 when no message came for so long.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// zenoh json5 file: credentials, TLS. Its own endpoints go unless --connect is given.
    #[arg(long, value_name = "FILE")]
    zenoh_config: Option<std::path::PathBuf>,
}

/// How long nothing is there before the user is told what to do.
const HINT_AFTER: Duration = Duration::from_secs(3);
/// Between two redraws.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines a camera where nothing can be redrawn.
const PLAIN: Duration = Duration::from_secs(1);

/// Runs until Ctrl-C, `--count` or `--timeout`.
pub fn run(args: Args) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot handle Ctrl-C")?;
    }
    let maskcast = connect(&args)?;
    match watch(&args, &maskcast, &stop) {
        // `maskcast watch | head` is a fine thing to do.
        Err(error) if broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn connect(args: &Args) -> Result<Maskcast> {
    let config = ConnectConfig {
        endpoints: args.connect.clone(),
        prefix: args.prefix.clone(),
        config: args.zenoh_config.clone(),
        ..ConnectConfig::default()
    };
    Maskcast::connect(&config).map_err(|error| match error {
        ClientError::Connect { endpoints, why } => anyhow::anyhow!(
            "nothing answers at {}: {why}\n\
             Start one first, e.g. `maskcast run launch/demo.toml`, or name its endpoint: --connect tcp/HOST:7447",
            endpoints.join(", ")
        ),
        other => other.into(),
    })
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn watch(args: &Args, maskcast: &Maskcast, stop: &AtomicBool) -> Result<ExitCode> {
    let cameras = args.camera.clone().map_or(Cameras::All, Cameras::One);
    let observer = maskcast.observe(args.form, cameras)?;
    let clocks = SystemClocks;
    let mut out = io::stdout().lock();
    let terminal = out.is_terminal();
    let colours = Colours::on(terminal && std::env::var_os("NO_COLOR").is_none());
    let mut book = Book::new();
    let mut screen = Screen::new(colours, args.connect.join(", "));
    let started = clocks.mono_nanos();
    let since = |nanos: i64| Duration::from_nanos(clocks.mono_nanos().saturating_sub(nanos).unsigned_abs());
    let (mut drawn, mut heard, mut hinted) = (started, started, false);
    while !stop.load(Ordering::Relaxed) {
        if let Some(message) = observer.next(REDRAW) {
            heard = clocks.mono_nanos();
            if let Observation::Result(camera, result) = &message.what
                && let Ok(result) = result.as_ref()
            {
                book.learn_labels(maskcast, camera, result.label_map_id);
            }
            let gaps = book.note(&message);
            if args.json {
                writeln!(out, "{}", json::line(&message, &gaps, book.labels()))?;
            }
        }
        if args.count.is_some_and(|count| book.results >= count) {
            break;
        }
        if !hinted && !book.daemon_seen() && since(started) > HINT_AFTER {
            hinted = true;
            eprintln_hint(args);
        }
        if args
            .timeout
            .is_some_and(|s| since(heard) > Duration::from_secs(s.into()))
        {
            writeln!(io::stderr(), "no message for {} s", args.timeout.unwrap_or(0))?;
            return Ok(ExitCode::FAILURE);
        }
        if !args.json && since(drawn) >= if terminal { REDRAW } else { PLAIN } {
            drawn = clocks.mono_nanos();
            if terminal {
                screen.redraw(&mut out, &book)?;
            } else {
                screen.lines(&mut out, &book)?;
            }
        }
    }
    if !args.json {
        screen.lines(&mut out, &book)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn eprintln_hint(args: &Args) {
    let text = format!(
        "connected to {}, but no maskcast holds the prefix {:?} there. Is it running? Does [publish] key_prefix differ \
         (--prefix)? Waiting; Ctrl-C ends.",
        args.connect.join(", "),
        args.prefix
    );
    // Nobody to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
}
