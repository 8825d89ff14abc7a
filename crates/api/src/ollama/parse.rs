//! A body of Ollama's as a body of Chat Completions.

use serde_json::{Value, json};

use crate::wire::chat::{ChatContent, ChatMessage, ChatRequest, FunctionIn, Stops, ToolCallIn};
use crate::wire::ollama::{
    OllamaCall, OllamaChatRequest, OllamaGenerateRequest, OllamaMessage, OllamaOptions,
};

/// What a body of `/api/chat` asks.
pub fn chat(request: OllamaChatRequest) -> ChatRequest {
    let OllamaChatRequest { model, messages, tools, format, options, think, .. } = request;
    let messages =
        messages.into_iter().enumerate().map(|(index, message)| chat_message(index, message)).collect();
    with(ChatRequest { model, messages, tools, ..ChatRequest::default() }, format, options, think)
}

/// What a body of `/api/generate` asks; None when it has no prompt, by which clients load a model.
pub fn generate(request: OllamaGenerateRequest) -> Option<ChatRequest> {
    let prompt = request.prompt.filter(|prompt| !prompt.is_empty())?;
    let message = |role: &str, text: String| ChatMessage {
        role: role.to_owned(),
        content: Some(ChatContent::Text(text)),
        ..ChatMessage::default()
    };
    let system = request.system.map(|system| message("system", system));
    let messages = system.into_iter().chain([message("user", prompt)]).collect();
    let chat = ChatRequest { model: request.model, messages, ..ChatRequest::default() };
    Some(with(chat, request.format, request.options, request.think))
}

/// Calls here have no ids: a result belongs to the call of the same tool that came last before it.
fn chat_message(index: usize, message: OllamaMessage) -> ChatMessage {
    let calls = message.tool_calls.map(|calls| {
        let call = |(number, call): (usize, OllamaCall)| ToolCallIn {
            id: call.id.or_else(|| Some(format!("ollama_{index}_{number}"))),
            function: Some(FunctionIn { name: call.function.name, arguments: Some(call.function.arguments) }),
            custom: None,
        };
        calls.into_iter().enumerate().map(call).collect()
    });
    ChatMessage {
        role: message.role,
        content: Some(ChatContent::Text(message.content)),
        name: message.tool_name,
        tool_calls: calls,
        tool_call_id: message.tool_call_id,
        reasoning_content: message.thinking,
        ..ChatMessage::default()
    }
}

fn with(
    mut chat: ChatRequest,
    format: Option<Value>,
    options: Option<OllamaOptions>,
    think: Option<Value>,
) -> ChatRequest {
    chat.response_format = match format {
        Some(Value::String(word)) if word == "json" => Some(json!({"type": "json_object"})),
        Some(schema @ Value::Object(_)) => {
            Some(json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}))
        }
        _ => None,
    };
    match think {
        Some(Value::Bool(false)) => chat.include_reasoning = Some(false),
        Some(Value::String(effort)) => chat.reasoning_effort = Some(effort),
        _ => {}
    }
    let options = options.unwrap_or_default();
    chat.temperature = options.temperature;
    chat.top_p = options.top_p;
    chat.top_k = options.top_k;
    chat.min_p = options.min_p;
    chat.seed = options.seed;
    chat.presence_penalty = options.presence_penalty;
    chat.frequency_penalty = options.frequency_penalty;
    chat.repetition_penalty = options.repeat_penalty;
    // -1 and -2 are Ollama's words for "as many as there is room for".
    chat.max_tokens = options.num_predict.filter(|&count| count > 0);
    chat.stop = options.stop.map(Stops::Several);
    chat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_their_other_names() {
        let options =
            OllamaOptions { num_predict: Some(-1), repeat_penalty: Some(1.1), ..OllamaOptions::default() };
        let chat = with(ChatRequest::default(), Some(json!("json")), Some(options), Some(json!(false)));
        assert_eq!((chat.max_tokens, chat.repetition_penalty), (None, Some(1.1)));
        assert_eq!(chat.include_reasoning, Some(false));
        assert_eq!(chat.response_format, Some(json!({"type": "json_object"})));
    }
}
