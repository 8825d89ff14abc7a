//! What is standard output, and what may be written to it?
//!
//! Colours are used on a terminal only, and not when `NO_COLOR` is set or the terminal is dumb. Text that a model, a file or a server
//! made is stripped of control characters before it reaches a terminal, where an escape sequence could rename the window or forge lines
//! above; a pipe gets the bytes as they are.

use std::env;
use std::io::{self, IsTerminal};

/// How text may be set off from other text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    has_colour: bool,
}

impl Style {
    /// What suits the stream that `is_terminal` was asked of.
    pub fn detect(is_terminal: bool) -> Style {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style { has_colour: is_terminal && !refused && !is_dumb }
    }

    /// Starts dimmed text.
    pub fn dim(self) -> &'static str {
        if self.has_colour { "\x1b[2m" } else { "" }
    }

    /// Starts bold text.
    pub fn bold(self) -> &'static str {
        if self.has_colour { "\x1b[1m" } else { "" }
    }

    /// Ends either.
    pub fn plain(self) -> &'static str {
        if self.has_colour { "\x1b[0m" } else { "" }
    }
}

/// The text without what a terminal would obey: control characters other than line end and tab become U+FFFD.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// [`safe`] when standard output is a terminal, the text as it is otherwise.
pub fn safe_for_stdout(text: &str) -> String {
    if io::stdout().is_terminal() { safe(text) } else { text.to_owned() }
}

/// The same for bytes that may not be UTF-8: a pipe gets them as they are.
pub fn safe_bytes_for_stdout(bytes: Vec<u8>) -> Vec<u8> {
    if io::stdout().is_terminal() { safe(&String::from_utf8_lossy(&bytes)).into_bytes() } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(safe("a\x1b]0;x\x07b\n\tc\u{9b}"), "a\u{fffd}]0;x\u{fffd}b\n\tc\u{fffd}");
    }
}
