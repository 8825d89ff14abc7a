//! A request as an upstream gets it.
//!
//! Where the upstream speaks the client's own API, the body passes as it came, but for the fields that are
//! this server's (taken out), the model's name, and what the operator says about keeping data. Of the
//! client's headers nothing passes but Anthropic's version and betas: keys and what belongs to one connection
//! are never copied.

use gptoss_api::ApiError;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::raw_object::RawObject;
use crate::translate;
use crate::upstream::{DataCollection, HostedTools, Kind, LengthField, Upstream};

/// Fields of this server's own dialect, which mean nothing elsewhere.
const OWN_FIELDS: [&str; 5] =
    ["cache_salt", "reasoning_visibility", "warnings", "max_reasoning_tokens", "moderation"];
/// Fields by which a Responses request needs what another server has stored.
const STORED_FIELDS: [&str; 3] = ["previous_response_id", "conversation", "prompt"];
/// Kinds of tools that the client runs.
const CLIENT_TOOLS: [&str; 8] = [
    "function",
    "custom",
    "namespace",
    "shell",
    "local_shell",
    "apply_patch",
    "computer",
    "computer_use_preview",
];
/// What Anthropic's kinds of tools begin with that the client runs.
const CLIENT_TOOL_FAMILIES: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];
/// The version of Anthropic's API that is asked for where the client asks for none.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Headers of a client's that pass to an upstream of Anthropic's.
const ANTHROPIC_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("anthropic-version"), HeaderName::from_static("anthropic-beta")];

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where.
    pub uri: String,
    /// With what.
    pub headers: HeaderMap,
    /// What.
    pub body: Bytes,
    /// The API that the upstream answers in.
    pub spoken: Dialect,
    /// Whether the client asked for a stream.
    pub is_stream: bool,
    /// Whether the client wants the usage in its stream.
    pub wants_usage: bool,
}

/// A client's request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The API it came in.
    pub dialect: Dialect,
    /// Its body.
    pub body: &'a RawObject,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// The request as the upstream gets it; `model` is the upstream's own name of the model.
///
/// Errors: what the upstream cannot do, by the parameter's name.
pub fn outgoing(upstream: &Upstream, asked: Asked<'_>, model: &str) -> Result<Outgoing, ApiError> {
    let Asked { dialect, body, headers } = asked;
    let Some(spoken) = upstream.spoken(dialect) else {
        let why = format!("the upstream {} does not speak {}", upstream.name, dialect.title());
        return Err(ApiError::unsupported("model", why));
    };
    let is_stream = body.read("stream")? == Some(Value::Bool(true));
    let options = body.read("stream_options")?;
    let wants_usage = options.as_ref().is_some_and(|options| options["include_usage"] == true);
    if body.read("moderation")?.is_some_and(|value| !value.is_null()) {
        // The room that judges has taken it out.
        let why = "of what goes to an upstream only Chat Completions and Responses are judged where they ask \
            for it, on a server with --guard";
        return Err(ApiError::unsupported("moderation", why));
    }
    let mut plain = body.clone();
    OWN_FIELDS.into_iter().for_each(|name| drop(plain.remove(name)));
    let bytes = match spoken == dialect {
        true => passed(upstream, plain, (dialect, is_stream), model)?,
        false => translated(upstream, Asked { body: &plain, ..asked }, spoken, model)?,
    };
    Ok(Outgoing {
        uri: uri(upstream, spoken, model),
        headers: request_headers(upstream, spoken == dialect, headers),
        body: bytes.into(),
        spoken,
        is_stream,
        wants_usage,
    })
}

