//! `maskcast engine inspect`: a network as a person reviews it.

use std::path::PathBuf;

use crate::model::{Recipe, describe};

/// Print the layers of an engine with shapes and parameters; needs no weights.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(value_name = "TOML")]
    engine: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let recipe = Recipe::read(&args.engine)?;
    crate::cli::answer(describe(&recipe)?.trim_end())
}
