//! What the model reads of a page: a heading, the lines in view and their numbers.

use gptoss_harmony::Vocab;
use percent_encoding::percent_decode_str;

use super::{
    arguments::View,
    characters::truncated,
    error::Error,
    limits::{SHOWN_CHARS_MAX, VIEW_TOKENS},
    page::Page,
    wrap,
};

/// Longest token of o200k. Units: characters.
const TOKEN_CHARS_MAX: usize = 128;

/// Shows a page at a cursor. Lines count from zero.
pub(super) fn display(page: &Page, cursor: usize, view: View) -> Result<String, Error> {
    let lines = wrap::lines(&page.text);
    let first = view.line.unwrap_or(0);
    if first >= lines.len() {
        return Err(Error::Line { line: first, last: lines.len() - 1 });
    }
    let rest = &lines[first..];
    let shown = view.num_lines.unwrap_or_else(|| lines_that_fit(rest, first)).min(rest.len());
    let address = truncated(&percent_decode_str(&page.url).decode_utf8_lossy(), SHOWN_CHARS_MAX);
    let address = if address.is_empty() { address } else { format!(" ({address})") };
    Ok(format!(
        "[{cursor}] {}{address}\n**viewing lines [{first} - {}] of {}**\n\n{}",
        page.title,
        first + shown - 1,
        lines.len() - 1,
        numbered(&rest[..shown], first).collect::<String>()
    ))
}

/// Lines with their numbers, each but the first after a line end.
fn numbered(lines: &[String], first: usize) -> impl Iterator<Item = String> {
    lines.iter().enumerate().map(move |(i, line)| {
        let end = if i == 0 { "" } else { "\n" };
        format!("{end}L{}: {line}", first + i)
    })
}

/// How many numbered lines the view's tokens reach into.
fn lines_that_fit(lines: &[String], first: usize) -> usize {
    let vocab = Vocab::o200k_harmony();
    // No line is numbered that the tokens cannot reach.
    let chars = numbered(lines, first).flat_map(|line| line.chars().collect::<Vec<_>>());
    let text: String = chars.take((VIEW_TOKENS + 1) * TOKEN_CHARS_MAX).collect();
    if text.chars().nth(VIEW_TOKENS).is_none() {
        return lines.len();
    }
    let tokens = vocab.encode(&text);
    if tokens.len() <= VIEW_TOKENS {
        return lines.len();
    }
    // A token that ends within a character counts as the characters it would be shown as alone: so did the
    // displays that the model was trained with.
    let shown = |&token| String::from_utf8_lossy(vocab.bytes(token)).chars().count();
    let end: usize = tokens[..VIEW_TOKENS].iter().map(shown).sum();
    text.chars().take(end).filter(|&c| c == '\n').count() + 1
}
