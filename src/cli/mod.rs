//! The command line: one file a subcommand. Belongs here: arguments, tables, progress, exit codes. Not here: work.

/// A line on standard error for the person who watches. Nobody watching is no reason to stop serving robots: a closed
/// pipe or a full log disk is ignored, where `eprintln!` would panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod calibrate;
mod coco;
mod demo;
mod doctor;
mod engine;
mod eval;
mod folder;
mod gpu_check;
mod progress;
mod run;
mod segment;
mod synth;
mod tiles;
mod watch;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Cameras in, instance masks out, to robots, in real time.
#[derive(Debug, Parser)]
#[command(name = "maskcast", version, max_term_width = 100)]
struct Cli {
    /// Log filter, as in RUST_LOG, for example `info` or `maskcast::source=debug`
    #[arg(long, global = true, default_value = "warn", env = "MASKCAST_LOG", hide_env = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Watch(watch::Args),
    Segment(segment::Args),
    Eval(eval::Args),
    Calibrate(calibrate::Args),
    Synth(synth::Args),
    Coco(coco::Args),
    Engine(engine::Args),
    Doctor(doctor::Args),
    #[command(hide = true)]
    GpuCheck(gpu_check::Args),
}

/// Runs the program. Exit codes: 0 done, 1 something failed (said on standard error), 2 wrong arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match EnvFilter::try_new(&cli.log) {
        Ok(filter) => filter,
        Err(error) => {
            say!("error: --log {:?}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    // Zenoh says a lot at `warn` when peers come and go; our own publisher reports what matters.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false)
        .init();
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Segment(args) => segment::run(args).map(|()| ExitCode::SUCCESS),
        Command::Calibrate(args) => calibrate::run(args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(args).map(|()| ExitCode::SUCCESS),
        Command::Coco(args) => coco::run(args).map(|()| ExitCode::SUCCESS),
        Command::Synth(args) => synth::run(args).map(|()| ExitCode::SUCCESS),
        Command::Engine(args) => engine::run(args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(args),
        Command::GpuCheck(args) => gpu_check::run(args),
    };
    done.unwrap_or_else(|error| {
        say!("error: {}", whole(&error));
        ExitCode::FAILURE
    })
}

/// The answer of a command, on standard output.
fn answer(text: impl std::fmt::Display) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        // `| head` has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// The chain of causes in one line; a cause that the message before it already says is not said again.
fn whole(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::anyhow!("no such file")
            .context("weights a.bin: no such file")
            .context("engine x.toml");
        assert_eq!(whole(&error), "engine x.toml: weights a.bin: no such file");
    }
}
