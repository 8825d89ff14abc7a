//! An answer in the client's API, out of the deltas of another.
//!
//! The machines of `api` write it, as they write what the local engine says; a body without a stream is what
//! its events add up to. A custom tool that was offered as a function is told as the custom tool it is.

use gptoss_api::chat::chunks::{ChatChoice, ChunkHeader, ReasoningField, fold};
use gptoss_api::generation::tools::{Kind, Tools};
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::messages::errors;
use gptoss_api::messages::events::{Folder, MessageHeader, MessageMachine};
use gptoss_api::messages::signature::{Shown, Signer};
use gptoss_api::responses::events::ResponseMachine;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::chat::{Choice, ChunkChoice};
use gptoss_api::wire::message_events::MessageEvent;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::wire::responses::{ReasoningSettings, ResponseObject, TextSettings};
use gptoss_api::{ApiError, ChoiceEnd, EventOptions, Machine, NewId};
use gptoss_harmony::{Delta, TurnEnd};
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::raw_object::RawObject;
use crate::sse::event;
use crate::translate::CUSTOM_ARGUMENT;

/// What a writer is given.
#[derive(Clone)]
pub struct Told {
    /// The model, as the client calls it.
    pub model: String,
    /// How much of the reasoning the client sees.
    pub visibility: Visibility,
    /// What Chat calls the reasoning.
    pub reasoning_field: ReasoningField,
    /// Signs thinking.
    pub signer: Signer,
    /// Names what is new.
    pub new_id: NewId,
    /// Units: seconds since 1970.
    pub now: u64,
}

/// Writes an answer.
pub struct Writer {
    machine: AnyMachine,
    tools: Tools,
    /// The arguments of a custom tool that are still JSON.
    held: Option<String>,
    at: u64,
    whole: Whole,
}

enum AnyMachine {
    Chat { machine: Box<ChatChoice>, header: ChunkHeader, wants_usage: bool },
    Responses(Box<ResponseMachine>),
    Messages(Box<MessageMachine>),
}

/// What events add up to, where no stream was asked for.
pub(crate) enum Whole {
    None,
    Chat(Box<Choice>),
    Response,
    Message(Box<Folder>),
}

/// Bytes of events, and the whole where no stream was asked for.
type Written = Vec<u8>;

impl Writer {
    /// For an answer to `body`.
    ///
    /// Errors: tools that are none.
    pub fn new(
        dialect: Dialect,
        body: &RawObject,
        told: Told,
        (is_stream, wants_usage): (bool, bool),
    ) -> Result<Writer, ApiError> {
        let Told { model, visibility, reasoning_field, signer, new_id, now } = told;
        let tools = match (dialect, body.read("tools")?) {
            (Dialect::Responses, Some(Value::Array(list))) => {
                Tools::parse(&list, None, None, &RequestLimits::default(), &mut Vec::new())?
            }
            _ => Tools::default(),
        };
        // Nobody writes a summary here: what is not raw is not shown.
        let visibility = if visibility == Visibility::Raw { visibility } else { Visibility::Hidden };
        let options = EventOptions { tools: tools.clone(), visibility, tells_logprobs: false, new_id };
        let (machine, whole) = match dialect {
            Dialect::Responses => {
                let response = response(body, &model, new_id("resp"), now)?;
                (AnyMachine::Responses(Box::new(ResponseMachine::new(response, options))), Whole::Response)
            }
            Dialect::Messages => {
                let header = MessageHeader { id: new_id("msg"), model };
                let shown = match visibility {
                    Visibility::Raw => Shown::Whole,
                    Visibility::Summary | Visibility::Hidden => Shown::Nothing,
                };
                let machine = MessageMachine::new(header, Some(shown), signer, new_id, Vec::new());
                (AnyMachine::Messages(Box::new(machine)), Whole::Message(Box::default()))
            }
            Dialect::Chat | Dialect::Completions => {
                let id = new_id("chatcmpl").replacen('_', "-", 1);
                let header = ChunkHeader { id, created: now, model, fingerprint: "upstream".to_owned() };
                let machine = ChatChoice::new(0, options).with_reasoning_field(reasoning_field);
                let machine = AnyMachine::Chat { machine: Box::new(machine), header, wants_usage };
                (machine, Whole::Chat(Box::default()))
            }
        };
        let whole = if is_stream { Whole::None } else { whole };
        Ok(Writer { machine, tools, held: None, at: now, whole })
    }

