//! A body of the Responses API, read.
//!
//! [`parse()`] turns the body, and what the conversation held before, into a [`GenerationRequest`]. Input
//! items are judged by their `type` one by one and read leniently: agents send back items without status,
//! with empty content, with calls whose arguments are no JSON, and kinds that only OpenAI's own servers make;
//! the last are left out with a warning, because leaving out is better than refusing a whole conversation.
//!
//! What was said before comes in as entries: the store is not known here.

use std::collections::HashMap;

use gptoss_harmony::{Call, Content, DeveloperContent, Message, Role};
use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::generation::content::part_text;
use crate::generation::dialect;
use crate::generation::effort::effort;
use crate::generation::fields::text;
use crate::generation::format::Format;
use crate::generation::hosted::{HostedCall, ServerTools};
use crate::generation::metadata::metadata;
use crate::generation::request::{GenerationRequest, Head};
use crate::generation::sampling;
use crate::generation::tools::Tools;
use crate::generation::visibility::Visibility;
use crate::history::{Entry, History, reconcile};
use crate::scope::RequestScope;
use crate::wire::chat::ContentPart;
use crate::wire::responses::{ContextManagement, Input, ResponsesRequest};

mod tool_items;

/// What marks the text of a compaction as ours.
pub const COMPACTION_PREFIX: &str = "gptoss.compaction:";

/// What clients ask for who keep reasoning without reading it.
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";

/// The type of an item that stands for a stored one.
const ITEM_REFERENCE: &str = "item_reference";

/// What was said before, and what items are called elsewhere.
#[derive(Debug, Clone, Default)]
pub struct PriorTurns {
    /// Messages of the response or conversation that this one goes on from.
    pub entries: Vec<Entry>,
    /// Stored items, by id, for references.
    pub items: HashMap<String, Value>,
    /// The text of the prompt that the request names.
    pub prompt: Option<String>,
}

/// What a request asks, and what has to be kept of it.
#[derive(Debug, Clone)]
pub struct ParsedResponsesRequest {
    /// What it asks.
    pub generation: GenerationRequest,
    /// The effort that is honoured.
    pub effort: &'static str,
    /// The input's items, each with an id.
    pub input_items: Vec<Value>,
    /// Everything said so far, as it was told and not as it was settled.
    pub entries: Vec<Entry>,
    /// How many of them were said before this request.
    pub num_before: usize,
    /// Whether log-probabilities of the answer are sent.
    pub includes_logprobs: bool,
    /// Whether a summary of the reasoning was asked for.
    pub summary: Option<String>,
    /// Whether the oldest turns may be left out.
    pub may_truncate: bool,
    /// When a summary takes the place of what was said before.
    pub compaction: Option<Threshold>,
    /// A call of an MCP server's tool that waited to be allowed and is now: it is run before the model goes
    /// on.
    pub approved: Option<ApprovedCall>,
    /// Whether the pages that a search found are told.
    pub includes_sources: bool,
    /// Whether what code printed is told.
    pub includes_outputs: bool,
    /// How many messages stand before the conversation.
    num_head: usize,
}

/// A call that waited, and may run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedCall {
    /// The id of the request that it waited by.
    pub request_id: String,
    /// The server that it calls.
    pub server_label: String,
    /// The tool's own name.
    pub name: String,
    /// The call.
    pub call: Call,
}

/// Tokens beyond which a conversation is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many.
    Tokens(usize),
    /// As the context has room for.
    Context,
}

impl ParsedResponsesRequest {
    /// The same, with a summary in the place of everything but the user's own messages.
    pub fn compacted(mut self, summary: &str) -> ParsedResponsesRequest {
        let mut history = History::default();
        history.extend(self.entries);
        history.compact(summary);
        self.entries = history.into_entries();
        let messages = &mut self.generation.conversation.messages;
        messages.truncate(self.num_head);
        messages.extend(self.entries.iter().map(|entry| entry.message.clone()));
        self
    }

