//! `maskcast engine`: what one does with a model before a camera sees it.

mod build;
mod cubins;
mod fetch;
mod import;
mod inspect;
mod self_test;
mod time;
mod time_ops;
mod verified;
mod verify;

use std::path::Path;

use clap::Subcommand;

use crate::model::Recipe;

/// Import, fetch, look at, build, verify and time engines.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::Args),
    Fetch(fetch::Args),
    Inspect(inspect::Args),
    Build(build::Args),
    Cubins(cubins::Args),
    Verify(verify::Args),
    SelfTest(self_test::Args),
    Time(time::Args),
    #[command(hide = true)]
    TimeOps(time_ops::Args),
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Import(args) => import::run(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Build(args) => build::run(args),
        Command::Cubins(args) => cubins::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::SelfTest(args) => self_test::run(args),
        Command::Time(args) => time::run(args),
        Command::TimeOps(args) => time_ops::run(args),
    }
}

/// What a recipe's file is called without its ending.
fn stem(recipe: &Path, meant: &Recipe) -> String {
    recipe
        .file_stem()
        .map_or_else(|| meant.name.clone(), |stem| stem.to_string_lossy().into_owned())
}
