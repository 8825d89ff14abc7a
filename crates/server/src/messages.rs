//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's dialect.
//!
//! One task runs the turn and sends its events into a bounded channel; a stream sends them on under their
//! names, a request without a stream adds them up. Errors are put into Anthropic's words where all responses
//! pass (`anthropic`), but for the one in the middle of a stream.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::FutureExt;
use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::messages::errors;
use gptoss_api::messages::events::{Folder, MessageHeader, MessageMachine};
use gptoss_api::messages::parse::{self, ParsedMessages};
use gptoss_api::messages::signature::Signer;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::message_events::{MessageEvent, TokenCount};
use gptoss_api::wire::messages::MessagesRequest;
use tokio::sync::mpsc;

use crate::access_log::{RequestId, Spent};
use crate::body::Body;
use crate::compaction;
use crate::drive::{ChannelSink, ChoiceEvent, ChoiceStream, Choices, Request, collect, lines, spawn, write};
use crate::ids;
use crate::keys::Caller;
use crate::limits::STREAM_EVENTS_MAX;
use crate::model_host::Lease;
use crate::opening::Opening;
use crate::rejection::Rejection;
use crate::ruling;
use crate::sse::{line, named_stream};
use crate::state::{App, Shared};
use crate::turn_stream::{self, TurnStream};

/// `POST /v1/messages`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    Body(request): Body<MessagesRequest>,
) -> Result<Response, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let signer = app.thinking_key.signer(&caller.tenant);
    let mut parsed = app.read(&caller, &model.served, |scope| parse::parse(&request, scope, &signer))?;
    ruling::decide(&caller, &model, &mut parsed.generation)?;
    let heading =
        MessageHeader { id: ids::random("msg"), model: model.served.named(request.model.as_deref()) };
    let (spent, silence) = (Spent::default(), app.limits.keep_alive);
    let told = spent.clone();
    let beginning = async move {
        let model = app.lease(&caller, &model).await?;
        start(&app, model, parsed, (heading, signer), told).await
    };
    if request.stream == Some(true) {
        let opening = Opening::of(beginning, silence).await?;
        let lines = lines(opening, move |event| named(event, &id));
        return Ok(spent.of(named_stream(lines, silence)));
    }
    let mut folder = Folder::default();
    collect(beginning.await?, |event| folder.push(event)).await?;
    let broken = || ApiError::Internal { problem: "the message never began".to_owned() };
    let message = folder.finish().ok_or_else(broken)?;
    Ok(spent.of(Json(message).into_response()))
}

/// `POST /v1/messages/count_tokens`.
pub(crate) async fn count_tokens(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<MessagesRequest>,
) -> Result<Json<TokenCount>, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let signer = app.thinking_key.signer(&caller.tenant);
    let parsed = app.read(&caller, &model.served, |scope| parse::count(&request, scope, &signer))?;
    let model = app.lease(&caller, &model).await?;
    let input_tokens = compaction::count(&app, &model, parsed.generation.conversation).await?;
    Ok(Json(TokenCount { input_tokens }))
}

/// Starts the task of a request, which says in `spent` what it took.
///
/// Errors: as [`turn_stream::begin`].
async fn start(
    app: &Arc<App>,
    model: Arc<Lease>,
    parsed: ParsedMessages,
    (heading, signer): (MessageHeader, Signer),
    spent: Spent,
) -> Result<mpsc::Receiver<ChoiceEvent<MessageEvent>>, ApiError> {
    let begun = Instant::now();
    let ParsedMessages { generation, shown } = parsed;
    let generation = Arc::new(generation);
    let summarizes = generation.visibility == Visibility::Summary;
    let streams = turn_stream::begin(app, &model, Arc::clone(&generation), summarizes, 1).await?;
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let message = |turn: TurnStream| {
        let (app, generation, sink) = (Arc::clone(app), Arc::clone(&generation), ChannelSink(sender.clone()));
        let (heading, warnings) = (heading.clone(), generation.warnings.clone());
        let machine = MessageMachine::new(heading, shown, signer.clone(), ids::random, warnings);
        let model = Arc::clone(&model);
        async move {
            let request = Request {
                turns: &model.entry.turns,
                tenant: &generation.tenant,
                tells_logprobs: false,
                begun,
            };
            write(&app, request, ChoiceStream::Turn(Box::new(turn)), machine, &sink).await
        }
        .boxed()
    };
    let choices = Choices {
        list: streams.into_iter().map(message).collect(),
        model,
        at_once: 1,
        count: TokenUsage::add_choice,
        warnings: Vec::new(),
        begun,
        spent,
    };
    spawn(app, choices, sender);
    Ok(receiver)
}

/// The events of a stream that an event makes, each with its name.
fn named(event: ChoiceEvent<MessageEvent>, id: &RequestId) -> Vec<(&'static str, String)> {
    match event {
        ChoiceEvent::Chunk(event) => vec![(event.name(), line(&event))],
        ChoiceEvent::End { .. } => Vec::new(),
        ChoiceEvent::Failed(error) => vec![("error", line(&errors::body(&error, Some(&id.0))))],
    }
}
