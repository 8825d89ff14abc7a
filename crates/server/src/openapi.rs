//! What does the API look like, to a program and to a person?
//!
//! [`document`] is an OpenAPI 3.1 description made from the wire types and one table of operations, so that
//! it cannot speak of fields that are not read or written; [`page`] shows it without loading anything from
//! elsewhere. A test holds the table against the router.
//!
//! It does not know what an operation does.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use gptoss_api::errors::{ErrorBody, STATUSES};
use gptoss_api::messages::errors::OVERLOADED;
use gptoss_api::wire::batches::{Batch, BatchList, BatchRequest};
use gptoss_api::wire::chat::{ChatChunk, ChatCompletion, ChatRequest};
use gptoss_api::wire::completions::{Completion, CompletionRequest};
use gptoss_api::wire::containers::{ContainerFile, ContainerFileRequest, ContainerObject, ContainerRequest};
use gptoss_api::wire::files::{FileList, FileObject, FileUpload};
use gptoss_api::wire::fine_tuning::{
    TuningCheckpointList, TuningEventList, TuningJob, TuningJobList, TuningRequest,
};
use gptoss_api::wire::loads::Loads;
use gptoss_api::wire::lora::{LoadLoraAdapter, UnloadLoraAdapter};
use gptoss_api::wire::message_events::{MessageEvent, MessageObject, MessagesErrorBody, TokenCount};
use gptoss_api::wire::messages::MessagesRequest;
use gptoss_api::wire::models::{AnyModel, AnyModelList};
use gptoss_api::wire::moderations::{Moderations, ModerationsRequest};
use gptoss_api::wire::ollama::{
    OllamaChatRequest, OllamaError, OllamaGenerateRequest, OllamaLine, OllamaName,
};
use gptoss_api::wire::organization::BucketPage;
use gptoss_api::wire::organization::audit_logs::AuditLogList;
use gptoss_api::wire::organization::costs::CostResult;
use gptoss_api::wire::organization::keys::{AdminKey, AdminKeyList};
use gptoss_api::wire::organization::rates::ProjectRateList;
use gptoss_api::wire::organization::usage::UsageResult;
use gptoss_api::wire::redact::{RedactRequest, RedactResponse};
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::wire::response_socket::{ClientHead, SocketError};
use gptoss_api::wire::responses::{
    CompactRequest, Compaction, ConversationObject, ConversationRequest, Deleted, InputTokens, ItemList,
    ResponseObject, ResponsesRequest,
};
use gptoss_api::wire::tokens::{
    DetokenizeRequest, DetokenizeResponse, RenderResponse, RenderedRequest, TokenizeRequest,
    TokenizeResponse, TokenizerConfig,
};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::state::Shared;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    request: Option<Schema>,
    response: Option<Schema>,
    /// One event of the stream, where it can stream.
    event: Option<Schema>,
    query: &'static [(&'static str, &'static str)],
}

const PAGE_QUERY: &[(&str, &str)] =
    &[("limit", "integer"), ("order", "string"), ("after", "string"), ("before", "string")];
const FILES_QUERY: &[(&str, &str)] =
    &[("limit", "integer"), ("order", "string"), ("after", "string"), ("purpose", "string")];
const BATCHES_QUERY: &[(&str, &str)] = &[("limit", "integer"), ("after", "string")];
const RESUME_QUERY: &[(&str, &str)] = &[("stream", "boolean"), ("starting_after", "integer")];

const USAGE_QUERY: &[(&str, &str)] = &[
    ("start_time", "integer"),
    ("end_time", "integer"),
    ("bucket_width", "string"),
    ("group_by", "string"),
    ("project_ids", "string"),
    ("api_key_ids", "string"),
    ("models", "string"),
    ("limit", "integer"),
    ("page", "string"),
];
const AUDIT_QUERY: &[(&str, &str)] = &[
    ("effective_at[gt]", "integer"),
    ("effective_at[gte]", "integer"),
    ("effective_at[lt]", "integer"),
    ("effective_at[lte]", "integer"),
    ("event_types", "string"),
    ("actor_ids", "string"),
    ("project_ids", "string"),
    ("limit", "integer"),
    ("after", "string"),
    ("before", "string"),
];
const KEYS_QUERY: &[(&str, &str)] = &[("limit", "integer"), ("order", "string"), ("after", "string")];
const LOADS_QUERY: &[(&str, &str)] = &[("include", "string")];

