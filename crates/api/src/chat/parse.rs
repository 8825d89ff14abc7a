//! A body of Chat Completions, read.
//!
//! [`parse()`] turns the body into a [`GenerationRequest`]. System and developer messages at the head of the
//! chat are the developer's instructions; later ones stay where they are. An assistant's text beside calls is
//! what it said before calling (harmony's commentary), otherwise it is its answer. What a text model cannot
//! honour is refused by its name; what means nothing here is passed over.

use gptoss_harmony::{DeveloperContent, Message};
use serde_json::Value;

use crate::errors::ApiError;
use crate::generation::content::part_text;
use crate::generation::dialect;
use crate::generation::effort::effort;
use crate::generation::fields::text;
use crate::generation::format::Format;
use crate::generation::metadata::metadata;
use crate::generation::request::{GenerationRequest, Head};
use crate::generation::sampling;
use crate::generation::tools::Tools;
use crate::generation::visibility::Visibility;
use crate::history::{History, reconcile};
use crate::scope::RequestScope;
use crate::wire::chat::{ChatContent, ChatMessage, ChatRequest, FunctionIn};

use super::functions;

/// What the request asks.
///
/// Errors: by the name of the parameter.
pub fn parse(request: &ChatRequest, scope: &RequestScope<'_>) -> Result<GenerationRequest, ApiError> {
    let limits = scope.limits;
    refuse_impossible(request)?;
    metadata(request.metadata.as_ref())?;
    limits.check_messages(request.messages.len())?;
    let mut warnings = Vec::new();
    let tools = match functions::offered(request, limits)? {
        Some(functions) => functions,
        None => {
            let tools = request.tools.as_deref().unwrap_or_default();
            Tools::parse(tools, request.tool_choice.as_ref(), None, limits, &mut warnings)?
        }
    };
    let mut asked = dialect::parse(&request.dialect, limits)?;
    let format = Format::parse(request.response_format.as_ref(), "response_format", limits)?;
    let (format, format_param) = asked.form_beside(format, "response_format")?;
    asked.turn_ends();
    warnings.append(&mut asked.warnings);
    let (instructions, entries) = messages(&request.messages, scope)?;
    let effort = effort(effort_word(request), "reasoning_effort", &mut warnings)?;
    let reasoning_budget = effort.budget(&budgets(request), scope.reasoning_max)?;
    let effort = effort.told;
    let head =
        Head { effort, date: scope.date.map(str::to_owned), instructions, tools: &tools, format: &format };
    let conversation = head.before(reconcile(entries.into_entries(), scope.recall, &mut warnings));
    Ok(GenerationRequest {
        conversation,
        format,
        format_param,
        sampling: sampling::sampling(request.into())?,
        max_new_tokens: match request.max_completion_tokens {
            Some(_) => sampling::max_tokens("max_completion_tokens", request.max_completion_tokens)?,
            None => sampling::max_tokens("max_tokens", request.max_tokens)?,
        },
        min_new_tokens: asked.min_tokens,
        stops: sampling::stops(request.stop.as_ref(), "stop")?,
        top_logprobs: sampling::top_logprobs(request.logprobs.unwrap_or(false), request.top_logprobs)?,
        visibility: visibility(request, scope.visibility)?,
        moderation: request.moderation.clone(),
        reasoning_budget,
        tenant: scope.tenant.to_owned(),
        is_background: scope.is_background,
        tools,
        warnings,
    })
}

fn refuse_impossible(request: &ChatRequest) -> Result<(), ApiError> {
    let is_given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    if request.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return Err(ApiError::unsupported("modalities", "This model writes text only."));
    }
    if is_given(&request.audio) {
        return Err(ApiError::unsupported("audio", "This model writes text only."));
    }
    if is_given(&request.web_search_options) {
        return Err(ApiError::unsupported("web_search_options", "This server does not search the web."));
    }
    Ok(())
}

fn effort_word(request: &ChatRequest) -> Option<&str> {
    let template = request.chat_template_kwargs.as_ref();
    request
        .reasoning_effort
        .as_deref()
        .or_else(|| request.reasoning.as_ref()?.effort.as_deref())
        .or_else(|| template.and_then(|options| text(options, "reasoning_effort")))
}

