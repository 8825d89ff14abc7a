//! `/v1/responses`: create, retrieve, delete, cancel, input items, compact.
//!
//! Every response is written by a task of its own into a log (`live`), and every reader reads that log: the
//! stream of the request itself, a request without a stream, which waits for the end, and whoever comes later
//! with the id, from any event on. Without `background` the writer stops when its reader goes away. What is
//! to be kept goes into the store when it has ended.
//!
//! What a request means is `responses_input`'s to say, what an answer looks like `responses_stream`'s.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use futures_util::stream;
use gptoss_turn::Delta;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::blocking::{apart, run_blocking};
use crate::body::Body;
use crate::chat_input::Setting;
use crate::compaction;
use crate::history::Entry;
use crate::ids;
use crate::keys::Caller;
use crate::live::{Found, Live, Reader};
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::responses_input::{self, Before, ResponsesAsk};
use crate::responses_stream::{Manner, ResponseMachine};
use crate::state::{App, Shared, now};
use crate::store::{Kind, Row};
use crate::stored_response;
use crate::talk::{self, Step, Talk};
use crate::visibility::Visibility;
use crate::wire::errors::ApiError;
use crate::wire::response_events::Numbered;
use crate::wire::responses::{
    CompactRequest, Compaction, ConversationId, Deleted, Input, ItemList, ReasoningSettings, ResponseObject,
    ResponsesRequest, TextSettings,
};

/// `POST /v1/responses`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ResponsesRequest>,
) -> Result<Response, ApiError> {
    app.model.check(request.model.as_deref())?;
    let before = before(&app, &caller, &request).await?;
    let asked = {
        let instant = Instant::now();
        let recall = |id: &str| app.memory.recall(&caller.tenant, id, instant);
        responses_input::ask(&request, before, &setting(&app, &caller, &recall))?
    };
    let object = object(&app, &request, &asked)?;
    let is_background = object.background;
    if is_background && app.live.num_background() >= app.limits.background_max {
        let what = format!("{} responses run in the background", app.limits.background_max);
        return Err(ApiError::Busy { what, retry_seconds: 10 });
    }
    let live = start(&app, asked, object).await?;
    if request.stream == Some(true) {
        let reader = Reader(Arc::clone(&live));
        return Ok(stream_from(&app, live, 0, Some(reader)));
    }
    if is_background {
        return Ok(Json(live.response()).into_response());
    }
    let reader = Reader(Arc::clone(&live));
    let whole = live.whole().await;
    drop(reader);
    // A response that failed is an error to a request without a stream.
    match live.failure() {
        Some(error) => Err(error),
        None => Ok(live.spent.of(apart(whole.top_logprobs > 0, || Json(whole).into_response()))),
    }
}

fn setting<'a>(
    app: &'a App,
    caller: &'a Caller,
    recall: &'a dyn Fn(&str) -> Option<crate::memory::Remembered>,
) -> Setting<'a> {
    Setting {
        model: &app.model,
        limits: &app.limits,
        tenant: &caller.tenant,
        visibility: caller.visibility,
        recall,
    }
}

