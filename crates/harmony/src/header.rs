//! Who speaks to whom on which channel, according to the tokens of a header?
//!
//! [`HeaderTokens`] collects a header as it streams; [`HeaderTokens::read`] turns it into a [`Header`], the
//! text that was no header after all, and the repairs it took. Both orders of the format are read: a
//! recipient may stand with the role or after the channel, a content type is the word that is neither, with
//! or without `<|constrain|>`. Recipients are corrected only where the wrong spelling can mean nothing else.

use std::collections::BTreeSet;

use crate::{
    message::{Author, ContentType, Role},
    warning::Repair,
};

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who speaks.
    pub author: Author,
    /// On which channel.
    pub channel: Option<String>,
    /// To whom.
    pub recipient: Option<String>,
    /// In which type of content.
    pub content_type: Option<ContentType>,
}

/// What a section of a header begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `<|start|>`, or nothing.
    Author,
    /// `<|channel|>`.
    Channel,
    /// `<|constrain|>`.
    Constrain,
}

/// A header while it streams: sections of bytes.
#[derive(Debug)]
pub(crate) struct HeaderTokens {
    /// The role that the prompt has already given.
    preset: Option<Role>,
    sections: Vec<(Marker, Vec<u8>)>,
    pub(crate) num_tokens: usize,
}

/// A header that has been read.
pub(crate) struct ReadHeader {
    pub(crate) header: Header,
    /// Text that belongs to no header, when the header had no `<|message|>`.
    pub(crate) rest: String,
    pub(crate) repairs: Vec<Repair>,
}

impl HeaderTokens {
    pub(crate) fn new(preset: Option<Role>) -> Self {
        Self { preset, sections: vec![(Marker::Author, Vec::new())], num_tokens: 0 }
    }

    pub(crate) fn text(&mut self, bytes: &[u8]) {
        self.num_tokens += 1;
        if let Some((_, section)) = self.sections.last_mut() {
            section.extend_from_slice(bytes);
        }
    }

    pub(crate) fn marker(&mut self, marker: Marker) {
        self.num_tokens += 1;
        self.sections.push((marker, Vec::new()));
    }

    /// Whether nothing has been said but, perhaps, a role.
    pub(crate) fn is_only_role(&self) -> bool {
        let [(_, text)] = self.sections.as_slice() else { return false };
        let text = String::from_utf8_lossy(text);
        let word = text.trim();
        word.is_empty() || (self.preset.is_none() && Role::from_name(word).is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.num_tokens == 0
    }

    /// Reads the header. `is_closed` says that `<|message|>` came; without it, text from the first unknown
    /// word on is content.
    pub(crate) fn read(self, is_closed: bool, functions: &BTreeSet<String>) -> ReadHeader {
        let mut reader = Reader { is_closed, ..Reader::default() };
        let mut author = self.preset.map(Author::from);
        for (marker, bytes) in &self.sections {
            let text = String::from_utf8_lossy(bytes);
            if !reader.rest.is_empty() {
                reader.rest.push_str(&text);
                continue;
            }
            match marker {
                Marker::Author => reader.author_section(&text, &mut author),
                Marker::Channel => reader.channel_section(&text),
                Marker::Constrain => reader.constrain_section(&text),
            }
        }
        reader.finish(author, functions)
    }
}

#[derive(Default)]
struct Reader {
    is_closed: bool,
    channel: Option<String>,
    /// Set when `<|channel|>` came without a name and no other has come since.
    is_channel_empty: bool,
    recipient: Option<String>,
    content_type: Option<ContentType>,
    /// Plain words, of which one may be the content type.
    words: Vec<String>,
    rest: String,
    repairs: Vec<Repair>,
}

/// The first word of a text and what follows it; an empty word when there is none.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// `to=` glued to one of these.
fn split_glued<'a>(word: &'a str, names: &[&str]) -> Option<(&'a str, &'a str)> {
    let at = word.find("to=")?;
    names.contains(&&word[..at]).then(|| word.split_at(at))
}

