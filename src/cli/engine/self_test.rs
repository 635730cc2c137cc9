//! `maskcast engine self-test`: does an engine compute here what it computed where it was made?

use std::path::PathBuf;

use crate::engine::Precision;
use crate::model::{MaskRcnn, Options, store_self_test};

/// Run an engine's self-test (each load does so too), or store a new one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(value_name = "TOML")]
    engine: PathBuf,
    /// f32, bf16 or int8, instead of the recipe's.
    #[arg(long)]
    precision: Option<Precision>,
    /// Compute it in f32 and write NAME.self-test.json beside the recipe, whose executor.self_test must name it.
    #[arg(long, conflicts_with = "precision")]
    write: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.write {
        let file = store_self_test(&args.engine)?;
        return crate::cli::answer(format_args!("wrote {}", file.display()));
    }
    let options = Options {
        precision: args.precision,
        ..Options::default()
    };
    let net = MaskRcnn::load(&args.engine, &options)?;
    let precision = net.identity().executor.precision;
    match net.self_test_result() {
        Some(test) => crate::cli::answer(format_args!(
            "passed in {precision}: the largest error is {:.5} of {}'s size, {} is allowed",
            test.error, test.output, test.limit
        )),
        None => anyhow::bail!("{}: executor.self_test names no file", args.engine.display()),
    }
}