    /// Adds to what the developer says, for this request alone.
    pub fn instruct(&mut self, note: &str) {
        let messages = &mut self.generation.conversation.messages;
        let mut said = messages[..self.num_head].iter_mut().flat_map(|message| &mut message.content);
        let found = said.find_map(|part| match part {
            Content::Developer(developer) => Some(developer),
            _ => None,
        });
        if let Some(developer) = found {
            let before = developer.instructions.take().map_or(String::new(), |text| text + "\n\n");
            developer.instructions = Some(before + note);
            return;
        }
        let developer = DeveloperContent::default().with_instructions(note);
        messages.insert(self.num_head, Message::developer(developer));
        self.num_head += 1;
    }
}

/// What the request asks; `has` is what the server runs.
///
/// Errors: by the name of the parameter.
pub fn parse(
    request: &ResponsesRequest,
    before: PriorTurns,
    has: &ServerTools,
    scope: &RequestScope<'_>,
) -> Result<ParsedResponsesRequest, ApiError> {
    refuse_impossible(request)?;
    metadata(request.metadata.as_ref())?;
    let mut warnings = Vec::new();
    let tools = request.tools.as_deref().unwrap_or_default();
    let tools = Tools::parse(tools, request.tool_choice.as_ref(), Some(has), scope.limits, &mut warnings)?;
    let (format, format_param, min_new_tokens) = form(request, scope, &mut warnings)?;
    let reasoning = request.reasoning.clone().unwrap_or_default();
    let effort = effort(reasoning.effort.as_deref(), "reasoning.effort", &mut warnings)?;
    let reasoning_budget = effort.budget(&budgets(request), scope.reasoning_max)?;
    let input_items = resolve(items(request.input.as_ref(), scope)?, &before.items, "input")?;
    if request.input.is_none() && before.entries.is_empty() && before.prompt.is_none() {
        return Err(ApiError::Missing { param: "input" });
    }
    let num_before = before.entries.len();
    let mut reader = Reader::new(scope, num_before).read(before.entries, &input_items, "input")?;
    let approved = reader.approved_call(&tools)?;
    let Reader { history, mut instructions, warnings: more, .. } = reader;
    warnings.extend(more);
    let mut all_instructions: Vec<String> = before.prompt.into_iter().collect();
    all_instructions.append(&mut self::instructions(request.instructions.as_ref())?);
    all_instructions.append(&mut instructions);
    let wish = request.text.as_ref().and_then(|text| text.verbosity.as_deref());
    all_instructions.extend(verbosity(wish)?);
    let entries = history.into_entries();
    let messages = reconcile(entries.clone(), scope.recall, &mut warnings);
    let head = Head {
        effort: effort.told,
        date: scope.date.map(str::to_owned),
        instructions: all_instructions,
        tools: &tools,
        format: &format,
    };
    let includes = |what: &str| request.include.iter().flatten().any(|asked| asked == what);
    let includes_logprobs = includes("message.output_text.logprobs");
    let num_messages = messages.len();
    let conversation = head.before(messages);
    let num_head = conversation.messages.len() - num_messages;
    let generation = GenerationRequest {
        conversation,
        format,
        format_param,
        sampling: sampling::sampling(request.into())?,
        max_new_tokens: sampling::max_tokens("max_output_tokens", request.max_output_tokens)?,
        min_new_tokens,
        stops: sampling::stops(request.stop.as_ref(), "stop")?,
        top_logprobs: sampling::top_logprobs(true, request.top_logprobs)?
            .filter(|&top| includes_logprobs || top > 0),
        visibility: visibility(request, scope.visibility)?,
        moderation: request.moderation.clone(),
        reasoning_budget,
        tenant: scope.tenant.to_owned(),
        is_background: scope.is_background,
        tools,
        warnings,
    };
    Ok(ParsedResponsesRequest {
        includes_logprobs: generation.top_logprobs.is_some(),
        generation,
        effort: effort.as_str(),
        input_items,
        entries,
        num_before,
        summary: summary(reasoning.summary.or(reasoning.generate_summary))?,
        may_truncate: truncation(request.truncation.as_deref())?,
        compaction: compaction(request.context_management.as_deref())?,
        approved,
        includes_sources: includes("web_search_call.action.sources"),
        includes_outputs: includes("code_interpreter_call.outputs"),
        num_head,
    })
}