/// The names under which clients send a budget of reasoning.
fn budgets(request: &ChatRequest) -> [(&'static str, Option<i64>); 3] {
    let nested = request.reasoning.as_ref().and_then(|reasoning| reasoning.max_tokens);
    [
        ("max_reasoning_tokens", request.max_reasoning_tokens),
        ("reasoning.max_tokens", nested),
        ("thinking_token_budget", request.thinking_token_budget),
    ]
}

fn visibility(request: &ChatRequest, most: Visibility) -> Result<Visibility, ApiError> {
    let is_excluded = request.reasoning.as_ref().is_some_and(|reasoning| reasoning.exclude == Some(true));
    if request.include_reasoning == Some(false) || is_excluded {
        return Ok(Visibility::Hidden);
    }
    most.narrowed(request.reasoning_visibility.as_deref())
}

/// The instructions at the head of the chat, and the messages after it.
fn messages(messages: &[ChatMessage], scope: &RequestScope<'_>) -> Result<(Vec<String>, History), ApiError> {
    let is_instruction = |message: &ChatMessage| matches!(message.role.as_str(), "system" | "developer");
    let num_instructions = messages.iter().take_while(|message| is_instruction(message)).count();
    let mut instructions = Vec::new();
    let mut history = History::default();
    for (index, message) in messages.iter().enumerate() {
        let path = format!("messages[{index}]");
        let content = content(message.content.as_ref(), &path)?;
        match message.role.as_str() {
            "system" | "developer" if index < num_instructions => instructions.push(content),
            "system" | "developer" => {
                let developer = DeveloperContent::default().with_instructions(content);
                history.push(Message::developer(developer));
            }
            "user" if message.content.is_none() => {
                let param = format!("{path}.content");
                return Err(ApiError::invalid(&param, format!("{param} is missing")));
            }
            "user" => history.push(Message::user(content)),
            "assistant" => assistant(message, content, &path, &mut history)?,
            "function" if message.tool_call_id.is_none() && message.name.is_none() => {
                let param = format!("{path}.name");
                return Err(ApiError::invalid(&param, format!("{param} is missing: which function is it?")));
            }
            "tool" | "function" => {
                let id = message.tool_call_id.as_deref().unwrap_or_default();
                let param = format!("{path}.tool_call_id");
                history.push_result(id, message.name.as_deref(), content, &param, scope.recall)?;
            }
            role => {
                let expected = "system, developer, user, assistant, tool or function";
                let message = format!("{path}.role is {role:?}, but must be {expected}");
                return Err(ApiError::invalid(format!("{path}.role"), message));
            }
        }
    }
    Ok((instructions, history))
}

fn assistant(
    message: &ChatMessage,
    content: String,
    path: &str,
    history: &mut History,
) -> Result<(), ApiError> {
    let reasoning =
        message.reasoning.as_ref().and_then(Value::as_str).or(message.reasoning_content.as_deref());
    if let Some(reasoning) = reasoning.filter(|text| !text.is_empty()) {
        history.push(Message::assistant("analysis", reasoning));
    }
    let calls = message.tool_calls.as_deref().unwrap_or_default();
    let said = if content.is_empty() { message.refusal.clone().unwrap_or_default() } else { content };
    if !said.is_empty() {
        let is_answer = calls.is_empty() && message.function_call.is_none();
        history.push(Message::assistant(if is_answer { "final" } else { "commentary" }, said));
    }
    if let Some(function) = &message.function_call {
        history.push_call(None, &function.name, &arguments(function), true);
    }
    for (index, call) in calls.iter().enumerate() {
        let id = call.id.as_deref();
        match (&call.function, &call.custom) {
            (Some(function), _) => history.push_call(id, &function.name, &arguments(function), true),
            (None, Some(custom)) => {
                history.push_call(id, &custom.name, custom.input.as_deref().unwrap_or_default(), false);
            }
            (None, None) => {
                let param = format!("{path}.tool_calls[{index}].function");
                return Err(ApiError::invalid(&param, format!("{param} is missing")));
            }
        }
    }
    Ok(())
}

/// The arguments of a call as the model wrote them.
fn arguments(function: &FunctionIn) -> String {
    match &function.arguments {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(object) => object.to_string(),
    }
}

/// The text of a message.
///
/// Errors: a part that is no text.
fn content(content: Option<&ChatContent>, path: &str) -> Result<String, ApiError> {
    match content {
        None => Ok(String::new()),
        Some(ChatContent::Text(text)) => Ok(text.clone()),
        Some(ChatContent::Part(part)) => part_text(part, &format!("{path}.content")),
        Some(ChatContent::Parts(parts)) => {
            let texts = parts.iter().enumerate();
            let texts = texts.map(|(index, part)| part_text(part, &format!("{path}.content[{index}]")));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
        }
    }
}