impl Reader {
    fn author_section(&mut self, text: &str, author: &mut Option<Author>) {
        const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];
        let (word, mut after) = first_word(text);
        let (word, glued) = split_glued(word, &ROLES).unwrap_or((word, ""));
        match author {
            Some(preset) if word == preset.role.as_str() => self.repairs.push(Repair::RepeatedRole),
            Some(_) => after = text,
            None if word.is_empty() || word.starts_with("to=") => after = text,
            None => match read_author(word, self.is_closed) {
                Some(read) => *author = Some(read),
                None => after = text,
            },
        }
        if !glued.is_empty() && after != text {
            self.repairs.push(Repair::GluedRecipient);
            self.words(&format!("{glued}{after}"));
        } else {
            self.words(after);
        }
    }

    fn channel_section(&mut self, text: &str) {
        let (word, after) = first_word(text);
        let (name, glued) = split_glued(word, &["analysis", "commentary", "final"]).unwrap_or((word, ""));
        if self.channel.is_some() || self.is_channel_empty {
            self.repairs.push(Repair::RepeatedChannel);
        }
        if name.is_empty() || name.starts_with("to=") {
            self.is_channel_empty = self.channel.is_none();
            self.words(text);
            return;
        }
        self.is_channel_empty = false;
        self.channel = Some(name.into());
        if glued.is_empty() {
            self.words(after);
        } else {
            self.repairs.push(Repair::GluedRecipient);
            self.words(&format!("{glued}{after}"));
        }
    }

    fn constrain_section(&mut self, text: &str) {
        let (word, after) = first_word(text);
        let is_name = !word.starts_with("to=");
        let name = if is_name { word.to_string() } else { String::new() };
        if let Some(before) = self.content_type.replace(ContentType { constrained: true, name }) {
            self.repairs.push(Repair::ExtraWords { words: before.to_string() });
        }
        self.words(if is_name { after } else { text });
    }

    /// Recipients and plain words; without `<|message|>`, all from the first plain word on is content.
    fn words(&mut self, mut text: &str) {
        loop {
            let (word, mut after) = first_word(text);
            if word.is_empty() {
                return;
            }
            if let Some(recipient) = word.strip_prefix("to=") {
                let mut recipient = recipient;
                if recipient.is_empty() {
                    self.repairs.push(Repair::EmptyRecipient);
                    (recipient, after) = first_word(after);
                }
                if !recipient.is_empty()
                    && self.recipient.replace(recipient.into()).is_some_and(|before| before != recipient)
                {
                    self.repairs.push(Repair::RepeatedRecipient);
                }
            } else if self.is_closed {
                self.words.push(word.into());
            } else {
                self.rest = text.trim_start().into();
                return;
            }
            text = after;
        }
    }

    fn finish(mut self, author: Option<Author>, functions: &BTreeSet<String>) -> ReadHeader {
        let mut words = self.words.into_iter();
        if self.content_type.is_none() {
            self.content_type = words.next().map(|name| ContentType { constrained: false, name });
        }
        let extra: Vec<String> = words.collect();
        if !extra.is_empty() {
            self.repairs.push(Repair::ExtraWords { words: extra.join(" ") });
        }
        if self.is_channel_empty {
            self.repairs.push(Repair::EmptyChannel);
            self.channel = Some("final".into());
        }
        let author = author.unwrap_or_else(|| {
            self.repairs.push(Repair::MissingRole);
            Role::Assistant.into()
        });
        if author.role == Role::Assistant
            && let Some(spelled) = self.recipient.take()
        {
            let corrected = unalias(&spelled, functions);
            if corrected != spelled {
                self.repairs.push(Repair::RecipientAlias { spelled });
            }
            self.recipient = Some(corrected);
        }
        let header = Header {
            author,
            channel: self.channel,
            recipient: self.recipient,
            content_type: self.content_type,
        };
        ReadHeader { header, rest: self.rest, repairs: self.repairs }
    }
}

/// A role, a role with a name, or a tool's name; in a header without `<|message|>` an unknown word is text,
/// not a tool.
fn read_author(word: &str, is_closed: bool) -> Option<Author> {
    if let Some(role) = Role::from_name(word).filter(|&role| role != Role::Tool) {
        return Some(role.into());
    }
    if let Some((role, name)) = word.split_once(':')
        && let Some(role) = Role::from_name(role).filter(|&role| role != Role::Tool)
    {
        return Some(Author { role, name: Some(name.into()) });
    }
    is_closed.then(|| Author { role: Role::Tool, name: Some(word.into()) })
}

/// Corrects the spellings that can mean nothing else: `functions.browser.search` is the built-in, a bare name
/// is the function of that name when it is known to exist, and `functions.python` is the interpreter when
/// functions are known and none is called python.
fn unalias(recipient: &str, functions: &BTreeSet<String>) -> String {
    const BROWSER: [&str; 3] = ["browser.search", "browser.open", "browser.find"];
    if let Some(name) = recipient.strip_prefix("functions.") {
        let is_python = name == "python" && !functions.is_empty();
        if !functions.contains(name) && (BROWSER.contains(&name) || is_python) {
            return name.into();
        }
    } else if functions.contains(recipient) {
        return format!("functions.{recipient}");
    }
    recipient.into()
}