/// The schemas of types that clients write and of those that they read: a field that is left out when it says
/// nothing need not be there in what we write, and one that has a default need not be there in what they
/// write.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let with = |settings: SchemaSettings| {
            settings
                .with(|settings| settings.definitions_path = "/components/schemas".into())
                .into_generator()
        };
        let settings = SchemaSettings::draft2020_12;
        Schemas { read: with(settings().for_deserialize()), written: with(settings().for_serialize()) }
    }

    /// All that were asked for, by name. What goes both ways has one description, which asks for no more than
    /// either.
    fn definitions(&mut self) -> Map<String, Value> {
        let mut definitions = self.read.take_definitions(true);
        for (name, mut schema) in self.written.take_definitions(true) {
            if let Some(read) = definitions.get(&name)
                && let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut)
            {
                let by_both = read.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
                required.retain(|field| by_both.contains(field));
            }
            definitions.insert(name, schema);
        }
        definitions
    }
}

#[expect(clippy::too_many_lines, reason = "a table of routes")]
fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut list = Vec::new();
    macro_rules! add {
        ($method:literal $path:literal $summary:literal
            $(, request $request:ty)? $(, response $response:ty)? $(, event $event:ty)? $(, query $query:expr)?) => {{
            let mut operation = Operation {
                method: $method, path: $path, summary: $summary,
                request: None, response: None, event: None, query: &[],
            };
            $(operation.request = Some(of::<$request>(&mut schemas.read));)?
            $(operation.response = Some(of::<$response>(&mut schemas.written));)?
            $(operation.event = Some(of::<$event>(&mut schemas.written));)?
            $(operation.query = $query;)?
            list.push(operation);
        }};
    }
    add!("post" "/v1/chat/completions" "The next message of a chat",
        request ChatRequest, response ChatCompletion, event ChatChunk);
    add!("post" "/v1/completions" "The text that follows, without the format",
        request CompletionRequest, response Completion, event Completion);
    add!("post" "/v1/chat/completions/render" "A chat in tokens, as vLLM renders it: nothing is answered",
        request ChatRequest, response RenderedRequest);
    add!("post" "/v1/completions/render" "Prompts in tokens, as vLLM renders them",
        request CompletionRequest, response Vec<RenderedRequest>);
    add!("post" "/v1/responses" "A response", request ResponsesRequest, response ResponseObject, event Numbered);
    add!("post" "/v1/responses/compact" "A shorter conversation", request CompactRequest, response Compaction);
    add!("post" "/v1/responses/input_tokens" "How many tokens a response would read",
        request ResponsesRequest, response InputTokens);
    add!("get" "/v1/responses/{id}" "A stored response, or its stream taken up again",
        response ResponseObject, event Numbered, query RESUME_QUERY);
    add!("delete" "/v1/responses/{id}" "Deletes a response", response Deleted);
    add!("post" "/v1/responses/{id}/cancel" "Stops a response in the background", response ResponseObject);
    add!("get" "/v1/responses/{id}/input_items" "What a response was asked", response ItemList, query PAGE_QUERY);
    add!("post" "/v1/conversations" "A new conversation", request ConversationRequest, response ConversationObject);
    add!("get" "/v1/conversations/{id}" "A conversation", response ConversationObject);
    add!("post" "/v1/conversations/{id}" "Changes its metadata",
        request ConversationRequest, response ConversationObject);
    add!("delete" "/v1/conversations/{id}" "Deletes a conversation", response Deleted);
    add!("get" "/v1/conversations/{id}/items" "Its items", response ItemList, query PAGE_QUERY);
    add!("post" "/v1/conversations/{id}/items" "More items", request ConversationRequest, response ItemList);
    add!("get" "/v1/conversations/{id}/items/{item_id}" "One of its items", response Value);
    add!("delete" "/v1/conversations/{id}/items/{item_id}" "Takes an item out", response ConversationObject);
    add!("post" "/v1/files" "Keeps a file", request FileUpload, response FileObject);
    add!("get" "/v1/files" "The files", response FileList, query FILES_QUERY);
    add!("get" "/v1/files/{id}" "A file", response FileObject);
    add!("delete" "/v1/files/{id}" "Deletes a file", response Deleted);
    add!("get" "/v1/files/{id}/content" "What stands in a file", response String);
    add!("post" "/v1/containers" "Makes a container for code",
        request ContainerRequest, response ContainerObject);
    add!("get" "/v1/containers" "The containers", response ItemList, query PAGE_QUERY);
    add!("get" "/v1/containers/{id}" "A container", response ContainerObject);
    add!("delete" "/v1/containers/{id}" "Ends a container and deletes its files", response Deleted);
    add!("post" "/v1/containers/{id}/files" "Puts a file into a container",
        request ContainerFileRequest, response ContainerFile);
    add!("get" "/v1/containers/{id}/files" "The files of a container", response ItemList, query PAGE_QUERY);
    add!("get" "/v1/containers/{id}/files/{file_id}" "One of them", response ContainerFile);
    add!("delete" "/v1/containers/{id}/files/{file_id}" "Deletes one of them", response Deleted);
    add!("get" "/v1/containers/{id}/files/{file_id}/content" "What stands in one of them", response String);
    add!("post" "/v1/batches" "A batch: a file of requests, answered when nobody waits",
        request BatchRequest, response Batch);
    add!("get" "/v1/batches" "The batches", response BatchList, query BATCHES_QUERY);
    add!("get" "/v1/batches/{id}" "A batch", response Batch);
    add!("post" "/v1/batches/{id}/cancel" "Stops a batch", response Batch);
    add!("post" "/v1/fine_tuning/jobs" "Trains a model on a file of examples",
        request TuningRequest, response TuningJob);
    add!("get" "/v1/fine_tuning/jobs" "The tuning jobs", response TuningJobList, query BATCHES_QUERY);
    add!("get" "/v1/fine_tuning/jobs/{id}" "A tuning job", response TuningJob);
    add!("post" "/v1/fine_tuning/jobs/{id}/cancel" "Stops a tuning job", response TuningJob);
    add!("post" "/v1/fine_tuning/jobs/{id}/pause" "Stops a tuning job for a while", response TuningJob);
    add!("post" "/v1/fine_tuning/jobs/{id}/resume" "Has a paused tuning job go on", response TuningJob);
    add!("get" "/v1/fine_tuning/jobs/{id}/events" "What happened to a tuning job",
        response TuningEventList, query BATCHES_QUERY);
    add!("get" "/v1/fine_tuning/jobs/{id}/checkpoints" "The models on the way to a tuned one",
        response TuningCheckpointList, query BATCHES_QUERY);
    add!("post" "/v1/messages" "Anthropic: the assistant's next message",
        request MessagesRequest, response MessageObject, event MessageEvent);
    add!("post" "/v1/messages/count_tokens" "Anthropic: how many tokens a request has",
        request MessagesRequest, response TokenCount);
    add!("post" "/v1/moderations" "What policies say of texts", request ModerationsRequest, response Moderations);
    add!("get" "/v1/models" "The models", response AnyModelList);
    add!("get" "/v1/models/{id}" "A model", response AnyModel);
    add!("get" "/v1/models/{organization}/{name}" "A model whose name has a slash", response AnyModel);
    add!("delete" "/v1/models/{id}" "Deletes a tuned model", response Deleted);
    add!("delete" "/v1/models/{organization}/{name}" "Deletes a tuned model whose name has a slash",
        response Deleted);
    add!("post" "/v1/load_lora_adapter" "Loads an adapter from the operator's folder, as vLLM does",
        request LoadLoraAdapter, response Value);
    add!("post" "/v1/unload_lora_adapter" "Unloads an adapter that was loaded here",
        request UnloadLoraAdapter, response Value);
    add!("get" "/v1/loads" "How full the server is, for routers", response Loads, query LOADS_QUERY);
    add!("post" "/v1/tokenize" "Text to tokens", request TokenizeRequest, response TokenizeResponse);
    add!("post" "/v1/detokenize" "Tokens to text", request DetokenizeRequest, response DetokenizeResponse);
    add!("post" "/v1/redact" "Texts without personal data, with --redact",
        request RedactRequest, response RedactResponse);
    add!("get" "/v1/tokenizer_info" "The tokenizer, as vLLM tells it", response TokenizerConfig);
    add!("post" "/v1/render" "The tokens that a body would make the model read",
        request ChatRequest, response RenderResponse);
    add!("get" "/v1/organization/usage/completions" "What was used, by bucket of time",
        response BucketPage<UsageResult>, query USAGE_QUERY);
    add!("get" "/v1/organization/costs" "What it cost, by day", response BucketPage<CostResult>, query USAGE_QUERY);
    add!("get" "/v1/organization/audit_logs" "What was done, and by whom", response AuditLogList, query AUDIT_QUERY);
    add!("get" "/v1/organization/admin_api_keys" "The keys", response AdminKeyList, query KEYS_QUERY);
    add!("get" "/v1/organization/admin_api_keys/{id}" "A key", response AdminKey);
    add!("get" "/v1/organization/projects/{id}/rate_limits" "The rates of a tenant", response ProjectRateList);
    add!("get" "/version" "The version of this program", response Value);
    add!("get" "/api/tags" "Ollama: the models", response Value);
    add!("get" "/api/version" "Ollama: a version", response Value);
    add!("get" "/api/ps" "Ollama: the models that are loaded", response Value);
    add!("post" "/api/show" "Ollama: a model", request OllamaName, response Value);
    add!("post" "/api/pull" "Ollama: says whether a model is here", request OllamaName, response Value);
    add!("post" "/api/chat" "Ollama: the next message of a chat", request OllamaChatRequest, response OllamaLine);
    add!("post" "/api/generate" "Ollama: an answer", request OllamaGenerateRequest, response OllamaLine);
    list
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Whether a server has an operation, on which somebody trains or nobody does.
fn is_offered(operation: &Operation, trains: bool) -> bool {
    let is_of_tuning = operation.path.starts_with("/v1/fine_tuning/")
        || (operation.method == "delete" && operation.path.starts_with("/v1/models/"));
    trains || !is_of_tuning
}

