//! A body of Ollama's as a body of Chat Completions, or of Completions where the prompt goes in as it is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::wire::chat::{ChatContent, ChatMessage, ChatRequest, FunctionIn, ToolCallIn};
use crate::wire::completions::{CompletionRequest, Prompt};
use crate::wire::ollama::{
    OllamaCall, OllamaChatRequest, OllamaGenerateRequest, OllamaMessage, OllamaOptions,
};

/// What a body of `/api/generate` asks.
#[derive(Debug, Clone)]
pub enum Generate {
    /// Nothing: by this clients load a model.
    Load,
    /// An answer.
    Answer(Box<ChatRequest>),
    /// The text that follows.
    Text(Box<CompletionRequest>),
}

/// How long a model stays after its last use, as a request wishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; not at all is a wish too.
    For(Duration),
    /// Until its room is needed.
    Always,
}

/// What `keep_alive` says: seconds, or a duration such as `5m` or `1h30m`; what is negative is for ever.
///
/// Errors: it is something else.
pub fn keep_alive(value: Option<&Value>) -> Result<Option<KeepAlive>, ApiError> {
    let wrong = || {
        let message = "keep_alive must be a number of seconds, or a duration such as \"5m\" or \"1h30m\"";
        ApiError::invalid("keep_alive", message)
    };
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => duration(text.trim()).ok_or_else(wrong)?,
        Some(value) => value.as_f64().ok_or_else(wrong)?,
    };
    // What is beyond every clock is for ever too.
    let time = Duration::try_from_secs_f64(seconds);
    Ok(Some(time.map_or(KeepAlive::Always, KeepAlive::For)))
}

/// A duration in the words of Go, or a bare number of seconds. Units: seconds.
fn duration(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let units =
            [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let unit = units.iter().find(|(unit, _)| rest[digits..].starts_with(unit));
        let (unit, factor) = unit?;
        seconds += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    Some(sign * seconds)
}

/// What a body of `/api/chat` asks.
///
/// Errors: by name, what this model cannot do or no value can be.
pub fn chat(request: OllamaChatRequest) -> Result<ChatRequest, ApiError> {
    let OllamaChatRequest { model, messages, tools, format, options, think, logprobs, top_logprobs, .. } =
        request;
    let messages = messages.into_iter().enumerate().map(|(index, message)| chat_message(index, message));
    let messages = messages.collect::<Result<_, _>>()?;
    let chat = ChatRequest { model, messages, tools, logprobs, top_logprobs, ..ChatRequest::default() };
    with(chat, format, options.unwrap_or_default(), think)
}

/// What a body of `/api/generate` asks.
///
/// Errors: by name, what this model cannot do or no value can be.
pub fn generate(request: OllamaGenerateRequest) -> Result<Generate, ApiError> {
    refuse_images(request.images.as_ref(), "images")?;
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if is_said(&request.suffix) {
        return Err(ApiError::unsupported("suffix", "This model does not fill gaps."));
    }
    if is_said(&request.template) {
        let why = "The model has its own format; with 'raw' a prompt goes to it as it is.";
        return Err(ApiError::unsupported("template", why));
    }
    if request.context.as_ref().is_some_and(|tokens| !tokens.is_empty()) {
        return Err(ApiError::unsupported("context", "Send the conversation to /api/chat."));
    }
    let Some(prompt) = request.prompt.filter(|prompt| !prompt.is_empty()) else { return Ok(Generate::Load) };
    let options = request.options.unwrap_or_default();
    if request.raw == Some(true) {
        if request.format.as_ref().is_some_and(|format| !matches!(format, Value::Null | Value::String(_))) {
            return Err(ApiError::unsupported("format", "A raw text has no form."));
        }
        if request.logprobs == Some(true) {
            return Err(ApiError::unsupported("logprobs", "For a raw text /v1/completions tells them."));
        }
        return Ok(Generate::Text(Box::new(text(request.model, prompt, options))));
    }
    let message = |role: &str, text: String| ChatMessage {
        role: role.to_owned(),
        content: Some(ChatContent::Text(text)),
        ..ChatMessage::default()
    };
    let system = request.system.map(|system| message("system", system));
    let messages = system.into_iter().chain([message("user", prompt)]).collect();
    let (logprobs, top_logprobs) = (request.logprobs, request.top_logprobs);
    let chat =
        ChatRequest { model: request.model, messages, logprobs, top_logprobs, ..ChatRequest::default() };
    Ok(Generate::Answer(Box::new(with(chat, request.format, options, request.think)?)))
}

/// What is known of the options and not kept, by name; `max_context` are the tokens of a conversation.
pub fn unkept(options: Option<&OllamaOptions>, max_context: usize) -> Vec<String> {
    let Some(options) = options else { return Vec::new() };
    let mut warnings = Vec::new();
    if options.num_ctx.is_some_and(|tokens| usize::try_from(tokens).is_ok_and(|tokens| tokens > max_context))
    {
        warnings.push(format!("num_ctx is not kept: the context has {max_context} tokens"));
    }
    // Each with the number that stands for "off", or for Ollama's default.
    let fields = [
        ("repeat_last_n", &options.repeat_last_n, 64.0),
        ("typical_p", &options.typical_p, 1.0),
        ("tfs_z", &options.tfs_z, 1.0),
        ("mirostat", &options.mirostat, 0.0),
        ("penalize_newline", &options.penalize_newline, 0.0),
    ];
    let says = |value: &Value, off: f64| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(off),
        _ => true,
    };
    let said =
        fields.into_iter().filter(|(_, value, off)| value.as_ref().is_some_and(|value| says(value, *off)));
    warnings.extend(said.map(|(name, ..)| format!("{name} is not kept: this server does not have it")));
    warnings
}

