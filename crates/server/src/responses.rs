//! `/v1/responses`: create, retrieve, delete, cancel, input items, compact.
//!
//! Every response is written by a task of its own into a log (`response_log`), and every reader reads that
//! log: the stream of the request itself, a request without a stream, which waits for the end, and whoever
//! comes later with the id, from any event on. Without `background` the writer stops when its reader goes
//! away. What is to be kept goes into the store when it has ended.
//!
//! What a request means and what an answer looks like is in the room `api`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gptoss_api::generation::hosted::ServerTools;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::history::Entry;
use gptoss_api::responses::events::{ResponseMachine, ToolEvents};
use gptoss_api::responses::object::{Facts, conversation_id, object};
use gptoss_api::responses::parse::{self, ApprovedCall, ParsedResponsesRequest, PriorTurns};
use gptoss_api::wire::response_events::{Event, Numbered};
use gptoss_api::wire::responses::{
    CompactRequest, Compaction, Deleted, Input, InputTokens, ItemList, ResponseObject, ResponsesRequest,
};
use gptoss_api::{ApiError, EventOptions, Machine, RequestScope};
use gptoss_gateway::Label;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::abroad_source::AbroadSource;
use crate::access_log::Spent;
use crate::blocking::{apart, run_blocking};
use crate::body::Body;
use crate::compaction;
use crate::container_inputs;
use crate::drive::{Abort, ChoiceStream, Request, Sink};
use crate::ids;
use crate::keys::Caller;
use crate::model::ServedModel;
use crate::narrowing::{narrow_items, narrow_response};
use crate::opening::Opening;
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::rejection::Rejection;
use crate::response_log::{CancelOnDrop, ResponseLog};
use crate::response_stream::{event_stream, events_from, first_events, live_stream, opened, replay};
use crate::ruling;
use crate::sampling::params;
use crate::state::{App, Shared, now};
use crate::store::Kind;
use crate::stored_response;
use crate::tool_host::{ToolSession, tools_for};
use crate::tool_loop::{Looped, ToolLoop};
use crate::trace::Work;
use crate::turn_source::TurnSource;
use crate::turn_stream;

/// `POST /v1/responses`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ResponsesRequest>,
) -> Result<Response, Rejection> {
    let (is_stream, spent, silence) = (request.stream == Some(true), Spent::default(), app.limits.keep_alive);
    let origin = Origin { entries: None, generates: true, spent: spent.clone() };
    let beginning = async move { begin(&app, &caller, &request, origin).await };
    if is_stream {
        let opening = Opening::of(beginning, silence).await?;
        return Ok(spent.of(live_stream(opened(opening), silence)));
    }
    Ok(whole(beginning.await?, &spent).await?)
}

/// A new response to a request without a stream.
///
/// Errors: it failed.
async fn whole(live: Arc<ResponseLog>, spent: &Spent) -> Result<Response, ApiError> {
    if live.is_background {
        return Ok(Json(live.response()).into_response());
    }
    let reader = CancelOnDrop(Arc::clone(&live));
    let whole = live.whole().await;
    drop(reader);
    match live.failure() {
        Some(error) => Err(error),
        None => Ok(spent.of(apart(whole.top_logprobs > 0, || Json(whole).into_response()))),
    }
}

/// A response whose turns an upstream's model writes.
///
/// Errors: by the name of the parameter; what the rules or the gateway refuse; that no upstream answers.
pub(crate) async fn create_abroad(
    app: &Arc<App>,
    caller: &Caller,
    request: &ResponsesRequest,
    source: &Arc<AbroadSource>,
) -> Result<Response, ApiError> {
    let spent = Spent::default();
    let live = begin_abroad(app, caller, request, source, spent.clone()).await?;
    match request.stream == Some(true) {
        true => Ok(spent.of(live_stream(first_events(live), app.limits.keep_alive))),
        false => whole(live, &spent).await,
    }
}

