//! Pictures of a folder for calibration and verification.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// PNG, JPEG and BMP files of `dir` by name, folders in it not looked into; hidden ones are left out.
pub(super) fn pictures(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let file = entry.with_context(|| dir.display().to_string())?.path();
        let ending = file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let is_picture = ending.is_some_and(|e| ["png", "jpg", "jpeg", "bmp"].contains(&e.as_str()));
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_picture && !is_hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!("{}: no PNG, JPEG or BMP file in it", dir.display());
    }
    files.sort();
    Ok(files)
}

/// At most `count` of them, spread evenly from the first on.
pub(super) fn evenly<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    let count = count.min(all.len());
    (0..count)
        .filter_map(|i| all.get(i * all.len() / count))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_chosen_evenly() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(evenly(&all, 4), [0, 2, 5, 7]);
        assert_eq!(evenly(&all, 10), all);
        assert_eq!(evenly(&all, 99), all);
        assert_eq!(evenly(&all, 1), [0]);
        assert_eq!(evenly::<usize>(&[], 3), [] as [usize; 0]);
    }

    #[test]
    fn only_pictures_count_and_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let text = pictures(dir.path()).unwrap_err().to_string();
        assert!(text.ends_with(": no PNG, JPEG or BMP file in it"), "{text}");
        for name in ["b.PNG", "a.jpeg", "c.bmp", ".hidden.png", "notes.txt"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        std::fs::create_dir(dir.path().join("folder.png")).unwrap();
        let names = ["a.jpeg", "b.PNG", "c.bmp"].map(|name| dir.path().join(name));
        assert_eq!(pictures(dir.path()).unwrap(), names);
        let absent = format!("{:#}", pictures(&dir.path().join("absent")).unwrap_err());
        assert!(absent.contains("absent: No such file"), "{absent}");
    }
}
