//! Which messages, and which pieces of text right now, do these tokens say?
//!
//! [`StreamParser`] reads one token at a time and is total: any sequence of ids gives messages, text deltas
//! and warnings, never an error. It is a machine of three states, between messages, in a header, in content;
//! every control token has a meaning in each of them. Text is given as soon as its characters are whole. What
//! models get wrong in practice is repaired by the fixed rules of the table at [`StreamParser`], one warning
//! each. The parser knows no tools unless told ([`StreamParser::with_functions`]), and it does not judge:
//! whether a channel may carry a call is somebody else's question.

use std::{collections::BTreeSet, mem, sync::Arc};

use crate::{
    header::{Header, HeaderTokens, Marker},
    limits::HEADER_TOKENS_MAX,
    message::{Content, Message, Role},
    utf8::Utf8Carry,
    vocab::{Control, Token, Vocab},
    warning::{Repair, Warning},
};

/// What the parser reports while tokens stream.
#[derive(Debug, Clone, PartialEq)]
pub enum ParseEvent {
    /// A message has begun: its header is known.
    Started(Header),
    /// More text of the open message; never empty.
    Text(String),
    /// The open message has ended.
    Ended(Message),
    /// Something was repaired.
    Warning(Warning),
}

/// All that a stream said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// In order; each has one text part.
    pub messages: Vec<Message>,
    /// In order.
    pub warnings: Vec<Warning>,
}

/// A streaming parser of harmony tokens.
///
/// | rule | malformed | repaired to |
/// |---|---|---|
/// | a | a header ends (`<\|end\|>`, `<\|return\|>`, `<\|call\|>`, `<\|start\|>`) without `<\|message\|>` | its text from the first unknown word on is the content, on `final` when no channel was named; without such text the message is empty |
/// | b | text between two messages | an assistant message on the channel of the last one (`final` before any); white space alone is dropped |
/// | c | more words in a header than role, recipient, channel and content type | the first unknown word is the content type, the others are dropped |
/// | d | `to=` glued to a role or channel, `<\|channel\|>` or `to=` repeated or empty | separated; the last one holds; an empty channel is `final` |
/// | e | no `<\|start\|>`, no role, either of them twice | the assistant speaks |
/// | f | `<\|endoftext\|>`, the next `<\|start\|>` or `<\|channel\|>`, or the end of the stream where an end should be; an end twice; an end as the first token of a header | the message ends there; the second end is dropped; the header is dropped, no message begins |
/// | g | `functions.browser.search`, `functions.python` or a bare function name as recipient | the name that exists, when nothing else can be meant |
/// | h | a control token where it means nothing, a reserved or unknown id, a header without end | dropped; a header that is too long becomes content |
pub struct StreamParser {
    vocab: Arc<Vocab>,
    functions: BTreeSet<String>,
    state: State,
    /// Channel of the last assistant message.
    last_channel: Option<String>,
    num_tokens: usize,
    events: Vec<ParseEvent>,
    parsed: Parsed,
}

enum State {
    /// Between messages; the carry holds a character that is not whole yet.
    Between(Utf8Carry),
    Header(HeaderTokens),
    Content(OpenMessage),
}

struct OpenMessage {
    header: Header,
    text: String,
    carry: Utf8Carry,
}

impl StreamParser {
    /// For what a model says after a prompt that ended with `<|start|>assistant`.
    pub fn completion(vocab: Arc<Vocab>) -> Self {
        Self::new(vocab, State::Header(HeaderTokens::new(Some(Role::Assistant))))
    }

    /// For a whole conversation, from its first `<|start|>`.
    pub fn conversation(vocab: Arc<Vocab>) -> Self {
        Self::new(vocab, State::Between(Utf8Carry::default()))
    }

    fn new(vocab: Arc<Vocab>, state: State) -> Self {
        Self {
            vocab,
            functions: BTreeSet::new(),
            state,
            last_channel: None,
            num_tokens: 0,
            events: Vec::new(),
            parsed: Parsed::default(),
        }
    }

    /// Tells the parser which functions exist (names without namespace), so that rule (g) can correct bare
    /// names.
    pub fn with_functions(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.functions.extend(names);
        self
    }

    /// The header of the message whose content is streaming.
    pub fn open_header(&self) -> Option<&Header> {
        match &self.state {
            State::Content(open) => Some(&open.header),
            State::Between(_) | State::Header(_) => None,
        }
    }

