//! Findings -> a page of 80 columns, or JSON with stable keys.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Columns of the page.
const WIDTH: usize = 80;
/// Where the words of a finding begin: after `  missing  `.
const INDENT: usize = 11;

/// Headings, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Group {
    Pictures,
    Cameras,
    Inference,
    Robots,
    Machine,
}

const GROUPS: [(Group, &str); 5] = [
    (Group::Pictures, "Pictures in, recordings out"),
    (Group::Cameras, "Cameras"),
    (Group::Inference, "Inference"),
    (Group::Robots, "Robots (zenoh)"),
    (Group::Machine, "This machine"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    Missing,
    /// A fact, neither good nor bad.
    Info,
}

/// Whether the main job (a camera in, instances on zenoh) can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    MainJob,
    Optional,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Stable: `gstreamer.rtsp`.
    pub(super) key: &'static str,
    pub(super) group: Group,
    pub(super) title: String,
    pub(super) status: Status,
    pub(super) need: Need,
    /// What was found, or what exactly is not there.
    pub(super) found: String,
    /// What having it is good for; empty for facts.
    pub(super) gives: &'static str,
    /// Shown when missing.
    pub(super) install: Option<String>,
}

impl Finding {
    pub(super) fn fact(key: &'static str, group: Group, title: &str, found: impl Into<String>) -> Finding {
        Finding {
            key,
            group,
            title: title.to_owned(),
            status: Status::Info,
            need: Need::Optional,
            found: found.into(),
            gives: "",
            install: None,
        }
    }
}