/// The description of a server on which somebody trains, or nobody.
pub(crate) fn describe(trains: bool) -> Value {
    let mut schemas = Schemas::new();
    let openai_error = of::<ErrorBody>(&mut schemas.written);
    let ollama_error = of::<OllamaError>(&mut schemas.written);
    let anthropic_error = of::<MessagesErrorBody>(&mut schemas.written);
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations(&mut schemas).iter().filter(|operation| is_offered(operation, trains)) {
        let error = match operation.path {
            path if path.starts_with("/api/") => &ollama_error,
            path if path.starts_with("/v1/messages") => &anthropic_error,
            _ => &openai_error,
        };
        let described = described(operation, error);
        let place = paths.entry(operation.path).or_insert_with(|| json!({}));
        place[operation.method] = described;
    }
    // OpenAPI has no words for a connection: the messages are described beside the request that they hold.
    paths["/v1/responses"]["post"]["x-websocket"] = json!({
        "description": "GET as a WebSocket: text messages, each a request with these fields too; back come \
            the events of a stream, or an error.",
        "client": of::<ClientHead>(&mut schemas.read),
        "server": [of::<Numbered>(&mut schemas.written), of::<SocketError>(&mut schemas.written)],
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gptoss",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "OpenAI's API, and Anthropic's Messages, over gpt-oss models. Unknown fields are passed over.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn described(operation: &Operation, error: &Schema) -> Value {
    let json_of = |schema: &Schema| json!({"application/json": {"schema": schema}});
    let mut content = operation.response.as_ref().map_or_else(|| json!({}), json_of);
    if let Some(event) = &operation.event {
        content["text/event-stream"] = json!({"x-event": event});
    }
    if operation.path == "/api/chat" || operation.path == "/api/generate" {
        content["application/x-ndjson"] = json!({"schema": {"type": "string"}});
    }
    if operation.path.ends_with("/content") {
        content = json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}});
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({"description": "It worked.", "content": content}));
    let overloaded = operation.path.starts_with("/v1/messages").then_some(OVERLOADED);
    for status in STATUSES.into_iter().chain(overloaded) {
        let described = json!({"description": "It did not.", "content": json_of(error)});
        responses.insert(status.to_string(), described);
    }
    let mut parameters: Vec<Value> = Vec::new();
    for name in operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    for (name, kind) in operation.query {
        parameters.push(json!({"name": name, "in": "query", "required": false, "schema": {"type": kind}}));
    }
    let mut described = json!({
        "summary": operation.summary, "parameters": parameters, "responses": responses, "security": [{"key": []}, {}],
    });
    if let Some(request) = &operation.request {
        described["requestBody"] = json!({"required": true, "content": json_of(request)});
        if operation.path == "/v1/files" {
            described["requestBody"]["content"] = json!({"multipart/form-data": {"schema": request}});
        }
    }
    described
}

