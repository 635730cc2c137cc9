//! `maskcast engine inspect`: a network as a person reviews it.

use std::path::PathBuf;

use crate::model::{Recipe, describe};

/// Print the layers of an engine with shapes and parameters, and the figures its recipe gives; needs no weights.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(value_name = "TOML")]
    engine: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let recipe = Recipe::read(&args.engine)?;
    let mut page = describe(&recipe)?;
    if !recipe.weights.figures.is_empty() {
        page += "figures\n";
    }
    for (name, figure) in &recipe.weights.figures {
        page += &format!("  {name} {figure}\n");
    }
    crate::cli::answer(page.trim_end())
}
