//! Chats: each turn of the assistant with the prompt that it answered.
//!
//! A turn begins where the assistant first speaks after somebody else, goes on through calls and their
//! results and ends with its answer, or with a call that has no answer yet. What stands before it is read by
//! `gptoss_api`'s parser of Chat Completions, so it is what the server would show the model: reasoning of
//! ended turns is gone, that of the turn itself stays. Targets are what the model writes: of each of the
//! turn's messages all behind `<|start|>assistant`, and that too where it follows a message that does not end
//! the generation. The first of a generation is the prompt's.

use gptoss_api::RequestScope;
use gptoss_api::chat::parse::parse;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::wire::chat::{ChatMessage, ChatRequest};
use gptoss_harmony::{
    Analysis, Control, Conversation, Message, ReasoningEffort, Role, Vocab, render_training,
};
use serde_json::{Map, Value};

use crate::columns::content_text;
use crate::example::Example;
use crate::options::{Options, TooLong};
use crate::reason::Reason;

/// Columns of a row that mean what they mean in a request.
const REQUEST_COLUMNS: [&str; 5] =
    ["tools", "functions", "reasoning_effort", "chat_template_kwargs", "response_format"];

/// A chat, and what each of its messages weighs.
pub(crate) struct Chat {
    /// All that is asked but the messages.
    request: ChatRequest,
    messages: Vec<ChatMessage>,
    /// As many as there are messages; that of others than the assistant's means nothing.
    weights: Vec<f32>,
    /// Whether the row says how much the model reasons.
    has_effort: bool,
}

impl Chat {
    /// Reads messages in OpenAI's words with the columns beside them.
    ///
    /// Errors: what cannot be read.
    pub(crate) fn new(messages: Vec<Value>, columns: &Map<String, Value>) -> Result<Chat, Reason> {
        let mut weights = Vec::with_capacity(messages.len());
        let mut plain = Vec::with_capacity(messages.len());
        for (index, message) in messages.into_iter().enumerate() {
            let Value::Object(mut message) = message else {
                return Err(Reason::Column { column: format!("messages[{index}]"), expected: "an object" });
            };
            weights.push(weight(&message, index)?);
            // Hugging Face's name of what OpenAI's clients call reasoning.
            if let Some(thinking) = message.remove("thinking") {
                message.entry("reasoning").or_insert(thinking);
            }
            plain.push(Value::Object(message));
        }
        let mut body = Map::new();
        body.insert("messages".to_owned(), Value::Array(plain));
        for column in REQUEST_COLUMNS {
            if let Some(value) = columns.get(column).filter(|value| !value.is_null()) {
                body.insert(column.to_owned(), unquoted(column, value)?);
            }
        }
        let mut request: ChatRequest = serde_json::from_value(Value::Object(body))
            .map_err(|problem| Reason::Body { message: problem.to_string() })?;
        let template = request.chat_template_kwargs.as_ref();
        let has_effort = request.reasoning_effort.is_some()
            || template
                .and_then(|options| options.get("reasoning_effort"))
                .is_some_and(|effort| !effort.is_null());
        let messages = std::mem::take(&mut request.messages);
        Ok(Chat { request, messages, weights, has_effort })
    }

    /// Makes all but the messages from `first` on weigh nothing.
    pub(crate) fn learn_from(mut self, first: usize) -> Chat {
        self.weights[..first].fill(0.0);
        self
    }

    /// Whether a message that is learned has reasoning.
    pub(crate) fn reasons(&self) -> bool {
        let mut messages = self.weights.iter().zip(&self.messages);
        messages.any(|(weight, message)| is_learned((weight, message)) && !reasoning(message).is_empty())
    }

    /// An example of each turn that weighs anything.
    ///
    /// Errors: the first thing that is wrong with any turn.
    pub(crate) fn examples(&self, vocab: &Vocab, options: &Options) -> Result<Vec<Example>, Reason> {
        Ok(self.turns(vocab, options)?.into_iter().map(|(example, _)| example).collect())
    }

