//! Names and small files of a recording; its disk; what a killed run left behind.
//!
//! ```text
//! <dir>/2026-11-22/front_20261122T141530Z_4f3a9c1e/     <camera>_<UTC start>_<recording id>
//!   manifest.json        what was recorded, with what; locked while the recording runs
//!   front_0000.mkv       `front_0000.mkv.part` while it is written
//!   front_0000.idx.csv   pts_nanos,frame_number,result_number,capture_time_unix_nanos; 0 = not known
//!   index.jsonl          one line a finished file
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{RecordError, RecordingInfo};
use crate::names::CameraId;
use crate::outlets::overlay::UtcTime;

/// Ending of a video that is still being written.
pub(super) const PART: &str = "part";

/// The directory of one recording.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) dir: PathBuf,
    /// Open and locked as long as the recording runs: another process leaves its `*.part` alone.
    _manifest: File,
}

fn failed(dir: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> RecordError {
    let dir = dir.to_owned();
    move |source| RecordError::Directory { dir, doing, source }
}

impl Recording {
    /// Makes `<dir>/<date>/<camera>_<start>_<id>` and its manifest.
    pub(super) fn create(
        dir: &Path,
        camera: &CameraId,
        start_unix_nanos: i64,
        info: &RecordingInfo,
    ) -> Result<Recording, RecordError> {
        let start = UtcTime::from_unix_nanos(start_unix_nanos);
        let id = recording_id(camera, start_unix_nanos);
        let dir = dir
            .join(start.date())
            .join(format!("{camera}_{}_{id}", start.compact()));
        fs::create_dir_all(&dir).map_err(failed(&dir, "create it"))?;
        let identity = serde_json::from_str(&info.engine_identity)
            .unwrap_or_else(|_| serde_json::Value::String(info.engine_identity.clone()));
        let manifest = json!({
            "format": "maskcast-recording-1",
            "camera": camera.as_str(),
            "recording_id": id,
            "start_unix_nanos": start_unix_nanos,
            "start": start.to_string(),
            "maskcast_version": env!("CARGO_PKG_VERSION"),
            "engine": info.engine_name,
            "engine_identity": identity,
            "labels": info.classes.names,
            "video": "annotated",
        });
        let path = dir.join("manifest.json");
        let write = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.try_lock().map_err(io::Error::from)?;
            file.write_all(format!("{manifest:#}\n").as_bytes())?;
            file.sync_data()?;
            Ok(file)
        };
        let manifest = write().map_err(failed(&dir, "write manifest.json in it"))?;
        Ok(Recording {
            dir,
            _manifest: manifest,
        })
    }

    /// Appends a line about a finished file and puts it on the disk.
    pub(super) fn log_segment(&self, line: &serde_json::Value) -> Result<(), RecordError> {
        let path = self.dir.join("index.jsonl");
        let append = || -> io::Result<()> {
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        };
        append().map_err(failed(&self.dir, "append to index.jsonl in it"))
    }
}

