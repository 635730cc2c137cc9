//! Somebody else's checkpoint -> our weights and a recipe beside them. The recipe given says which network it is; the
//! tensors must be that network's, each of them, or nothing is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::checkpoint::{Checkpoint, CheckpointError, DigestPrefix, Facts, Format};
use super::infer::{MaskRcnn, ModelError, Options};
use super::parts::Layers;
use super::recipe::{Conventions, Network, Recipe, RecipeError};
use super::weights::Weights;
use crate::engine::graph::{Array, Element};
use crate::engine::{self, Precision, replace};

/// What to import, and whereto.
#[derive(Debug, Clone)]
pub struct Import<'a> {
    /// Shards of one checkpoint.
    pub files: &'a [PathBuf],
    pub format: Format,
    pub recipe: &'a Path,
    /// Made where there is none.
    pub folder: &'a Path,
    /// Names of the classes, where they are not the recipe's.
    pub classes: Option<&'a [String]>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Imported {
    pub recipe: PathBuf,
    pub weights: PathBuf,
    pub tensors: usize,
    /// All numbers of the file, batch norm and its statistics included.
    pub values: usize,
    /// What the tensors say of their network; `None` where they are not a ResNet's.
    pub facts: Option<Facts>,
    /// The recipe's names did not fit and nobody gave others.
    pub classes_without_names: bool,
    /// Why the engine has no self-test, if it has none.
    pub untested: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{second}: tensor {name:?} is also in {first}")]
    Twice {
        name: String,
        first: PathBuf,
        second: PathBuf,
    },
    #[error("no file of weights was given")]
    NoFile,
    #[error("{given} class names for the {found} classes of the checkpoint")]
    Classes { given: usize, found: usize },
    #[error("{path}: {reason}")]
    Write { path: PathBuf, reason: String },
}

