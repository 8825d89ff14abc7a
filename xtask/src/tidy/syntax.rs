//! A Rust file, tokenized and parsed, line by line.
//!
//! [`Source::parse`] tokenises and parses a file once and keeps what the rules ask for: the tokens in order
//! with their lines, the lines that hold code, and the lines that belong to tests. A real tokeniser is used
//! because counting by patterns is fooled by strings, nested comments and attributes over several lines.
//!
//! Doc comments reach the tokeniser as attributes; they are told from code by their source text. Macro bodies
//! are tokens like any others.

use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Item};

use super::{Violation, files};

/// A tokenised and parsed Rust file.
pub struct Source<'a> {
    pub path: &'a str,
    pub text: &'a str,
    pub file: syn::File,
    pub tokens: Vec<Token>,
    /// Lines, from 1, that hold code: neither blank, nor comment, nor documentation.
    pub code_lines: BTreeSet<usize>,
    /// Lines of items behind `#[cfg(test)]`; every line of a test file.
    pub test_lines: BTreeSet<usize>,
}

/// One token; a group gives its opening and its closing mark.
pub struct Token {
    pub kind: TokenKind,
    pub line: usize,
    /// Bytes of the text that the token covers.
    pub bytes: Range<usize>,
}

/// What a rule needs to know of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// An identifier or keyword.
    Word(String),
    /// A punctuation mark, or a delimiter.
    Mark(char),
    /// A string, character or number.
    Literal,
    /// A token that stands for a documentation comment.
    Doc,
}

impl<'a> Source<'a> {
    /// Errors: the violation that says where the file does not parse.
    pub fn parse(path: &'a str, text: &'a str) -> Result<Source<'a>, Violation> {
        let stream: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| broken(path, error.span(), &error.to_string()))?;
        let mut tokens = Vec::new();
        let mut code_lines = BTreeSet::new();
        flatten(stream.clone(), text, &mut tokens, &mut code_lines);
        let file: syn::File =
            syn::parse2(stream).map_err(|error| broken(path, error.span(), &error.to_string()))?;
        let test_lines = if files::is_test(path) {
            (1..=text.lines().count()).collect()
        } else {
            let mut finder = TestLines::default();
            finder.visit_file(&file);
            finder.lines
        };
        Ok(Source { path, text, file, tokens, code_lines, test_lines })
    }

    /// How many lines of code that ship lie in a range of lines.
    pub fn shipped_lines(&self, lines: Range<usize>) -> usize {
        self.code_lines.range(lines).filter(|line| !self.test_lines.contains(line)).count()
    }

    /// The comments, documentation included, with the line each begins on.
    ///
    /// Comments are what is left of the text between tokens.
    pub fn comments(&self) -> Vec<(usize, &'a str)> {
        let mut comments = Vec::new();
        let mut end = 0;
        let mut line = 1;
        for token in &self.tokens {
            if end < token.bytes.start {
                comments.push((line, &self.text[end..token.bytes.start]));
            }
            if end < token.bytes.end {
                if token.kind == TokenKind::Doc {
                    comments.push((token.line, &self.text[token.bytes.clone()]));
                }
                line = token.line + newlines(&self.text[token.bytes.clone()]);
                end = token.bytes.end;
            }
        }
        comments.push((line, &self.text[end..]));
        comments
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn broken(path: &str, span: Span, message: &str) -> Violation {
    Violation::at(path, span.start().line, "syntax", format!("does not parse: {message}"))
}

fn flatten(stream: TokenStream, text: &str, tokens: &mut Vec<Token>, code_lines: &mut BTreeSet<usize>) {
    let mut doc_end = 0;
    for tree in stream {
        let bytes = byte_range(tree.span(), text);
        let source = &text[bytes.clone()];
        if bytes.start < doc_end {
            // Every token of a documentation comment has the place of the whole comment.
        } else if source.starts_with("//") || source.starts_with("/*") {
            doc_end = bytes.end;
            tokens.push(Token { kind: TokenKind::Doc, line: tree.span().start().line, bytes });
        } else {
            match tree {
                TokenTree::Group(group) => flatten_group(group, text, tokens, code_lines),
                TokenTree::Ident(ident) => {
                    push(ident.span(), TokenKind::Word(ident.to_string()), text, tokens, code_lines);
                }
                TokenTree::Punct(punct) => {
                    push(punct.span(), TokenKind::Mark(punct.as_char()), text, tokens, code_lines);
                }
                TokenTree::Literal(literal) => {
                    push(literal.span(), TokenKind::Literal, text, tokens, code_lines);
                }
            }
        }
    }
}

fn flatten_group(group: Group, text: &str, tokens: &mut Vec<Token>, code_lines: &mut BTreeSet<usize>) {
    let marks = match group.delimiter() {
        Delimiter::Parenthesis => Some(('(', ')')),
        Delimiter::Bracket => Some(('[', ']')),
        Delimiter::Brace => Some(('{', '}')),
        Delimiter::None => None,
    };
    if let Some((open, _)) = marks {
        push(group.span_open(), TokenKind::Mark(open), text, tokens, code_lines);
    }
    flatten(group.stream(), text, tokens, code_lines);
    if let Some((_, close)) = marks {
        push(group.span_close(), TokenKind::Mark(close), text, tokens, code_lines);
    }
}

fn push(span: Span, kind: TokenKind, text: &str, tokens: &mut Vec<Token>, code_lines: &mut BTreeSet<usize>) {
    code_lines.extend(span.start().line..=span.end().line);
    tokens.push(Token { kind, line: span.start().line, bytes: byte_range(span, text) });
}

/// The span's bytes, kept inside the text and on character boundaries whatever the tokeniser says.
fn byte_range(span: Span, text: &str) -> Range<usize> {
    let range = span.byte_range();
    if text.get(range.clone()).is_some() { range } else { 0..0 }
}

/// Whether the attributes keep an item for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let mut words = Vec::new();
        collect_words(list.tokens.clone(), &mut words);
        attribute.path().is_ident("cfg")
            && words.iter().any(|word| word == "test")
            && !words.iter().any(|word| word == "not")
    })
}

