//! `POST /v1/chat/completions`.
//!
//! One task runs all choices of a request and sends their chunks into a bounded channel; a stream writes them
//! out, a request without a stream folds them up. When the other end of the channel is gone, so is the
//! client, and the task stops within a step.
//!
//! What a request means is `chat_input`'s to say, what an answer looks like `chat_stream`'s.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::ask::Ask;
use crate::blocking::apart;
use crate::body::Body;
use crate::chat_input::{self, Setting};
use crate::chat_stream::{ChatChoice, fold};
use crate::ids;
use crate::keys::Caller;
use crate::limits::{READER_PATIENCE, STREAM_EVENTS_MAX};
use crate::sampling;
use crate::sse::{error_line, keep_alive};
use crate::state::{App, Shared, now};
use crate::talk::{self, Step, Talk};
use crate::usage::TokenUsage;
use crate::visibility::Visibility;
use crate::wire::chat::{ChatChunk, ChatCompletion, ChatRequest, Choice, ChunkChoice};
use crate::wire::errors::ApiError;

/// What the task of a request sends.
pub(crate) enum Out {
    /// Something new in a choice.
    Chunk(Box<ChunkChoice>),
    /// All choices have ended.
    End {
        /// What they took.
        tokens: TokenUsage,
        /// What was changed, repaired or left out.
        warnings: Vec<String>,
    },
    /// A choice failed.
    Failed(ApiError),
}

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, ApiError> {
    app.model.check(request.model.as_deref())?;
    let ask = read(&app, &caller, &request)?;
    let count = sampling::choices(request.n, app.limits.choices_max)?;
    let model =
        request.model.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| app.model.name.clone());
    let heading = Heading {
        id: ids::random("chatcmpl"),
        created: now(),
        model,
        fingerprint: app.model.fingerprint.clone(),
    };
    let is_much = ask.top_logprobs.is_some();
    let (out, spent) = start(&app, ask, count).await?;
    if request.stream == Some(true) {
        let wants_usage =
            request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true));
        return Ok(spent.of(stream(&app, heading, out, wants_usage)));
    }
    let whole = whole(heading, out).await?;
    Ok(spent.of(apart(is_much, || Json(whole).into_response())))
}

/// What a chat asks.
pub(crate) fn read(app: &App, caller: &Caller, request: &ChatRequest) -> Result<Ask, ApiError> {
    let instant = Instant::now();
    let recall = |id: &str| app.memory.recall(&caller.tenant, id, instant);
    let setting = Setting {
        model: &app.model,
        limits: &app.limits,
        tenant: &caller.tenant,
        visibility: caller.visibility,
        recall: &recall,
    };
    chat_input::ask(request, &setting)
}

/// Starts the task of a request.
pub(crate) async fn start(
    app: &Arc<App>,
    ask: Ask,
    count: usize,
) -> Result<(mpsc::Receiver<Out>, Spent), ApiError> {
    let begun = Instant::now();
    let ask = Arc::new(ask);
    let summarises = ask.visibility == Visibility::Summary;
    let talks = talk::begin(app, Arc::clone(&ask), summarises, count).await?;
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let (app, spent) = (Arc::clone(app), Spent::default());
    let told = spent.clone();
    tokio::spawn(async move {
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        let choices = talks.into_iter().enumerate().map(|(index, talk)| {
            let choice =
                ChatChoice::new(index as u32, ask.tools.clone(), ask.visibility, ask.top_logprobs.is_some());
            write(&app, &ask, talk, choice, &sender, begun)
        });
        // The first choice that fails ends the request, and with it the others.
        let ended = try_join_all(choices).await;
        app.metrics.running.fetch_sub(1, Ordering::Relaxed);
        let ended = match ended {
            Ok(ended) => ended,
            Err(Lost::Failed(error)) => {
                let _ = sender.send(Out::Failed(error)).await;
                return;
            }
            Err(Lost::Reader) => {
                app.metrics.disconnects.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let mut tokens = TokenUsage::default();
        let mut warnings = ask.warnings.clone();
        for (more, others) in ended {
            tokens.add_choice(more);
            warnings.extend(others);
        }
        told.set(tokens);
        app.metrics.ended(tokens, begun.elapsed());
        app.metrics.warnings.fetch_add(warnings.len() as u64, Ordering::Relaxed);
        let _ = sender.send(Out::End { tokens, warnings }).await;
    });
    Ok((receiver, spent))
}

enum Lost {
    Failed(ApiError),
    Reader,
}

/// Writes one choice to its end.
async fn write(
    app: &App,
    ask: &Ask,
    mut talk: Talk,
    mut choice: ChatChoice,
    sender: &mpsc::Sender<Out>,
    begun: Instant,
) -> Result<(TokenUsage, Vec<String>), Lost> {
    let mut has_spoken = false;
    send(sender, choice.begin()).await?;
    loop {
        let step = tokio::select! {
            step = talk.next() => step,
            () = sender.closed() => return Err(Lost::Reader),
        };
        match step {
            Step::Delta(delta) => {
                talk::spoken(app, &mut has_spoken, begun);
                if let Some(chunk) = choice.push(delta) {
                    send(sender, chunk).await?;
                }
            }
            Step::Summary(text) => {
                talk::spoken(app, &mut has_spoken, begun);
                send(sender, choice.push_summary(text)).await?;
            }
            Step::End(ending) => {
                if let Some(id) = choice.call_ids().last()
                    && ending.messages.last().is_some_and(|message| message.recipient.is_some())
                {
                    app.memory.keep(&ask.tenant, id, ending.messages, Instant::now());
                }
                send(sender, choice.finish(ending.end)).await?;
                return Ok((ending.tokens, choice.take_warnings()));
            }
            Step::Failed(error) => return Err(Lost::Failed(error)),
        }
    }
}

async fn send(sender: &mpsc::Sender<Out>, chunk: ChunkChoice) -> Result<(), Lost> {
    let sent = tokio::time::timeout(READER_PATIENCE, sender.send(Out::Chunk(Box::new(chunk)))).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Lost::Reader),
    }
}