impl Import<'_> {
    pub fn run(&self) -> Result<Imported, ImportError> {
        let text = std::fs::read_to_string(self.recipe).map_err(|source| RecipeError::Read {
            path: self.recipe.to_owned(),
            source,
        })?;
        let mut recipe = Recipe::parse(&text, self.recipe)?;
        self.check_conventions(&recipe)?;
        let (checkpoint, sources) = self.read()?;
        let facts = match self.format {
            Format::MaskRcnn2Go => None,
            // A checkpoint of something else entirely is told tensor by tensor below.
            _ => checkpoint.facts().ok(),
        };
        let classes = self.classes(&recipe, facts.as_ref())?;
        let classes_without_names = self.classes.is_none() && classes != recipe.classes;
        recipe.classes.clone_from(&classes);

        let tensors = checkpoint.tensors.len();
        let values = checkpoint.tensors.values().map(|t| t.values.len()).sum();
        let (path, sha256) = (checkpoint.path.clone(), checkpoint.sha256);
        let bytes = stored(&checkpoint.tensors).map_err(|reason| self.fault(self.folder, reason))?;
        let weights = Weights::from_tensors(&path, checkpoint.tensors, sha256);
        Layers::take(&recipe, weights)?.described(&recipe, Element::F32)?;

        // A stem may hold a dot, which `with_extension` would take for the start of an ending.
        let name = self.recipe.file_stem().unwrap_or_default().to_string_lossy();
        let weights = self.folder.join(format!("{name}.safetensors"));
        let written = self.folder.join(format!("{name}.toml"));
        let other_folder =
            |path: &Path, what| self.fault(path, format!("this is the {what} that was read: give another folder"));
        if same_file(&written, self.recipe) {
            return Err(other_folder(&written, "recipe"));
        }
        if let Some(file) = self.files.iter().find(|file| same_file(file, &weights)) {
            return Err(other_folder(file, "checkpoint"));
        }
        let digest = Sha256::digest(&bytes).into();
        let recipe_text = |self_test: Option<&Path>| {
            let text = self.recipe_text(&text, &recipe, &weights, digest, &sources, self_test)?;
            Recipe::parse(&text, &written)?; // before anything is written
            Ok::<_, ImportError>(text)
        };
        let untested_recipe = recipe_text(None)?;
        std::fs::create_dir_all(self.folder).map_err(|e| self.fault(self.folder, e.to_string()))?;
        let write = |path: &Path, bytes: &[u8]| replace(path, bytes).map_err(|e| self.fault(path, e.to_string()));
        write(&weights, &bytes)?;
        drop(bytes);
        write(&written, untested_recipe.as_bytes())?;
        let untested = match store_self_test(&written) {
            Ok(file) => {
                write(&written, recipe_text(Some(&file))?.as_bytes())?;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        Ok(Imported {
            untested,
            recipe: written,
            weights,
            tensors,
            values,
            facts,
            classes_without_names,
        })
    }

    /// One library's weights under another's rules would fit in shape and compute something else.
    fn check_conventions(&self, recipe: &Recipe) -> Result<(), ImportError> {
        let library = match &recipe.network {
            Network::MaskRcnn2Go => Format::MaskRcnn2Go,
            Network::Pyramid(pyramid) => match pyramid.conventions {
                Conventions::Torchvision => Format::Torchvision,
                Conventions::Detectron2 => Format::Detectron2,
            },
        };
        if self.format == Format::Safetensors || self.format == library {
            return Ok(());
        }
        Err(self.fault(
            self.recipe,
            format!("a recipe for weights of {library}, and these are of {}", self.format),
        ))
    }

    /// All shards under our names, and the digest of each.
    fn read(&self) -> Result<(Checkpoint, Vec<[u8; 32]>), ImportError> {
        let mut whole: Option<Checkpoint> = None;
        let mut sources = Vec::with_capacity(self.files.len());
        for file in self.files {
            let shard = Checkpoint::read(file, self.format)?.canonical(self.format)?;
            sources.push(shard.sha256);
            let Some(whole) = &mut whole else {
                whole = Some(shard);
                continue;
            };
            for (name, tensor) in shard.tensors {
                if whole.tensors.contains_key(&name) {
                    let (first, second) = (whole.path.clone(), shard.path);
                    return Err(ImportError::Twice { name, first, second });
                }
                whole.tensors.insert(name, tensor);
            }
        }
        Ok((whole.ok_or(ImportError::NoFile)?, sources))
    }

    fn classes(&self, recipe: &Recipe, facts: Option<&Facts>) -> Result<Vec<String>, ImportError> {
        let Some(found) = facts.map(|facts| facts.classes) else {
            // What the tensors lack is told by name later.
            return Ok(self.classes.unwrap_or(&recipe.classes).to_vec());
        };
        match self.classes {
            Some(given) if given.len() == found => Ok(given.to_vec()),
            Some(given) => Err(ImportError::Classes {
                given: given.len(),
                found,
            }),
            None if recipe.classes.len() == found => Ok(recipe.classes.clone()),
            None => Ok((1..=found).map(|i| format!("class {i}")).collect()),
        }
    }

    /// The recipe with the weights that were written.
    fn recipe_text(
        &self,
        text: &str,
        recipe: &Recipe,
        weights: &Path,
        digest: [u8; 32],
        sources: &[[u8; 32]],
        self_test: Option<&Path>,
    ) -> Result<String, ImportError> {
        let fault = |reason: &dyn std::fmt::Display| self.fault(self.recipe, reason.to_string());
        let mut table: Table = toml::from_str(text).map_err(|e| fault(&e))?;
        let text_of = |value: String| Value::String(value);
        table.insert(
            "classes".into(),
            Value::Array(recipe.classes.iter().cloned().map(text_of).collect()),
        );
        let prefix = recipe
            .source
            .as_ref()
            .and_then(|source| source.sha256_prefix.parse().ok());
        let of_the_source = prefix.is_some_and(|prefix: DigestPrefix| sources.iter().all(|s| prefix.matches(s)));
        if !of_the_source {
            table.remove("source");
        }
        let Some(Value::Table(section)) = table.get_mut("weights") else {
            return Err(fault(&"no table [weights]"));
        };
        let file = weights.file_name().unwrap_or_default().to_string_lossy();
        section.insert("file".into(), text_of(file.into_owned()));
        section.insert("sha256".into(), text_of(engine::Digest(digest).to_string()));
        let one = |(file, source): (&PathBuf, &[u8; 32])| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            format!("{name} ({}, SHA-256 {})", self.format, engine::Digest(*source))
        };
        let origin = self.files.iter().zip(sources).map(one).collect::<Vec<_>>().join(", ");
        section.insert("origin".into(), text_of(origin));
        if !of_the_source && self.format != Format::MaskRcnn2Go {
            // What the recipe says of its own weights need not hold for these.
            for key in ["licence", "data", "command"] {
                section.insert(key.into(), text_of("not known: imported".to_owned()));
            }
            section.remove("figures");
        }
        if let Some(Value::Table(executor)) = table.get_mut("executor") {
            // Both belong to other weights: what is new is calibrated and tested anew.
            executor.remove("scale_table");
            executor.remove("self_test");
            if executor.get("precision").and_then(Value::as_str) == Some(Precision::Int8.as_str()) {
                executor.insert("precision".into(), text_of(Precision::Bf16.to_string()));
            }
            if let Some(file) = self_test {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                executor.insert("self_test".into(), text_of(name.into_owned()));
            }
        }
        let text = toml::to_string(&table).map_err(|e| fault(&e))?;
        let version = env!("CARGO_PKG_VERSION");
        Ok(format!(
            "# Written by `maskcast engine import`, version {version}.\n{text}"
        ))
    }

    fn fault(&self, path: &Path, reason: String) -> ImportError {
        ImportError::Write {
            path: path.to_owned(),
            reason,
        }
    }
}

/// Computes an engine's self-test in f32 and writes it beside the recipe, as NAME.self-test.json.
pub fn store_self_test(recipe: &Path) -> Result<PathBuf, ModelError> {
    let options = Options {
        precision: Some(Precision::F32),
        ..Options::default()
    };
    let test = MaskRcnn::load_untested(recipe, &options)?.self_test()?;
    let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
    let file = recipe.with_file_name(format!("{name}.self-test.json"));
    test.write(&file)?;
    Ok(file)
}

/// A safetensors file of f32.
fn stored(arrays: &BTreeMap<String, Array>) -> Result<Vec<u8>, String> {
    let bytes: Vec<(&String, &Array, Vec<u8>)> = arrays
        .iter()
        .map(|(name, a)| (name, a, a.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, array, data) in &bytes {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), data).map_err(|e| format!("{name}: {e}"))?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
