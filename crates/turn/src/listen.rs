//! What do the tokens of a running turn say?
//!
//! [`Listener`] is pushed one token after another, lets harmony's parser make messages of them, and sorts what comes out into the events
//! of a turn: reasoning, preamble, answer or call, by channel and recipient. It also decides when a turn is over before the model says
//! so: after an answer or a call that ended in `<|end|>` instead of its own stop token, and when the model begins to write somebody
//! else's message; without that, generation would go on inventing the user's next question.
//!
//! It does not know the engine: a test pushes any tokens it likes.

use std::collections::VecDeque;
use std::sync::Arc;

use gptoss_harmony::{
    Conversation, Header, Message, ParseEvent, Repair, Role, StreamParser, Token, Vocab, Warning,
};

use crate::event::{Call, TurnEvent, Voice};
use crate::tools::{builtin_tools, function_tools};

/// The namespace of functions in a recipient.
const FUNCTIONS: &str = "functions.";

/// What kind of message is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Said(Voice),
    /// Not the assistant's: a message that a model must not write.
    Foreign,
}

/// One turn's output: the parser, and what is made of its events.
pub(crate) struct Listener {
    parser: StreamParser,
    vocab: Arc<Vocab>,
    sorter: Sorter,
    is_held: bool,
}

/// Sorts the parser's events.
struct Sorter {
    offered: Vec<String>,
    /// Recipients of the built-in tools that were offered.
    builtins: Vec<String>,
    /// Events that nobody has taken yet.
    events: VecDeque<TurnEvent>,
    speech: Option<Speech>,
    /// Whether the turn has said all it will: nothing is listened to any more.
    is_over: bool,
    /// Tokens since the last end of a message.
    message_tokens: usize,
    heard: Heard,
}

/// What has been heard so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: Vec<Message>,
    pub(crate) calls: Vec<Call>,
    pub(crate) has_whole_answer: bool,
    pub(crate) reasoning_tokens: usize,
    pub(crate) warnings: Vec<String>,
}

impl Listener {
    /// `is_held` says that no malformed token can come.
    pub(crate) fn new(vocab: Arc<Vocab>, conversation: &Conversation, is_held: bool) -> Self {
        let offered: Vec<String> = function_tools(conversation).into_keys().map(str::to_owned).collect();
        let parser = StreamParser::completion(Arc::clone(&vocab)).with_functions(offered.iter().cloned());
        let sorter = Sorter {
            offered,
            builtins: builtin_tools(conversation).into_keys().collect(),
            events: VecDeque::new(),
            speech: None,
            is_over: false,
            message_tokens: 0,
            heard: Heard::default(),
        };
        Listener { parser, vocab, sorter, is_held }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.sorter.is_over
    }

    /// The next event that nobody has taken.
    pub(crate) fn take(&mut self) -> Option<TurnEvent> {
        self.sorter.events.pop_front()
    }

    /// Passes an event of the engine's on, in order with the others.
    pub(crate) fn tell(&mut self, event: TurnEvent) {
        self.sorter.events.push_back(event);
    }

    /// One more token of the model's.
    pub(crate) fn push(&mut self, token: u32) {
        if self.is_over() {
            return;
        }
        self.sorter.message_tokens += 1;
        for event in self.parser.push(token) {
            self.sorter.hear(event, true);
        }
    }

    /// Whose text `token`, the next to be pushed, would be; None when it belongs to the structure.
    pub(crate) fn voice_of(&self, token: u32) -> Option<Voice> {
        let is_text = matches!(self.vocab.token(token), Some(Token::Text(_)));
        match self.sorter.speech {
            Some(Speech::Said(voice)) if is_text && !self.is_over() => Some(voice),
            _ => None,
        }
    }

    /// No more tokens: what is open is closed as it is. What is left to take, and what was heard.
    pub(crate) fn finish(self) -> (VecDeque<TurnEvent>, Heard) {
        let mut sorter = self.sorter;
        let (events, _) = if self.is_held { self.parser.cut() } else { self.parser.finish() };
        for event in events {
            sorter.hear(event, false);
        }
        (sorter.events, sorter.heard)
    }
}

impl Sorter {
    fn tell(&mut self, event: TurnEvent) {
        self.events.push_back(event);
    }

    /// `complete` says that a message that ends here was ended by the model and not by a limit.
    fn hear(&mut self, event: ParseEvent, complete: bool) {
        if self.is_over {
            return;
        }
        match event {
            ParseEvent::Started(header) => self.start(&header),
            ParseEvent::Text(text) => self.text(text),
            ParseEvent::Ended(message) => self.end(message, complete),
            // What a limit cut short is said by the end of the turn.
            ParseEvent::Warning(Warning {
                repair: Repair::UnfinishedHeader | Repair::UnfinishedMessage,
                ..
            }) if !complete => {}
            ParseEvent::Warning(warning) => self.warn(warning.to_string()),
        }
    }

    fn start(&mut self, header: &Header) {
        let speech = speech_of(header);
        self.speech = Some(speech);
        match speech {
            Speech::Said(Voice::Call) => {
                let name = self.function_name(header.recipient.as_deref().unwrap_or_default());
                self.tell(TurnEvent::CallStarted { name });
            }
            Speech::Foreign => {
                let role = header.author.role.as_str();
                self.warn(format!("the model began a message of the role {role}; the turn ends before it"));
                self.is_over = true;
            }
            Speech::Said(_) => {}
        }
    }