/// `GET /openapi.json`.
pub(crate) async fn document(State(app): State<Shared>) -> Response {
    static DOCUMENTS: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
    let trains = app.tuning.is_some();
    let text = DOCUMENTS[usize::from(trains)].get_or_init(|| describe(trains).to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// `GET /docs`: the operations, on one page.
pub(crate) async fn page(State(app): State<Shared>) -> Html<String> {
    let mut rows = String::new();
    let all = operations(&mut Schemas::new());
    for operation in all.iter().filter(|operation| is_offered(operation, app.tuning.is_some())) {
        let method = operation.method.to_uppercase();
        let (path, summary) = (operation.path, operation.summary);
        rows.push_str(&format!("<tr><td><code>{method}</code><td><code>{path}</code><td>{summary}\n"));
    }
    let name = app.models.first().served.name.replace('&', "&amp;").replace('<', "&lt;");
    let scheme = if app.tls.is_some() { "https" } else { "http" };
    Html(PAGE.replace("{scheme}", scheme).replace("{model}", &name).replace("{rows}", &rows))
}

const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>gptoss</title>
<style>body{font:16px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em}td{padding:.2em 1em .2em 0}
pre{background:#eee;padding:1em;overflow:auto}</style>
<h1>gptoss</h1>
<p>This server speaks OpenAI's API over the model <code>{model}</code>.
The whole description, with every field, is <a href="/openapi.json">/openapi.json</a>.</p>
<pre>curl {scheme}://HOST:PORT/v1/chat/completions -H 'content-type: application/json' \
  -d '{"model": "{model}", "messages": [{"role": "user", "content": "What is 27 + 58?"}]}'</pre>
<table>{rows}</table>
<p><a href="/health">/health</a>, <a href="/ready">/ready</a> and <a href="/metrics">/metrics</a> tell how the server is.</p>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_is_not_required() {
        let document = describe(true);
        let check = |name: &str, field: &str, expect: bool| {
            let required = document["components"]["schemas"][name]["required"].as_array().unwrap();
            assert_eq!(required.contains(&json!(field)), expect, "{name}.{field}");
        };
        for name in ["ChatCompletion", "Completion", "ResponseObject"] {
            check(name, "id", true);
            check(name, "warnings", false);
        }
        check("ChatRequest", "messages", true);
        check("OllamaMessage", "role", true);
        check("OllamaMessage", "content", false);
    }

    /// What nobody does here is not described.
    #[test]
    fn a_server_on_which_nobody_trains_has_nothing_of_it() {
        let is_described = |trains: bool| {
            let document = describe(trains);
            let paths = document["paths"].as_object().unwrap();
            (paths.contains_key("/v1/fine_tuning/jobs"), paths["/v1/models/{id}"].get("delete").is_some())
        };
        assert_eq!((is_described(true), is_described(false)), ((true, true), (false, false)));
    }

    /// schemathesis asks for what the description says, so a route that is missing there is never tested.
    #[test]
    fn every_operation_has_a_body_that_is_described() {
        let document = describe(true);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in ["ChatRequest", "ResponsesRequest", "ResponseObject", "ErrorBody", "Numbered"] {
            assert!(schemas.contains_key(name), "{name}");
        }
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(operation["responses"]["200"]["content"].is_object(), "{method} {path}");
            }
        }
    }
}