/// What was said before, and the items that the input refers to.
async fn before(app: &Arc<App>, caller: &Caller, request: &ResponsesRequest) -> Result<Before, ApiError> {
    let conversation = conversation_id(request.conversation.as_ref())?;
    let owner = match (&request.previous_response_id, &conversation) {
        (Some(id), _) => Some((Kind::Response, id.clone())),
        (None, Some(id)) => Some((Kind::Conversation, id.clone())),
        (None, None) => None,
    };
    let references: Vec<String> = match &request.input {
        Some(Input::Items(items)) => responses_input::references(items).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if owner.is_none() && references.is_empty() {
        return Ok(Before::default());
    }
    let tenant = caller.tenant.clone();
    run_blocking(app, move |app| {
        let entries = match owner {
            Some((kind, id)) => {
                let row = app.find(kind, &tenant, &id)?;
                if row.is_unfinished {
                    let message = format!("the response {id:?} has not ended, so nothing can go on from it");
                    return Err(ApiError::Conflict { message });
                }
                row.entries
            }
            None => Vec::new(),
        };
        let mut items = HashMap::new();
        for id in references {
            if let Some(item) = app.store.item(&tenant, &id)? {
                items.insert(id, item);
            }
        }
        Ok(Before { entries, items })
    })
    .await
}

fn conversation_id(value: Option<&Value>) -> Result<Option<String>, ApiError> {
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
fn object(app: &App, request: &ResponsesRequest, asked: &ResponsesAsk) -> Result<ResponseObject, ApiError> {
    let sampling = &asked.ask.sampling;
    let text = request.text.clone().unwrap_or_default();
    let tools = request.tools.clone().unwrap_or_default().into_iter().map(with_all_fields).collect();
    let conversation = conversation_id(request.conversation.as_ref())?.map(|id| ConversationId { id });
    Ok(ResponseObject {
        id: ids::random("resp"),
        object: "response".to_owned(),
        created_at: now(),
        completed_at: None,
        status: "in_progress".to_owned(),
        background: request.background.unwrap_or(false),
        error: None,
        incomplete_details: None,
        instructions: request.instructions.clone().filter(|value| !value.is_null()),
        max_output_tokens: request.max_output_tokens,
        max_tool_calls: request.max_tool_calls,
        model: request
            .model
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| app.model.name.clone()),
        output: Vec::new(),
        parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
        previous_response_id: request.previous_response_id.clone(),
        conversation,
        prompt_cache_key: request.prompt_cache_key.clone(),
        reasoning: ReasoningSettings { effort: asked.effort.to_owned(), summary: asked.summary.clone() },
        safety_identifier: request.safety_identifier.clone(),
        service_tier: "default".to_owned(),
        store: request.store.unwrap_or(true),
        temperature: plain(sampling.temperature),
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
        top_p: plain(sampling.top_p),
        presence_penalty: plain(sampling.presence_penalty),
        frequency_penalty: plain(sampling.frequency_penalty),
        truncation: if asked.may_truncate { "auto" } else { "disabled" }.to_owned(),
        usage: None,
        user: request.user.clone(),
        metadata: request.metadata.clone().unwrap_or_default(),
        warnings: asked.ask.warnings.clone(),
    })
}

/// A number as it was written: 0.7 and not what the nearest `f32` is as an `f64`.
fn plain(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// A tool with the fields that clients' types ask for.
fn with_all_fields(mut tool: Value) -> Value {
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

/// Starts the task that writes a response.
async fn start(
    app: &Arc<App>,
    asked: ResponsesAsk,
    mut object: ResponseObject,
) -> Result<Arc<Live>, ApiError> {
    let begun = Instant::now();
    let visibility = asked.ask.visibility;
    let wants_summary = asked.summary.is_some() && visibility > Visibility::Hidden;
    let summarises = wants_summary || visibility == Visibility::Summary;
    let ask = compaction::truncated(app, asked.ask.clone(), asked.may_truncate).await?;
    object.warnings.clone_from(&ask.warnings);
    let mut talks = talk::begin(app, Arc::new(ask), summarises, 1).await?;
    let Some(talk) = talks.pop() else {
        return Err(ApiError::Internal { problem: "there is no turn".to_owned() });
    };
    let manner =
        Manner { tools: asked.ask.tools.clone(), visibility, tells_logprobs: asked.includes_logprobs };
    let live = Arc::new(Live::new(asked.ask.tenant.clone(), object.clone()));
    let mut machine = ResponseMachine::new(object, manner);
    let id = machine.response().id.clone();
    live.append(&machine.begin(), machine.response());
    if live.is_background {
        stored_response::begin(app, &asked, machine.response()).await?;
    }
    app.live.insert(id.clone(), Arc::clone(&live));
    let (app, task_live) = (Arc::clone(app), Arc::clone(&live));
    tokio::spawn(async move {
        let _end = End { app: &app, live: &task_live, id: &id };
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        let Written { entries, mut last } = write(&app, &asked, talk, &mut machine, &task_live, begun).await;
        app.metrics.running.fetch_sub(1, Ordering::Relaxed);
        let response = machine.response();
        if response.store
            && let Err(error) =
                stored_response::finish(&app, &asked, response, entries, (&task_live, &last)).await
        {
            (app.log)(&format!("{}: not stored: {error}", response.id));
            machine.was_not_stored(&mut last, &error);
        }
        apart(asked.includes_logprobs, || task_live.append(&last, machine.response()));
        task_live.end(machine.response().clone());
    });
    Ok(live)
}

/// The end of a response's task, also by a panic: whoever waits for it must not wait for ever.
struct End<'a> {
    app: &'a App,
    live: &'a Live,
    id: &'a str,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if !self.live.is_over() {
            self.live.fail(ApiError::Internal { problem: "the answer broke off".to_owned() });
            self.live.end(self.live.response());
        }
        self.app.live.remove(self.id);
    }
}

