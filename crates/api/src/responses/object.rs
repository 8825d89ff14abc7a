//! The object that answers a request to the Responses API, as it is before the first token.

use serde_json::{Value, json};

use super::parse::ParsedResponsesRequest;
use crate::errors::ApiError;
use crate::wire::responses::{
    ConversationId, ReasoningSettings, ResponseObject, ResponsesRequest, TextSettings,
};

/// What the request itself does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// The model that answers.
    pub model: String,
    /// As honored.
    pub temperature: f32,
    /// As honored.
    pub top_p: f32,
    /// As honored.
    pub presence_penalty: f32,
    /// As honored.
    pub frequency_penalty: f32,
}

/// The id of the conversation that a request goes on with.
///
/// Errors: neither an id nor an object with one.
pub fn conversation_id(value: Option<&Value>) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(value) => match value.get("id").and_then(Value::as_str) {
            Some(id) => Ok(Some(id.to_owned())),
            None => {
                Err(ApiError::invalid("conversation", "conversation must be an id or an object with one"))
            }
        },
    }
}

/// The object with everything that is known before the first token.
///
/// Errors: a conversation that is not named by an id.
pub fn object(
    request: &ResponsesRequest,
    parsed: &ParsedResponsesRequest,
    facts: Facts,
) -> Result<ResponseObject, ApiError> {
    let Facts { id, created_at, model, temperature, top_p, presence_penalty, frequency_penalty } = facts;
    let text = request.text.clone().unwrap_or_default();
    let tools = request.tools.clone().unwrap_or_default().into_iter().map(with_all_fields).collect();
    let conversation = conversation_id(request.conversation.as_ref())?.map(|id| ConversationId { id });
    Ok(ResponseObject {
        id,
        object: "response".to_owned(),
        created_at,
        completed_at: None,
        status: "in_progress".to_owned(),
        background: request.background.unwrap_or(false),
        error: None,
        incomplete_details: None,
        instructions: request.instructions.clone().filter(|value| !value.is_null()),
        max_output_tokens: request.max_output_tokens,
        max_tool_calls: request.max_tool_calls,
        model,
        output: Vec::new(),
        parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
        previous_response_id: request.previous_response_id.clone(),
        conversation,
        prompt: request.prompt.clone(),
        prompt_cache_key: request.prompt_cache_key.clone(),
        reasoning: ReasoningSettings { effort: parsed.effort.to_owned(), summary: parsed.summary.clone() },
        safety_identifier: request.safety_identifier.clone(),
        service_tier: "default".to_owned(),
        store: request.store.unwrap_or(true),
        temperature: plain(temperature),
        text: TextSettings {
            format: text.format.filter(|format| !format.is_null()).unwrap_or_else(|| json!({"type": "text"})),
            verbosity: text.verbosity,
        },
        tool_choice: request
            .tool_choice
            .clone()
            .filter(|choice| !choice.is_null())
            .unwrap_or_else(|| json!("auto")),
        tools,
        top_logprobs: request.top_logprobs.unwrap_or(0),
        top_p: plain(top_p),
        presence_penalty: plain(presence_penalty),
        frequency_penalty: plain(frequency_penalty),
        truncation: if parsed.may_truncate { "auto" } else { "disabled" }.to_owned(),
        usage: None,
        user: request.user.clone(),
        metadata: request.metadata.clone().unwrap_or_default(),
        warnings: parsed.generation.warnings.clone(),
        moderation: None,
    })
}

/// A number as it was written: 0.7 and not what the nearest `f32` is as an `f64`.
fn plain(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// A tool with the fields that clients' types ask for, and without what opens a door elsewhere.
fn with_all_fields(mut tool: Value) -> Value {
    if let Some(object) = tool.as_object_mut() {
        object.remove("authorization");
        for value in object.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten() {
            *value.1 = json!("<redacted>");
        }
    }
    if let Some(object) = tool.as_object_mut()
        && object.get("type").is_none_or(|kind| kind == "function")
    {
        object.entry("type").or_insert_with(|| json!("function"));
        for field in ["description", "parameters", "strict"] {
            object.entry(field).or_insert(Value::Null);
        }
    }
    tool
}
