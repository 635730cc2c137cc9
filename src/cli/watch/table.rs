//! The table: one line a camera, drawn over itself on a terminal, appended elsewhere.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::book::{Book, CameraBook};
use crate::client::Liveliness;
use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::wire::decode::Outcome;
use crate::wire::v1;

/// Whether escape sequences are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colours(bool);

#[derive(Debug, Clone, Copy)]
enum Colour {
    Good = 32,
    Odd = 33,
    Bad = 31,
    Dim = 2,
}

impl Colours {
    pub(super) fn on(yes: bool) -> Colours {
        Colours(yes)
    }

    fn paint(self, colour: Colour, text: &str) -> String {
        if self.0 {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

/// What was drawn, so that it can be drawn over.
#[derive(Debug)]
pub(super) struct Screen {
    colours: Colours,
    endpoint: String,
    lines_drawn: usize,
}

impl Screen {
    pub(super) fn new(colours: Colours, endpoint: String) -> Screen {
        Screen {
            colours,
            endpoint,
            lines_drawn: 0,
        }
    }

    /// Draws over the last drawing. Lines longer than the terminal are cut by it, not wrapped.
    pub(super) fn redraw(&mut self, out: &mut impl Write, book: &Book) -> io::Result<()> {
        let lines = self.render(book);
        let mut text = String::from("\x1b[?7l");
        if self.lines_drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.lines_drawn);
        }
        for line in &lines {
            let _ = writeln!(text, "\r\x1b[2K{line}");
        }
        text.push_str("\x1b[J\x1b[?7h");
        self.lines_drawn = lines.len();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Appends, for files and pipes, and as the last word on a terminal.
    pub(super) fn lines(&mut self, out: &mut impl Write, book: &Book) -> io::Result<()> {
        if self.lines_drawn > 0 {
            return self.redraw(out, book);
        }
        for (id, camera) in &book.cameras {
            writeln!(out, "{}", self.camera(id, camera, book))?;
        }
        out.flush()
    }

    fn render(&self, book: &Book) -> Vec<String> {
        let mut lines = vec![self.head(book)];
        let heads = format!(
            "{:<12} {:<10} {:>8} {:>6} {:>15}  {:<6} INSTANCES",
            "CAMERA", "STATE", "RESULT", "HZ", "AGE p50/p95 ms", "MISSED"
        );
        lines.push(self.colours.paint(Colour::Dim, &heads));
        lines.extend(book.cameras.iter().map(|(id, camera)| self.camera(id, camera, book)));
        if book.cameras.is_empty() {
            lines.push("no camera yet".to_owned());
        }
        lines
    }

    fn head(&self, book: &Book) -> String {
        let mut head = format!("maskcast at {}", self.endpoint);
        let alive: Vec<String> = book
            .daemons
            .iter()
            .filter(|(_, l)| **l == Liveliness::Alive)
            .map(|(session, _)| session.to_string()[..8].to_owned())
            .collect();
        if alive.is_empty() {
            head.push_str(&self.colours.paint(Colour::Bad, "  no daemon"));
        } else {
            let _ = write!(head, "  session {}", alive.join(", "));
        }
        if let Some(health) = &book.health {
            let colour = match health.state() {
                v1::ServiceState::Ready => Colour::Good,
                v1::ServiceState::Fault => Colour::Bad,
                _ => Colour::Odd,
            };
            let _ = write!(
                head,
                "  {}",
                self.colours
                    .paint(colour, short(health.state().as_str_name(), "SERVICE_STATE_"))
            );
            if !health.detail.is_empty() {
                let _ = write!(head, "  {}", health.detail);
            }
            if !health.device.is_empty() {
                let _ = write!(head, "  on {}", health.device);
            }
        }
        if book.malformed > 0 {
            let _ = write!(head, "  {} malformed", book.malformed);
        }
        head
    }

    fn camera(&self, id: &CameraId, camera: &CameraBook, book: &Book) -> String {
        let state = match (&camera.status, camera.alive) {
            (Some(status), _) => short(status.state().as_str_name(), "CAMERA_STATE_").to_owned(),
            (None, true) => "ALIVE".to_owned(),
            (None, false) => "?".to_owned(),
        };
        let colour = if camera.alive { Colour::Good } else { Colour::Bad };
        let ages = camera
            .ages_millis()
            .map_or("-".to_owned(), |(p50, p95)| format!("{p50:.1}/{p95:.1}"));
        let hz = camera.status.as_ref().map_or(0.0, |s| s.answer_hz);
        let mut line = format!(
            "{:<12} {} {:>8} {hz:>6.1} {ages:>15}  {:<6} {}",
            id.as_str(),
            self.colours.paint(colour, &format!("{state:<10}")),
            camera.last_number,
            camera.missed,
            self.instances(camera, book),
        );
        for (reason, count) in &camera.tombstones {
            let word = short(reason.as_str_name(), "TOMBSTONE_REASON_").to_lowercase();
            let _ = write!(
                line,
                "  {}",
                self.colours.paint(Colour::Odd, &format!("{word} {count}"))
            );
        }
        if camera.skipped > 0 {
            let _ = write!(line, "  skipped here {}", camera.skipped);
        }
        if camera.malformed > 0 {
            let _ = write!(
                line,
                "  {}",
                self.colours
                    .paint(Colour::Bad, &format!("malformed {}", camera.malformed))
            );
        }
        if let Some(status) = &camera.status {
            if status.reconnects > 0 {
                let _ = write!(line, "  reconnects {}", status.reconnects);
            }
            if !status.detail.is_empty() {
                let _ = write!(line, "  {}", self.colours.paint(Colour::Dim, &status.detail));
            }
        }
        line
    }

    /// The four best by name and score, and how many more.
    fn instances(&self, camera: &CameraBook, book: &Book) -> String {
        let Some(answer) = &camera.last_answer else {
            return "-".to_owned();
        };
        let Outcome::Answer { instances, .. } = &answer.outcome else {
            return "-".to_owned();
        };
        let classes = book.labels().get(&answer.label_map_id);
        let best = instances
            .iter()
            .take(4)
            .map(|i| format!("{} {:.2}", class_name(classes, i.class_id), i.score));
        let mut text = best.collect::<Vec<_>>().join(", ");
        if text.is_empty() {
            text.push_str("none");
        }
        if instances.len() > 4 {
            let _ = write!(text, ", +{}", instances.len() - 4);
        }
        if !answer.degraded.is_empty() {
            let words: Vec<String> = answer
                .degraded
                .iter()
                .map(|d| short(d.as_str_name(), "DEGRADATION_").to_lowercase())
                .collect();
            let _ = write!(
                text,
                "  {}",
                self.colours.paint(Colour::Odd, &format!("[{}]", words.join(" ")))
            );
        }
        text
    }
}

/// The name, or the number where names are not known.
pub(super) fn class_name(classes: Option<&ClassMap>, class_id: u32) -> String {
    classes
        .and_then(|c| c.name(class_id))
        .map_or_else(|| format!("class {class_id}"), str::to_owned)
}

/// An enum name without the prefix that the schema repeats.
pub(super) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