    /// The same, each with the message at which its history begins.
    ///
    /// Errors: as [`Chat::examples`].
    pub(crate) fn turns(&self, vocab: &Vocab, options: &Options) -> Result<Vec<(Example, usize)>, Reason> {
        let messages = &self.messages;
        let mut examples = Vec::new();
        let mut first = 0;
        while first < messages.len() {
            let length = messages[first..].iter().take_while(is_of_turn).count();
            if length == 0 {
                first += 1;
                continue;
            }
            // Results behind the last message of the assistant are nobody's prompt here.
            let end = messages[first..first + length].iter().rposition(is_assistant).map_or(0, |at| at + 1);
            let turn = first..first + end;
            if self.weights[turn.clone()].iter().zip(&messages[turn.clone()]).any(is_learned) {
                self.check(turn.clone())?;
                examples.push(self.example(turn, vocab, options)?);
            }
            first += length;
        }
        if examples.is_empty() { Err(Reason::NoTurn) } else { Ok(examples) }
    }

    /// Looks for what would teach the model a turn that it must not write.
    fn check(&self, turn: std::ops::Range<usize>) -> Result<(), Reason> {
        let messages = &self.messages;
        if !is_assistant(&messages[turn.start]) || turn.start == 0 {
            return Err(Reason::SpeaksFirst { message: turn.start });
        }
        for index in turn.clone().filter(|&index| is_assistant(&messages[index])) {
            let message = &messages[index];
            let calls = message.tool_calls.as_deref().unwrap_or_default();
            match calls.len() + usize::from(message.function_call.is_some()) {
                0 if index + 1 < turn.end => return Err(Reason::SecondAnswer { message: index + 1 }),
                0 | 1 => {}
                _ => return Err(Reason::SeveralCalls { message: index }),
            }
            let function = calls.first().and_then(|call| call.function.as_ref());
            if let Some(function) = function.or(message.function_call.as_ref())
                && let Some(Value::String(arguments)) = &function.arguments
                && serde_json::from_str::<Value>(arguments).is_err()
            {
                return Err(Reason::ArgumentsNotJson { message: index });
            }
        }
        Ok(())
    }

    fn example(
        &self,
        turn: std::ops::Range<usize>,
        vocab: &Vocab,
        options: &Options,
    ) -> Result<(Example, usize), Reason> {
        let whole = self.rendered(turn.clone(), 0, vocab, options)?;
        let (mut tokens, max) = (whole.tokens.len(), options.tokens_max);
        let mut fitting = (tokens <= max).then_some((whole, 0));
        if fitting.is_none() && options.too_long == TooLong::CutHistory {
            // The later the history begins, the shorter it is.
            let starts = self.later_questions(turn.start);
            let (mut from, mut to) = (0, starts.len());
            while from < to {
                let middle = from.midpoint(to);
                let start = starts[middle];
                let example = self.rendered(turn.clone(), start, vocab, options)?;
                if example.tokens.len() <= max {
                    (fitting, to) = (Some((example, start)), middle);
                } else {
                    (tokens, from) = (example.tokens.len(), middle + 1);
                }
            }
        }
        let (example, start) = fitting.ok_or(Reason::TooLong { tokens, max })?;
        if example.num_targets() == 0 { Err(Reason::NoTarget) } else { Ok((example, start)) }
    }

    /// The questions before `end` but the first, at which the history may begin instead.
    fn later_questions(&self, end: usize) -> Vec<usize> {
        let is_question = |index: &usize| self.messages[*index].role == "user";
        (self.num_instructions()..end).filter(is_question).skip(1).collect()
    }

    /// Instructions at the head, which are never cut.
    fn num_instructions(&self) -> usize {
        let is_instruction = |message: &&ChatMessage| matches!(message.role.as_str(), "system" | "developer");
        self.messages.iter().take_while(is_instruction).count()
    }