/// What the answer must be, which parameter said so, and how long it is at least.
fn form(
    request: &ResponsesRequest,
    scope: &RequestScope<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Format, &'static str, usize), ApiError> {
    let mut asked = dialect::parse(&request.dialect, scope.limits)?;
    let format = request.text.as_ref().and_then(|text| text.format.as_ref());
    let format = Format::parse(format, "text.format", scope.limits)?;
    let (format, param) = asked.form_beside(format, "text.format")?;
    asked.turn_ends();
    warnings.append(&mut asked.warnings);
    if request.include.iter().flatten().any(|what| what == ENCRYPTED_REASONING) {
        warnings.push(format!("include: {ENCRYPTED_REASONING} is not kept: reasoning is sent as it is"));
    }
    Ok((format, param, asked.min_tokens))
}

fn visibility(request: &ResponsesRequest, most: Visibility) -> Result<Visibility, ApiError> {
    match request.include_reasoning {
        Some(false) => Ok(Visibility::Hidden),
        _ => most.narrowed(request.reasoning_visibility.as_deref()),
    }
}

/// What was said before, and the messages that `items` add to it.
///
/// Errors: by the item's place.
pub fn entries_of(
    items: &[Value],
    before: Vec<Entry>,
    scope: &RequestScope<'_>,
) -> Result<Vec<Entry>, ApiError> {
    Ok(Reader::new(scope, 1).read(before, items, "items")?.history.into_entries())
}

/// What is said in the items of a conversation that may have lost some; a result whose call is gone is left
/// out.
pub fn entries_left(items: &[Value], scope: &RequestScope<'_>) -> Vec<Entry> {
    let scope = RequestScope { recall: &|_| None, ..*scope };
    let mut reader = Reader::new(&scope, 1);
    for (index, item) in items.iter().enumerate() {
        // An item that cannot be read adds nothing.
        let _ = reader.item(item, &format!("items[{index}]"));
    }
    reader.history.into_entries()
}

fn refuse_impossible(request: &ResponsesRequest) -> Result<(), ApiError> {
    if request.max_tool_calls.is_some_and(|max| max < 1) {
        return Err(ApiError::invalid("max_tool_calls", "max_tool_calls must be at least 1"));
    }
    if request.previous_response_id.is_some() && request.conversation.as_ref().is_some_and(|c| !c.is_null()) {
        let message = "previous_response_id and conversation both say what came before; send one of them";
        return Err(ApiError::invalid("previous_response_id", message));
    }
    if request.background == Some(true) && request.store == Some(false) {
        let message = "background needs store: nobody could ask for the response otherwise";
        return Err(ApiError::invalid("background", message));
    }
    Ok(())
}