async fn begin_abroad(
    app: &Arc<App>,
    caller: &Caller,
    request: &ResponsesRequest,
    source: &Arc<AbroadSource>,
    spent: Spent,
) -> Result<Arc<ResponseLog>, ApiError> {
    if request.background == Some(true) {
        let why = "models of an upstream do not run in the background";
        return Err(ApiError::unsupported("background", why));
    }
    let (before, label) = before(app, caller, request, None).await?;
    source.raise(label.ok_or_else(|| {
        let reason = "what is stored here and was not asked of an upstream has no label that lets it leave: send the \
                      conversation itself";
        ApiError::Ruled { reason: reason.to_owned() }
    })?);
    let tools = tools_for(app.tools.as_ref(), caller, request).await?;
    // Of the model only the date is asked that it is told.
    let served = &app.models.first().served;
    let raise = |label| source.raise(label);
    let read = |scope: &RequestScope<'_>| parse::parse(request, before, &tools, scope);
    let mut parsed = app.read_to_leave(caller, served, &raise, read)?;
    source.narrow(app, &mut parsed.generation)?;
    if let Some(whose) = container_inputs::furnish(app, caller, request, &mut parsed).await? {
        source.raise(app.containers.label(&whose));
    }
    let facts = Facts {
        id: ids::random("resp"),
        created_at: now(),
        model: source.model.to_string(),
        temperature: request.temperature.unwrap_or(1.0) as f32,
        top_p: request.top_p.unwrap_or(1.0) as f32,
        presence_penalty: request.presence_penalty.unwrap_or_default() as f32,
        frequency_penalty: request.frequency_penalty.unwrap_or_default() as f32,
    };
    let object = object(request, &parsed, facts)?;
    start(app, TurnSource::Abroad(Arc::clone(source)), parsed, object, (None, spent)).await
}

/// What the way by which a request came adds to it.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Everything said up to the response that it goes on from, where the store does not have it.
    pub(crate) entries: Option<Vec<Entry>>,
    /// Whether there is to be any output.
    pub(crate) generates: bool,
    /// Where it is told what it took.
    pub(crate) spent: Spent,
}

/// Begins a response.
///
/// Errors: by the name of the parameter; what the engine refuses; as many in the background as may be.
pub(crate) async fn begin(
    app: &Arc<App>,
    caller: &Caller,
    request: &ResponsesRequest,
    origin: Origin,
) -> Result<Arc<ResponseLog>, ApiError> {
    let model = app.model(caller, request.model.as_deref())?;
    let (before, _) = before(app, caller, request, origin.entries).await?;
    let tools = tools_for(app.tools.as_ref(), caller, request).await?;
    let mut parsed = app.read(caller, &model.served, |scope| parse::parse(request, before, &tools, scope))?;
    if origin.generates {
        ruling::decide(caller, &model, &mut parsed.generation)?;
        let whose = container_inputs::furnish(app, caller, request, &mut parsed).await?;
        if whose.is_some_and(|whose| app.containers.stays(&whose)) {
            ruling::stay(&parsed.generation)?;
        }
    }
    let object = object(request, &parsed, facts(&model.served, request, &parsed))?;
    let place = if object.background { app.live.background_place() } else { None };
    if object.background && place.is_none() {
        let what = format!("{} responses run in the background", app.limits.background_max);
        return Err(ApiError::Busy { what, retry_seconds: 10 });
    }
    match origin.generates {
        true => {
            let source = TurnSource::Here(app.lease(caller, &model).await?);
            start(app, source, parsed, object, (place, origin.spent)).await
        }
        false => prepare(app, parsed, object).await,
    }
}

