//! What may be written to a terminal.
//!
//! Text that a model, a file or a server made is stripped of control characters before it reaches a terminal,
//! where an escape sequence could rename the window or forge lines above; a pipe gets the bytes as they are.
//! Colors are used where `anstream` says that they may be: on a terminal that is not dumb, unless `NO_COLOR`
//! is set.

use std::io::{self, IsTerminal};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};

/// How text is set off from other text on a stream; nothing where there is no color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// For what is beside the point.
    pub dim: anstyle::Style,
    /// For what should be seen first.
    pub bold: anstyle::Style,
}

impl Style {
    /// What suits a stream.
    pub fn of(stream: &impl RawStream) -> Style {
        match AutoStream::choice(stream) {
            ColorChoice::Never => Style { dim: anstyle::Style::new(), bold: anstyle::Style::new() },
            _ => Style { dim: anstyle::Style::new().dimmed(), bold: anstyle::Style::new().bold() },
        }
    }

    /// Whether the styles can be seen.
    pub fn has_color(&self) -> bool {
        !self.dim.is_plain()
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
