//! `maskcast doctor`: what this machine has, what each missing thing would give, and how to install it.
//!
//! Each probe really does the thing (loads the library, makes the element, sends a message) and answers with findings;
//! `report` puts them on a page. A probe that fails is a finding, never an end.

#[cfg(feature = "gstreamer")]
mod cameras;
#[cfg(feature = "gstreamer")]
mod codecs;
mod compute;
mod links;
mod machine;
mod report;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use report::{Colour, Report};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON with stable keys instead of a page
    #[arg(long)]
    pub json: bool,
    /// Where recordings would go: the disk whose free space is shown
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub recordings: PathBuf,
}

/// Success when the main job can run: GStreamer's core elements, OpenVINO and zenoh are there.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    #[cfg(feature = "gstreamer")]
    {
        codecs::probe(&mut findings);
        cameras::probe(&mut findings);
    }
    #[cfg(not(feature = "gstreamer"))]
    findings.push(report::Finding::fact(
        "gstreamer",
        report::Group::Pictures,
        "GStreamer",
        "this build has no GStreamer: cameras are sim://, images:// and GIF files, nothing is recorded",
    ));
    compute::probe(&mut findings);
    links::probe(&mut findings);
    machine::probe(&args.recordings, &mut findings);
    let report = Report::new(findings);
    if args.json {
        super::answer(serde_json::to_string_pretty(&report)?)?;
    } else {
        let plain = !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some();
        super::answer(
            report
                .page(if plain { Colour::Never } else { Colour::Always })
                .trim_end(),
        )?;
    }
    Ok(match report.ready() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
