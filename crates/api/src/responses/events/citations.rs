//! What a text says of the pages that the browser showed, made readable.
//!
//! The model cites as it was trained to: `【2†L9-L11】` is lines 9 to 11 of what stood under cursor 2.
//! [`Citations`] puts a link in the place of each, however the text is cut: what might become a citation is
//! held back. A cursor that shows no page of an address is left as the model wrote it.

use std::collections::BTreeMap;

/// Longest text between the brackets. Units: bytes.
const INSIDE_BYTES_MAX: usize = 64;

/// A page by its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CitedPage {
    /// The cursor.
    pub cursor: u64,
    /// The address.
    pub url: String,
    /// The title, if it has one.
    pub title: String,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As the model wrote it.
    Plain(String),
    /// A link in the place of a citation.
    Link { text: String, url: String, title: String },
}

/// The pages that may be cited, and the end of the text that is held back.
#[derive(Debug, Clone, Default)]
pub(super) struct Citations {
    pages: BTreeMap<u64, (String, String)>,
    held: String,
}

/// What stands at a bracket.
enum Found {
    /// Nothing more can be said before more is written.
    Open,
    /// No citation.
    Text,
    /// A citation of so many bytes.
    Cited(u64, usize),
}

impl Citations {
    /// Pages that were shown.
    pub(super) fn show(&mut self, pages: Vec<CitedPage>) {
        self.pages.extend(pages.into_iter().map(|page| (page.cursor, (page.url, page.title))));
    }

    /// More of a text.
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut text = std::mem::take(&mut self.held) + text;
        let mut pieces = Vec::new();
        let mut from = 0;
        while let Some(at) = text[from..].find('【').map(|at| from + at) {
            match citation(&text[at..]) {
                Found::Open => {
                    self.held = text.split_off(at);
                    break;
                }
                Found::Cited(cursor, length) if self.pages.contains_key(&cursor) => {
                    let rest = text.split_off(at + length);
                    text.truncate(at);
                    plain(&mut pieces, text);
                    pieces.extend(self.link(cursor));
                    (text, from) = (rest, 0);
                }
                Found::Cited(..) | Found::Text => from = at + '【'.len_utf8(),
            }
        }
        plain(&mut pieces, text);
        pieces
    }

    /// What was held back, as the text has ended.
    pub(super) fn finish(&mut self) -> Option<String> {
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }

    fn link(&self, cursor: u64) -> Option<Piece> {
        let (url, title) = self.pages.get(&cursor)?.clone();
        let domain = domain(&url).to_owned();
        let text = format!(" ([{domain}]({url})) ");
        Some(Piece::Link { text, title: if title.is_empty() { domain } else { title }, url })
    }
}

fn plain(pieces: &mut Vec<Piece>, text: String) {
    if !text.is_empty() {
        pieces.push(Piece::Plain(text));
    }
}

/// What begins with the bracket that `text` begins with.
fn citation(text: &str) -> Found {
    let inside = &text['【'.len_utf8()..];
    let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
    let Ok(cursor) = inside[..digits].parse() else {
        return if inside.is_empty() { Found::Open } else { Found::Text };
    };
    let Some(lines) = inside[digits..].strip_prefix('†') else {
        return if inside.len() == digits && digits <= INSIDE_BYTES_MAX { Found::Open } else { Found::Text };
    };
    let is_end = |c: char| matches!(c, '】' | '【' | '†' | '\n');
    match lines.find(is_end) {
        Some(at) if lines[at..].starts_with('】') && (1..=INSIDE_BYTES_MAX).contains(&at) => {
            let length = text.len() - lines.len() + at + '】'.len_utf8();
            Found::Cited(cursor, length)
        }
        None if lines.len() <= INSIDE_BYTES_MAX => Found::Open,
        Some(_) | None => Found::Text,
    }
}

/// The host of an address.
fn domain(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citations() -> Citations {
        let page =
            |cursor, url: &str, title: &str| CitedPage { cursor, url: url.into(), title: title.into() };
        let mut citations = Citations::default();
        citations.show(vec![page(2, "https://a.example/x?y", "A page"), page(10, "https://b.example", "")]);
        citations
    }

    /// The text that comes out when `text` is pushed in parts of `size` characters, and the links in it.
    fn out(text: &str, size: usize) -> (String, Vec<(String, String)>) {
        let mut citations = citations();
        let (mut whole, mut links) = (String::new(), Vec::new());
        let chars: Vec<char> = text.chars().collect();
        for part in chars.chunks(size) {
            for piece in citations.push(&part.iter().collect::<String>()) {
                match piece {
                    Piece::Plain(text) => whole.push_str(&text),
                    Piece::Link { text, url, title } => {
                        whole.push_str(&text);
                        links.push((url, title));
                    }
                }
            }
        }
        whole.extend(citations.finish());
        (whole, links)
    }

    #[test]
    fn every_cut_gives_the_same_links() {
        let check = |text: &str, expect: &str, titles: &[&str]| {
            for size in 1..=text.chars().count() {
                let (whole, links) = out(text, size);
                assert_eq!(whole, expect, "in parts of {size}");
                assert_eq!(links.iter().map(|(_, title)| title.as_str()).collect::<Vec<_>>(), titles);
            }
        };
        check("It is 【2†L9-L11】.", "It is  ([a.example](https://a.example/x?y)) .", &["A page"]);
        let both = "【2†L1】【10†L3】ü";
        let expect = " ([a.example](https://a.example/x?y))  ([b.example](https://b.example)) ü";
        check(both, expect, &["A page", "b.example"]);
        // Neither an unknown cursor nor what is none, nor what the text ends in.
        for text in [
            "【3†L1】",
            "【†L1】",
            "【2】",
            "【2†】",
            "【】 【a",
            "【【2",
            "【2†L1",
            "【2†L1\n】",
            "Plain.",
            "",
        ] {
            check(text, text, &[]);
        }
        check("【【2†L1】", "【 ([a.example](https://a.example/x?y)) ", &["A page"]);
        let long = format!("【2†{}】", "L".repeat(INSIDE_BYTES_MAX + 1));
        assert_eq!(out(&long, 1).0.chars().filter(|&c| c == 'L').count(), INSIDE_BYTES_MAX + 1);
        check(&format!("【{}", "9".repeat(100)), &format!("【{}", "9".repeat(100)), &[]);
    }
}
