//! `POST /v1/chat/completions`.
//!
//! One task runs all choices of a request and sends their chunks into a bounded channel; a stream writes them
//! out, a request without a stream folds them up. When the other end of the channel is gone, so is the
//! client, and the task stops within a step.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::FutureExt;
use gptoss_api::chat::chunks::{ChatChoice, ChunkHeader, fold};
use gptoss_api::chat::parse;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::sampling;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::chat::{ChatRequest, Choice, ChunkChoice};
use gptoss_api::{ApiError, EventOptions};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::blocking::apart;
use crate::body::Body;
use crate::drive::{
    ChannelSink, ChoiceEvent, ChoiceStream, Choices, Collected, Request, collect, lines, spawn, write,
};
use crate::ids;
use crate::keys::Caller;
use crate::limits::STREAM_EVENTS_MAX;
use crate::model_host::Lease;
use crate::opening::Opening;
use crate::rejection::Rejection;
use crate::ruling;
use crate::sse::{DONE, data_stream, error_line, line};
use crate::state::{App, Shared, now};
use crate::turn_stream::{self, TurnStream};

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let mut generation = app.read(&caller, &model.served, |scope| parse::parse(&request, scope))?;
    ruling::decide(&caller, &model, &mut generation)?;
    let count = sampling::choices(request.n, app.limits.request.choices_max)?;
    let heading = ChunkHeader {
        id: ids::random_dashed("chatcmpl"),
        created: now(),
        model: model.served.named(request.model.as_deref()),
        fingerprint: model.served.fingerprint.clone(),
    };
    let is_much = generation.top_logprobs.is_some();
    let (spent, silence) = (Spent::default(), app.limits.keep_alive);
    let told = spent.clone();
    let beginning = async move {
        let model = app.lease(&caller, &model).await?;
        start(&app, model, generation, count, told).await
    };
    if request.stream == Some(true) {
        let wants_usage =
            request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true));
        let opening = Opening::of(beginning, silence).await?;
        let lines = lines(opening, move |event| chunk_lines(&heading, event, wants_usage));
        return Ok(spent.of(data_stream(lines, silence)));
    }
    let mut choices: Vec<Choice> = Vec::new();
    let add = |chunk: ChunkChoice| {
        let index = chunk.index as usize;
        if choices.len() <= index {
            choices.resize_with(index + 1, Choice::default);
        }
        fold(&mut choices[index], chunk);
    };
    let Collected { tokens, warnings, moderation } = collect(beginning.await?, add).await?;
    let told = (warnings, moderation.map(|found| *found));
    let whole = heading.completion(choices, tokens.chat_usage(), told);
    Ok(spent.of(apart(is_much, || Json(whole).into_response())))
}

/// Starts the task of a request, which says in `spent` what it took.
///
/// Errors: as [`turn_stream::begin`].
pub(crate) async fn start(
    app: &Arc<App>,
    model: Arc<Lease>,
    generation: GenerationRequest,
    count: usize,
    spent: Spent,
) -> Result<mpsc::Receiver<ChoiceEvent<ChunkChoice>>, ApiError> {
    let begun = Instant::now();
    let generation = Arc::new(generation);
    let summarizes = generation.visibility == Visibility::Summary;
    let streams = turn_stream::begin(app, &model, Arc::clone(&generation), summarizes, count).await?;
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let choice = |(index, turn): (usize, TurnStream)| {
        let (app, generation, sink) = (Arc::clone(app), Arc::clone(&generation), ChannelSink(sender.clone()));
        let model = Arc::clone(&model);
        async move {
            let tells_logprobs = generation.top_logprobs.is_some();
            let (tools, visibility) = (generation.tools.clone(), generation.visibility);
            let options = EventOptions { tools, visibility, tells_logprobs, new_id: ids::random };
            let machine = ChatChoice::new(index as u32, options).with_reasoning_field(app.reasoning_field);
            let request =
                Request { turns: &model.entry.turns, tenant: &generation.tenant, tells_logprobs, begun };
            write(&app, request, ChoiceStream::Turn(Box::new(turn)), machine, &sink).await
        }
        .boxed()
    };
    let choices = Choices {
        list: streams.into_iter().enumerate().map(choice).collect(),
        model,
        at_once: count,
        count: TokenUsage::add_choice,
        warnings: generation.warnings.clone(),
        begun,
        spent,
    };
    spawn(app, choices, sender);
    Ok(receiver)
}

/// The lines of a stream that an event makes.
fn chunk_lines(heading: &ChunkHeader, event: ChoiceEvent<ChunkChoice>, wants_usage: bool) -> Vec<String> {
    let last = match event {
        ChoiceEvent::Chunk(choice) => {
            let usage = wants_usage.then_some(None);
            return vec![line(&heading.chunk(vec![*choice], usage, (Vec::new(), None)))];
        }
        ChoiceEvent::End { tokens, warnings, moderation } => {
            let usage = wants_usage.then(|| Some(tokens.chat_usage()));
            let is_needed = wants_usage || !warnings.is_empty() || moderation.is_some();
            let told = (warnings, moderation.map(|found| *found));
            is_needed.then(|| line(&heading.chunk(Vec::new(), usage, told)))
        }
        ChoiceEvent::Failed(error) => Some(error_line(&error)),
    };
    last.into_iter().chain([DONE.to_owned()]).collect()
}
