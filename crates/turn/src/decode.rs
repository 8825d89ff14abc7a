//! The decoder of a running turn: tokens in, deltas out.
//!
//! [`TurnDecoder`] is pushed one token after another, lets harmony's parser make messages of them, and sorts
//! what comes out into deltas: text by channel, calls by recipient, each text with the log-probabilities of
//! its tokens. It also decides when a turn is over before the model says so: at a stop string, after an
//! answer or a call that ended in `<|end|>` instead of its own stop token, and when the model begins to write
//! somebody else's message; without that, generation would go on inventing the user's next question.

use std::collections::VecDeque;
use std::sync::Arc;

use gptoss_engine::Token;
use gptoss_harmony::{
    Call, Channel, Content, Conversation, Delta, Header, Logprob, Message, ParseEvent, Repair, Role,
    StreamParser, Token as VocabToken, Vocab, Warning,
};

use crate::event::{TurnEvent, logprob_of};
use crate::options::TurnOptions;
use crate::stop::StopFilter;
use crate::tools::{builtin_tools, function_tools};

/// The namespace of functions in a recipient.
const FUNCTIONS: &str = "functions.";

/// What kind of message is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    Text(Channel),
    Call,
    /// Not the assistant's: a message that a model must not write.
    Foreign,
}

/// One turn's output: the parser, and what is made of its events.
pub(crate) struct TurnDecoder {
    parser: StreamParser,
    vocab: Arc<Vocab>,
    sorter: EventSorter,
    is_constrained: bool,
    wants_logprobs: bool,
}

/// Sorts the parser's events.
struct EventSorter {
    offered: Vec<String>,
    /// Recipients of the built-in tools that were offered.
    builtins: Vec<String>,
    /// Events that nobody has taken yet.
    events: VecDeque<TurnEvent>,
    kind: Option<MessageKind>,
    /// Whether the turn has said all it will: nothing is listened to any more.
    is_over: bool,
    /// Tokens since the last end of a message.
    message_tokens: usize,
    /// Bytes of the open message's text.
    message_bytes: usize,
    /// Log-probabilities of tokens whose text has not come yet.
    logprobs: Vec<Logprob>,
    filter: StopFilter,
    /// Where the open message ends, when a stop string was found in it. Units: bytes of its text.
    stopped_at: Option<usize>,
    output: TurnOutput,
}

/// What a turn has said so far.
#[derive(Debug, Default)]
pub(crate) struct TurnOutput {
    pub(crate) messages: Vec<Message>,
    pub(crate) calls: Vec<Call>,
    pub(crate) has_whole_answer: bool,
    /// The stop string that was found.
    pub(crate) stopped_by: Option<String>,
    pub(crate) reasoning_tokens: usize,
    pub(crate) warnings: Vec<String>,
}

impl TurnOutput {
    /// Whether a stop string was found.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_by.is_some()
    }
}

impl TurnDecoder {
    /// `is_constrained` says that no malformed token can come.
    pub(crate) fn new(
        vocab: Arc<Vocab>,
        conversation: &Conversation,
        options: &TurnOptions,
        is_constrained: bool,
    ) -> Self {
        let offered: Vec<String> = function_tools(conversation).into_keys().map(str::to_owned).collect();
        let parser = StreamParser::completion(Arc::clone(&vocab)).with_functions(offered.iter().cloned());
        let sorter = EventSorter {
            offered,
            builtins: builtin_tools(conversation).into_keys().collect(),
            events: VecDeque::new(),
            kind: None,
            is_over: false,
            message_tokens: 0,
            message_bytes: 0,
            logprobs: Vec::new(),
            filter: StopFilter::new(options.stop.clone()),
            stopped_at: None,
            output: TurnOutput::default(),
        };
        TurnDecoder { parser, vocab, sorter, is_constrained, wants_logprobs: options.logprobs.is_some() }
    }

    /// Whether nothing that comes now would be said.
    pub(crate) fn is_over(&self) -> bool {
        self.sorter.is_over || self.sorter.output.is_stopped()
    }

    /// The next event that nobody has taken.
    pub(crate) fn take(&mut self) -> Option<TurnEvent> {
        self.sorter.events.pop_front()
    }

    /// Tells something that happened beside the text.
    pub(crate) fn warn(&mut self, warning: String) {
        self.sorter.warn(warning);
    }