    /// The events before the first delta.
    pub fn begin(&mut self) -> Written {
        match &mut self.machine {
            AnyMachine::Chat { machine, header, wants_usage } => {
                chunks(machine.begin(), (header, *wants_usage), &mut self.whole)
            }
            AnyMachine::Responses(machine) => numbered(machine.begin(), &self.whole),
            AnyMachine::Messages(machine) => named(machine.begin(), &mut self.whole),
        }
    }

    /// The prompt is read.
    pub fn read(&mut self, usage: TokenUsage) -> Written {
        match &mut self.machine {
            AnyMachine::Messages(machine) => named(machine.read(usage), &mut self.whole),
            AnyMachine::Chat { .. } | AnyMachine::Responses(_) => Vec::new(),
        }
    }

    /// The events of a delta.
    pub fn push(&mut self, delta: Delta) -> Written {
        let mut bytes = Vec::new();
        if let (Delta::CallArguments { text, .. }, Some(held)) = (&delta, &mut self.held) {
            held.push_str(text);
            return bytes;
        }
        bytes.extend(self.release());
        if let Delta::CallStarted { name } = &delta {
            let is_custom = self.tools.find(name).is_some_and(|tool| tool.kind == Kind::Custom);
            self.held = is_custom.then(String::new);
        }
        bytes.extend(self.forward(delta));
        bytes
    }

    /// What a custom tool was given, once it is whole.
    fn release(&mut self) -> Written {
        let Some(held) = self.held.take() else { return Vec::new() };
        let input = serde_json::from_str::<Value>(&held).ok();
        let text = input.and_then(|input| input.get(CUSTOM_ARGUMENT)?.as_str().map(str::to_owned));
        self.forward(Delta::CallArguments { text: text.unwrap_or(held), logprobs: Vec::new() })
    }

    fn forward(&mut self, delta: Delta) -> Written {
        match &mut self.machine {
            AnyMachine::Chat { machine, header, wants_usage } => {
                chunks(machine.push(delta), (header, *wants_usage), &mut self.whole)
            }
            AnyMachine::Responses(machine) => numbered(machine.push(delta), &self.whole),
            AnyMachine::Messages(machine) => named(machine.push(delta), &mut self.whole),
        }
    }

    /// The last events.
    pub fn finish(&mut self, end: TurnEnd, usage: TokenUsage, stop: Option<String>) -> Written {
        let mut bytes = self.release();
        let end = ChoiceEnd { end, usage, rest: Vec::new(), at: self.at, stop };
        match &mut self.machine {
            AnyMachine::Chat { machine, header, wants_usage } => {
                bytes.extend(chunks(machine.finish(end), (header, *wants_usage), &mut self.whole));
                if matches!(self.whole, Whole::None) {
                    if *wants_usage {
                        let last =
                            header.chunk(Vec::new(), Some(Some(usage.chat_usage())), (Vec::new(), None));
                        event(&mut bytes, None, &last);
                    }
                    bytes.extend_from_slice(b"data: [DONE]\n\n");
                }
            }
            AnyMachine::Responses(machine) => bytes.extend(numbered(machine.finish(end), &self.whole)),
            AnyMachine::Messages(machine) => bytes.extend(named(machine.finish(end), &mut self.whole)),
        }
        bytes
    }

    /// The last events of an answer that broke off, in the API's own form of an error.
    pub fn fail(&mut self, error: &ApiError) -> Written {
        let mut bytes = Vec::new();
        match &mut self.machine {
            AnyMachine::Chat { .. } => broken_chat(error, &mut bytes),
            AnyMachine::Responses(machine) => bytes.extend(numbered(machine.fail(error), &Whole::None)),
            AnyMachine::Messages(_) => event(&mut bytes, Some("error"), &errors::body(error, None)),
        }
        bytes
    }

    /// The body of an answer without a stream, when it has ended.
    pub fn whole(self, usage: TokenUsage) -> Vec<u8> {
        let body = match (self.machine, self.whole) {
            (AnyMachine::Chat { header, .. }, Whole::Chat(choice)) => {
                serde_json::to_vec(&header.completion(vec![*choice], usage.chat_usage(), (Vec::new(), None)))
            }
            (AnyMachine::Responses(machine), _) => serde_json::to_vec(machine.response()),
            (_, Whole::Message(folder)) => serde_json::to_vec(&folder.finish()),
            _ => Ok(Vec::new()),
        };
        body.unwrap_or_default()
    }
}