/// What a response comes to.
struct Written {
    /// Everything said so far, for who goes on from it.
    entries: Vec<Entry>,
    /// The last events, which are told when the response is stored.
    last: Vec<Numbered>,
}

/// Writes a response to its end.
async fn write(
    app: &App,
    asked: &ResponsesAsk,
    mut talk: Talk,
    machine: &mut ResponseMachine,
    live: &Live,
    begun: Instant,
) -> Written {
    let mut entries = asked.entries.clone();
    let mut has_spoken = false;
    loop {
        let step = tokio::select! {
            step = talk.next() => step,
            () = live.cancelled(), if !talk.is_cancelled() => {
                if !live.is_background {
                    app.metrics.disconnects.fetch_add(1, Ordering::Relaxed);
                }
                talk.cancel();
                continue;
            }
        };
        match step {
            Step::Delta(delta) => {
                talk::spoken(app, &mut has_spoken, begun);
                // Only the end of a text has all its log-probabilities at once.
                let is_much = asked.includes_logprobs && !matches!(delta, Delta::Text { .. });
                apart(is_much, || live.append(&machine.push(delta), machine.response()));
            }
            Step::Summary(text) => {
                talk::spoken(app, &mut has_spoken, begun);
                live.append(&machine.push_summary(text), machine.response());
            }
            Step::End(ending) => {
                let call_id = machine.call_ids().last().cloned();
                let is_call = ending.messages.last().is_some_and(|message| message.recipient.is_some());
                let call_id = call_id.filter(|_| is_call);
                if let Some(id) = &call_id {
                    app.memory.keep(&asked.ask.tenant, id, ending.messages.clone(), Instant::now());
                }
                let count = ending.messages.len();
                entries.extend(ending.messages.into_iter().enumerate().map(|(index, message)| Entry {
                    message,
                    call_id: call_id.clone().filter(|_| index + 1 == count),
                }));
                app.metrics.ended(ending.tokens, begun.elapsed());
                live.spent.set(ending.tokens);
                let last = machine.finish(ending.end, ending.tokens, now());
                app.metrics.warnings.fetch_add(machine.response().warnings.len() as u64, Ordering::Relaxed);
                return Written { entries, last };
            }
            Step::Failed(error) => {
                let last = machine.fail(&error);
                live.fail(error);
                return Written { entries, last };
            }
        }
    }
}

/// The events of a response from number `from` on; `reader` is whoever the response is written for.
fn stream_from(app: &App, live: Arc<Live>, from: usize, reader: Option<Reader>) -> Response {
    let silence_max = app.limits.keep_alive;
    let spent = live.spent.clone();
    let state = Some((live, reader, from));
    let events = stream::unfold(state, move |state| async move {
        let (live, reader, index) = state?;
        Some(match tokio::time::timeout(silence_max, live.event(index)).await {
            Err(_) => (Bytes::from_static(b": keep-alive\n\n"), Some((live, reader, index))),
            Ok(Found::Event(line)) => (line.bytes(), Some((live, reader, index + 1))),
            Ok(Found::End) => (Bytes::from_static(DONE), None),
            Ok(Found::Dropped) => (events_lost(index), None),
        })
    });
    spent.of(event_stream(HttpBody::from_stream(events.map(Ok::<_, Infallible>))))
}