    fn text(&mut self, text: String) {
        let voice = match self.speech {
            Some(Speech::Said(voice)) => voice,
            None => Voice::Answer,
            Some(Speech::Foreign) => return,
        };
        let event = match voice {
            Voice::Reasoning => TurnEvent::Reasoning(text),
            Voice::Preamble => TurnEvent::Preamble(text),
            Voice::Call => TurnEvent::CallArguments(text),
            Voice::Answer => TurnEvent::Answer(text),
        };
        self.tell(event);
    }

    fn end(&mut self, mut message: Message, complete: bool) {
        let tokens = std::mem::take(&mut self.message_tokens);
        let voice = match self.speech.take() {
            Some(Speech::Foreign) => return,
            Some(Speech::Said(voice)) => Some(voice),
            None => None,
        };
        if voice != Some(Voice::Call) {
            // `to=user` and the like address nobody in particular. Kept, they would make a call of the message when it is rendered again.
            message.recipient = None;
        }
        match voice {
            // `<|start|>assistant<|return|>`: a header and nothing said is no answer, and there is nothing to keep.
            Some(Voice::Answer) | None if message.channel.is_none() && message.text().is_empty() => return,
            Some(Voice::Reasoning) => self.heard.reasoning_tokens += tokens,
            Some(Voice::Preamble) => {}
            Some(Voice::Answer) | None => {
                self.heard.has_whole_answer = complete;
                self.is_over = true;
            }
            Some(Voice::Call) => {
                self.is_over = true;
                if !complete {
                    let name = self.function_name(message.recipient.as_deref().unwrap_or_default());
                    self.warn(format!("the call of {name} was cut short and is left out"));
                    return;
                }
                self.call(&message);
            }
        }
        self.heard.messages.push(message);
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
        self.heard.calls.push(call.clone());
        self.tell(TurnEvent::Called(call));
    }

    fn function_name(&self, recipient: &str) -> String {
        recipient.strip_prefix(FUNCTIONS).unwrap_or(recipient).to_owned()
    }

    fn warn(&mut self, warning: String) {
        self.heard.warnings.push(warning.clone());
        self.tell(TurnEvent::Warning(warning));
    }
}

fn speech_of(header: &Header) -> Speech {
    if header.author.role != Role::Assistant {
        return Speech::Foreign;
    }
    match header.recipient.as_deref() {
        None | Some("all" | "user" | "assistant") => {}
        Some(_) => return Speech::Said(Voice::Call),
    }
    Speech::Said(match header.channel.as_deref() {
        Some("analysis") => Voice::Reasoning,
        None | Some("final") => Voice::Answer,
        Some(_) => Voice::Preamble,
    })
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

    /// The events as one line, texts of one voice joined, and what was kept.
    fn listen(text: &str) -> (String, Heard, bool) {
        let vocab = Vocab::o200k_harmony();
        let mut listener = Listener::new(Arc::clone(&vocab), &conversation(), false);
        for token in tokens(&vocab, text) {
            listener.push(token);
        }
        let is_over = listener.is_over();
        let (events, heard) = listener.finish();
        let words = events.into_iter().map(|event| match event {
            TurnEvent::Prefill { .. } => String::new(),
            TurnEvent::Reasoning(text) => format!("R:{text}"),
            TurnEvent::Preamble(text) => format!("P:{text}"),
            TurnEvent::Answer(text) => format!("A:{text}"),
            TurnEvent::CallStarted { name } => format!("S:{name}"),
            TurnEvent::CallArguments(text) => format!("J:{text}"),
            TurnEvent::Called(call) => format!("C:{}({})", call.recipient, call.arguments),
            TurnEvent::Warning(_) => "W".to_owned(),
            other => panic!("a listener does not say {other:?}"),
        });
        (words.collect::<Vec<_>>().join("|"), heard, is_over)
    }

    fn check(text: &str, events: &str, messages: usize, is_over: bool) -> Heard {
        let (words, heard, over) = listen(text);
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

    /// A header with nothing behind it counted as a whole answer, so that the turn ended well and said nothing.
    #[test]
    fn a_bare_header_is_no_answer() {
        let reasoning = "<|channel|>analysis<|message|>Add<|end|><|start|>assistant";
        let heard = check(&format!("{reasoning}<|return|>"), "R:Add|W", 1, false);
        assert!(!heard.has_whole_answer);
        let text = format!("{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>3<|return|>");
        assert!(check(&text, "R:Add|W|A:3", 2, true).has_whole_answer);
        let named = check("<|channel|>final<|message|><|return|>", "", 1, true);
        assert!(named.has_whole_answer, "an empty answer on its channel is one");
    }

    /// A limit that cuts a message short is told by the end of the turn; a model that ends its own header early is told here.
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
        let mut listener = Listener::new(Arc::clone(&vocab), &conversation, false);
        let text = "<|channel|>analysis to=python code<|message|>1<|call|>";
        tokens(&vocab, text).into_iter().for_each(|token| listener.push(token));
        let (_, heard) = listener.finish();
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
}