/// A body in the upstream's own API.
fn passed(
    upstream: &Upstream,
    mut body: RawObject,
    (dialect, is_stream): (Dialect, bool),
    model: &str,
) -> Result<Vec<u8>, ApiError> {
    body.set("model", &json!(model));
    hosted_tools(upstream, &mut body)?;
    match dialect {
        Dialect::Chat => {
            efforts(&mut body)?;
            if let Some(field) = upstream.max_tokens_field {
                let other = match field {
                    LengthField::MaxTokens => LengthField::MaxCompletionTokens,
                    LengthField::MaxCompletionTokens => LengthField::MaxTokens,
                };
                if body.raw(field.name()).is_none() {
                    body.rename(other.name(), field.name());
                }
            }
        }
        Dialect::Responses => stored(upstream, &body)?,
        Dialect::Completions | Dialect::Messages => {}
    }
    if matches!(dialect, Dialect::Chat | Dialect::Completions) && is_stream && upstream.include_usage {
        let mut options = match body.read("stream_options")? {
            Some(Value::Object(options)) => options,
            _ => Map::new(),
        };
        options.insert("include_usage".to_owned(), json!(true));
        body.set("stream_options", &Value::Object(options));
    }
    if upstream.data_collection == DataCollection::Deny {
        match dialect {
            Dialect::Responses => body.set("store", &json!(false)),
            Dialect::Chat if body.raw("store").is_some() || upstream.knows_store() => {
                body.set("store", &json!(false));
            }
            _ => {}
        }
    }
    if upstream.is_openrouter() {
        // They name models that the operator has not named.
        ["models", "route", "preset"].into_iter().for_each(|field| drop(body.remove(field)));
    }
    if upstream.is_openrouter() && dialect != Dialect::Messages {
        let provider = body.read("provider")?;
        if let Some(provider) = openrouter(upstream, provider) {
            body.set("provider", &provider);
        }
    }
    Ok(body.bytes())
}

/// A body in another API than the client's: by way of Chat Completions, which all others can be put into.
fn translated(
    upstream: &Upstream,
    asked: Asked<'_>,
    spoken: Dialect,
    model: &str,
) -> Result<Vec<u8>, ApiError> {
    let Asked { dialect, body, .. } = asked;
    let mut plain = body.clone();
    if upstream.hosted_tools != HostedTools::Allow || dialect != Dialect::Chat {
        hosted_tools(upstream, &mut plain)?;
    }
    if dialect == Dialect::Chat {
        efforts(&mut plain)?;
    }
    let map = plain.to_map()?;
    let mut chat = match dialect {
        Dialect::Responses => {
            needs_nothing_stored(body)?;
            translate::responses_to_chat(&map, upstream.send_reasoning)?
        }
        Dialect::Messages => translate::messages_to_chat(&map, upstream.send_reasoning)?,
        Dialect::Chat | Dialect::Completions => map,
    };
    chat.insert("model".to_owned(), json!(model));
    // Answers in another API are always read as streams, so that there is one way to read them.
    chat.insert("stream".to_owned(), json!(true));
    if spoken == Dialect::Messages {
        let message = translate::chat_to_messages(&chat, upstream.thinking)?;
        return Ok(serde_json::to_vec(&message).unwrap_or_default());
    }
    if upstream.include_usage {
        chat.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    let default = match upstream.chat_only {
        true => LengthField::MaxTokens,
        false => LengthField::MaxCompletionTokens,
    };
    if let Some(length) = chat.remove(LengthField::MaxCompletionTokens.name()) {
        chat.insert(upstream.max_tokens_field.unwrap_or(default).name().to_owned(), length);
    }
    if upstream.data_collection == DataCollection::Deny && upstream.knows_store() {
        chat.insert("store".to_owned(), json!(false));
    }
    if upstream.is_openrouter()
        && let Some(provider) = openrouter(upstream, chat.get("provider").cloned())
    {
        chat.insert("provider".to_owned(), provider);
    }
    Ok(serde_json::to_vec(&chat).unwrap_or_default())
}

/// OpenRouter's own form of the effort is the only one that others do not know.
fn efforts(body: &mut RawObject) -> Result<(), ApiError> {
    let Some(Value::Object(reasoning)) = body.read("reasoning")? else { return Ok(()) };
    if let (1, Some(effort)) = (reasoning.len(), reasoning.get("effort")) {
        if body.raw("reasoning_effort").is_none() {
            body.set("reasoning_effort", effort);
        }
        body.remove("reasoning");
    }
    Ok(())
}

/// Refuses, drops or passes what would run at the upstream.
fn hosted_tools(upstream: &Upstream, body: &mut RawObject) -> Result<(), ApiError> {
    if upstream.hosted_tools == HostedTools::Allow {
        return Ok(());
    }
    let refuse = |field: String, kind: &str| {
        let why = format!(
            "tools of the kind {kind:?} would run at the upstream {}, and its operator does not allow that",
            upstream.name
        );
        Err(ApiError::unsupported(field, why))
    };
    if body.read("web_search_options")?.is_some_and(|value| !value.is_null()) {
        match upstream.hosted_tools {
            HostedTools::Drop => drop(body.remove("web_search_options")),
            _ => return refuse("web_search_options".to_owned(), "web_search"),
        }
    }
    let is_list = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    for (field, kind) in [("mcp_servers", "mcp"), ("plugins", "plugin")] {
        if body.read(field)?.as_ref().is_some_and(is_list) {
            match upstream.hosted_tools {
                HostedTools::Drop => drop(body.remove(field)),
                _ => return refuse(field.to_owned(), kind),
            }
        }
    }
    let Some(Value::Array(tools)) = body.read("tools")? else { return Ok(()) };
    let count = tools.len();
    let mut kept = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let kind = tool["type"].as_str().unwrap_or("function").to_owned();
        let is_clients = CLIENT_TOOLS.contains(&kind.as_str())
            || CLIENT_TOOL_FAMILIES.iter().any(|family| kind.starts_with(family));
        if is_clients {
            kept.push(tool);
        } else if upstream.hosted_tools == HostedTools::Refuse {
            return refuse(format!("tools[{index}]"), &kind);
        }
    }
    if kept.len() < count {
        match kept.is_empty() {
            true => {
                body.remove("tools");
                body.remove("tool_choice");
            }
            false => body.set("tools", &Value::Array(kept)),
        }
    }
    Ok(())
}

