//! `cargo xtask tidy`: the house rules, checked.
//!
//! [`check`] hands each file of the repository to the rules that concern it and returns every [`Violation`]
//! with its place and what to do. A rule is a function from a path and a text to violations; one file here is
//! one group of rules. Rust sources are tokenized and parsed, not searched with patterns. What rustc and
//! clippy check is left to them: `[workspace.lints]` and `clippy.toml`.

mod circles;
mod commands;
mod documents;
mod files;
mod floors;
mod links;
mod names;
mod sizes;
mod source;
mod syntax;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

pub use documents::write_generated;
pub use sizes::print_sizes;

/// One rule broken at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path from the root of the repository, with `/` between its parts.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// The rule's short name.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    /// A violation at a line of a file.
    pub fn at(file: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Violation {
        Violation { file: file.to_owned(), line, rule, message: message.into() }
    }

    /// A violation of a file as a whole.
    pub fn of(file: &str, rule: &'static str, message: impl Into<String>) -> Violation {
        Violation::at(file, 0, rule, message)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: [{}] {}", self.file, self.rule, self.message),
            line => write!(f, "{}:{line}: [{}] {}", self.file, self.rule, self.message),
        }
    }
}

/// Every violation in the tree, ordered by file and line.
///
/// Errors: when the files cannot be listed or read, or `cargo metadata` fails.
pub fn check(root: &Path) -> anyhow::Result<Vec<Violation>> {
    let crates = floors::workspace(root)?;
    let paths: BTreeSet<String> = files::list(root)?.into_iter().collect();
    let known = commands::Known::read(root, &crates, &paths)?;
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let mut violations = floors::check(&crates);
    violations.extend(documents::check(root, &crates)?);
    let mut rust = Rust::default();
    for path in &paths {
        let full = root.join(path);
        violations.extend(text::check_bytes(path, std::fs::metadata(&full)?.len()));
        violations.extend(names::check_path(path));
        if !files::is_prose_or_code(path) {
            continue;
        }
        let Ok(content) = String::from_utf8(std::fs::read(&full)?) else {
            violations.push(Violation::of(path, "text", "is not UTF-8: save it as UTF-8"));
            continue;
        };
        violations.extend(text::check(path, &content));
        if links::is_document(path) {
            violations.extend(links::check(path, &content, &paths, &read));
            violations.extend(commands::check(path, &content, &known));
        }
        if path.ends_with(".rs") {
            rust.add(path, &content);
        }
    }
    violations.extend(rust.finish());
    violations.sort();
    Ok(violations)
}

/// What the Rust files break, each by itself and all together.
#[derive(Default)]
struct Rust {
    violations: Vec<Violation>,
    modules: Vec<circles::Module>,
}

impl Rust {
    fn add(&mut self, path: &str, content: &str) {
        let source = match syntax::Source::parse(path, content) {
            Ok(source) => source,
            Err(violation) => return self.violations.push(violation),
        };
        self.violations.extend(names::check(&source));
        self.violations.extend(sizes::check(&source));
        self.violations.extend(source::check(&source));
        self.modules.extend(circles::module(&source));
    }

    fn finish(mut self) -> Vec<Violation> {
        self.violations.extend(circles::check(&self.modules));
        self.violations
    }
}