    /// Takes the next token; any id is allowed.
    pub fn push(&mut self, token: u32) -> Vec<ParseEvent> {
        let vocab = Arc::clone(&self.vocab);
        match vocab.token(token) {
            Some(Token::Text(text)) => self.text(vocab.bytes(text)),
            Some(Token::Control(Control::Start)) => self.start(),
            Some(Token::Control(Control::Channel)) => self.marker(Control::Channel, Marker::Channel),
            Some(Token::Control(Control::Constrain)) => self.marker(Control::Constrain, Marker::Constrain),
            Some(Token::Control(Control::Message)) => self.message(),
            Some(Token::Control(
                control @ (Control::End | Control::Return | Control::Call | Control::EndOfText),
            )) => self.end(control),
            Some(Token::Control(Control::StartOfText)) if self.num_tokens == 0 => {}
            Some(Token::Control(control @ Control::StartOfText)) => {
                self.warn(Repair::UnexpectedControl { control })
            }
            None => self.warn(Repair::UnknownToken { id: token }),
        }
        self.num_tokens += 1;
        mem::take(&mut self.events)
    }

    /// The end of a well-formed stream that its reader cut off, as a limit of tokens does: as
    /// [`finish`](StreamParser::finish), but nothing in an open header is taken for content, because the rest
    /// of the header was on its way.
    pub fn cut(mut self) -> (Vec<ParseEvent>, Parsed) {
        match self.take_state() {
            State::Header(header) if !header.is_only_role() => self.warn(Repair::UnfinishedHeader),
            state => self.state = state,
        }
        self.finish()
    }

    /// The end of the stream: closes what is open. The events are those of this call, and of
    /// [`cut`](StreamParser::cut).
    pub fn finish(mut self) -> (Vec<ParseEvent>, Parsed) {
        match self.take_state() {
            State::Between(carry) => self.flush_between(carry),
            State::Content(open) => {
                self.warn(Repair::UnfinishedMessage);
                self.close(open);
            }
            State::Header(header) if header.is_only_role() => {}
            State::Header(header) => {
                let read = header.read(false, &self.functions);
                if read.rest.is_empty() {
                    self.warn(Repair::UnfinishedHeader);
                } else {
                    self.open_with_rest(read.header, read.repairs, &read.rest, Repair::MissingMessage);
                }
            }
        }
        if let State::Content(open) = self.take_state() {
            self.close(open);
        }
        (self.events, self.parsed)
    }

    fn take_state(&mut self) -> State {
        mem::replace(&mut self.state, State::Between(Utf8Carry::default()))
    }

    fn warn(&mut self, repair: Repair) {
        let warning = Warning { token_index: self.num_tokens, repair };
        self.parsed.warnings.push(warning.clone());
        self.events.push(ParseEvent::Warning(warning));
    }

