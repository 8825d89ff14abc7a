//! Does the tree keep the house rules?
//!
//! [`check`] lists the files of the repository, hands each to the rules that concern it, and returns every
//! [`Violation`] with its place and what to do about it. A rule is a function from a path and a text to
//! violations, so that each is tested on a few lines of fixture; one file here is one group of rules.
//!
//! Rust sources are tokenised and parsed, not searched with patterns: a word in a string or a comment is not code,
//! and a line of code is a line that holds a token. What clippy already checks (parameter counts, comments on
//! unsafe blocks) is left to clippy.

mod documents;
mod files;
mod floors;
mod names;
mod sizes;
mod source;
mod syntax;
mod text;

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
    let mut violations = floors::check(&crates);
    violations.extend(documents::check(root, &crates)?);
    for path in files::list(root)? {
        let full = root.join(&path);
        violations.extend(text::check_bytes(&path, std::fs::metadata(&full)?.len()));
        violations.extend(names::check_path(&path));
        if !files::is_prose_or_code(&path) {
            continue;
        }
        let content = match String::from_utf8(std::fs::read(&full)?) {
            Ok(content) => content,
            Err(_) => {
                violations.push(Violation::of(&path, "text", "is not UTF-8: save it as UTF-8"));
                continue;
            }
        };
        violations.extend(text::check(&path, &content));
        if path.ends_with(".rs") {
            violations.extend(check_rust(&path, &content));
        }
    }
    violations.sort();
    Ok(violations)
}

/// The rules that need the tokens of a Rust file.
fn check_rust(path: &str, content: &str) -> Vec<Violation> {
    let source = match syntax::Source::parse(path, content) {
        Ok(source) => source,
        Err(violation) => return vec![violation],
    };
    let mut violations = names::check(&source);
    violations.extend(sizes::check(&source));
    violations.extend(source::check(&source));
    violations
}