/// Eight hex digits that no other recording of this machine has.
fn recording_id(camera: &CameraId, start_unix_nanos: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(camera.as_str());
    hash.update(start_unix_nanos.to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    hash.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file as hex.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bytes that may still be written below `dir`.
pub(super) fn free_bytes(dir: &Path) -> Result<u64, RecordError> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| failed(dir, "ask for its free space")(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes sure that files can be made in `dir`; creates it.
pub(super) fn check_writable(dir: &Path) -> Result<(), RecordError> {
    fs::create_dir_all(dir).map_err(failed(dir, "create it"))?;
    let probe = dir.join(format!(".maskcast-{}.probe", std::process::id()));
    File::create(&probe).map_err(failed(dir, "write in it"))?;
    fs::remove_file(&probe).map_err(failed(dir, "remove a file in it"))
}

/// Gives the videos of killed runs their proper name: Matroska written so far can be read as it is. Recordings that
/// another process still writes are left alone. Gives the files renamed; nothing is deleted.
pub(super) fn repair(dir: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let mut repaired = Vec::new();
    for day in subdirectories(dir)? {
        for recording in subdirectories(&day)? {
            if is_running(&recording) {
                continue;
            }
            for part in entries(&recording)? {
                let video = part.with_extension("");
                if part.extension().is_none_or(|e| e != PART) || video.extension().is_none_or(|e| e != "mkv") {
                    continue;
                }
                if video.exists() {
                    tracing::warn!(part = %part.display(), "left as it is: the video exists too");
                    continue;
                }
                fs::rename(&part, &video).map_err(failed(&recording, "rename a file in it"))?;
                repaired.push(video);
            }
        }
    }
    Ok(repaired)
}

fn is_running(recording: &Path) -> bool {
    let locked = |file: File| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    File::open(recording.join("manifest.json")).is_ok_and(locked)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let read = || -> io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
    let mut paths = read().map_err(failed(dir, "list it"))?;
    paths.sort();
    Ok(paths)
}

fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instances::ClassMap;

    fn info() -> RecordingInfo {
        RecordingInfo {
            engine_name: "conveyor".into(),
            engine_identity: r#"{"precision":"fp32"}"#.into(),
            classes: ClassMap {
                names: vec!["bolt".into()],
            },
        }
    }

    #[test]
    fn a_recording_has_its_name_and_says_what_it_holds() {
        let home = tempfile::tempdir().expect("tempdir");
        let camera = CameraId::new("front").expect("id");
        let recording = Recording::create(home.path(), &camera, 1_700_000_000_000_000_000, &info()).expect("recording");
        let name = recording
            .dir
            .file_name()
            .and_then(|n| n.to_str())
            .expect("name")
            .to_owned();
        assert_eq!(recording.dir.parent(), Some(home.path().join("2023-11-14").as_path()));
        assert!(
            name.starts_with("front_20231114T221320Z_") && name.len() == 31,
            "{name}"
        );
        let text = fs::read_to_string(recording.dir.join("manifest.json")).expect("manifest");
        let manifest: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(manifest["engine_identity"]["precision"], "fp32");
        assert_eq!(manifest["labels"], json!(["bolt"]));
        assert_eq!(manifest["camera"], "front");
    }

    #[test]
    fn repair_names_what_a_killed_run_left_and_leaves_a_running_one_alone() {
        let home = tempfile::tempdir().expect("tempdir");
        let camera = CameraId::new("front").expect("id");
        let make = |start: i64| {
            let recording = Recording::create(home.path(), &camera, start, &info()).expect("recording");
            fs::write(recording.dir.join("front_0001.mkv.part"), "video").expect("write");
            fs::write(recording.dir.join("front_0000.mkv"), "done").expect("write");
            recording
        };
        let (running, killed) = (make(1), make(2_000_000_000));
        let killed_dir = killed.dir.clone();
        drop(killed);
        assert_eq!(
            repair(home.path()).expect("repair"),
            [killed_dir.join("front_0001.mkv")]
        );
        assert_eq!(fs::read(killed_dir.join("front_0001.mkv")).expect("read"), b"video");
        assert!(running.dir.join("front_0001.mkv.part").exists());
        assert_eq!(repair(home.path()).expect("repair").len(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let home = tempfile::tempdir().expect("tempdir");
        let file = home.path().join("file");
        fs::write(&file, "").expect("write");
        let error = check_writable(&file.join("recordings")).expect_err("not a directory");
        let text = error.to_string();
        assert!(
            text.contains("file/recordings") && text.contains("cannot create it"),
            "{text}"
        );
        let proc = check_writable(Path::new("/proc")).expect_err("read-only");
        assert!(proc.to_string().contains("cannot write in it"), "{proc}");
        assert!(free_bytes(home.path()).is_ok_and(|free| free > 0));
    }
}
