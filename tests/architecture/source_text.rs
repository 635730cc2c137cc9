//! Rust sources as text in which only code is left: enough to see paths, not a parser.

use std::path::{Path, PathBuf};

/// One file under src/, comments, strings and test code blanked out; lines stay where they were.
pub(crate) struct Source {
    /// Relative to src/.
    pub(crate) path: PathBuf,
    code: String,
    /// Files of `#[cfg(test)] mod name;`, relative to src/: `name.rs` and `name/`.
    test_modules: Vec<PathBuf>,
}

/// Every file under `src`, without those that are test modules.
pub(crate) fn sources(src: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    walk(src, Path::new(""), &mut files);
    let all: Vec<Source> = files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| Source::parse(p, &std::fs::read_to_string(src.join(p)).unwrap_or_default()))
        .collect();
    let tests: Vec<PathBuf> = all.iter().flat_map(|s| s.test_modules.clone()).collect();
    all.into_iter()
        .filter(|s| !tests.iter().any(|t| s.path.with_extension("").starts_with(t)))
        .collect()
}

/// Code of every language in the tree, relative to `root`.
pub(crate) fn code_files(root: &Path) -> Vec<PathBuf> {
    let code = ["rs", "py", "proto", "cu", "cpp", "h"];
    let mut files = text_files(root);
    files.retain(|p| p.extension().is_some_and(|e| code.iter().any(|c| e == *c)));
    files
}

/// Every file of the tree that could be text, relative to `root`. What builds and runs leave behind is not of the tree.
pub(crate) fn text_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(root, Path::new(""), &mut files);
    let binary = [
        "png",
        "jpg",
        "jpeg",
        "safetensors",
        "plan",
        "mkv",
        "mp4",
        "pyc",
        "onnx",
        "npz",
    ];
    files.retain(|p| !p.extension().is_some_and(|e| binary.iter().any(|b| e == *b)));
    files
}

fn walk(root: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    const NOT_OF_THE_TREE: [&str; 9] = [
        ".git",
        "target",
        "recordings",
        "__pycache__",
        "cache",
        "shared",
        ".venv",
        "venv",
        ".local",
    ];
    let Ok(entries) = std::fs::read_dir(root.join(below)) else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = below.join(entry.file_name());
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_dir && !NOT_OF_THE_TREE.iter().any(|n| entry.file_name() == *n) {
            walk(root, &path, files);
        } else if entry.file_type().is_ok_and(|t| t.is_file()) && entry.file_name() != ".git" {
            files.push(path);
        }
    }
}

impl Source {
    /// `path` relative to src/.
    pub(crate) fn parse(path: &Path, text: &str) -> Source {
        let mut code = blank_comments_and_strings(text);
        let test_modules = blank_tests(&mut code, text)
            .into_iter()
            .map(|module| match module {
                TestModule::Named(name) => module_folder(path).join(name),
                TestModule::At(file) => path.parent().unwrap_or(Path::new("")).join(file).with_extension(""),
            })
            .collect();
        Source {
            path: path.to_owned(),
            code,
            test_modules,
        }
    }

    /// As messages show it.
    pub(crate) fn shown(&self) -> String {
        format!("src/{}", self.path.display())
    }

    /// The first part of the path: `outlets` of outlets/record/mod.rs, `time` of time.rs.
    pub(crate) fn room(&self) -> String {
        let first = self.path.iter().next().map(Path::new).unwrap_or(Path::new(""));
        first.with_extension("").to_string_lossy().into_owned()
    }

