//! Does the Rust code keep the rules that no compiler lint covers?
//!
//! [`check`] looks for: a module without a head, a silenced lint, an unfinished thought without an issue, `unsafe`
//! outside the rooms that may hold it, and a reader of arguments or environment outside the binary. Each is decided
//! on tokens or on comments, never on raw text, so strings and fixtures are free to mention the words.

use super::syntax::{Source, Token, TokenKind};
use super::{Violation, files, text};

/// Rooms that may hold `unsafe`: SIMD, and the memory map with its bus-error handler.
const UNSAFE_ROOMS: &[&str] = &["kernels", "checkpoint"];
/// Lines that a module's head has at least, blank ones left out.
const HEAD_LINES_MIN: usize = 3;
/// Lines that a module's head has at most.
const HEAD_LINES_MAX: usize = 20;
/// Functions of `std::env` that read what the process was started with.
const ENVIRONMENT: &[&str] = &["var", "var_os", "vars", "vars_os", "args", "args_os"];

/// Violations of every rule in this file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut violations: Vec<Violation> = check_head(source).into_iter().collect();
    violations.extend(check_silenced_lints(source));
    violations.extend(check_unsafe(source));
    violations.extend(check_environment(source));
    for (first_line, comment) in source.comments() {
        for (offset, line) in comment.lines().enumerate() {
            violations.extend(text::check_unfinished(source.path, first_line + offset, line));
        }
    }
    violations
}

/// A file opens with `//!`; one that ships says enough there, and not too much.
fn check_head(source: &Source) -> Option<Violation> {
    let violation = |message: String| Some(Violation::at(source.path, 1, "heads", message));
    let advice = "say what question the module answers, where to enter it, and why it is so";
    let is_head = |line: &&str| line.starts_with("//!");
    let head: Vec<&str> =
        source.text.lines().skip_while(|line| line.is_empty()).take_while(is_head).collect();
    let num_lines = head.iter().filter(|line| line.len() > "//!".len()).count();
    match num_lines {
        0 => violation(format!("opens without `//!`: {advice}")),
        _ if files::is_test(source.path) => None,
        _ if num_lines < HEAD_LINES_MIN => violation(format!("says little in its head: {advice}")),
        _ if head.len() > HEAD_LINES_MAX => {
            violation(format!("head of {} lines: a page in docs/ holds more", head.len()))
        }
        _ => None,
    }
}

/// `#[allow(..)]` in any form; `#[expect(.., reason)]` is checked by the compiler instead.
fn check_silenced_lints(source: &Source) -> Vec<Violation> {
    let message = "`allow` hides a lint for ever: use `#[expect(LINT, reason = \"…\")]`, or satisfy the lint";
    let tokens = &source.tokens;
    let opens_attribute = |index: usize| {
        is_mark(&tokens[index], '#')
            && (matches(tokens, index + 1, '[')
                || matches(tokens, index + 1, '!') && matches(tokens, index + 2, '['))
    };
    let mut violations = Vec::new();
    for index in (0..tokens.len()).filter(|index| opens_attribute(*index)) {
        let words = attribute_words(&tokens[index..]);
        let silences =
            words.first() == Some(&"allow") || words.first() == Some(&"cfg_attr") && words.contains(&"allow");
        if silences {
            violations.push(Violation::at(source.path, tokens[index].line, "lints", message));
        }
    }
    violations
}

/// The words of an attribute, up to its closing bracket.
fn attribute_words(tokens: &[Token]) -> Vec<&str> {
    let mut depth = 0;
    let mut words = Vec::new();
    for token in tokens {
        match &token.kind {
            TokenKind::Mark('[') => depth += 1,
            TokenKind::Mark(']') if depth == 1 => break,
            TokenKind::Mark(']') => depth -= 1,
            TokenKind::Word(word) => words.push(word.as_str()),
            _ => {}
        }
    }
    words
}

fn check_unsafe(source: &Source) -> Vec<Violation> {
    if files::room(source.path).is_some_and(|room| UNSAFE_ROOMS.contains(&room)) {
        return Vec::new();
    }
    let message = "`unsafe` lives in kernels and checkpoint alone: offer a safe function there and call it";
    let found = source.tokens.iter().filter(|token| is_word(token, "unsafe"));
    found.map(|token| Violation::at(source.path, token.line, "unsafe", message)).collect()
}

