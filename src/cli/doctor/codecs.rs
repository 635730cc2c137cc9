//! GStreamer and the elements that sources and recordings are made of.

use gstreamer as gst;

use super::report::{Finding, Group, Need, Status};

/// Elements that stand for one ability.
struct Ability {
    key: &'static str,
    title: &'static str,
    elements: Elements,
    need: Need,
    gives: &'static str,
    /// Debian and Ubuntu packages.
    packages: &'static str,
}

enum Elements {
    All(&'static [&'static str]),
    /// One is enough: the first that is there.
    Any(&'static [&'static str]),
}

const ABILITIES: [Ability; 10] = [
    Ability {
        key: "gstreamer.core",
        title: "Core elements",
        elements: Elements::All(&[
            "appsink",
            "appsrc",
            "queue",
            "filesrc",
            "decodebin",
            "videoconvert",
            "videoscale",
            "videoflip",
        ]),
        need: Need::MainJob,
        gives: "every source and recording",
        packages: "gstreamer1.0-plugins-base gstreamer1.0-plugins-good",
    },
    Ability {
        key: "gstreamer.rtsp",
        title: "RTSP",
        elements: Elements::All(&[
            "rtspsrc",
            "rtpjitterbuffer",
            "rtph264depay",
            "rtph265depay",
            "rtpjpegdepay",
            "h264parse",
            "h265parse",
        ]),
        need: Need::Optional,
        gives: "network cameras, rtsp://",
        packages: "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
    },
    Ability {
        key: "gstreamer.containers",
        title: "Video files",
        elements: Elements::All(&["qtdemux", "matroskademux", "avidemux", "tsdemux"]),
        need: Need::Optional,
        gives: "MP4, MOV, Matroska, AVI and MPEG-TS files, file://",
        packages: "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
    },
    Ability {
        key: "gstreamer.h264_decode",
        title: "H.264 decoder",
        elements: Elements::Any(&["avdec_h264", "openh264dec"]),
        need: Need::Optional,
        gives: "most network cameras and video files",
        packages: "gstreamer1.0-libav",
    },
    Ability {
        key: "gstreamer.h265_decode",
        title: "H.265 decoder",
        elements: Elements::Any(&["avdec_h265", "libde265dec"]),
        need: Need::Optional,
        gives: "network cameras and files in H.265 (HEVC)",
        packages: "gstreamer1.0-libav",
    },
    Ability {
        key: "gstreamer.hardware_decode",
        title: "Hardware H.264 decoder",
        elements: Elements::Any(&[
            "nvh264dec",
            "nvv4l2decoder",
            "vah264dec",
            "vaapih264dec",
            "v4l2h264dec",
            "qsvh264dec",
        ]),
        need: Need::Optional,
        gives: "more cameras for the same processor load",
        packages: "gstreamer1.0-plugins-bad va-driver-all",
    },
    Ability {
        key: "gstreamer.h264_encode",
        title: "H.264 encoder",
        elements: Elements::Any(&["x264enc", "openh264enc"]),
        need: Need::Optional,
        gives: "annotated video",
        packages: "gstreamer1.0-plugins-ugly",
    },
    Ability {
        key: "gstreamer.hardware_encode",
        title: "Hardware H.264 encoder",
        elements: Elements::Any(&[
            "nvh264enc",
            "nvv4l2h264enc",
            "vah264enc",
            "vah264lpenc",
            "vaapih264enc",
            "v4l2h264enc",
            "qsvh264enc",
        ]),
        need: Need::Optional,
        gives: "annotated video without loading the processor",
        packages: "gstreamer1.0-plugins-bad va-driver-all",
    },
    Ability {
        key: "gstreamer.matroska",
        title: "Matroska segments",
        elements: Elements::All(&["matroskamux", "splitmuxsink"]),
        need: Need::Optional,
        gives: "recordings that stay readable after a power cut",
        packages: "gstreamer1.0-plugins-good",
    },
    Ability {
        key: "gstreamer.images",
        title: "JPEG and PNG",
        elements: Elements::All(&["jpegdec", "jpegparse", "pngdec"]),
        need: Need::Optional,
        gives: "MJPEG cameras and files",
        packages: "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
    },
];

pub(super) fn probe(findings: &mut Vec<Finding>) {
    let mut library = Finding {
        key: "gstreamer",
        group: Group::Pictures,
        title: "GStreamer".to_owned(),
        status: Status::Ok,
        need: Need::MainJob,
        found: String::new(),
        gives: "every source and recording",
        install: Some("sudo apt-get install libgstreamer1.0-0 libgstreamer-plugins-base1.0-0".to_owned()),
    };
    if let Err(error) = gst::init() {
        library.status = Status::Missing;
        library.found = error.to_string();
        findings.push(library);
        return;
    }
    let (major, minor, micro, _) = gst::version();
    library.found = format!("{major}.{minor}.{micro}");
    if (major, minor) < (1, 22) {
        library.status = Status::Missing;
        library.found += ", 1.22 or newer is needed (Debian 12, Ubuntu 24.04)";
    }
    findings.push(library);
    let exists = |name: &str| gst::ElementFactory::find(name).is_some();
    findings.extend(ABILITIES.iter().map(|ability| ability.finding(exists)));
}

impl Ability {
    fn finding(&self, exists: impl Fn(&str) -> bool) -> Finding {
        let (status, found) = match &self.elements {
            Elements::All(names) => {
                let absent: Vec<&str> = names.iter().copied().filter(|n| !exists(n)).collect();
                match absent.is_empty() {
                    true => (Status::Ok, format!("all {} elements", names.len())),
                    false => (Status::Missing, format!("no {}", absent.join(", "))),
                }
            }
            Elements::Any(names) => match names.iter().find(|n| exists(n)) {
                Some(name) => (Status::Ok, (*name).to_owned()),
                None => (Status::Missing, format!("none of {}", names.join(", "))),
            },
        };
        Finding {
            key: self.key,
            group: Group::Pictures,
            title: self.title.to_owned(),
            status,
            need: self.need,
            found,
            gives: self.gives,
            install: Some(format!("sudo apt-get install {}", self.packages)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ability(key: &str) -> &'static Ability {
        ABILITIES.iter().find(|a| a.key == key).expect("in the table")
    }

    #[test]
    fn all_means_all_and_any_means_one() {
        let encoder = ability("gstreamer.hardware_encode");
        assert_eq!(encoder.finding(|n| n == "vah264enc").found, "vah264enc");
        assert_eq!(encoder.finding(|_| false).status, Status::Missing);
        let matroska = ability("gstreamer.matroska").finding(|n| n != "splitmuxsink");
        assert_eq!(
            (matroska.status, matroska.found.as_str()),
            (Status::Missing, "no splitmuxsink")
        );
        assert_eq!(ability("gstreamer.core").finding(|_| true).status, Status::Ok);
    }

    #[test]
    fn only_the_core_is_needed() {
        let needed: Vec<&str> = ABILITIES
            .iter()
            .filter(|a| a.need == Need::MainJob)
            .map(|a| a.key)
            .collect();
        assert_eq!(needed, ["gstreamer.core"]);
    }
}