/// What was said before, and the items that the input refers to; `kept` is what the store does not have. With
/// it the label under which it has left before; None where some of it has not.
async fn before(
    app: &Arc<App>,
    caller: &Caller,
    request: &ResponsesRequest,
    kept: Option<Vec<Entry>>,
) -> Result<(PriorTurns, Option<Label>), ApiError> {
    let prompt = request.prompt.as_ref().map(|prompt| app.prompts.text(prompt)).transpose()?;
    let conversation = conversation_id(request.conversation.as_ref())?;
    let owner = match (&request.previous_response_id, &conversation) {
        (Some(_), _) if kept.is_some() => None,
        (Some(id), _) => Some((Kind::Response, id.clone())),
        (None, Some(id)) => Some((Kind::Conversation, id.clone())),
        (None, None) => None,
    };
    let references: Vec<String> = match &request.input {
        Some(Input::Items(items)) => parse::references(items).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if owner.is_none() && references.is_empty() {
        let turns = PriorTurns { entries: kept.unwrap_or_default(), items: HashMap::new(), prompt };
        return Ok((turns, Some(Label::Any)));
    }
    let tenant = caller.tenant.clone();
    run_blocking(app, move |app| {
        let has_references = !references.is_empty();
        let (entries, label) = match owner {
            Some((kind, id)) => {
                let row = app.store.find(kind, &tenant, &id, now()).map_err(|error| match (kind, error) {
                    (Kind::Response, ApiError::NotFound { id, .. }) => ApiError::PreviousResponse { id },
                    (_, error) => error,
                })?;
                if row.is_unfinished {
                    let message = format!("the response {id:?} has not ended, so nothing can go on from it");
                    return Err(ApiError::Conflict { message });
                }
                (row.entries, row.label)
            }
            None => (kept.unwrap_or_default(), Some(Label::Any)),
        };
        let mut items = HashMap::new();
        for id in references {
            if let Some(item) = app.store.item(&tenant, &id, now())? {
                items.insert(id, item);
            }
        }
        Ok((PriorTurns { entries, items, prompt }, label.filter(|_| !has_references)))
    })
    .await
}

/// What the object says besides what was asked.
fn facts(model: &ServedModel, request: &ResponsesRequest, parsed: &ParsedResponsesRequest) -> Facts {
    let sampling = params(&parsed.generation.sampling, &model.sampling);
    Facts {
        id: ids::random("resp"),
        created_at: now(),
        model: model.named(request.model.as_deref()),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
    }
}

/// Starts the task that writes a response; it holds `place` to its end, and says in `spent` what it took.
async fn start(
    app: &Arc<App>,
    source: TurnSource,
    parsed: ParsedResponsesRequest,
    mut object: ResponseObject,
    (place, spent): (Option<OwnedSemaphorePermit>, Spent),
) -> Result<Arc<ResponseLog>, ApiError> {
    let begun = Instant::now();
    let waiting = container_inputs::waiting_call(&parsed.entries).map(str::to_owned);
    let (parsed, summary, generation) = fitted(app, &source, parsed).await?;
    let visibility = parsed.generation.visibility;
    let wants_summary = parsed.summary.is_some() && visibility > Visibility::Hidden;
    let summarizes = wants_summary || visibility == Visibility::Summary;
    object.warnings.clone_from(&generation.warnings);
    let generation = Arc::new(generation);
    let deadline = turn_stream::deadline(app, generation.is_background, begun);
    let mut first = match &parsed.approved {
        Some(approved) => Err(approved.clone()),
        None => Ok(source.begin(app, &generation, summarizes, deadline).await?),
    };
    let live = Arc::new(ResponseLog::new(parsed.generation.tenant.clone(), object.clone(), spent));
    let (session, container) = session(app, &source, &parsed, waiting.as_deref());
    let hosted = &parsed.generation.tools.hosted;
    let used = session.as_ref().filter(|_| hosted.has_python).map(|_| container.as_str());
    container_inputs::remember(app, &parsed.generation.tenant, used, &object);
    let pages = session.as_ref().map_or(Vec::new(), |session| session.pages());
    let events = tool_events(app, &parsed, object.max_tool_calls, &container);
    let servers = hosted.servers.as_slice();
    let mut machine = ResponseMachine::new(object, options(&parsed)).with_tools(events, pages);
    let id = machine.response().id.clone();
    live.append(&machine.begin(), machine.response());
    live.append(&machine.listed(servers), machine.response());
    if let Some(summary) = summary {
        live.append(&machine.compacted(&summary.text), machine.response());
        if let Ok(ChoiceStream::Turn(turn)) = &mut first {
            turn.has_spent(summary.tokens);
        }
    }
    if live.is_background {
        stored_response::begin(app, &parsed, machine.response()).await?;
    }
    app.live.insert(id.clone(), Arc::clone(&live));
    let (app, task_live) = (Arc::clone(app), Arc::clone(&live));
    tokio::spawn(async move {
        let _place = place;
        let _end = End { app: &app, live: &task_live, id: &id };
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        let request = Request {
            turns: source.turns(),
            tenant: &parsed.generation.tenant,
            tells_logprobs: parsed.includes_logprobs,
            begun,
        };
        let (app, source) = (&app, &source);
        let run = ToolLoop { app, source, request, generation, summarizes, session, container, deadline };
        let written = write(run, &parsed, first, &mut machine, &task_live).await;
        app.metrics.running.fetch_sub(1, Ordering::Relaxed);
        end(app, &parsed, &mut machine, &task_live, written).await;
        if let Some(said) = source.bill().and_then(|bill| bill.said()).filter(|_| task_live.is_background) {
            said.told_later(machine.response(), visibility);
        }
    });
    Ok(live)
}

/// The request as the context of a model here has room for it, what is generated of it, and the summary that
/// this took. An upstream's model has its own context, and no model here shortens what goes there.
async fn fitted(
    app: &Arc<App>,
    source: &TurnSource,
    mut parsed: ParsedResponsesRequest,
) -> Result<(ParsedResponsesRequest, Option<compaction::Summary>, GenerationRequest), ApiError> {
    let TurnSource::Here(model) = source else {
        for (is_asked, field) in
            [(parsed.compaction.is_some(), "context_management"), (parsed.may_truncate, "truncation")]
        {
            if is_asked {
                let warning = format!("{field}: what goes to an upstream's model is not shortened");
                parsed.generation.warnings.push(warning);
            }
        }
        let generation = parsed.generation.clone();
        return Ok((parsed, None, generation));
    };
    let (parsed, summary) = compaction::managed(app, model, parsed).await?;
    let (generation, may_truncate) = (parsed.generation.clone(), parsed.may_truncate);
    let generation = compaction::truncated(app, model, generation, may_truncate).await?;
    Ok((parsed, summary, generation))
}

/// Where a response's calls run, if it may have any, and the name of its container; one that goes on behind a
/// call begins where that ended.
fn session(
    app: &App,
    source: &TurnSource,
    parsed: &ParsedResponsesRequest,
    waiting: Option<&str>,
) -> (Option<Box<dyn ToolSession>>, String) {
    let (tenant, hosted) = (parsed.generation.tenant.as_str(), &parsed.generation.tools.hosted);
    let named = hosted.container.id.as_deref();
    let Some(host) = app.tools.as_ref().filter(|_| !hosted.is_empty()) else {
        return (None, named.unwrap_or_default().to_owned());
    };
    let label = source.label();
    let forked = waiting.and_then(|call_id| app.paused.fork((tenant, call_id), named, label, Instant::now()));
    let (session, container) = match forked {
        Some((session, container, label)) => {
            label.into_iter().for_each(|label| source.raise(label));
            (session, container)
        }
        None => {
            let container = named.map_or_else(|| ids::random("cntr"), str::to_owned);
            (host.open(tenant, &container), container)
        }
    };
    (Some(session), container)
}

/// What the events tell of tools that run here, and how many calls there may be.
fn tool_events(
    app: &App,
    parsed: &ParsedResponsesRequest,
    calls_max: Option<i64>,
    container: &str,
) -> ToolEvents {
    let asked = calls_max.and_then(|max| u64::try_from(max).ok());
    ToolEvents {
        has_sources: parsed.includes_sources,
        has_outputs: parsed.includes_outputs,
        container_id: container.to_owned(),
        calls_max: asked.unwrap_or(app.limits.tool_calls_max).min(app.limits.tool_calls_max),
    }
}

/// A response for which nothing is generated: what the request says is kept, for who goes on from it.
async fn prepare(
    app: &Arc<App>,
    parsed: ParsedResponsesRequest,
    object: ResponseObject,
) -> Result<Arc<ResponseLog>, ApiError> {
    let tenant = parsed.generation.tenant.clone();
    let live = Arc::new(ResponseLog::new(tenant, object.clone(), Spent::default()));
    let mut machine = ResponseMachine::new(object, options(&parsed));
    live.append(&machine.begin(), machine.response());
    let last = machine.finish_without_output(now());
    let written = Written { entries: parsed.entries.clone(), last, label: None };
    end(app, &parsed, &mut machine, &live, written).await;
    Ok(live)
}

fn options(parsed: &ParsedResponsesRequest) -> EventOptions {
    EventOptions {
        tools: parsed.generation.tools.clone(),
        visibility: parsed.generation.visibility,
        tells_logprobs: parsed.includes_logprobs,
        new_id: ids::random,
    }
}

/// Keeps what a response comes to, and then tells its last events.
async fn end(
    app: &Arc<App>,
    parsed: &ParsedResponsesRequest,
    machine: &mut ResponseMachine,
    live: &ResponseLog,
    Written { entries, mut last, label }: Written,
) {
    let response = machine.response();
    if !response.store {
        live.keep(entries);
    } else if let Err(error) =
        stored_response::finish(app, parsed, response, (entries, label), (live, &last)).await
    {
        app.log.notice(&format!("{}: not stored: {error}", response.id));
        machine.was_not_stored(&mut last, &error);
    }
    apart(parsed.includes_logprobs, || live.append(&last, machine.response()));
    live.end(machine.response().clone());
}

/// The end of a response's task, also by a panic: whoever waits for it must not wait for ever.
struct End<'a> {
    app: &'a App,
    live: &'a ResponseLog,
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
    /// The label under which all of it has left, if it has.
    label: Option<Label>,
}

