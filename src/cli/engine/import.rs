//! `maskcast engine import`: a checkpoint of another library becomes an engine.

use std::path::PathBuf;

use crate::model::checkpoint::Format;
use crate::model::{Import, Imported};

/// Turn a checkpoint into an engine: weights as safetensors, and a recipe beside them.
///
/// Nothing in the checkpoint is executed. Every tensor must belong to the recipe's network and
/// have its shape; otherwise nothing is written and the error names the tensor.
///
/// Examples:
///   maskcast engine import --from torchvision model.pth \
///     --recipe engines/coco-resnet50.toml --out my-engine --classes cat,dog
///   maskcast engine import --from detectron2 model_final.pkl \
///     --recipe engines/coco-detectron2-resnet50.toml --out d2
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Files of one checkpoint (.pth, .pkl, .pb, .safetensors; told from their bytes).
    #[arg(required = true, value_name = "WEIGHTS")]
    weights: Vec<PathBuf>,
    /// Whose names and layout: torchvision, detectron2, maskrcnn2go or safetensors (ours).
    #[arg(long, value_name = "LIBRARY")]
    from: Format,
    /// Recipe of the network the weights are for; its classes are replaced where the tensors have another number.
    #[arg(long, value_name = "TOML")]
    recipe: PathBuf,
    /// Folder for NAME.safetensors and NAME.toml.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Names of the classes without the background, in the checkpoint's order.
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    classes: Option<Vec<String>>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let import = Import {
        files: &args.weights,
        format: args.from,
        recipe: &args.recipe,
        folder: &args.out,
        classes: args.classes.as_deref(),
    };
    report(&import.run()?)
}

/// What was imported, for the person who asked.
pub(super) fn report(imported: &Imported) -> anyhow::Result<()> {
    if let Some(facts) = &imported.facts {
        let masks = if facts.masks { "with masks" } else { "boxes only" };
        crate::cli::answer(format_args!(
            "{}, {} classes, {masks}: {} trained parameters in {} tensors",
            facts.depth, facts.classes, facts.parameters, imported.tensors
        ))?;
    } else {
        crate::cli::answer(format_args!(
            "{} values in {} tensors",
            imported.values, imported.tensors
        ))?;
    }
    if imported.classes_without_names {
        say!(
            "the checkpoint has another number of classes than the recipe: they are called \"class 1\", \"class 2\" ... \
             unless `engine import --classes` names them"
        );
    }
    if let Some(why) = &imported.untested {
        say!("no self-test was stored, so other machines cannot tell whether they compute the same: {why}");
    }
    crate::cli::answer(format_args!("wrote {}", imported.weights.display()))?;
    crate::cli::answer(format_args!(
        "wrote {}: use it with --engine, or try `maskcast segment --engine {} PICTURE`",
        imported.recipe.display(),
        imported.recipe.display()
    ))
}