/// The last word of a stream.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What a reader is told that comes too late for event number `index`.
fn events_lost(index: usize) -> Bytes {
    let message = "events were dropped before they were read; retrieve the response by its id";
    let error = json!({
        "type": "error", "code": "events_dropped", "message": message, "param": null, "sequence_number": index,
    });
    format!("event: error\ndata: {error}\n\ndata: [DONE]\n\n").into()
}

fn event_stream(body: HttpBody) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

/// What `GET /v1/responses/{id}` may say behind its question mark.
#[derive(Debug, Deserialize)]
pub(crate) struct RetrieveQuery {
    stream: Option<bool>,
    starting_after: Option<u64>,
}

/// `GET /v1/responses/{id}`, as an object or as a stream that is taken up again.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<RetrieveQuery>,
) -> Result<Response, ApiError> {
    let from = query.starting_after.map_or(0, |after| after.saturating_add(1)) as usize;
    let wants_stream = query.stream == Some(true);
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        return Ok(if wants_stream {
            stream_from(&app, live, from, None)
        } else {
            Json(live.response()).into_response()
        });
    }
    let tenant = caller.tenant;
    if !wants_stream {
        let row = run_blocking(&app, move |app| app.find(Kind::Response, &tenant, &id)).await?;
        return Ok(Json(stored_response::interrupted(row).body).into_response());
    }
    let replay = move |app: &App| {
        let row = app.find(Kind::Response, &tenant, &id)?;
        // Of a response that was cut off there is one event, which comes last whatever was read before.
        let from = if row.is_unfinished { 0 } else { from };
        Ok(replay(&stored_response::interrupted(row), from))
    };
    Ok(event_stream(HttpBody::from(run_blocking(&app, replay).await?)))
}

/// The stream of a stored response from event number `from` on.
fn replay(row: &Row, from: usize) -> Vec<u8> {
    let events: Vec<Value> = serde_json::from_str(&row.events).unwrap_or_default();
    let mut text = String::new();
    for event in events.iter().skip(from) {
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("event: {name}\ndata: {event}\n\n"));
    }
    let mut bytes = text.into_bytes();
    match events.is_empty() {
        // They were too many to be kept.
        true => bytes.extend_from_slice(&events_lost(from)),
        false => bytes.extend_from_slice(DONE),
    }
    bytes
}

/// `DELETE /v1/responses/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        live.cancel();
        live.whole().await;
    }
    let (tenant, gone) = (caller.tenant, id.clone());
    match run_blocking(&app, move |app| app.store.delete(Kind::Response, &tenant, &gone, now())).await? {
        true => Ok(Json(Deleted { id, object: "response", deleted: true })),
        false => Err(ApiError::NotFound { what: "response", id }),
    }
}

/// `POST /v1/responses/{id}/cancel`.
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        if !live.is_background {
            let message =
                "only a response that runs in the background can be cancelled; close the others' stream";
            return Err(ApiError::Conflict { message: message.to_owned() });
        }
        live.cancel();
        return Ok(Json(live.whole().await).into_response());
    }
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.find(Kind::Response, &tenant, &id)).await?;
    Ok(Json(stored_response::interrupted(row).body).into_response())
}

/// `GET /v1/responses/{id}/input_items`.
pub(crate) async fn input_items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, ApiError> {
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.find(Kind::Response, &tenant, &id)).await?;
    page(row.items, &query).map(Json)
}

/// `POST /v1/responses/compact`.
pub(crate) async fn compact(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CompactRequest>,
) -> Result<Json<Compaction>, ApiError> {
    app.model.check(request.model.as_deref())?;
    let whole = ResponsesRequest {
        model: request.model,
        input: request.input,
        instructions: request.instructions,
        previous_response_id: request.previous_response_id,
        store: Some(false),
        ..ResponsesRequest::default()
    };
    let before = before(&app, &caller, &whole).await?;
    let asked = {
        let instant = Instant::now();
        let recall = |id: &str| app.memory.recall(&caller.tenant, id, instant);
        responses_input::ask(&whole, before, &setting(&app, &caller, &recall))?
    };
    compaction::compact(&app, asked).await.map(Json)
}