    /// `(line, room)` of each path that starts at the crate's root: `crate::`, the crate's name, or enough `super::`.
    pub(crate) fn imported_rooms(&self) -> Vec<(usize, String)> {
        let own = format!("{}::", env!("CARGO_PKG_NAME"));
        let depth = self.depth();
        let mut found = Vec::new();
        for start in ["crate::", own.as_str()] {
            for at in self.places_of(start) {
                self.heads(at + start.len(), &mut found);
            }
        }
        for at in self.places_of("super::") {
            let mut end = at;
            let mut supers = 0;
            while self.code[end..].starts_with("super::") {
                supers += 1;
                end += "super::".len();
            }
            if supers == depth && !self.code[..at].ends_with("super::") {
                self.heads(end, &mut found);
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Lines on which a path starts with the crate `name`, or `use` brings it in.
    pub(crate) fn lines_naming_crate(&self, name: &str) -> Vec<usize> {
        if !self.places_of(&format!("mod {name};")).is_empty() {
            return Vec::new(); // the module of this name hides the crate here
        }
        let mut lines: Vec<usize> = self
            .places_of(name)
            .into_iter()
            .filter(|&at| {
                let (before, after) = (self.code[..at].trim_end(), &self.code[at + name.len()..]);
                let inside_a_path = before.ends_with("::") && !before.ends_with(" ::") || before.ends_with('.');
                let whole_word = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                let used = after.starts_with("::") || before.ends_with("use");
                whole_word && used && !inside_a_path
            })
            .map(|at| self.line(at))
            .collect();
        lines.dedup();
        lines
    }

    pub(crate) fn lines_with_word(&self, word: &str) -> Vec<usize> {
        let whole = |at: &usize| !self.code[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        self.places_of(word)
            .iter()
            .filter(|at| whole(at))
            .map(|&at| self.line(at))
            .collect()
    }

    pub(crate) fn lines_containing(&self, text: &str) -> Vec<usize> {
        self.code.match_indices(text).map(|(at, _)| self.line(at)).collect()
    }

    /// Where `text` begins a word.
    fn places_of(&self, text: &str) -> Vec<usize> {
        let begins = |at: usize| !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        self.code
            .match_indices(text)
            .map(|(at, _)| at)
            .filter(|&at| begins(at))
            .collect()
    }

    /// The first names of the path or `{...}` group at `at`.
    fn heads(&self, at: usize, found: &mut Vec<(usize, String)>) {
        let rest = &self.code[at..];
        if !rest.starts_with('{') {
            found.extend(word(rest).map(|w| (self.line(at), w)));
            return;
        }
        let mut depth = 0;
        let mut expecting = false;
        for (i, c) in rest.char_indices() {
            match c {
                '{' => {
                    depth += 1;
                    expecting = depth == 1;
                }
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                ',' => expecting = depth == 1,
                c if c.is_whitespace() => {}
                _ if expecting => {
                    expecting = false;
                    found.extend(word(&rest[i..]).map(|w| (self.line(at + i), w)));
                }
                _ => {}
            }
        }
    }

    /// How many `super::` lead from this module to the crate's root.
    fn depth(&self) -> usize {
        module_folder(&self.path).iter().count()
    }

    fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Where the children of a module lie: `a/b` for a/b.rs and for a/b/mod.rs.
fn module_folder(path: &Path) -> PathBuf {
    match path.file_name().and_then(|n| n.to_str()) {
        Some("mod.rs") => path.parent().unwrap_or(Path::new("")).to_owned(),
        Some("lib.rs" | "main.rs") => PathBuf::new(),
        _ => path.with_extension(""),
    }
}

/// Comments, strings and character literals become spaces; newlines stay.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = literal_end(bytes, i);
        if end > i {
            out[i..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            i = end;
        } else {
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that starts at `i` ends; `i` when none does.
fn literal_end(bytes: &[u8], i: usize) -> usize {
    let rest = &bytes[i..];
    let find = |pattern: &[u8], from: usize| {
        let tail = &bytes[from.min(bytes.len())..];
        let at = tail.windows(pattern.len()).position(|w| w == pattern);
        at.map_or(bytes.len(), |p| from + p + pattern.len())
    };
    if rest.starts_with(b"//") {
        return find(b"\n", i) - 1;
    }
    if rest.starts_with(b"/*") {
        let (mut depth, mut at) = (0, i);
        while at < bytes.len() {
            match &bytes[at..] {
                [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        return at;
    }
    let word_before = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    let hashes = rest.iter().skip(1).take_while(|b| **b == b'#').count();
    if rest[0] == b'r' && rest.get(1 + hashes) == Some(&b'"') && (!word_before || bytes[i - 1] == b'b') {
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        return find(&close, i + 2 + hashes);
    }
    match rest {
        [b'"', ..] => quoted_end(bytes, i, b'"'),
        // 'a' and '\n', not the lifetime 'a
        [b'\'', b'\\', ..] => quoted_end(bytes, i, b'\''),
        [b'\'', first, tail @ ..] => {
            let length = match first {
                0..=0x7f => 1,
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            let closed = tail.get(length - 1) == Some(&b'\'');
            if closed { i + length + 2 } else { i }
        }
        _ => i,
    }
}

fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A test module in a file of its own.
enum TestModule {
    /// `mod name;`
    Named(String),
    /// `#[path = "file"] mod name;`
    At(PathBuf),
}

/// Blanks each item under `#[cfg(test)]`; gives those that are `mod name;`. `text` is the file before blanking, of the
/// same length: attributes hold strings.
fn blank_tests(code: &mut String, text: &str) -> Vec<TestModule> {
    let mut modules = Vec::new();
    while let Some(start) = code.find("#[cfg(test)]").or_else(|| code.find("#[cfg(all(test")) {
        let item = &code[start..];
        let mut depth = 0usize;
        let mut end = item.len();
        for (i, c) in item.char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = i + 1;
                break;
            }
        }
        if let Some((_, name)) = item[..end].rsplit_once("mod ").filter(|_| item[..end].ends_with(';')) {
            let written = &text[start..start + end];
            let at = written
                .split_once("#[path = \"")
                .and_then(|(_, rest)| rest.split_once('"'));
            modules.extend(match at {
                Some((file, _)) => Some(TestModule::At(PathBuf::from(file))),
                None => word(name).map(TestModule::Named),
            });
        }
        let blank: String = item[..end]
            .bytes()
            .map(|b| if b == b'\n' { '\n' } else { ' ' })
            .collect();
        code.replace_range(start..start + end, &blank);
    }
    modules
}