fn collect_words(stream: TokenStream, words: &mut Vec<String>) {
    for tree in stream {
        match tree {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Group(group) => collect_words(group.stream(), words),
            _ => {}
        }
    }
}

/// Collects the lines of items that only tests see.
#[derive(Default)]
struct TestLines {
    lines: BTreeSet<usize>,
}

impl Visit<'_> for TestLines {
    fn visit_item(&mut self, item: &Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if is_for_tests(attributes) {
            let span = item.span();
            self.lines.extend(span.start().line..=span.end().line);
        } else {
            syn::visit::visit_item(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = r##"//! Head.

/// Doc.
#[derive(Debug)]
struct A; // remark

/* block
   comment */
const TEXT: &str = "// not a comment
    second line";

#[cfg(test)]
mod tests {
    fn a() {}
}
"##;

    #[test]
    fn code_is_told_from_comments_and_tests() {
        let source = Source::parse("crates/x/src/a.rs", FIXTURE).ok().unwrap();
        assert_eq!(Vec::from_iter(source.code_lines.clone()), [4, 5, 9, 10, 12, 13, 14, 15]);
        assert_eq!(Vec::from_iter(source.test_lines.clone()), [12, 13, 14, 15]);
        assert_eq!(source.shipped_lines(1..100), 4);
        let comments: Vec<(usize, &str)> = source
            .comments()
            .into_iter()
            .map(|(line, text)| (line, text.trim()))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        assert_eq!(
            comments,
            [(1, "//! Head."), (3, "/// Doc."), (5, "// remark\n\n/* block\n   comment */")]
        );
    }

    #[test]
    fn test_files_ship_nothing_and_broken_files_say_where() {
        let source = Source::parse("crates/x/tests/a.rs", FIXTURE).ok().unwrap();
        assert_eq!(source.shipped_lines(1..100), 0);
        let violation = Source::parse("crates/x/src/a.rs", "//! A.\nfn (\n").err().unwrap();
        assert_eq!((violation.rule, violation.line), ("syntax", 2));
    }
}