fn refuse_images(images: Option<&Vec<Value>>, param: &str) -> Result<(), ApiError> {
    match images.is_some_and(|images| !images.is_empty()) {
        true => Err(ApiError::unsupported(param, "This model reads text only.")),
        false => Ok(()),
    }
}

/// Calls here have no ids: a result belongs to the call of the same tool that came last before it.
fn chat_message(index: usize, message: OllamaMessage) -> Result<ChatMessage, ApiError> {
    refuse_images(message.images.as_ref(), &format!("messages[{index}].images"))?;
    let calls = message.tool_calls.map(|calls| {
        let call = |(number, call): (usize, OllamaCall)| ToolCallIn {
            id: call.id.or_else(|| Some(format!("ollama_{index}_{number}"))),
            function: Some(FunctionIn { name: call.function.name, arguments: Some(call.function.arguments) }),
            custom: None,
        };
        calls.into_iter().enumerate().map(call).collect()
    });
    Ok(ChatMessage {
        role: message.role,
        content: Some(ChatContent::Text(message.content)),
        name: message.tool_name,
        tool_calls: calls,
        tool_call_id: message.tool_call_id,
        reasoning_content: message.thinking,
        ..ChatMessage::default()
    })
}

fn with(
    mut chat: ChatRequest,
    format: Option<Value>,
    options: OllamaOptions,
    think: Option<Value>,
) -> Result<ChatRequest, ApiError> {
    chat.response_format = match format {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) if word.is_empty() => None,
        Some(Value::String(word)) if word == "json" => Some(json!({"type": "json_object"})),
        Some(schema @ Value::Object(_)) => {
            Some(json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}))
        }
        Some(_) => return Err(ApiError::invalid("format", "format must be \"json\" or a JSON Schema")),
    };
    match think {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            chat.include_reasoning = Some(false);
            chat.max_reasoning_tokens = Some(0);
        }
        Some(Value::String(effort)) => chat.reasoning_effort = Some(effort),
        Some(_) => {
            return Err(ApiError::invalid("think", "think must be true, false, low, medium or high"));
        }
    }
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
    chat.stop = options.stop;
    Ok(chat)
}

/// The text that follows a prompt.
fn text(model: Option<String>, prompt: String, options: OllamaOptions) -> CompletionRequest {
    CompletionRequest {
        model,
        prompt: Some(Prompt::Text(prompt)),
        max_tokens: Some(options.num_predict.filter(|&count| count > 0).unwrap_or(i64::MAX)),
        temperature: options.temperature,
        top_p: options.top_p,
        top_k: options.top_k,
        min_p: options.min_p,
        seed: options.seed,
        presence_penalty: options.presence_penalty,
        frequency_penalty: options.frequency_penalty,
        repetition_penalty: options.repeat_penalty,
        stop: options.stop,
        ..CompletionRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_their_other_names() {
        let options =
            OllamaOptions { num_predict: Some(-1), repeat_penalty: Some(1.1), ..OllamaOptions::default() };
        let chat = with(ChatRequest::default(), Some(json!("json")), options, Some(json!(false))).unwrap();
        assert_eq!((chat.max_tokens, chat.repetition_penalty), (None, Some(1.1)));
        assert_eq!((chat.include_reasoning, chat.max_reasoning_tokens), (Some(false), Some(0)));
        assert_eq!(chat.response_format, Some(json!({"type": "json_object"})));
    }

    #[test]
    fn how_long_a_model_is_kept() {
        let check = |value: Value, expect: Option<KeepAlive>| {
            assert_eq!(keep_alive(Some(&value)).ok().flatten(), expect, "{value}");
        };
        let seconds = |seconds: f64| Some(KeepAlive::For(Duration::from_secs_f64(seconds)));
        check(Value::Null, None);
        check(json!(0), seconds(0.0));
        check(json!(90.5), seconds(90.5));
        check(json!("30"), seconds(30.0));
        check(json!("5m"), seconds(300.0));
        check(json!("1h30m"), seconds(5400.0));
        check(json!("1.5s250ms"), seconds(1.75));
        for forever in [json!(-1), json!("-1m"), json!("-1"), json!(1e300)] {
            check(forever, Some(KeepAlive::Always));
        }
        for wrong in [
            json!(""),
            json!("-"),
            json!("m"),
            json!("5 minutes"),
            json!("5x"),
            json!("inf"),
            json!(true),
            json!([1]),
        ] {
            assert_eq!(keep_alive(Some(&wrong)).unwrap_err().row().status, 400, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_kept_is_told() {
        let options = serde_json::from_value(json!({
            "num_ctx": 5000, "mirostat": 1, "typical_p": 1, "num_gpu": 1, "repeat_last_n": 64, "stop": "x",
        }))
        .unwrap();
        let names = |max_context| {
            let warnings = unkept(Some(&options), max_context);
            warnings
                .iter()
                .filter_map(|warning| warning.split(' ').next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(4096), ["num_ctx", "mirostat"]);
        assert_eq!(names(8192), ["mirostat"]);
    }
}