/// The names under which clients send a budget of reasoning.
fn budgets(request: &ResponsesRequest) -> [(&'static str, Option<i64>); 3] {
    let nested = request.reasoning.as_ref().and_then(|reasoning| reasoning.max_tokens);
    [
        ("max_reasoning_tokens", request.max_reasoning_tokens),
        ("reasoning.max_tokens", nested),
        ("thinking_token_budget", request.thinking_token_budget),
    ]
}

fn summary(wish: Option<String>) -> Result<Option<String>, ApiError> {
    match wish.as_deref() {
        None | Some("none") => Ok(None),
        Some("auto" | "concise" | "detailed") => Ok(wish),
        Some(other) => {
            let message = format!("reasoning.summary is {other:?}, but must be auto, concise or detailed");
            Err(ApiError::invalid("reasoning.summary", message))
        }
    }
}

fn truncation(wish: Option<&str>) -> Result<bool, ApiError> {
    match wish {
        None | Some("disabled") => Ok(false),
        Some("auto") => Ok(true),
        Some(other) => Err(ApiError::invalid(
            "truncation",
            format!("truncation is {other:?}, but must be auto or disabled"),
        )),
    }
}

/// When the conversation is shortened, by the one way there is.
fn compaction(wishes: Option<&[ContextManagement]>) -> Result<Option<Threshold>, ApiError> {
    let wish = match wishes {
        None | Some([]) => return Ok(None),
        Some([wish]) => wish,
        Some(_) => {
            return Err(ApiError::invalid("context_management", "context_management has at most one entry"));
        }
    };
    if wish.kind != "compaction" {
        let param = "context_management[0].type";
        return Err(ApiError::invalid(param, format!("{param} must be compaction")));
    }
    match wish.compact_threshold {
        None => Ok(Some(Threshold::Context)),
        Some(tokens) => match usize::try_from(tokens) {
            Ok(tokens) if tokens > 0 => Ok(Some(Threshold::Tokens(tokens))),
            _ => {
                let param = "context_management[0].compact_threshold";
                Err(ApiError::invalid(param, format!("{param} must be at least 1")))
            }
        },
    }
}

fn verbosity(wish: Option<&str>) -> Result<Option<String>, ApiError> {
    match wish {
        None | Some("medium") => Ok(None),
        Some("low") => Ok(Some("Keep the answer short.".to_owned())),
        Some("high") => Ok(Some("Answer in detail.".to_owned())),
        Some(other) => {
            let message = format!("text.verbosity is {other:?}, but must be low, medium or high");
            Err(ApiError::invalid("text.verbosity", message))
        }
    }
}

/// Instructions come as a text, or as a list of messages.
fn instructions(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(items)) => {
            let texts = items.iter().enumerate().map(|(index, item)| {
                let path = format!("instructions[{index}]");
                content_text(item.get("content"), &path)
            });
            texts.collect()
        }
        Some(_) => {
            Err(ApiError::invalid("instructions", "instructions must be a string or a list of messages"))
        }
    }
}

/// The items of an input, each with an id.
///
/// Errors: more than are taken, or something that is no object.
pub fn items(input: Option<&Input>, scope: &RequestScope<'_>) -> Result<Vec<Value>, ApiError> {
    let mut items = match input {
        None => Vec::new(),
        Some(Input::Text(text)) => vec![json!({
            "type": "message", "role": "user", "status": "completed",
            "content": [{"type": "input_text", "text": text}],
        })],
        Some(Input::Items(items)) => items.clone(),
    };
    if items.len() > scope.limits.messages_max {
        let message = format!(
            "there are {} input items, but at most {} are taken",
            items.len(),
            scope.limits.messages_max
        );
        return Err(ApiError::invalid("input", message));
    }
    for (index, item) in items.iter_mut().enumerate() {
        let Some(object) = item.as_object_mut() else {
            return Err(ApiError::invalid(
                format!("input[{index}]"),
                format!("input[{index}] must be an object"),
            ));
        };
        if !object.contains_key("type") && object.contains_key("role") {
            object.insert("type".into(), "message".into());
        }
        if object.get("id").and_then(Value::as_str).is_none_or(str::is_empty) {
            let prefix = match object.get("type").and_then(Value::as_str) {
                Some("message") => "msg",
                Some("reasoning") => "rs",
                Some("function_call") => "fc",
                Some("function_call_output") => "fco",
                Some("custom_tool_call") => "ctc",
                Some("custom_tool_call_output") => "ctco",
                Some(kind) => tool_items::prefix(kind).unwrap_or("item"),
                None => "item",
            };
            object.insert("id".into(), (scope.new_id)(prefix).into());
        }
        let is_assistants = object.get("role").and_then(Value::as_str) == Some("assistant");
        if let Some(Value::String(text)) = object.get("content") {
            let kind = if is_assistants { "output_text" } else { "input_text" };
            let part = json!([{"type": kind, "text": text}]);
            object.insert("content".into(), part);
        }
        complete(object);
    }
    Ok(items)
}

/// Puts in what clients' types ask for of a listed item, and need not be sent.
fn complete(item: &mut serde_json::Map<String, Value>) {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let has_status = matches!(
        kind,
        "message"
            | "function_call"
            | "function_call_output"
            | "custom_tool_call"
            | "custom_tool_call_output"
            | "shell_call"
            | "shell_call_output"
            | "local_shell_call"
    );
    if has_status && item.get("status").is_none_or(Value::is_null) {
        item.insert("status".into(), "completed".into());
    }
    for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(part) = part.as_object_mut()
            && part.get("type").and_then(Value::as_str) == Some("output_text")
        {
            for field in ["annotations", "logprobs"] {
                part.entry(field).or_insert_with(|| json!([]));
            }
        }
    }
}