/// Only the binary, the scripts and build scripts read arguments and environment; a library takes values.
fn check_environment(source: &Source) -> Vec<Violation> {
    let may_read =
        files::room(source.path).is_none_or(|room| room == "cli") || source.path.ends_with("/build.rs");
    if may_read {
        return Vec::new();
    }
    let reads = |window: &[Token]| {
        is_word(&window[0], "env")
            && is_mark(&window[1], ':')
            && is_mark(&window[2], ':')
            && ENVIRONMENT.iter().any(|name| is_word(&window[3], name))
    };
    let message = "reads arguments or environment: only cli does, pass the value in";
    let windows = source.tokens.windows(4).filter(|window| reads(window));
    windows
        .map(|window| window[0].line)
        .filter(|line| !source.test_lines.contains(line))
        .map(|line| Violation::at(source.path, line, "environment", message))
        .collect()
}

fn matches(tokens: &[Token], index: usize, mark: char) -> bool {
    tokens.get(index).is_some_and(|token| is_mark(token, mark))
}

fn is_mark(token: &Token, mark: char) -> bool {
    token.kind == TokenKind::Mark(mark)
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(&token.kind, TokenKind::Word(found) if found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! What?\n//! Where.\n//! Why.\n";

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let source = Source::parse(path, text).ok().unwrap();
        check(&source).into_iter().map(|violation| (violation.rule, violation.line)).collect()
    }

    #[test]
    fn a_module_needs_a_head() {
        assert_eq!(found("crates/x/src/a.rs", "use std::fmt;\n"), [("heads", 1)]);
        assert_eq!(found("crates/x/src/a.rs", "/// Not the module's.\nfn f() {}\n"), [("heads", 1)]);
        assert_eq!(found("crates/x/src/a.rs", "//! A.\n//!\n//! B.\n"), [("heads", 1)]);
        assert_eq!(found("crates/x/src/a.rs", &"//! Line.\n".repeat(HEAD_LINES_MAX + 1)), [("heads", 1)]);
        assert_eq!(found("crates/x/src/a.rs", HEAD), []);
        assert_eq!(found("crates/x/tests/a.rs", "//! Short.\n"), []);
    }

    #[test]
    fn silenced_lints_fail_in_every_form() {
        let text = "//! H.\n//! H.\n//! H.\n#![allow(dead_code)]\n#[allow(unused)]\nfn f() {}\n#[cfg_attr(test, allow(unused))]\nfn g() {}\n";
        assert_eq!(found("crates/x/src/a.rs", text), [("lints", 4), ("lints", 5), ("lints", 7)]);
        let fine = "//! H.\n//! H.\n//! H.\n#[expect(unused, reason = \"allow\")]\nfn allow() { let _ = \"#[allow(x)]\"; }\n";
        assert_eq!(found("crates/x/src/a.rs", fine), []);
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        let text = "//! H.\n//! H.\n//! H.\nfn f() { unsafe { g() } }\n";
        assert_eq!(found("crates/model/src/a.rs", text), [("unsafe", 4)]);
        assert_eq!(found("xtask/src/a.rs", text), [("unsafe", 4)]);
        assert_eq!(found("crates/kernels/src/a.rs", text), []);
        assert_eq!(
            found("crates/model/src/a.rs", "//! unsafe\n//! H.\n//! H.\nfn f() { g(\"unsafe\") }\n"),
            []
        );
    }

    #[test]
    fn only_cli_reads_the_environment() {
        let text = "//! H.\n//! H.\n//! H.\nfn f() { std::env::var(\"A\"); }\nfn g() { env::args_os(); env!(\"B\"); }\n";
        assert_eq!(found("crates/model/src/a.rs", text), [("environment", 4), ("environment", 5)]);
        assert_eq!(found("crates/cli/src/a.rs", text), []);
        assert_eq!(found("crates/model/build.rs", text), []);
        assert_eq!(found("crates/model/tests/a.rs", text), []);
    }

    #[test]
    fn unfinished_thoughts_need_an_issue() {
        let text = "//! H.\n//! H.\n//! H.\n// fine\n// TODO: later\n/// TODO(#12) known\nfn f() { g(\"TODO\") }\n/* a\n   FIXME b */\n";
        assert_eq!(found("crates/x/src/a.rs", text), [("unfinished", 5), ("unfinished", 9)]);
    }
}
