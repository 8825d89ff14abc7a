//! Tags and text in a row as lines of text: headings, lists, quotations and code in the marks of Markdown.
//!
//! Source: html2text 2025.4.15, its settings as the reference has them: no wrapping, and neither links,
//! images, tables nor emphasis. Its rules are kept where they are odd, since the models read pages through
//! them.

use std::mem::take;

use super::events::Event;
use crate::browser::{
    characters::{is_digit, is_space},
    limits::QUOTATION_DEPTH_MAX,
};

/// Writes a row of events, up to about `bytes_max`; true if there was more.
pub(super) fn flatten(events: &[Event], bytes_max: usize) -> (String, bool) {
    let mut flat = Flat { is_start: true, bytes_max, ..Flat::default() };
    for event in events {
        if flat.is_full() {
            break;
        }
        match event {
            Event::Text(text) => flat.text(text),
            Event::Start(tag, attribute) => flat.tag(tag, attribute.as_deref(), true),
            Event::End(tag) => flat.tag(tag, None, false),
            Event::Comment => {}
        }
    }
    flat.finish()
}

/// The writer's state, named as there where that says more than a better name.
#[derive(Debug, Default)]
struct Flat {
    out: String,
    /// Where it ends, but for a line.
    bytes_max: usize,
    /// Elements around that are not shown.
    quiet: i32,
    /// Line ends owed before the next output.
    breaks: usize,
    is_start: bool,
    /// A space is owed before the next output.
    space: bool,
    lists: Vec<List>,
    last_was_list: bool,
    /// Indent of code in the present item of a list.
    code_indent: String,
    quotes: usize,
    pre: bool,
    start_pre: bool,
    pre_indent: String,
    code: bool,
    /// What stands before the next line end: two spaces after a row of a table.
    before_break: &'static str,
    stressed: bool,
    was_stressed: bool,
    last_text: String,
    tag: String,
    abbreviation: Option<String>,
    abbreviated: Option<String>,
    abbreviations: Vec<(String, String)>,
}

#[derive(Debug)]
struct List {
    is_ordered: bool,
    number: i64,
}

impl Flat {
    fn is_full(&self) -> bool {
        self.out.len() >= self.bytes_max
    }

    fn tag(&mut self, tag: &str, attribute: Option<&str>, start: bool) {
        tag.clone_into(&mut self.tag);
        if let Some(level) = heading(tag) {
            self.paragraph();
            if !start {
                return;
            }
            self.out(&format!("{} ", "#".repeat(level)));
        }
        match tag {
            "p" | "div" => self.paragraph(),
            "br" if start => self.out(if self.quotes > 0 { "  \n> " } else { "  \n" }),
            "hr" if start => {
                self.paragraph();
                self.out("* * *");
                self.paragraph();
            }
            "head" | "style" | "script" => self.quiet += if start { 1 } else { -1 },
            // Pages forget to close their head.
            "body" => self.quiet = 0,
            "blockquote" => self.quotation(start),
            "del" | "strike" | "s" => {
                let doubled = start && self.last_text.ends_with('~');
                if doubled {
                    self.last_text.push(' ');
                }
                self.out(if doubled { " ~~" } else { "~~" });
                self.stressed |= start;
            }
            "kbd" | "code" | "tt" if !self.pre => {
                self.out("`");
                self.code = !self.code;
            }
            "abbr" => self.abbreviation(attribute, start),
            "q" => self.out("\""),
            "dl" if start => self.paragraph(),
            "dt" if !start => self.line(),
            "dd" if start => self.out("    "),
            "dd" => self.line(),
            _ => {}
        }
        self.list_tag(tag, attribute, start);
        match tag {
            "tr" if !start => {
                self.line();
                self.before_break = "  ";
            }
            "pre" => {
                self.pre = start;
                if start {
                    self.start_pre = true;
                    self.pre_indent.clear();
                }
                self.paragraph();
            }
            _ => {}
        }
    }