/// The last events of a stream that broke off, in the API's own form; `number` is that of the next event.
pub fn broken(dialect: Dialect, error: &ApiError, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    match dialect {
        Dialect::Chat | Dialect::Completions => broken_chat(error, &mut bytes),
        Dialect::Messages => event(&mut bytes, Some("error"), &errors::body(error, None)),
        Dialect::Responses => {
            let row = error.row();
            let body = json!({"type": "error", "code": row.code.unwrap_or(row.kind),
                "message": error.to_string(), "param": null, "sequence_number": number});
            event(&mut bytes, Some("error"), &body);
        }
    }
    bytes
}

fn broken_chat(error: &ApiError, bytes: &mut Vec<u8>) {
    event(bytes, None, &error.body());
    bytes.extend_from_slice(b"data: [DONE]\n\n");
}

/// Chunks of Chat, or nothing where they add up to a whole.
pub(crate) fn chunks(
    events: Vec<ChunkChoice>,
    (header, wants_usage): (&ChunkHeader, bool),
    whole: &mut Whole,
) -> Written {
    let mut bytes = Vec::new();
    for chunk in events {
        match whole {
            Whole::Chat(choice) => fold(choice, chunk),
            _ => {
                let usage = wants_usage.then_some(None);
                event(&mut bytes, None, &header.chunk(vec![chunk], usage, (Vec::new(), None)));
            }
        }
    }
    bytes
}

fn numbered(events: Vec<Numbered>, whole: &Whole) -> Written {
    let mut bytes = Vec::new();
    // The machine's own object is the whole.
    if matches!(whole, Whole::None) {
        events.iter().for_each(|one| event(&mut bytes, Some(one.event.name()), one));
    }
    bytes
}

fn named(events: Vec<MessageEvent>, whole: &mut Whole) -> Written {
    let mut bytes = Vec::new();
    for one in events {
        match whole {
            Whole::Message(folder) => folder.push(one),
            _ => event(&mut bytes, Some(one.name()), &one),
        }
    }
    bytes
}

/// The object of a response before its first token.
fn response(body: &RawObject, model: &str, id: String, now: u64) -> Result<ResponseObject, ApiError> {
    let text = |name: &str| body.value(name).and_then(|value| value.as_str().map(str::to_owned));
    let number = |name: &str| body.value(name).and_then(|value| value.as_f64());
    let settings = body.read("text")?.unwrap_or_default();
    let reasoning = body.read("reasoning")?.unwrap_or_default();
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let said = |name: &str| body.value(name).filter(|value| !value.is_null());
    let metadata = said("metadata").and_then(|value| serde_json::from_value(value).ok());
    let tools = said("tools").and_then(|value| value.as_array().cloned()).unwrap_or_default();
    Ok(ResponseObject {
        id,
        object: "response".to_owned(),
        created_at: now,
        status: "in_progress".to_owned(),
        instructions: said("instructions"),
        max_output_tokens: body.value("max_output_tokens").and_then(|value| value.as_i64()),
        model: model.to_owned(),
        parallel_tool_calls: body.value("parallel_tool_calls") != Some(Value::Bool(false)),
        prompt_cache_key: text("prompt_cache_key"),
        reasoning: ReasoningSettings {
            effort: word(&reasoning["effort"]).unwrap_or_else(|| "medium".to_owned()),
            summary: word(&reasoning["summary"]),
        },
        safety_identifier: text("safety_identifier"),
        service_tier: "default".to_owned(),
        temperature: number("temperature").unwrap_or(1.0),
        text: TextSettings {
            format: match &settings["format"] {
                Value::Null => json!({"type": "text"}),
                format => format.clone(),
            },
            verbosity: word(&settings["verbosity"]),
        },
        tool_choice: said("tool_choice").unwrap_or_else(|| json!("auto")),
        tools,
        top_p: number("top_p").unwrap_or(1.0),
        truncation: "disabled".to_owned(),
        user: text("user"),
        metadata: metadata.unwrap_or_default(),
        ..ResponseObject::default()
    })
}