    /// The turn behind the messages from `dropped` on and the instructions.
    fn rendered(
        &self,
        turn: std::ops::Range<usize>,
        dropped: usize,
        vocab: &Vocab,
        options: &Options,
    ) -> Result<Example, Reason> {
        let messages = &self.messages;
        let effort = self.effort(turn.clone(), options);
        let until = |end: usize| self.parsed(dropped, end, effort, options);
        let mut whole = until(turn.start)?;
        let mut owners = vec![None; whole.conversation.messages.len()];
        // An answer makes the parser forget the reasoning before it, so it is put behind what is parsed.
        let last = turn.end - 1;
        let is_answer = is_plain(&messages[last]);
        for index in turn.start..if is_answer { last } else { turn.end } {
            whole = until(index + 1)?;
            owners.resize(whole.conversation.messages.len(), Some(index));
        }
        let mut conversation = whole.conversation;
        if is_answer {
            let told = answer(&messages[last], last)?;
            owners.resize(owners.len() + told.len(), Some(last));
            conversation.messages.extend(told);
        }
        self.check_words(&conversation, &owners, &whole.tools)?;
        let weights: Vec<f32> = owners.iter().map(|owner| owner.map_or(0.0, |at| self.weights[at])).collect();
        weighed(vocab, &conversation, &weights, options)
    }

    /// The prompt of the messages from `dropped` to `end`, instructions kept.
    fn parsed(
        &self,
        dropped: usize,
        end: usize,
        effort: Option<&str>,
        options: &Options,
    ) -> Result<GenerationRequest, Reason> {
        let head = self.num_instructions();
        let messages = &self.messages;
        let kept = messages[..head.min(end)].iter().chain(&messages[dropped.max(head).min(end)..end]);
        let mut request = ChatRequest { messages: kept.cloned().collect(), ..self.request.clone() };
        if let Some(effort) = effort {
            request.reasoning_effort = Some(effort.to_owned());
        }
        let scope = RequestScope {
            limits: &RequestLimits::default(),
            tenant: "",
            visibility: Visibility::Raw,
            reasoning_max: None,
            date: options.date.as_deref(),
            recall: &|_| None,
            is_background: false,
            new_id: str::to_owned,
        };
        parse(&request, &scope).map_err(|error| Reason::Body { message: error.to_string() })
    }

    /// How much the model is told to reason, where the row does not say it: as the turn does.
    fn effort(&self, turn: std::ops::Range<usize>, options: &Options) -> Option<&'static str> {
        if self.has_effort {
            return None;
        }
        let reasons = self.messages[turn].iter().any(|message| !reasoning(message).is_empty());
        Some(options.effort.unwrap_or(effort_of(reasons)).as_str())
    }

    /// Looks at the turn as the model would write it.
    fn check_words(
        &self,
        conversation: &Conversation,
        owners: &[Option<usize>],
        tools: &gptoss_api::generation::tools::Tools,
    ) -> Result<(), Reason> {
        for (message, owner) in conversation.messages.iter().zip(owners) {
            let Some(owner) = *owner else { continue };
            if message.author.role != Role::Assistant {
                continue;
            }
            if let Some(recipient) = &message.recipient {
                let name = recipient.strip_prefix("functions.").unwrap_or(recipient);
                if tools.find(name).is_none() {
                    return Err(Reason::UndeclaredTool { message: owner, name: name.to_owned() });
                }
            }
            let text = message.text();
            let literals = Control::ALL.map(Control::literal);
            if let Some(literal) = literals.into_iter().find(|literal| text.contains(literal)) {
                return Err(Reason::ControlText { message: owner, literal });
            }
        }
        Ok(())
    }
}