    fn quotation(&mut self, start: bool) {
        if start {
            self.paragraph();
            self.put("> ", false, true);
            self.is_start = true;
            self.quotes += 1;
        } else {
            self.quotes = self.quotes.saturating_sub(1);
            self.paragraph();
        }
    }

    fn abbreviation(&mut self, title: Option<&str>, start: bool) {
        if start {
            self.abbreviation = title.map(str::to_owned);
            self.abbreviated = Some(String::new());
            return;
        }
        let short = self.abbreviated.take();
        if let (Some(title), Some(short)) = (self.abbreviation.take(), short) {
            match self.abbreviations.iter_mut().find(|(known, _)| *known == short) {
                Some((_, known)) => *known = title,
                None => self.abbreviations.push((short, title)),
            }
        }
    }

    fn list_tag(&mut self, tag: &str, attribute: Option<&str>, start: bool) {
        let is_list = matches!(tag, "ol" | "ul");
        if is_list {
            if self.lists.is_empty() && !self.last_was_list {
                self.paragraph();
            }
            if start {
                let first = attribute.and_then(|first| first.trim().parse::<i64>().ok());
                let number = first.map_or(0, |first| first.saturating_sub(1));
                self.lists.push(List { is_ordered: tag == "ol", number });
            } else if self.lists.pop().is_some() && self.lists.is_empty() {
                self.out("\n");
            }
        }
        self.last_was_list = is_list;
        if tag == "li" {
            self.code_indent.clear();
            self.line();
            if start {
                self.item();
            }
        }
    }

    fn item(&mut self) {
        let mut within_ordered = false;
        for list in &self.lists {
            self.code_indent.push_str(if within_ordered { "   " } else { "  " });
            within_ordered = list.is_ordered;
        }
        self.out(&self.code_indent.clone());
        match self.lists.last_mut() {
            Some(list) if list.is_ordered => {
                list.number = list.number.saturating_add(1);
                let number = list.number;
                self.code_indent.push_str("   ");
                self.out(&format!("{number}. "));
            }
            _ => {
                self.code_indent.push_str("  ");
                self.out("* ");
            }
        }
        self.is_start = true;
    }

    /// At least a line ends here.
    fn line(&mut self) {
        if self.breaks == 0 {
            self.breaks = 1;
        }
    }

