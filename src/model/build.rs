//! An engine in one precision as files that other tools read: the dense parts as ONNX (with Q/DQ for int8) and as text,
//! and a recipe that asks for the precision. Inputs and outputs are f32. Weights stay f32 in f32 and bf16: which of the two
//! is computed in, the executor is told when it loads.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::infer::{Form, ModelError};
use super::parts::{self, Layers};
use super::recipe::{Recipe, RecipeError};
use crate::engine::graph::{Element, Graph};
use crate::engine::{Precision, replace};

/// What to build, and whereto.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    pub recipe: &'a Path,
    pub precision: Precision,
    /// Made where there is none.
    pub folder: &'a Path,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Built {
    pub recipe: PathBuf,
    /// NAME-PRECISION.PART.onnx and .txt.
    pub parts: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
}

impl Build<'_> {
    /// The recipe is written last: where it is, all is.
    pub fn run(&self) -> Result<Built, BuildError> {
        let (recipe, weights) = parts::read(self.recipe)?;
        let weights_sha256 = weights.sha256();
        let mut layers = Layers::take(&recipe, weights)?;
        let graphs = layers.described(&recipe, Element::F32)?;
        let graphs: Vec<&Graph> = graphs.iter().collect();
        let form = match self.precision {
            Precision::F32 | Precision::Bf16 | Precision::F16 => Form::Float,
            Precision::Int8 => Form::int8(&recipe, &graphs, weights_sha256)?,
        };

        std::fs::create_dir_all(self.folder).map_err(|e| fault(self.folder, &e))?;
        let stem = self.recipe.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{}", self.precision);
        let mut written = Vec::new();
        for graph in graphs {
            let graph = form.apply(graph)?;
            for (ending, bytes) in [("onnx", graph.to_onnx()), ("txt", graph.to_text().into_bytes())] {
                let file = self.folder.join(format!("{name}.{}.{ending}", graph.name()));
                replace(&file, &bytes).map_err(|e| fault(&file, &e))?;
                written.push(file);
            }
        }
        let file = self.folder.join(format!("{name}.toml"));
        let text = self.recipe_text(&recipe)?;
        Recipe::parse(&text, &file).map_err(ModelError::from)?;
        replace(&file, text.as_bytes()).map_err(|e| fault(&file, &e))?;
        Ok(Built {
            recipe: file,
            parts: written,
        })
    }

    /// The recipe with the precision, and its paths as they are from the folder.
    fn recipe_text(&self, recipe: &Recipe) -> Result<String, BuildError> {
        let text = std::fs::read_to_string(self.recipe).map_err(|source| {
            ModelError::from(RecipeError::Read {
                path: self.recipe.to_owned(),
                source,
            })
        })?;
        let mut table: Table = toml::from_str(&text).map_err(|e| fault(self.recipe, &e))?;
        let paths = [
            ("weights", "file", Some(&recipe.weights.file)),
            ("executor", "scale_table", recipe.scale_table.as_ref()),
            ("executor", "self_test", recipe.self_test.as_ref()),
        ];
        for (section, key, path) in paths {
            if let (Some(path), Some(Value::Table(section))) = (path, table.get_mut(section)) {
                section.insert(key.to_owned(), Value::String(relative(path, self.folder)?));
            }
        }
        if let Some(Value::Table(executor)) = table.get_mut("executor") {
            executor.insert("precision".to_owned(), Value::String(self.precision.to_string()));
        }
        let text = toml::to_string(&table).map_err(|e| fault(self.recipe, &e))?;
        let version = env!("CARGO_PKG_VERSION");
        Ok(format!(
            "# Written by `maskcast engine build`, version {version}.\n{text}"
        ))
    }
}

/// `file` as seen from `folder`; both exist.
fn relative(file: &Path, folder: &Path) -> Result<String, BuildError> {
    let whole = |path: &Path| path.canonicalize().map_err(|e| fault(path, &e));
    let (file, folder) = (whole(file)?, whole(folder)?);
    let common = file
        .components()
        .zip(folder.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder.components().skip(common).map(|_| "..".to_owned());
    let down = file
        .components()
        .skip(common)
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}

fn fault(path: &Path, reason: &dyn std::fmt::Display) -> BuildError {
    BuildError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