/// Renders a conversation whose messages weigh so much.
fn weighed(
    vocab: &Vocab,
    conversation: &Conversation,
    weights: &[f32],
    options: &Options,
) -> Result<Example, Reason> {
    let rendered = render_training(vocab, conversation, Analysis::KeepAll)
        .map_err(|error| Reason::Body { message: error.to_string() })?;
    let start = vocab.control(Control::Start);
    let mut of_tokens = Vec::with_capacity(rendered.tokens.len());
    let mut index = None;
    let mut follows = false;
    for (&token, &is_target) in rendered.tokens.iter().zip(&rendered.is_target) {
        if token == start {
            let next = index.map_or(0, |index| index + 1);
            // Whether the model itself went on to this message.
            follows = index.is_some_and(|index: usize| {
                let before = &conversation.messages[index];
                before.author.role == Role::Assistant && before.recipient.is_none() && weights[index] != 0.0
            });
            index = Some(next);
        }
        let at = index.unwrap_or_default();
        let message = &conversation.messages[at];
        let is_written = message.author.role == Role::Assistant && (is_target || follows);
        let is_hidden = options.mask_reasoning && message.channel.as_deref() == Some("analysis");
        of_tokens.push(if is_written && !is_hidden { weights[at] } else { 0.0 });
    }
    Ok(Example { tokens: rendered.tokens, weights: of_tokens })
}

/// How much the model is told to reason where nobody says it.
pub(crate) fn effort_of(reasons: bool) -> ReasoningEffort {
    if reasons { ReasoningEffort::Medium } else { ReasoningEffort::Low }
}

/// What the assistant's answer is in harmony.
fn answer(message: &ChatMessage, index: usize) -> Result<Vec<Message>, Reason> {
    let text = message.content.as_ref().map(content_text).transpose()?.unwrap_or_default();
    let text = if text.is_empty() { message.refusal.clone().unwrap_or_default() } else { text };
    if text.trim().is_empty() {
        return Err(Reason::EmptyAnswer { message: index });
    }
    let reasoning = Some(reasoning(message)).filter(|text| !text.is_empty());
    let analysis = reasoning.map(|text| Message::assistant("analysis", text));
    Ok(analysis.into_iter().chain([Message::assistant("final", text)]).collect())
}

/// The reasoning that a message tells, under either of its names.
fn reasoning(message: &ChatMessage) -> &str {
    let told = message.reasoning.as_ref().and_then(Value::as_str);
    told.or(message.reasoning_content.as_deref()).unwrap_or_default()
}

fn is_assistant(message: &ChatMessage) -> bool {
    message.role == "assistant"
}

fn is_of_turn(message: &&ChatMessage) -> bool {
    matches!(message.role.as_str(), "assistant" | "tool" | "function")
}

fn is_learned((weight, message): (&f32, &ChatMessage)) -> bool {
    *weight != 0.0 && is_assistant(message)
}

/// Whether a message of the assistant calls nothing.
fn is_plain(message: &ChatMessage) -> bool {
    message.tool_calls.as_deref().unwrap_or_default().is_empty() && message.function_call.is_none()
}

/// What a message weighs: OpenAI's `weight`, MS-Swift's `loss` and `loss_scale`, `train`; 1 without them.
fn weight(message: &Map<String, Value>, index: usize) -> Result<f32, Reason> {
    let wrong = |name: &str| Reason::Column {
        column: format!("messages[{index}].{name}"),
        expected: "a number of at least 0, or a truth value",
    };
    let mut weight = 1.0;
    for name in ["weight", "loss", "loss_scale", "train"] {
        weight *= match message.get(name) {
            None | Some(Value::Null) => 1.0,
            Some(Value::Bool(is_learned)) => f32::from(u8::from(*is_learned)),
            Some(value) => {
                let number = value.as_f64().filter(|number| (0.0..=1e6).contains(number));
                number.ok_or_else(|| wrong(name))? as f32
            }
        };
    }
    Ok(weight)
}

/// A column that may hold its JSON as text, as files of columns have it.
fn unquoted(column: &str, value: &Value) -> Result<Value, Reason> {
    match value {
        Value::String(text) if matches!(column, "tools" | "functions") => serde_json::from_str(text)
            .map_err(|_| Reason::Column { column: column.to_owned(), expected: "a list, or JSON of one" }),
        other => Ok(other.clone()),
    }
}