    /// Where the text stands, in words.
    pub(crate) fn place(&self) -> &'static str {
        match self.sorter.kind {
            Some(MessageKind::Text(Channel::Analysis)) => "in the reasoning",
            Some(MessageKind::Text(Channel::Commentary)) => "in what is said before a call",
            Some(MessageKind::Text(Channel::Final)) => "in the answer",
            Some(MessageKind::Call) => "in the arguments of the call",
            Some(MessageKind::Foreign) | None => "before its message began",
        }
    }

    /// Passes an event of the engine's on, in order with the others.
    pub(crate) fn emit(&mut self, event: TurnEvent) {
        self.sorter.events.push_back(event);
    }

    /// One more token of the model's.
    pub(crate) fn push(&mut self, token: &Token) {
        if self.is_over() {
            return;
        }
        if self.wants_logprobs && self.is_text(token.id) {
            self.sorter.logprobs.push(logprob_of(&self.vocab, token));
        }
        self.sorter.message_tokens += 1;
        for event in self.parser.push(token.id) {
            self.sorter.on_event(event, true);
        }
    }

    /// Whether `token`, the next to be pushed, would be text and no part of the structure.
    fn is_text(&self, token: u32) -> bool {
        matches!(self.sorter.kind, Some(MessageKind::Text(_) | MessageKind::Call))
            && matches!(self.vocab.token(token), Some(VocabToken::Text(_)))
    }

    /// No more tokens: what is open is closed as it is. What is left to take, and what was said.
    pub(crate) fn finish(self) -> (VecDeque<TurnEvent>, TurnOutput) {
        let mut sorter = self.sorter;
        let (events, _) = if self.is_constrained { self.parser.cut() } else { self.parser.finish() };
        for event in events {
            sorter.on_event(event, false);
        }
        if !sorter.output.is_stopped() {
            let rest = sorter.filter.finish();
            sorter.events.extend(rest.into_iter().map(TurnEvent::Delta));
        }
        (sorter.events, sorter.output)
    }
}

impl EventSorter {
    fn emit(&mut self, delta: Delta) {
        let filtered = self.filter.push(delta);
        self.events.extend(filtered.deltas.into_iter().map(TurnEvent::Delta));
        if filtered.is_stopped {
            self.output.stopped_by = self.filter.found().map(str::to_owned);
            self.stopped_at = Some(self.message_bytes.saturating_sub(self.filter.withheld()));
        }
    }

    /// `complete` says that a message that ends here was ended by the model and not by a limit.
    fn on_event(&mut self, event: ParseEvent, complete: bool) {
        if self.is_over {
            return;
        }
        match event {
            ParseEvent::Ended(message) => self.end(message, complete),
            // Behind a stop string nothing is said, but the message that it stands in is kept.
            _ if self.output.is_stopped() => {}
            ParseEvent::Started(header) => self.start(&header),
            ParseEvent::Text(text) => self.text(text),
            // What a limit cut short is said by the end of the turn.
            ParseEvent::Warning(Warning {
                repair: Repair::UnfinishedHeader | Repair::UnfinishedMessage,
                ..
            }) if !complete => {}
            ParseEvent::Warning(warning) => self.warn(warning.to_string()),
        }
    }

    fn start(&mut self, header: &Header) {
        let kind = kind_of(header);
        self.kind = Some(kind);
        self.message_bytes = 0;
        match kind {
            MessageKind::Call => {
                let name = self.function_name(header.recipient.as_deref().unwrap_or_default());
                self.emit(Delta::CallStarted { name });
            }
            MessageKind::Foreign => {
                let role = header.author.role.as_str();
                self.warn(format!("the model began a message of the role {role}; the turn ends before it"));
                self.is_over = true;
            }
            MessageKind::Text(_) => {}
        }
    }

    fn text(&mut self, text: String) {
        let logprobs = std::mem::take(&mut self.logprobs);
        self.message_bytes += text.len();
        match self.kind {
            Some(MessageKind::Text(channel)) => self.emit(Delta::Text { channel, text, logprobs }),
            None => self.emit(Delta::Text { channel: Channel::Final, text, logprobs }),
            Some(MessageKind::Call) => self.emit(Delta::CallArguments { text, logprobs }),
            Some(MessageKind::Foreign) => {}
        }
    }