/// The items with the stored items in the place of the references to them.
///
/// A reference is never stored, so it is followed once: a stored item that is a reference again, as versions
/// up to 0.1.0 wrote them, is refused.
///
/// Errors: `NotFound`, or `Invalid` by the item's place.
pub fn resolve(
    mut items: Vec<Value>,
    stored: &HashMap<String, Value>,
    param: &str,
) -> Result<Vec<Value>, ApiError> {
    for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| is_reference(item)) {
        let id = text(item, "id").unwrap_or_default();
        match stored.get(id) {
            Some(found) if is_reference(found) => {
                let message =
                    format!("the stored item {id:?} is itself a reference; send the item in its place");
                return Err(ApiError::invalid(format!("{param}[{index}].id"), message));
            }
            Some(found) => *item = found.clone(),
            None => return Err(ApiError::NotFound { what: "item", id: id.to_owned() }),
        }
    }
    Ok(items)
}

/// The ids of the stored items that `items` refer to.
pub fn references(items: &[Value]) -> impl Iterator<Item = &str> {
    items.iter().filter(|item| is_reference(item)).filter_map(|item| text(item, "id"))
}

fn is_reference(item: &Value) -> bool {
    text(item, "type") == Some(ITEM_REFERENCE)
}

/// Reads items into a history.
struct Reader<'a> {
    scope: &'a RequestScope<'a>,
    history: History,
    instructions: Vec<String>,
    /// Whether something other than instructions has been said.
    has_begun: bool,
    /// The request of the call that may run now.
    approved: Option<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(scope: &'a RequestScope<'a>, num_before: usize) -> Reader<'a> {
        Reader {
            scope,
            history: History::default(),
            instructions: Vec::new(),
            has_begun: num_before > 0,
            approved: None,
            warnings: Vec::new(),
        }
    }

    /// Reads what was said before, and the items that came in `param`.
    fn read(mut self, before: Vec<Entry>, items: &[Value], param: &str) -> Result<Self, ApiError> {
        self.history.extend(before);
        for (index, item) in items.iter().enumerate() {
            self.item(item, &format!("{param}[{index}]"))?;
        }
        Ok(self)
    }

    fn item(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let kind = text(item, "type").unwrap_or_default();
        if kind != "message" {
            self.has_begun = true;
        }
        match kind {
            "message" => self.message(item, path),
            "reasoning" => {
                self.reasoning(item);
                Ok(())
            }
            "function_call" | "custom_tool_call" => self.call(item, kind == "function_call", path),
            "function_call_output" | "custom_tool_call_output" => self.result(item, path),
            ITEM_REFERENCE => {
                Err(ApiError::NotFound { what: "item", id: text(item, "id").unwrap_or_default().to_owned() })
            }
            "compaction" => {
                let content = text(item, "encrypted_content").unwrap_or_default();
                match content.strip_prefix(COMPACTION_PREFIX) {
                    Some(summary) => self.history.compact(summary),
                    None => self.warnings.push(format!("{path}: a compaction of another server is left out")),
                }
                Ok(())
            }
            kind if tool_items::is_builtin(kind) => self.builtin(item, kind, path),
            other => {
                self.warnings
                    .push(format!("{path}: items of the type {other:?} mean nothing here; it is left out"));
                Ok(())
            }
        }
    }

    /// The call that may run now, which must be what was said last.
    fn approved_call(&mut self, tools: &Tools) -> Result<Option<ApprovedCall>, ApiError> {
        let Some(request_id) = self.approved.clone() else { return Ok(None) };
        let wrong = |problem: &str| {
            Err(ApiError::invalid("input", format!("the call that mcp_approval_response {problem}")))
        };
        let Some(message) = self.history.last_call(&request_id) else {
            return wrong("allows has to be the last word before it");
        };
        let recipient = message.recipient.clone().unwrap_or_default();
        // Whoever asks may have named the request's server `browser`: only calls of MCP servers are asked
        // for.
        let Some(HostedCall::Mcp(server, offered)) = tools.hosted.find(&recipient) else {
            return wrong("allows is not of a tool of this request: send its MCP server in tools");
        };
        let (server_label, name) = (server.label.clone(), offered.tool.name.clone());
        let (channel, arguments) = (message.channel.clone(), message.text());
        let call = Call { name: recipient.clone(), recipient, channel, arguments };
        Ok(Some(ApprovedCall { request_id, server_label, name, call }))
    }

    fn message(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let content = content_text(item.get("content"), path)?;
        if text(item, "role") == Some("user") && item.get("content").is_none_or(Value::is_null) {
            let param = format!("{path}.content");
            return Err(ApiError::invalid(&param, format!("{param} is missing")));
        }
        match text(item, "role").unwrap_or_default() {
            "system" | "developer" if !self.has_begun => self.instructions.push(content),
            "system" | "developer" => {
                let developer = DeveloperContent::default().with_instructions(content);
                self.history.push(Message::developer(developer));
            }
            "user" => {
                self.has_begun = true;
                self.history.push(Message::user(content));
            }
            "assistant" => {
                self.has_begun = true;
                let channel = if text(item, "phase") == Some("commentary") { "commentary" } else { "final" };
                if !content.is_empty() {
                    self.history.push(Message::assistant(channel, content));
                }
            }
            role => {
                let param = format!("{path}.role");
                let expected = "system, developer, user or assistant";
                return Err(ApiError::invalid(
                    &param,
                    format!("{param} is {role:?}, but must be {expected}"),
                ));
            }
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &Value) {
        let joined = |field: &str| {
            let parts = item.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let texts: Vec<&str> = parts.iter().filter_map(|part| text(part, "text")).collect();
            texts.join("\n\n")
        };
        let raw = joined("content");
        let reasoning = if raw.is_empty() { joined("summary") } else { raw };
        if !reasoning.is_empty() {
            self.history.push(Message::assistant("analysis", reasoning));
        }
    }

    fn call(&mut self, item: &Value, is_function: bool, path: &str) -> Result<(), ApiError> {
        let Some(name) = text(item, "name").filter(|name| !name.is_empty()) else {
            return Err(ApiError::invalid(format!("{path}.name"), format!("{path}.name is missing")));
        };
        let name = Tools::harmony_name(text(item, "namespace"), name);
        let argument = item.get(if is_function { "arguments" } else { "input" });
        let arguments = match argument {
            None | Some(Value::Null) if is_function => "{}".to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        self.history.say_before_call();
        self.history.push_call(text(item, "call_id"), &name, &arguments, is_function);
        Ok(())
    }

    fn result(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let output = match item.get("output") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(parts @ Value::Array(_)) => content_text(Some(parts), &format!("{path}.output"))?,
            Some(other) => other.to_string(),
        };
        let id = text(item, "call_id").unwrap_or_default();
        let param = format!("{path}.call_id");
        self.history.push_result(id, text(item, "name"), output, &param, self.scope.recall)
    }
}

impl History {
    /// What was said right before a call was said before it, and is no answer: clients drop the mark that
    /// tells.
    fn say_before_call(&mut self) {
        if let Some(message) = self.last_mut()
            && message.author.role == Role::Assistant
            && message.channel.as_deref() == Some("final")
        {
            message.channel = Some("commentary".to_owned());
        }
    }
}

/// The text of a message's content.
fn content_text(content: Option<&Value>, path: &str) -> Result<String, ApiError> {
    match content {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().enumerate().map(|(index, part)| {
                let path = format!("{path}.content[{index}]");
                if let Value::String(text) = part {
                    return Ok(text.clone());
                }
                let part: ContentPart = serde_json::from_value(part.clone())
                    .map_err(|_| ApiError::invalid(&path, format!("{path} must be a content part")))?;
                part_text(&part, &path)
            });
            Ok(texts.collect::<Result<Vec<_>, ApiError>>()?.concat())
        }
        Some(_) => {
            let param = format!("{path}.content");
            Err(ApiError::invalid(&param, format!("{param} must be a string or a list of parts")))
        }
    }
}