/// What stands in every chunk.
#[derive(Debug, Clone)]
pub(crate) struct Heading {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) fingerprint: String,
}

/// The body of a request without a stream.
pub(crate) async fn whole(
    heading: Heading,
    mut out: mpsc::Receiver<Out>,
) -> Result<ChatCompletion, ApiError> {
    let mut choices: Vec<Choice> = Vec::new();
    while let Some(event) = out.recv().await {
        match event {
            Out::Chunk(chunk) => {
                let index = chunk.index as usize;
                if choices.len() <= index {
                    choices.resize_with(index + 1, Choice::default);
                }
                fold(&mut choices[index], *chunk);
            }
            Out::Failed(error) => return Err(error),
            Out::End { tokens, warnings } => {
                return Ok(ChatCompletion {
                    id: heading.id,
                    object: "chat.completion",
                    created: heading.created,
                    model: heading.model,
                    choices,
                    usage: Some(tokens.chat_usage()),
                    system_fingerprint: heading.fingerprint,
                    service_tier: "default",
                    warnings,
                });
            }
        }
    }
    Err(ApiError::Internal { problem: "the answer broke off".to_owned() })
}

fn stream(app: &App, heading: Heading, out: mpsc::Receiver<Out>, wants_usage: bool) -> Response {
    let keep_alive = keep_alive(app.limits.keep_alive);
    Sse::new(events(heading, out, wants_usage)).keep_alive(keep_alive).into_response()
}

fn events(
    heading: Heading,
    out: mpsc::Receiver<Out>,
    wants_usage: bool,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let chunk = move |choices: Vec<ChunkChoice>, usage, warnings| {
        let chunk = ChatChunk {
            id: heading.id.clone(),
            object: "chat.completion.chunk",
            created: heading.created,
            model: heading.model.clone(),
            choices,
            usage,
            system_fingerprint: heading.fingerprint.clone(),
            service_tier: "default",
            warnings,
        };
        serde_json::to_string(&chunk).unwrap_or_default()
    };
    let lines = stream::unfold((out, false), move |(mut out, is_over)| {
        let chunk = chunk.clone();
        async move {
            if is_over {
                return None;
            }
            let lines = match out.recv().await {
                Some(Out::Chunk(choice)) => {
                    let usage = wants_usage.then_some(None);
                    return Some((vec![chunk(vec![*choice], usage, Vec::new())], (out, false)));
                }
                Some(Out::End { tokens, warnings }) => {
                    let usage = wants_usage.then(|| Some(tokens.chat_usage()));
                    let is_needed = wants_usage || !warnings.is_empty();
                    is_needed.then(|| chunk(Vec::new(), usage, warnings))
                }
                Some(Out::Failed(error)) => Some(error_line(&error)),
                None => Some(error_line(&ApiError::Internal { problem: "the answer broke off".to_owned() })),
            };
            let lines = lines.into_iter().chain(["[DONE]".to_owned()]).collect();
            Some((lines, (out, true)))
        }
    });
    lines.flat_map(stream::iter::<Vec<String>>).map(|line| Ok(Event::default().data(line)))
}