/// The log of a response: what was begun is finished, so that it can be stored.
struct LogSink<'a> {
    app: &'a App,
    live: &'a ResponseLog,
    tells_logprobs: bool,
}

impl Sink<ResponseMachine> for LogSink<'_> {
    const FINISHES: bool = true;

    async fn put(&self, events: Vec<Numbered>, machine: &ResponseMachine) -> Result<(), Abort> {
        // Only the end of a text has all its log-probabilities at once.
        let is_long = |numbered: &Numbered| !matches!(numbered.event, Event::TextDelta { .. });
        let is_much = self.tells_logprobs && events.iter().any(is_long);
        apart(is_much, || self.live.append(&events, machine.response()));
        Ok(())
    }

    async fn closed(&self) {
        self.live.cancelled().await;
        if !self.live.is_background {
            self.app.metrics.disconnects.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes a response to its end.
async fn write(
    run: ToolLoop<'_>,
    parsed: &ParsedResponsesRequest,
    first: Result<ChoiceStream, ApprovedCall>,
    machine: &mut ResponseMachine,
    live: &ResponseLog,
) -> Written {
    let mut entries = parsed.entries.clone();
    let (app, source, begun) = (run.app, run.source, run.request.begun);
    let sink = LogSink { app, live, tells_logprobs: parsed.includes_logprobs };
    let error = match run.run(first, machine, &sink).await {
        Ok(Looped { last, tokens, messages, call_id, works }) => {
            let count = messages.len();
            entries.extend(messages.into_iter().enumerate().map(|(index, message)| Entry {
                message,
                call_id: call_id.clone().filter(|_| index + 1 == count),
            }));
            source.turns().ended(tokens, begun.elapsed());
            live.spent.set(Work { model: Arc::clone(source.name()), tokens, choices: works });
            match source.bill() {
                // Charged what was computed until it was cancelled.
                Some(bill) if live.is_cancelled() && !live.is_background => bill.left(),
                Some(_) | None => source.settle(tokens).await,
            }
            app.metrics.warnings.fetch_add(machine.warnings().len() as u64, Ordering::Relaxed);
            return Written { entries, last, label: source.left() };
        }
        Err(Abort::Failed(error)) => error,
        Err(Abort::Reader) => ApiError::Cancelled,
    };
    if let Some(bill) = source.bill() {
        bill.failed(&error);
    }
    let last = machine.fail(&error);
    live.fail(error);
    Written { entries, last, label: source.left() }
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
) -> Result<Response, Rejection> {
    let from = query.starting_after.map_or(0, |after| after.saturating_add(1)) as usize;
    let wants_stream = query.stream == Some(true);
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        return Ok(if wants_stream {
            let spent = live.spent.clone();
            let events = events_from(live, from, caller.visibility, None);
            spent.of(live_stream(events, app.limits.keep_alive))
        } else {
            seen(live.response(), caller.visibility)
        });
    }
    let Caller { tenant, visibility, .. } = caller;
    if !wants_stream {
        let row = run_blocking(&app, move |app| app.store.find(Kind::Response, &tenant, &id, now())).await?;
        return Ok(seen(stored_response::interrupted(row).body, visibility));
    }
    let replay = move |app: &App| {
        let row = app.store.find(Kind::Response, &tenant, &id, now())?;
        // Of a response that was cut off there is one event, which comes last whatever was read before.
        let from = if row.is_unfinished { 0 } else { from };
        Ok(replay(&stored_response::interrupted(row), from, visibility))
    };
    Ok(event_stream(HttpBody::from(run_blocking(&app, replay).await?)))
}

/// The object as its reader may see it.
fn seen(response: impl Serialize, visibility: Visibility) -> Response {
    if visibility == Visibility::Raw {
        return Json(response).into_response();
    }
    match serde_json::to_value(response) {
        Ok(mut response) => {
            narrow_response(&mut response, visibility);
            Json(response).into_response()
        }
        Err(error) => Rejection(ApiError::Internal { problem: error.to_string() }).into_response(),
    }
}

/// `DELETE /v1/responses/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Rejection> {
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        live.cancel();
        live.whole().await;
    }
    let (tenant, gone) = (caller.tenant, id.clone());
    match run_blocking(&app, move |app| app.store.delete(Kind::Response, &tenant, &gone, now())).await? {
        true => Ok(Json(Deleted { id, object: "response", deleted: true })),
        false => Err(ApiError::NotFound { what: "response", id }.into()),
    }
}