    fn end(&mut self, mut message: Message, complete: bool) {
        let tokens = std::mem::take(&mut self.message_tokens);
        self.logprobs.clear();
        let kind = self.kind.take();
        if kind != Some(MessageKind::Call) {
            // `to=user` and the like address nobody in particular. Kept, they would make a call of the
            // message when it is rendered again.
            message.recipient = None;
        }
        if let Some(length) = self.stopped_at.take() {
            cut(&mut message, length);
            self.is_over = true;
        }
        match kind {
            Some(MessageKind::Foreign) => return,
            // `<|start|>assistant<|return|>`: a header and nothing said is not an answer, and there is
            // nothing to keep.
            Some(MessageKind::Text(Channel::Final)) | None
                if message.channel.is_none() && message.text().is_empty() =>
            {
                return;
            }
            Some(MessageKind::Text(Channel::Analysis)) => self.output.reasoning_tokens += tokens,
            Some(MessageKind::Text(Channel::Commentary)) => {}
            Some(MessageKind::Text(Channel::Final)) | None => {
                self.output.has_whole_answer = complete;
                self.is_over = true;
            }
            Some(MessageKind::Call) => {
                self.is_over = true;
                if !complete {
                    let name = self.function_name(message.recipient.as_deref().unwrap_or_default());
                    self.warn(format!("the call of {name} was cut short and is left out"));
                    return;
                }
                self.call(&message);
            }
        }
        self.output.messages.push(message);
    }

    fn call(&mut self, message: &Message) {
        let recipient = message.recipient.clone().unwrap_or_default();
        let name = self.function_name(&recipient);
        let offered = self.offered.contains(&name);
        if !offered && !self.builtins.contains(&recipient) {
            self.warn(format!("the model calls {name}, which it was not offered"));
        }
        let recipient = if offered { format!("{FUNCTIONS}{name}") } else { recipient };
        let call = Call { name, recipient, channel: message.channel.clone(), arguments: message.text() };
        self.output.calls.push(call.clone());
        self.emit(Delta::Called(call));
    }

    fn function_name(&self, recipient: &str) -> String {
        recipient.strip_prefix(FUNCTIONS).unwrap_or(recipient).to_owned()
    }

    fn warn(&mut self, warning: String) {
        self.output.warnings.push(warning.clone());
        self.emit(Delta::Warning(warning));
    }
}

fn kind_of(header: &Header) -> MessageKind {
    if header.author.role != Role::Assistant {
        return MessageKind::Foreign;
    }
    match header.recipient.as_deref() {
        None | Some("all" | "user" | "assistant") => {}
        Some(_) => return MessageKind::Call,
    }
    MessageKind::Text(match header.channel.as_deref() {
        Some("analysis") => Channel::Analysis,
        None | Some("final") => Channel::Final,
        Some(_) => Channel::Commentary,
    })
}

