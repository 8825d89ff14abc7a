//! A page's tree as tags and text in a row, with links, images and formulas put into words.

use std::mem::take;

use super::tree::{DOCUMENT, Data, Tree};
use crate::browser::{
    characters::{is_word, merge_space},
    link::Links,
};

/// What stands in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Text(String),
    /// An element's start, and the one attribute that matters to its text.
    Start(String, Option<String>),
    End(String),
    /// A comment: it parts the text around it.
    Comment,
}

/// The row, and its links by number.
pub(super) fn events(tree: &Tree, url: &str) -> (Vec<Event>, Links) {
    let mut row =
        Row { url, events: Vec::new(), text: String::new(), links: Links::default(), num_images: 0 };
    let mut stack = vec![Step::Into(DOCUMENT)];
    while let Some(step) = stack.pop() {
        match step {
            Step::Into(node) if row.enter(tree, node) => {
                stack.push(Step::OutOf(node));
                stack.extend(tree.children(node).iter().rev().copied().map(Step::Into));
            }
            Step::Into(_) => {}
            Step::OutOf(node) => row.leave(tree.data(node)),
        }
    }
    row.end_text();
    (part_words(raise(row.events)), row.links)
}

enum Step {
    Into(usize),
    OutOf(usize),
}

struct Row<'a> {
    url: &'a str,
    events: Vec<Event>,
    text: String,
    links: Links,
    num_images: usize,
}

impl Row<'_> {
    /// Adds a node's start; false if nothing within it is to be seen.
    fn enter(&mut self, tree: &Tree, node: usize) -> bool {
        let data = tree.data(node);
        let word = match data {
            Data::Document => return true,
            Data::Comment => {
                self.push(Event::Comment);
                return false;
            }
            Data::Text(text) => Some(text.clone()),
            Data::Element { .. } => match data.name() {
                "a" => data.attribute("href").and_then(|link| self.link(tree, node, link)),
                "img" => Some(self.image(data)),
                // Browsers draw formulas; beside them stands what they say in words, or nothing.
                "math" => Some(String::new()),
                _ => None,
            },
        };
        if let Some(word) = word {
            self.text.push_str(&word);
            return false;
        }
        let attribute = match data.name() {
            "ol" => data.attribute("start"),
            "abbr" => data.attribute("title"),
            _ => None,
        };
        self.push(Event::Start(data.name().to_owned(), attribute.map(str::to_owned)));
        true
    }

    fn leave(&mut self, data: &Data) {
        if let Data::Element { .. } = data {
            self.push(Event::End(data.name().to_owned()));
        }
    }

    fn push(&mut self, event: Event) {
        self.end_text();
        self.events.push(event);
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.events.push(Event::Text(take(&mut self.text)));
        }
    }

    /// What stands for a link; none if its element stays as it is.
    fn link(&mut self, tree: &Tree, node: usize, link: &str) -> Option<String> {
        if link.starts_with("mailto:") || link.starts_with("javascript:") {
            return None;
        }
        let texts: Vec<&str> = tree
            .walk(node)
            .filter_map(|node| match tree.data(node) {
                Data::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let text = merge_space(&texts.join(" "));
        if text.is_empty() {
            return None;
        }
        match link.starts_with('#') {
            true => Some(text.replace('†', "‡")),
            false => self.links.mark(self.url, link, &text),
        }
    }

    fn image(&mut self, data: &Data) -> String {
        let name = data.attribute("alt").or_else(|| data.attribute("title")).unwrap_or_default();
        let number = self.num_images;
        self.num_images += 1;
        match name {
            "" => format!("[Image {number}]"),
            name => format!("[Image {number}: {name}]"),
        }
    }
}

/// Words that are raised or lowered become `^{word}` and `_{word}`.
fn raise(events: Vec<Event>) -> Vec<Event> {
    let mut raised: Vec<Event> = Vec::with_capacity(events.len());
    for event in events {
        raised.push(event);
        let [.., Event::Start(start, _), Event::Text(text), Event::End(end)] = raised.as_slice() else {
            // Text after what became text joins it.
            if let [.., Event::Text(_), Event::Text(_)] = raised.as_slice()
                && let Some(Event::Text(second)) = raised.pop()
                && let Some(Event::Text(first)) = raised.last_mut()
            {
                first.push_str(&second);
            }
            continue;
        };
        let mark = match start.as_str() {
            "sup" => '^',
            "sub" => '_',
            _ => continue,
        };
        if start == end && text.chars().all(|c| is_word(c) || c == '-') {
            let word = format!("{mark}{{{text}}}");
            raised.truncate(raised.len() - 3);
            match raised.last_mut() {
                Some(Event::Text(before)) => before.push_str(&word),
                _ => raised.push(Event::Text(word)),
            }
        }
    }
    raised
}

/// Words that only tags part, such as those of neighboring cells, get a space.
fn part_words(mut events: Vec<Event>) -> Vec<Event> {
    let mut last: Option<usize> = None;
    for i in 0..events.len() {
        let Event::Text(text) = &events[i] else { continue };
        let starts = text.starts_with(is_word);
        if let Some(last) = last.replace(i).filter(|&last| starts && last + 1 < i)
            && let Event::Text(before) = &mut events[last]
            && before.ends_with(is_word)
        {
            before.push(' ');
        }
    }
    events
}
