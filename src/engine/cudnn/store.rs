//! Tuned plans on disk: making one takes cuDNN about a second, and timing it a little more.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::steps::ConvShape;
use crate::engine::replace;

/// What a plan is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub cudnn: String,
    pub driver: String,
    pub device: String,
    pub sm: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    machine: Machine,
    shape: ConvShape,
    /// Of the configurations timed, this was the fastest.
    micros: f32,
    plan: String,
}

/// A folder of plans for one machine.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
    machine: Machine,
}

impl Store {
    /// In the user's cache; `None` where there is none.
    pub(super) fn of(machine: Machine) -> Option<Store> {
        let folder_of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = folder_of("XDG_CACHE_HOME").or_else(|| Some(folder_of("HOME")?.join(".cache")))?;
        Some(Store::at(&cache.join("maskcast/cudnn"), machine))
    }

    pub(super) fn at(root: &Path, machine: Machine) -> Store {
        let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "_");
        let name = format!(
            "{}-{}-{}-sm{}",
            plain(&machine.cudnn),
            plain(&machine.driver),
            plain(&machine.device),
            machine.sm
        );
        Store {
            folder: root.join(name),
            machine,
        }
    }

    fn path(&self, shape: &ConvShape) -> PathBuf {
        let ConvShape { n, c, h, w, k, .. } = shape;
        let ConvShape {
            kernel, stride, pad, ..
        } = shape;
        let mut name = format!("{n}x{h}x{w}x{c}-{k}-{kernel}-{stride}-{pad}");
        for (set, word) in [
            (shape.residual, "-residual"),
            (shape.relu, "-relu"),
            (shape.f32_out, "-f32"),
        ] {
            if set {
                name.push_str(word);
            }
        }
        self.folder.join(name + ".json")
    }

    /// The plan for `shape`; a file that is broken or of something else counts as none.
    pub(super) fn read(&self, shape: &ConvShape) -> Option<String> {
        let path = self.path(shape);
        let text = std::fs::read(&path).ok()?;
        match serde_json::from_slice::<Entry>(&text) {
            Ok(entry) if entry.machine == self.machine && entry.shape == *shape => Some(entry.plan),
            Ok(_) => {
                tracing::warn!("{} is of another machine or shape: it is made again", path.display());
                None
            }
            Err(error) => {
                tracing::warn!("{} is damaged ({error}): it is made again", path.display());
                None
            }
        }
    }

    /// Whoever reads sees the old file or the new one. Without it the next start takes longer, no more.
    pub(super) fn write(&self, shape: &ConvShape, micros: f32, plan: String) {
        let path = self.path(shape);
        let entry = Entry {
            machine: self.machine.clone(),
            shape: *shape,
            micros,
            plan,
        };
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| serde_json::to_vec(&entry).map_err(std::io::Error::other))
            .and_then(|bytes| replace(&path, &bytes));
        if let Err(error) = written {
            tracing::warn!("{} cannot be kept: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_and_a_damaged_or_foreign_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let machine = |driver: &str| Machine {
            cudnn: "9.19.0".into(),
            driver: driver.into(),
            device: "NVIDIA H200".into(),
            sm: 90,
        };
        let shape = ConvShape {
            n: 1,
            c: 8,
            h: 4,
            w: 4,
            k: 8,
            kernel: 3,
            stride: 1,
            pad: 1,
            residual: false,
            relu: true,
            f32_out: false,
        };
        let store = Store::at(dir.path(), machine("13.0"));
        assert_eq!(store.read(&shape), None);
        store.write(&shape, 12.5, "{\"plan\": 1}".into());
        assert_eq!(store.read(&shape).as_deref(), Some("{\"plan\": 1}"));
        assert_eq!(store.read(&ConvShape { relu: false, ..shape }), None);
        assert_eq!(Store::at(dir.path(), machine("13.1")).read(&shape), None);
        // A copy under another machine's name is not taken for its own.
        let other = Store::at(dir.path(), machine("13.2"));
        std::fs::create_dir_all(&other.folder).unwrap();
        std::fs::copy(store.path(&shape), other.path(&shape)).unwrap();
        assert_eq!(other.read(&shape), None);
        std::fs::write(store.path(&shape), "{\"machine\":").unwrap();
        assert_eq!(store.read(&shape), None);
        let left: Vec<_> = std::fs::read_dir(&store.folder).unwrap().collect();
        assert_eq!(left.len(), 1, "no half-written file stays");
    }
}