/// Cuts a message's text at `length` bytes.
fn cut(message: &mut Message, length: usize) {
    if let Some(Content::Text(text)) = message.content.first_mut()
        && text.is_char_boundary(length)
    {
        text.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptoss_harmony::{Control, DeveloperContent, FunctionTool, SystemContent, ToolNamespace};

    fn conversation() -> Conversation {
        let add = FunctionTool { name: "add".into(), description: "Adds.".into(), parameters: None };
        let developer = DeveloperContent::default().with_function_tools(vec![add]);
        Conversation::from_messages([Message::developer(developer), Message::user("1 + 2?")])
    }

    /// Writes tokens from text in which control tokens are spelled out.
    fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("<|") {
            ids.extend(vocab.encode_ids(&rest[..at]));
            rest = &rest[at..];
            let control = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal()));
            let control = control.expect("a control token");
            ids.push(vocab.control(control));
            rest = &rest[control.literal().len()..];
        }
        ids.extend(vocab.encode_ids(rest));
        ids
    }

    fn token(id: u32) -> Token {
        Token { id, logprob: -0.5, is_stop: false, top: Vec::new(), masked: None }
    }

    fn decoder(vocab: &Arc<Vocab>, conversation: &Conversation, options: &TurnOptions) -> TurnDecoder {
        TurnDecoder::new(Arc::clone(vocab), conversation, options, false)
    }

    /// The events as one line, and what was kept.
    fn decode(text: &str, options: &TurnOptions) -> (String, TurnOutput, bool) {
        let vocab = Vocab::o200k_harmony();
        let mut decoder = decoder(&vocab, &conversation(), options);
        for id in tokens(&vocab, text) {
            decoder.push(&token(id));
        }
        let is_over = decoder.is_over();
        let (events, output) = decoder.finish();
        let words = events.into_iter().map(|event| match event {
            TurnEvent::Delta(Delta::Text { channel: Channel::Analysis, text, .. }) => format!("R:{text}"),
            TurnEvent::Delta(Delta::Text { channel: Channel::Commentary, text, .. }) => format!("P:{text}"),
            TurnEvent::Delta(Delta::Text { channel: Channel::Final, text, .. }) => format!("A:{text}"),
            TurnEvent::Delta(Delta::CallStarted { name }) => format!("S:{name}"),
            TurnEvent::Delta(Delta::CallArguments { text, .. }) => format!("J:{text}"),
            TurnEvent::Delta(Delta::Called(call)) => format!("C:{}({})", call.recipient, call.arguments),
            TurnEvent::Delta(Delta::Warning(_)) => "W".to_owned(),
            other => panic!("a decoder does not say {other:?}"),
        });
        (words.collect::<Vec<_>>().join("|"), output, is_over)
    }

    fn check(text: &str, events: &str, messages: usize, is_over: bool) -> TurnOutput {
        let (words, heard, over) = decode(text, &TurnOptions::default());
        assert_eq!(words, events, "{text}");
        assert_eq!((heard.messages.len(), over), (messages, is_over), "{text}");
        heard
    }

    #[test]
    fn reasoning_then_answer() {
        let text = "<|channel|>analysis<|message|>Add<|end|><|start|>assistant<|channel|>final<|message|>3<|return|>";
        let heard = check(text, "R:Add|A:3", 2, true);
        assert!(heard.has_whole_answer);
        assert_eq!(heard.reasoning_tokens, 5);
    }

    #[test]
    fn an_answer_that_ends_as_a_message_ends_the_turn_too() {
        let text = "<|channel|>final<|message|>3<|end|><|start|>user<|message|>And 4?<|end|>";
        assert!(check(text, "A:3", 1, true).warnings.is_empty());
    }

    /// Such a message was an answer while it was heard and none afterwards, and was rendered again as a call.
    #[test]
    fn an_answer_addressed_to_the_user_is_addressed_to_nobody() {
        for recipient in ["user", "all", "assistant"] {
            let text = format!("<|channel|>final to={recipient}<|message|>3<|return|>");
            let heard = check(&text, "A:3", 1, true);
            assert!(heard.has_whole_answer);
            assert_eq!(heard.messages[0].recipient, None, "{recipient}");
        }
        let text = "<|channel|>commentary to=functions.add <|message|>{}<|call|>";
        let heard = check(text, "S:add|J:{}|C:functions.add({})", 1, true);
        assert_eq!(heard.messages[0].recipient.as_deref(), Some("functions.add"));
    }

    /// A header with nothing behind it counted as a whole answer, so that the turn ended well and said
    /// nothing.
    #[test]
    fn a_bare_header_is_not_an_answer() {
        let reasoning = "<|channel|>analysis<|message|>Add<|end|><|start|>assistant";
        let heard = check(&format!("{reasoning}<|return|>"), "R:Add|W", 1, false);
        assert!(!heard.has_whole_answer);
        let text = format!("{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>3<|return|>");
        assert!(check(&text, "R:Add|W|A:3", 2, true).has_whole_answer);
        let named = check("<|channel|>final<|message|><|return|>", "", 1, true);
        assert!(named.has_whole_answer, "an empty answer on its channel is one");
    }

    /// A limit that cuts a message short is told by the end of the turn; a model that ends its own header
    /// early is told here.
    #[test]
    fn a_header_the_model_ends_is_a_warning() {
        assert_eq!(check("<|end|>", "W", 0, false).warnings.len(), 1);
        assert!(check("<|channel|>", "", 0, false).warnings.is_empty());
    }

    #[test]
    fn a_call_with_its_preamble() {
        let text = "<|channel|>commentary<|message|>Wait<|end|><|start|>assistant<|channel|>commentary \
                    to=functions.add <|constrain|>json<|message|>{}<|call|>";
        let heard = check(text, "P:Wait|S:add|J:{}|C:functions.add({})", 2, true);
        assert_eq!((heard.calls.len(), heard.warnings.len()), (1, 0));
    }

    #[test]
    fn unknown_recipients_are_calls_with_a_warning() {
        let text = "<|channel|>analysis to=python code<|message|>1<|call|>";
        let heard = check(text, "S:python|J:1|W|C:python(1)", 1, true);
        assert!(heard.warnings[0].contains("python"));
    }

    #[test]
    fn built_in_tools_that_are_offered_are_calls_without_a_warning() {
        let system = SystemContent::default().with_tools(ToolNamespace::python());
        let conversation = Conversation::from_messages([Message::system(system), Message::user("1 + 2?")]);
        let vocab = Vocab::o200k_harmony();
        let mut decoder = decoder(&vocab, &conversation, &TurnOptions::default());
        let text = "<|channel|>analysis to=python code<|message|>1<|call|>";
        tokens(&vocab, text).into_iter().for_each(|id| decoder.push(&token(id)));
        let (_, heard) = decoder.finish();
        assert!(heard.warnings.is_empty(), "{:?}", heard.warnings);
        assert_eq!(heard.calls[0].recipient, "python");
    }

    #[test]
    fn what_is_cut_short_is_kept_except_a_call() {
        let heard =
            check("<|channel|>final<|message|>The ans", "A:The| ans".replace('|', "|A:").as_str(), 1, false);
        assert!(!heard.has_whole_answer);
        let text = "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{";
        let heard = check(text, "S:add|J:{|W", 0, false);
        assert!(heard.calls.is_empty());
        check("<|channel|>ana", "", 0, false);
    }

    #[test]
    fn somebody_elses_message_ends_the_turn() {
        let text = "<|channel|>analysis<|message|>a<|end|><|start|>user<|message|>b<|end|>";
        let heard = check(text, "R:a|W", 1, true);
        assert!(heard.warnings[0].contains("user"), "{:?}", heard.warnings);
    }

    /// Stop strings were looked for by the HTTP server alone, so that the messages of a turn went on behind
    /// them.
    #[test]
    fn a_stop_string_ends_the_turn_and_the_message() {
        let check = |text: &str, events: &str, last: &str| {
            let options = TurnOptions { stop: vec!["STOP".into()], ..TurnOptions::default() };
            let (words, output, is_over) = decode(text, &options);
            let words = words.replace("|A:", "").replace("|P:", "");
            assert_eq!((words.as_str(), is_over, output.is_stopped()), (events, true, true), "{text}");
            assert_eq!(output.messages.last().map(Message::text).as_deref(), Some(last), "{text}");
        };
        check("<|channel|>final<|message|>one STOP two<|return|>", "A:one ", "one ");
        check("<|channel|>final<|message|>STOP", "", "");
        let reasoning = "<|channel|>analysis<|message|>STOP<|end|><|start|>assistant";
        check(&format!("{reasoning}<|channel|>final<|message|>3 STOP<|return|>"), "R:STOP3 ", "3 ");
        let preamble = "<|channel|>commentary<|message|>Wait STOP<|end|><|start|>assistant";
        check(&format!("{preamble}<|channel|>final<|message|>3<|return|>"), "P:Wait ", "Wait ");
    }

    /// What looks like the beginning of a stop string at the end of a turn is text.
    #[test]
    fn what_was_kept_back_comes_out_at_the_end() {
        let options = TurnOptions { stop: vec!["STOP".into()], ..TurnOptions::default() };
        let (words, output, _) = decode("<|channel|>final<|message|>one ST<|return|>", &options);
        assert_eq!(words.replace("|A:", ""), "A:one ST");
        assert!(!output.is_stopped() && output.has_whole_answer);
    }

    #[test]
    fn log_probabilities_stand_beside_their_text() {
        let vocab = Vocab::o200k_harmony();
        let options = TurnOptions { logprobs: Some(0), ..TurnOptions::default() };
        let mut decoder = decoder(&vocab, &conversation(), &options);
        let text = "<|channel|>analysis<|message|>Add<|end|><|start|>assistant<|channel|>final<|message|>𝄞 3<|return|>";
        tokens(&vocab, text).into_iter().for_each(|id| decoder.push(&token(id)));
        let mut said = Vec::new();
        for event in decoder.finish().0 {
            let TurnEvent::Delta(Delta::Text { text, logprobs, .. }) = event else { panic!("{event:?}") };
            let bytes: Vec<u8> = logprobs.into_iter().flat_map(|logprob| logprob.bytes).collect();
            assert_eq!(bytes, text.as_bytes());
            said.push(text);
        }
        assert_eq!(said.concat(), "Add𝄞 3");
    }
}
