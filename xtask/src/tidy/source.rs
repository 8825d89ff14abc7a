//! Rules for Rust files that no compiler lint covers: a module head, comments that fit the width of the code,
//! and no unfinished thought without an issue.

use super::syntax::Source;
use super::{Violation, text};

/// Lines that a module's head has at most.
const HEAD_LINES_MAX: usize = 20;
/// Columns of a line with a comment, as of code: `max_width` of rustfmt.toml.
const COLUMNS_MAX: usize = 110;
/// Violations of every rule in this file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut violations: Vec<Violation> = check_head(source).into_iter().collect();
    let message = format!("a comment of more than {COLUMNS_MAX} columns: wrap it");
    let wide = wide_comments(source).into_iter();
    violations.extend(wide.map(|line| Violation::at(source.path, line, "comments", message.clone())));
    for (first_line, comment) in source.comments() {
        for (offset, line) in comment.lines().enumerate() {
            violations.extend(text::check_unfinished(source.path, first_line + offset, line));
        }
    }
    violations
}

/// A file opens with `//!`, and not with a whole page.
fn check_head(source: &Source) -> Option<Violation> {
    let violation = |message: String| Some(Violation::at(source.path, 1, "heads", message));
    let is_head = |line: &&str| line.starts_with("//!");
    let head = source.text.lines().skip_while(|line| line.is_empty()).take_while(is_head);
    match head.count() {
        0 => violation("opens without `//!`: say in a line what the module holds".to_owned()),
        lines if lines > HEAD_LINES_MAX => {
            violation(format!("head of {lines} lines: a page in docs/ holds more"))
        }
        _ => None,
    }
}

/// Lines on which a comment is too wide; addresses and tables, which cannot be broken, may be.
pub fn wide_comments(source: &Source) -> Vec<usize> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut wide = Vec::new();
    for (first_line, comment) in source.comments() {
        for (offset, part) in comment.lines().enumerate() {
            let part = part.trim();
            let line = lines.get(first_line + offset - 1).copied().unwrap_or_default();
            let is_table = part.trim_start_matches(['/', '!', ' ']).starts_with('|');
            let is_wide = !part.is_empty() && line.chars().count() > COLUMNS_MAX;
            if is_wide && !is_table && !line.contains("://") {
                wide.push(first_line + offset);
            }
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let source = Source::parse(path, text).ok().unwrap();
        check(&source).into_iter().map(|violation| (violation.rule, violation.line)).collect()
    }

    #[test]
    fn a_module_needs_a_head() {
        assert_eq!(found("xtask/src/a.rs", "use std::fmt;\n"), [("heads", 1)]);
        assert_eq!(found("xtask/src/a.rs", "/// Not the module's.\nfn f() {}\n"), [("heads", 1)]);
        assert_eq!(found("xtask/src/a.rs", &"//! Line.\n".repeat(HEAD_LINES_MAX + 1)), [("heads", 1)]);
        assert_eq!(found("xtask/src/a.rs", "//! The parts of a.\n"), []);
    }

    #[test]
    fn comments_keep_the_width_of_code() {
        let wide = "x".repeat(COLUMNS_MAX);
        let text = format!("//! H.\n\n// {wide}\n/// {wide}\nfn f() {{}}\nconst A: &str = \"// {wide}\";\n");
        assert_eq!(found("xtask/src/a.rs", &text), [("comments", 3), ("comments", 4)]);
        assert_eq!(found("xtask/src/a.rs", &format!("//! H.\n// https://x.org/{wide}\n")), []);
        assert_eq!(found("xtask/src/a.rs", &format!("//! H.\n//! | {wide} |\n")), []);
        assert_eq!(found("xtask/src/a.rs", &format!("//! H.\n// {}\n", &wide[3..])), []);
    }

    #[test]
    fn unfinished_thoughts_need_an_issue() {
        let text = "//! H.\n// fine\n// TODO: later\n/// TODO(#12) known\nfn f() { g(\"TODO\") }\n/* a\n   FIXME b */\n";
        assert_eq!(found("crates/x/src/a.rs", text), [("unfinished", 3), ("unfinished", 7)]);
    }
}
