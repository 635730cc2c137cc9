//! `maskcast engine fetch`: a public checkpoint by the name of its recipe, checked and imported.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::stem;
use crate::model::checkpoint::{Download, Limits};
use crate::model::{Import, Recipe};

/// Download the public weights a recipe names, check their digest and import them.
///
/// Example: maskcast engine fetch coco-resnet50
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A recipe with a [source]: its name in the folder of --recipes, or its path.
    engine: String,
    /// Where named recipes are.
    #[arg(long, value_name = "DIR", default_value = "engines")]
    recipes: PathBuf,
    /// Folder for the engine.
    #[arg(long, value_name = "DIR", default_value = "engines/fetched")]
    out: PathBuf,
    /// Address to download from instead of the recipe's; the digest stays the recipe's.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let path = recipe_path(&args)?;
    let recipe = Recipe::read(&path)?;
    let source = recipe
        .source
        .as_ref()
        .ok_or_else(|| anyhow!("{}: it has no [source] to fetch from", path.display()))?;
    let url = args.url.as_deref().unwrap_or(&source.url);
    let file = url
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or("weights");
    // In a folder of its own: an engine's weights may have the same name.
    let downloads = args.out.join("downloads");
    let destination = downloads.join(file.split(['?', '#']).next().unwrap_or(file));
    let engine = args.out.join(format!("{}.toml", stem(&path, &recipe)));
    if engine
        .canonicalize()
        .is_ok_and(|there| path.canonicalize().is_ok_and(|read| read == there))
    {
        bail!(
            "{}: the engine would replace its own recipe: give another --out",
            path.display()
        );
    }
    let sha256 = source
        .sha256_prefix
        .parse()
        .map_err(|e| anyhow!("{}: source.sha256_prefix: {e}", path.display()))?;

    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let download = Download {
        url,
        destination: &destination,
        sha256,
        limits: Limits::default(),
    };
    let fetched = download.run(|done, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    crate::cli::answer(format_args!("{}: {} bytes", destination.display(), fetched.bytes))?;

    let format = source
        .from
        .parse()
        .map_err(|e| anyhow!("{}: source.from: {e}", path.display()))?;
    let import = Import {
        files: std::slice::from_ref(&destination),
        format,
        recipe: &path,
        folder: &args.out,
        classes: None,
    };
    let imported = import
        .run()
        .with_context(|| format!("importing {}", stem(&path, &recipe)))?;
    super::import::report(&imported)
}

fn recipe_path(args: &Args) -> anyhow::Result<PathBuf> {
    let named = args.recipes.join(format!("{}.toml", args.engine));
    if named.is_file() {
        return Ok(named);
    }
    let path = Path::new(&args.engine);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let mut known = Vec::new();
    for entry in std::fs::read_dir(&args.recipes).into_iter().flatten().flatten() {
        let path = entry.path();
        let fetchable = Recipe::read(&path).is_ok_and(|recipe| recipe.source.is_some());
        if let (true, Some(name)) = (fetchable, path.file_stem()) {
            known.push(name.to_string_lossy().into_owned());
        }
    }
    known.sort();
    bail!(
        "no recipe {:?} in {} (to be fetched there: {})",
        args.engine,
        args.recipes.display(),
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    )
}