    fn text(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Content(open) => {
                let mut delta = String::new();
                open.carry.push(bytes, &mut delta);
                self.delta(delta);
            }
            State::Header(header) => {
                header.text(bytes);
                self.check_header_length();
            }
            State::Between(carry) => {
                let mut text = String::new();
                carry.push(bytes, &mut text);
                self.between(text);
            }
        }
    }

    /// Text that is decided while no message is open: rule (b).
    fn between(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if text.trim().is_empty() {
            self.warn(Repair::StrayWhiteSpace);
            return;
        }
        let State::Between(carry) = self.take_state() else { return };
        self.warn(Repair::StrayText);
        self.open(self.assumed_header());
        if let State::Content(open) = &mut self.state {
            open.carry = carry;
        }
        self.delta(text);
    }

    /// Bytes that waited for the rest of a character between messages.
    fn flush_between(&mut self, mut carry: Utf8Carry) {
        let mut text = String::new();
        carry.finish(&mut text);
        self.between(text);
    }

    /// What a header without words says: the assistant, on the channel it spoke on last.
    fn assumed_header(&self) -> Header {
        let channel = self.last_channel.clone().unwrap_or_else(|| "final".into());
        Header { author: Role::Assistant.into(), channel: Some(channel), recipient: None, content_type: None }
    }

    fn start(&mut self) {
        match self.take_state() {
            State::Between(carry) => {
                self.flush_between(carry);
                if let State::Content(open) = self.take_state() {
                    self.close(open);
                }
            }
            State::Header(header) if header.is_only_role() => self.warn(Repair::RepeatedStart),
            State::Header(header) => self.end_header(header),
            State::Content(open) => {
                self.warn(Repair::MissingEnd);
                self.close(open);
            }
        }
        self.state = State::Header(HeaderTokens::new(None));
    }

    fn marker(&mut self, control: Control, marker: Marker) {
        match &mut self.state {
            State::Header(header) => {
                header.marker(marker);
                return self.check_header_length();
            }
            State::Content(_) if marker == Marker::Constrain => {
                return self.warn(Repair::UnexpectedControl { control });
            }
            State::Content(_) | State::Between(_) => {}
        }
        self.end_of_unended();
        self.warn(Repair::MissingStart);
        let mut header = HeaderTokens::new(Some(Role::Assistant));
        header.marker(marker);
        self.state = State::Header(header);
    }

    /// Closes an open message that lacks its end, and text between messages.
    fn end_of_unended(&mut self) {
        match self.take_state() {
            State::Content(open) => {
                self.warn(Repair::MissingEnd);
                self.close(open);
            }
            State::Between(carry) => {
                self.flush_between(carry);
                if let State::Content(open) = self.take_state() {
                    self.close(open);
                }
            }
            State::Header(header) => self.end_header(header),
        }
    }

    fn message(&mut self) {
        match self.take_state() {
            State::Header(header) => {
                let read = header.read(true, &self.functions);
                read.repairs.into_iter().for_each(|repair| self.warn(repair));
                self.open(read.header);
            }
            State::Content(open) => {
                self.state = State::Content(open);
                self.warn(Repair::UnexpectedControl { control: Control::Message });
            }
            State::Between(carry) => {
                self.flush_between(carry);
                if let State::Content(open) = self.take_state() {
                    self.close(open);
                }
                self.warn(Repair::MissingStart);
                self.open(self.assumed_header());
            }
        }
    }

    fn end(&mut self, control: Control) {
        match self.take_state() {
            State::Content(open) => {
                if control == Control::EndOfText {
                    self.warn(Repair::EndOfText);
                }
                self.close(open);
            }
            State::Header(header) if header.is_empty() => self.warn(Repair::EmptyHeader),
            State::Header(header) => self.end_header(header),
            State::Between(carry) => {
                self.flush_between(carry);
                match self.take_state() {
                    State::Content(open) => self.close(open),
                    _ if control == Control::EndOfText => {} // padding after the last message
                    _ => self.warn(Repair::StrayEnd),
                }
            }
        }
    }

    /// Rule (a): a header that ends without `<|message|>`.
    fn end_header(&mut self, header: HeaderTokens) {
        let read = header.read(false, &self.functions);
        self.open_with_rest(read.header, read.repairs, &read.rest, Repair::MissingMessage);
        if let State::Content(open) = self.take_state() {
            self.close(open);
        }
    }

    fn open_with_rest(&mut self, mut header: Header, repairs: Vec<Repair>, rest: &str, reason: Repair) {
        self.warn(reason);
        repairs.into_iter().for_each(|repair| self.warn(repair));
        if header.channel.is_none() && header.author.role == Role::Assistant && !rest.is_empty() {
            header.channel = Some("final".into());
        }
        self.open(header);
        self.delta(rest.into());
    }

    /// Rule (h): a header that does not end.
    fn check_header_length(&mut self) {
        if matches!(&self.state, State::Header(header) if header.num_tokens > HEADER_TOKENS_MAX)
            && let State::Header(header) = self.take_state()
        {
            let read = header.read(false, &self.functions);
            self.open_with_rest(read.header, read.repairs, &read.rest, Repair::HeaderTooLong);
        }
    }

    fn open(&mut self, header: Header) {
        if header.author.role == Role::Assistant && header.channel.is_some() {
            self.last_channel.clone_from(&header.channel);
        }
        self.events.push(ParseEvent::Started(header.clone()));
        self.state = State::Content(OpenMessage { header, text: String::new(), carry: Utf8Carry::default() });
    }

    fn delta(&mut self, delta: String) {
        if let State::Content(open) = &mut self.state
            && !delta.is_empty()
        {
            open.text.push_str(&delta);
            self.events.push(ParseEvent::Text(delta));
        }
    }

    fn close(&mut self, mut open: OpenMessage) {
        let mut tail = String::new();
        open.carry.finish(&mut tail);
        if !tail.is_empty() {
            open.text.push_str(&tail);
            self.events.push(ParseEvent::Text(tail));
        }
        let Header { author, channel, recipient, content_type } = open.header;
        let message =
            Message { author, recipient, channel, content_type, content: vec![Content::Text(open.text)] };
        self.parsed.messages.push(message.clone());
        self.events.push(ParseEvent::Ended(message));
    }
}