/// Everything `doctor` has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Always,
    Never,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Report {
        Report { findings }
    }

    /// Nothing that the main job needs is missing.
    pub(super) fn ready(&self) -> bool {
        self.blocking().next().is_none()
    }

    fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|f| f.need == Need::MainJob && f.status == Status::Missing)
    }

    pub(super) fn page(&self, colour: Colour) -> String {
        let mut page = format!(
            "{}\n",
            paint(colour, BOLD, &format!("maskcast {} doctor", env!("CARGO_PKG_VERSION")))
        );
        for (group, heading) in GROUPS {
            let mut of_group = self.findings.iter().filter(|f| f.group == group).peekable();
            if of_group.peek().is_some() {
                page += &format!("\n{}\n", paint(colour, BOLD, heading));
            }
            for finding in of_group {
                page += &lines_of(finding, colour);
            }
        }
        page.push('\n');
        page += &self.verdict(colour);
        page
    }

    fn verdict(&self, colour: Colour) -> String {
        let missing = |need: Need| {
            let of_need = |f: &&Finding| f.need == need && f.status == Status::Missing;
            self.findings.iter().filter(of_need).count()
        };
        if self.ready() {
            let rest = match missing(Need::Optional) {
                0 => "Nothing is missing.".to_owned(),
                1 => "1 optional thing is missing.".to_owned(),
                n => format!("{n} optional things are missing."),
            };
            return format!("{} {rest}\n", paint(colour, GREEN, "The main job can run."));
        }
        let names: Vec<&str> = self.blocking().map(|f| f.title.as_str()).collect();
        let text = format!("The main job cannot run without: {}.", names.join(", "));
        let lines = wrap(&text, WIDTH);
        format!("{}\n", paint(colour, RED, &lines.join("\n")))
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

fn paint(colour: Colour, code: &str, text: &str) -> String {
    match colour {
        Colour::Always => format!("\x1b[{code}m{text}\x1b[0m"),
        Colour::Never => text.to_owned(),
    }
}

fn lines_of(finding: &Finding, colour: Colour) -> String {
    let (word, code) = match (finding.status, finding.need) {
        (Status::Ok, _) => ("ok", GREEN),
        (Status::Info, _) => ("info", DIM),
        (Status::Missing, Need::Optional) => ("missing", YELLOW),
        (Status::Missing, Need::MainJob) => ("missing", RED),
    };
    let mut first = match finding.found.is_empty() {
        true => finding.title.clone(),
        false => format!("{}: {}", finding.title, finding.found),
    };
    if finding.status == Status::Ok && !finding.gives.is_empty() {
        first += &format!(" - {}", finding.gives);
    }
    let mut text = String::new();
    for (i, line) in wrap(&first, WIDTH - INDENT).iter().enumerate() {
        let label = if i == 0 {
            paint(colour, code, &format!("{word:<7}"))
        } else {
            " ".repeat(7)
        };
        text += &format!("  {label}  {line}\n");
    }
    if finding.status != Status::Missing {
        return text;
    }
    let margin = " ".repeat(INDENT);
    if !finding.gives.is_empty() {
        for line in wrap(&format!("for {}", finding.gives), WIDTH - INDENT) {
            text += &format!("{margin}{line}\n");
        }
    }
    if let Some(command) = &finding.install {
        // Commands are for copying: broken only where the shell allows it.
        let lines = wrap(command, WIDTH - INDENT - 6);
        let last = lines.len().saturating_sub(1);
        for (i, line) in lines.iter().enumerate() {
            let (begin, end) = (if i == 0 { "$ " } else { "    " }, if i < last { " \\" } else { "" });
            text += &format!("{margin}{begin}{}{end}\n", paint(colour, BOLD, line));
        }
    }
    text
}

/// Breaks at spaces; a longer word stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Report", 3)?;
        s.serialize_field("version", env!("CARGO_PKG_VERSION"))?;
        s.serialize_field("ready", &self.ready())?;
        s.serialize_field("findings", &self.findings)?;
        s.end()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Finding", 8)?;
        s.serialize_field("key", self.key)?;
        s.serialize_field("group", &self.group)?;
        s.serialize_field("title", &self.title)?;
        s.serialize_field("status", &self.status)?;
        s.serialize_field("needed", &(self.need == Need::MainJob))?;
        s.serialize_field("found", &self.found)?;
        s.serialize_field("gives", &self.gives)?;
        let missing = self.status == Status::Missing;
        s.serialize_field("install", &self.install.as_ref().filter(|_| missing))?;
        s.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(key: &'static str, status: Status, need: Need) -> Finding {
        Finding {
            key,
            group: Group::Inference,
            title: format!("Thing {key}"),
            status,
            need,
            found: "version 1.2".to_owned(),
            gives: "networks on the processor",
            install: Some("pip install thing".to_owned()),
        }
    }

    #[test]
    fn ready_means_that_nothing_needed_is_missing() {
        let optional = finding("a", Status::Missing, Need::Optional);
        let fine = finding("b", Status::Ok, Need::MainJob);
        let fact = Finding::fact("c", Group::Machine, "Cores", "2");
        assert!(Report::new(vec![optional.clone(), fine.clone(), fact]).ready());
        assert!(Report::new(vec![]).ready());
        assert!(!Report::new(vec![fine, finding("d", Status::Missing, Need::MainJob), optional]).ready());
    }

    #[test]
    fn the_page_shows_what_is_missing_and_how_to_get_it() {
        let report = Report::new(vec![
            Finding::fact("cores", Group::Machine, "Cores", "2"),
            finding("b", Status::Ok, Need::MainJob),
            finding("a", Status::Missing, Need::Optional),
        ]);
        let expected = format!(
            "maskcast {} doctor\n\n\
             Inference\n  \
               ok       Thing b: version 1.2 - networks on the processor\n  \
               missing  Thing a: version 1.2\n           \
                        for networks on the processor\n           \
                        $ pip install thing\n\n\
             This machine\n  \
               info     Cores: 2\n\n\
             The main job can run. 1 optional thing is missing.\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(report.page(Colour::Never), expected);
    }

    #[test]
    fn a_needed_thing_that_is_missing_is_the_verdict() {
        let page = Report::new(vec![finding("x", Status::Missing, Need::MainJob)]).page(Colour::Never);
        assert!(
            page.ends_with("\nThe main job cannot run without: Thing x.\n"),
            "{page}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_page_and_commands_can_be_copied() {
        let mut long = finding("long", Status::Missing, Need::Optional);
        long.found = "words and ".repeat(40);
        let packages: Vec<String> = (0..9).map(|i| format!("gstreamer1.0-plugins-number-{i}")).collect();
        long.install = Some(format!("sudo apt-get install {}", packages.join(" ")));
        let page = Report::new(vec![long.clone()]).page(Colour::Never);
        for line in page.lines() {
            assert!(
                line.chars().count() <= WIDTH,
                "{} columns: {line}",
                line.chars().count()
            );
        }
        let command = page
            .split("$ ")
            .nth(1)
            .and_then(|rest| rest.split("\n\n").next())
            .unwrap_or_default();
        let joined: Vec<&str> = command.split_whitespace().filter(|w| *w != "\\").collect();
        assert_eq!(Some(joined.join(" ")), long.install);
    }

    #[test]
    fn colours_are_for_terminals() {
        let report = Report::new(vec![finding("x", Status::Missing, Need::MainJob)]);
        assert!(report.page(Colour::Always).contains("\x1b[1;31mmissing\x1b[0m"));
        assert!(!report.page(Colour::Never).contains('\x1b'));
    }

    #[test]
    fn json_keys_are_stable() {
        let value = serde_json::to_value(Report::new(vec![finding("x", Status::Missing, Need::MainJob)]));
        let expected = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": false,
            "findings": [{
                "key": "x", "group": "inference", "title": "Thing x", "status": "missing", "needed": true,
                "found": "version 1.2", "gives": "networks on the processor", "install": "pip install thing",
            }],
        });
        assert_eq!(value.ok(), Some(expected));
        let fine = serde_json::to_value(finding("x", Status::Ok, Need::MainJob));
        assert_eq!(fine.ok().map(|v| v["install"].clone()), Some(serde_json::Value::Null));
    }
}
