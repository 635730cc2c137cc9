//! `maskcast engine build`: an engine in one precision, as files.

use std::path::PathBuf;

use crate::engine::Precision;
use crate::model::Build;

/// Write an engine in one precision: parts as ONNX and as text, and a recipe with that precision.
///
/// The parts are for other tools and for review; maskcast itself needs only the recipe, which
/// names weights and scale table where they are. For int8 the recipe given must name a scale
/// table (`maskcast calibrate`).
///
/// Examples:
///   maskcast engine build --engine engines/conveyor.toml --precision int8 --out built
///   maskcast engine verify --engine built/conveyor-int8.toml --against f32 --images frames/
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(long, value_name = "TOML")]
    engine: PathBuf,
    /// f32, bf16 or int8.
    #[arg(long)]
    precision: Precision,
    /// Folder for NAME-PRECISION.toml and the parts.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let build = Build {
        recipe: &args.engine,
        precision: args.precision,
        folder: &args.out,
    };
    let built = build.run()?;
    for part in &built.parts {
        crate::cli::answer(format_args!("wrote {}", part.display()))?;
    }
    let recipe = built.recipe.display();
    crate::cli::answer(format_args!("wrote {recipe}: use it with --engine"))
}