    fn paragraph(&mut self) {
        self.breaks = 2;
    }

    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            // The characters that HTML escapes were read one by one.
            let is_escaped = |c| matches!(c, '&' | '<' | '>');
            let end = match is_escaped(first) {
                true => 1,
                false => rest.find(is_escaped).unwrap_or(rest.len()),
            };
            let (part, after) = rest.split_at(end);
            self.part(part, is_escaped(first));
            rest = after;
        }
    }

    fn part(&mut self, part: &str, is_escaped: bool) {
        let mut part = part.to_owned();
        if self.stressed {
            part = part.trim_matches(is_space).to_owned();
            self.stressed = false;
            self.was_stressed = true;
        } else if self.was_stressed {
            let joins = !part.starts_with(|c| is_space(c) || "[](){}.!?".contains(c));
            if joins && heading(&self.tag).is_none() && !matches!(self.tag.as_str(), "a" | "code" | "pre") {
                part.insert(0, ' ');
            }
            self.was_stressed = false;
        }
        if !self.code && !self.pre && !is_escaped {
            part = escaped(&part);
        }
        self.put(&part, true, false);
        self.last_text = part;
    }

    fn out(&mut self, text: &str) {
        self.put(text, false, false);
    }

    fn put(&mut self, text: &str, is_pure: bool, forced: bool) {
        if let Some(short) = &mut self.abbreviated
            && short.len() < self.bytes_max
        {
            short.push_str(text);
        }
        if self.quiet != 0 || self.is_full() {
            return;
        }
        let mut text = text.to_owned();
        if is_pure && !self.pre {
            text = crate::browser::characters::merge_space(&text);
            if let Some(after) = text.strip_prefix(' ') {
                self.space = true;
                text = after.to_owned();
            }
        }
        if text.is_empty() && !forced {
            return;
        }
        if self.start_pre && !text.starts_with('\n') {
            text.insert(0, '\n');
        }
        let mut indent = ">".repeat(self.quotes.min(QUOTATION_DEPTH_MAX));
        if self.quotes > 0 && !(forced && text.starts_with('>')) {
            indent.push(' ');
        }
        if self.pre {
            if !self.lists.is_empty() {
                indent.push_str(&self.code_indent);
            }
            indent.push_str("    ");
            text = indented(&text, &indent, self.bytes_max - self.out.len());
            self.pre_indent.clone_from(&indent);
        }
        if take(&mut self.start_pre) && !self.lists.is_empty() {
            text = text.trim_start_matches(|c| c == '\n' || self.pre_indent.contains(c)).to_owned();
        }
        if take(&mut self.is_start) {
            self.space = false;
            self.breaks = 0;
        }
        if self.breaks > 0 {
            self.out.push_str(&format!("{}\n{indent}", self.before_break).repeat(self.breaks));
            self.space = false;
            self.before_break = "";
        }
        if take(&mut self.space) && !self.out.ends_with('\n') {
            self.out.push(' ');
        }
        self.breaks = 0;
        self.out.push_str(&text);
    }

    fn finish(mut self) -> (String, bool) {
        if self.is_full() {
            return (self.out, true);
        }
        // The end of the text shows whatever is around it.
        if self.quiet == 0 {
            self.out.push('\n');
            for (short, title) in take(&mut self.abbreviations) {
                self.out.push_str(&format!("  *[{short}]: {title}\n"));
            }
        }
        (self.out, false)
    }
}

/// The text with an indent in each line but the first, up to the line that reaches `bytes_max`.
fn indented(text: &str, indent: &str, bytes_max: usize) -> String {
    let mut indented = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        indented.push_str(line);
        if line.ends_with('\n') {
            indented.push_str(indent);
        }
        if indented.len() >= bytes_max {
            break;
        }
    }
    indented
}

/// The level of a heading's tag.
fn heading(tag: &str) -> Option<usize> {
    match tag.as_bytes() {
        [b'h', level @ b'1'..=b'9'] => Some(usize::from(level - b'0')),
        _ => None,
    }
}

/// Text in which nothing reads as Markdown's marks: backslashes before them, and what starts a list.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mark = list_mark(line);
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let before_mark = chars.peek().is_some_and(|&(_, next)| "\\`*_{}[]()#+-.!".contains(next));
            if (c == '\\' && before_mark) || Some(at) == mark {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    escaped
}

/// Where a line has what would start an item of a list.
fn list_mark(line: &str) -> Option<usize> {
    let start = line.find(|c| !is_space(c))?;
    let digits = line[start..].find(|c| !is_digit(c)).unwrap_or(line.len() - start);
    let at = start + digits;
    let mark = line[at..].chars().next()?;
    let next = line[at + mark.len_utf8()..].chars().next();
    let spaced = next.is_some_and(is_space);
    let marks = match mark {
        '.' => digits > 0 && spaced,
        '+' => digits == 0 && spaced,
        '-' => digits == 0 && (spaced || next == Some('-')),
        _ => false,
    };
    marks.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_markdown_are_escaped() {
        for (text, expected) in [
            ("plain. text - 1. x", "plain. text - 1. x"),
            ("1. one", "1\\. one"),
            (" 12.", " 12."),
            (" 12.\n", " 12\\.\n"),
            ("- a\n+ b\n--c\n-d\n+e", "\\- a\n\\+ b\n\\--c\n-d\n+e"),
            (r"a\b \* \\n", r"a\b \\* \\\n"),
            ("3.14", "3.14"),
        ] {
            assert_eq!(escaped(text), expected, "{text:?}");
        }
    }
}
