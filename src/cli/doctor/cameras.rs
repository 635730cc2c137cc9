//! Cameras that are plugged in: what is under /dev, whether it may be opened, and which formats it offers.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::report::{Finding, Group, Need, Status};

/// One video node as found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    path: PathBuf,
    access: Access,
    /// From the device monitor; empty for a node that gives no pictures (metadata, encoders).
    name: String,
    formats: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Access {
    Allowed,
    Denied,
    Failed(String),
}

pub(super) fn probe(findings: &mut Vec<Finding>) {
    let source = Finding {
        key: "gstreamer.v4l2",
        group: Group::Cameras,
        title: "V4L2".to_owned(),
        status: match gst::init().is_ok() && gst::ElementFactory::find("v4l2src").is_some() {
            true => Status::Ok,
            false => Status::Missing,
        },
        need: Need::Optional,
        found: "v4l2src".to_owned(),
        gives: "USB cameras, v4l2://",
        install: Some("sudo apt-get install gstreamer1.0-plugins-good".to_owned()),
    };
    let usable = source.status == Status::Ok;
    findings.push(source);
    let mut nodes = nodes_under(Path::new("/dev"));
    if usable && nodes.iter().any(|n| n.access == Access::Allowed) {
        describe(&mut nodes);
    }
    findings.extend(findings_of(&nodes));
}

fn findings_of(nodes: &[Node]) -> Vec<Finding> {
    if nodes.is_empty() {
        let words = "none at /dev/video*; sim://conveyor, files and network cameras need none";
        return vec![Finding::fact("camera.none", Group::Cameras, "Cameras", words)];
    }
    nodes.iter().map(finding_of).collect()
}

fn finding_of(node: &Node) -> Finding {
    let title = node.path.display().to_string();
    let mut finding = Finding::fact("camera", Group::Cameras, &title, "");
    match &node.access {
        Access::Allowed if node.formats.is_empty() => finding.found = "gives no pictures".to_owned(),
        Access::Allowed => {
            finding.status = Status::Ok;
            finding.found = format!("{}; {}", node.name, node.formats.join(", "));
        }
        Access::Denied => {
            finding.status = Status::Missing;
            finding.found = "no permission to open it; log in again after the command below".to_owned();
            finding.gives = "this camera";
            finding.install = Some("sudo usermod -aG video $USER".to_owned());
        }
        Access::Failed(why) => finding.found = why.clone(),
    }
    finding
}

/// `video0`, `video1` ... below `dev`, in order of number.
fn nodes_under(dev: &Path) -> Vec<Node> {
    let Ok(entries) = std::fs::read_dir(dev) else {
        return Vec::new();
    };
    let number = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| number(p).is_some())
        .collect();
    paths.sort_by_key(|p| number(p));
    paths
        .into_iter()
        .map(|path| {
            let access = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(_) => Access::Allowed,
                Err(e) if e.kind() == ErrorKind::PermissionDenied => Access::Denied,
                Err(e) => Access::Failed(e.to_string()),
            };
            Node {
                path,
                access,
                name: String::new(),
                formats: Vec::new(),
            }
        })
        .collect()
}

/// Names and formats, as GStreamer's device monitor has them.
fn describe(nodes: &mut [Node]) {
    let monitor = gst::DeviceMonitor::new();
    if monitor.add_filter(Some("Video/Source"), None).is_none() || monitor.start().is_err() {
        return;
    }
    for device in monitor.devices() {
        let path = device.properties().and_then(|p| {
            let keys = ["device.path", "api.v4l2.path"];
            keys.iter().find_map(|key| p.get::<String>(*key).ok())
        });
        let node = path.and_then(|path| nodes.iter_mut().find(|n| n.path.as_os_str() == path.as_str()));
        if let Some(node) = node {
            node.name = device.display_name().to_string();
            node.formats = device.caps().map(|caps| formats_of(&caps)).unwrap_or_default();
        }
    }
    monitor.stop();
}

/// Each pixel format with its largest size: `YUY2 640x480`.
fn formats_of(caps: &gst::Caps) -> Vec<String> {
    let mut seen: Vec<(String, i64, String)> = Vec::new();
    for structure in caps.iter() {
        let format = match structure.name().as_str() {
            "video/x-raw" => structure.get::<String>("format").unwrap_or_else(|_| "raw".to_owned()),
            other => other
                .rsplit('/')
                .next()
                .unwrap_or(other)
                .trim_start_matches("x-")
                .to_uppercase(),
        };
        let size = (structure.get::<i32>("width"), structure.get::<i32>("height"));
        let (area, text) = match size {
            (Ok(w), Ok(h)) => (i64::from(w) * i64::from(h), format!("{format} {w}x{h}")),
            _ => (0, format.clone()),
        };
        match seen.iter_mut().find(|s| s.0 == format) {
            Some(known) if known.1 < area => (known.1, known.2) = (area, text),
            Some(_) => {}
            None => seen.push((format, area, text)),
        }
    }
    let texts: BTreeSet<String> = seen.into_iter().map(|(_, _, text)| text).collect();
    texts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(access: Access, formats: &[&str]) -> Node {
        Node {
            path: PathBuf::from("/dev/video0"),
            access,
            name: "Webcam".to_owned(),
            formats: formats.iter().map(|f| (*f).to_owned()).collect(),
        }
    }

    #[test]
    fn cameras_say_what_they_offer_or_what_stops_them() {
        let fine = finding_of(&node(Access::Allowed, &["JPEG 1920x1080", "YUY2 640x480"]));
        assert_eq!(
            (fine.status, fine.found.as_str()),
            (Status::Ok, "Webcam; JPEG 1920x1080, YUY2 640x480")
        );
        let denied = finding_of(&node(Access::Denied, &[]));
        assert_eq!(denied.status, Status::Missing);
        assert!(denied.install.is_some_and(|i| i.contains("usermod -aG video")));
        let metadata = finding_of(&node(Access::Allowed, &[]));
        assert_eq!(
            (metadata.status, metadata.found.as_str()),
            (Status::Info, "gives no pictures")
        );
        let gone = finding_of(&node(Access::Failed("No such device".into()), &[]));
        assert_eq!((gone.status, gone.found.as_str()), (Status::Info, "No such device"));
        assert_eq!(findings_of(&[])[0].key, "camera.none");
    }

    #[test]
    fn nodes_come_in_order_of_number() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["video10", "video2", "videofoo", "vbi0"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        let names: Vec<PathBuf> = nodes_under(dir.path()).into_iter().map(|n| n.path).collect();
        assert_eq!(names, [dir.path().join("video2"), dir.path().join("video10")]);
        assert!(nodes_under(Path::new("/no/such/folder")).is_empty());
    }

    #[test]
    fn formats_show_their_largest_size() {
        gst::init().expect("GStreamer");
        let caps: gst::Caps =
            "video/x-raw,format=YUY2,width=320,height=240; video/x-raw,format=YUY2,width=640,height=480; \
                               image/jpeg,width=1920,height=1080"
                .parse()
                .expect("caps");
        assert_eq!(formats_of(&caps), ["JPEG 1920x1080", "YUY2 640x480"]);
    }
}