/// A Responses request that goes on from what an upstream has stored.
fn stored(upstream: &Upstream, body: &RawObject) -> Result<(), ApiError> {
    match upstream.data_collection {
        DataCollection::Allow => Ok(()),
        DataCollection::Deny => needs_nothing_stored(body),
    }
}

fn needs_nothing_stored(body: &RawObject) -> Result<(), ApiError> {
    for name in STORED_FIELDS {
        if body.read(name)?.is_some_and(|value| !value.is_null()) {
            let why = "nothing is stored for models of an upstream: send the whole conversation";
            return Err(ApiError::unsupported(name, why));
        }
    }
    match body.read("background")? {
        Some(Value::Bool(true)) => {
            let why = "models of an upstream do not run in the background";
            Err(ApiError::unsupported("background", why))
        }
        _ => Ok(()),
    }
}

/// OpenRouter's field for who may keep what, over what the request says of it.
fn openrouter(upstream: &Upstream, provider: Option<Value>) -> Option<Value> {
    let denies = upstream.data_collection == DataCollection::Deny;
    if !denies && !upstream.zdr {
        return None;
    }
    let mut provider = match provider {
        Some(Value::Object(provider)) => provider,
        _ => Map::new(),
    };
    if denies {
        provider.insert("data_collection".to_owned(), json!("deny"));
    }
    if upstream.zdr {
        provider.insert("zdr".to_owned(), json!(true));
    }
    Some(Value::Object(provider))
}

fn uri(upstream: &Upstream, spoken: Dialect, model: &str) -> String {
    let (base, path) = (&upstream.base_url, spoken.path());
    match &upstream.api_version {
        Some(version) => {
            let model: String = url::form_urlencoded::byte_serialize(model.as_bytes()).collect();
            let base = base.strip_suffix("/openai").unwrap_or(base);
            format!("{base}/openai/deployments/{model}{path}?api-version={version}")
        }
        None => format!("{base}{path}"),
    }
}

fn request_headers(upstream: &Upstream, is_passed: bool, theirs: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("gptoss/", env!("CARGO_PKG_VERSION"))));
    if upstream.kind == Kind::Anthropic {
        let [version, _] = &ANTHROPIC_HEADERS;
        headers.insert(version, HeaderValue::from_static(ANTHROPIC_VERSION));
        for name in ANTHROPIC_HEADERS.iter().filter(|_| is_passed) {
            if let Some(value) = theirs.get(name) {
                headers.insert(name, value.clone());
            }
        }
    }
    for (name, value) in &upstream.headers {
        headers.insert(name, value.clone());
    }
    let Some(secret) = &upstream.secret else { return headers };
    let (name, value) = match upstream.kind {
        Kind::Openai => (AUTHORIZATION, secret.header("Bearer ")),
        Kind::Azure => (HeaderName::from_static("api-key"), secret.header("")),
        Kind::Anthropic => (HeaderName::from_static("x-api-key"), secret.header("")),
    };
    if let Some(value) = value {
        headers.insert(name, value);
    }
    headers
}

#[cfg(test)]
mod tests;
