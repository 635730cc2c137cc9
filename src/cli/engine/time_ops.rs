//! `maskcast engine time-ops`: the ops between the dense parts alone, one run a line of standard input, so that
//! `tests/bench/ops_rivals.py` can take turns with torchvision's.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use anyhow::{Context, anyhow};

use crate::ops::bench::{NAMES, prepare};
use crate::time::{Clocks, SystemClocks};

/// For each line of standard input, an op's name: run it once and print milliseconds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Threads of the ops.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(args.threads))
        .build()
        .context("threads")?;
    let mut prepared = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    for name in std::io::stdin().lock().lines() {
        let name = name.context("standard input")?;
        if !prepared.contains_key(&name) {
            let op = prepare(&name).ok_or_else(|| anyhow!("no op {name:?}: there are {}", NAMES.join(", ")))?;
            prepared.insert(name.clone(), op);
        }
        if let Some(op) = prepared.get_mut(&name) {
            let nanos = pool.install(|| {
                let start = SystemClocks.mono_nanos();
                op();
                SystemClocks.mono_nanos() - start
            });
            writeln!(out, "{:.4}", nanos as f64 * 1e-6).context("standard output")?;
            out.flush().context("standard output")?;
        }
    }
    Ok(())
}