/// `POST /v1/responses/{id}/cancel`.
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    if let Some(live) = app.live.find(&caller.tenant, &id) {
        if !live.is_background {
            return Err(not_in_background().into());
        }
        live.cancel();
        return Ok(seen(live.whole().await, caller.visibility));
    }
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.store.find(Kind::Response, &tenant, &id, now())).await?;
    if row.body.get("background") != Some(&Value::Bool(true)) {
        return Err(not_in_background().into());
    }
    Ok(seen(stored_response::interrupted(row).body, caller.visibility))
}

fn not_in_background() -> ApiError {
    let message = "only a response that runs in the background can be cancelled; close the others' stream";
    ApiError::Invalid { param: None, message: message.to_owned() }
}

/// `GET /v1/responses/{id}/input_items`.
pub(crate) async fn input_items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, Rejection> {
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.store.find(Kind::Response, &tenant, &id, now())).await?;
    let mut listed = page(row.items, &query)?;
    narrow_items(&mut listed.data, caller.visibility);
    Ok(Json(listed))
}

/// `POST /v1/responses/compact`.
pub(crate) async fn compact(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CompactRequest>,
) -> Result<Json<Compaction>, Rejection> {
    let model = app.model(&caller, Some(&request.model))?;
    let whole = ResponsesRequest {
        model: Some(request.model),
        input: request.input,
        instructions: request.instructions,
        previous_response_id: request.previous_response_id,
        store: Some(false),
        ..ResponsesRequest::default()
    };
    let (before, _) = before(&app, &caller, &whole, None).await?;
    let tools = ServerTools::default();
    let mut parsed = app.read(&caller, &model.served, |scope| parse::parse(&whole, before, &tools, scope))?;
    ruling::decide(&caller, &model, &mut parsed.generation)?;
    let model = app.lease(&caller, &model).await?;
    Ok(Json(compaction::compact(&app, &model, parsed).await?))
}

/// `POST /v1/responses/input_tokens`.
pub(crate) async fn input_tokens(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ResponsesRequest>,
) -> Result<Json<InputTokens>, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let (before, _) = before(&app, &caller, &request, None).await?;
    let tools = tools_for(app.tools.as_ref(), &caller, &request).await?;
    let parsed = app.read(&caller, &model.served, |scope| parse::parse(&request, before, &tools, scope))?;
    let model = app.lease(&caller, &model).await?;
    let generation = compaction::truncated(&app, &model, parsed.generation, parsed.may_truncate).await?;
    let input_tokens = compaction::count(&app, &model, generation.conversation).await?;
    Ok(Json(InputTokens { object: "response.input_tokens", input_tokens }))
}
