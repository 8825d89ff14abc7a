//! `POST /v1/completions`: the text that follows, without the format.
//!
//! Prompts go to the model as they are. With `echo` and `logprobs` the prompt's own tokens are given to the
//! model one by one, so that each comes with the log-probability it had there, which is what evaluation
//! harnesses add up. Chunks and the whole body are made by the same task; the body is the chunks added up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gptoss_api::ApiError;
use gptoss_api::completions::chunks::{CompletionMachine, fold};
use gptoss_api::completions::parse::{self, ParsedCompletionRequest};
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::completions::{Completion, CompletionChoice, CompletionRequest, Prompt};
use gptoss_turn::{Tenant, TextOptions};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::blocking::{apart, run_blocking};
use crate::body::Body;
use crate::drive::{
    Abort, ChannelSink, ChoiceEvent, ChoiceStream, Choices, Collected, Request, Written, collect, lines,
    spawn, write,
};
use crate::ids;
use crate::keys::Caller;
use crate::limits::{STREAM_EVENTS_MAX, TEXTS_AT_ONCE};
use crate::model_host::Lease;
use crate::opening::Opening;
use crate::queue_share::Waiting;
use crate::rejection::Rejection;
use crate::ruling;
use crate::sampling::params;
use crate::sse::{DONE, data_stream, error_line, line};
use crate::state::{App, Shared, now};
use crate::text_stream::{TextStream, TextView};
use crate::turn_stream::{deadline, enter_queue, priority, refused};
use crate::watch::Watch;

/// Between two looks at a full queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, Rejection> {
    let model = app.model(&caller, request.model.as_deref())?;
    let is_of_tokens = matches!(&request.prompt, Some(Prompt::Tokens(_) | Prompt::TokenLists(_)));
    if is_of_tokens && !caller.may_use_tokens {
        return Err(ApiError::Scope { what: "send prompts of token ids" }.into());
    }
    let heading = Completion {
        id: ids::random_dashed("cmpl"),
        object: "text_completion",
        created: now(),
        model: model.served.named(request.model.as_deref()),
        choices: Vec::new(),
        usage: None,
        system_fingerprint: model.served.fingerprint.clone(),
        warnings: Vec::new(),
    };
    let (is_stream, is_much) = (request.stream == Some(true), request.logprobs.is_some());
    let wants_usage =
        request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true));
    let (spent, silence) = (Spent::default(), app.limits.keep_alive);
    let told = spent.clone();
    let beginning = async move {
        let model = app.lease(&caller, &model).await?;
        let mut parsed = read(&app, &model, request).await?;
        ruling::decide_text(&caller, &model.entry, &mut parsed)?;
        start(&app, &model, &caller, &parsed, told).await
    };
    if is_stream {
        let opening = Opening::of(beginning, silence).await?;
        let lines = lines(opening, move |event| chunk_lines(&heading, event, wants_usage));
        return Ok(spent.of(data_stream(lines, silence)));
    }
    let mut choices: Vec<CompletionChoice> = Vec::new();
    let add = |chunk: CompletionChoice| {
        let index = chunk.index as usize;
        if choices.len() <= index {
            choices.resize_with(index + 1, CompletionChoice::default);
        }
        fold(&mut choices[index], chunk);
    };
    let Collected { tokens, warnings, .. } = collect(beginning.await?, add).await?;
    let whole = Completion { choices, usage: Some(Some(tokens.chat_usage())), warnings, ..heading };
    Ok(spent.of(apart(is_much, || Json(whole).into_response())))
}

/// What a request asks of a model, in its tokens.
///
/// Errors: as [`parse::parse`].
pub(crate) async fn read(
    app: &Arc<App>,
    model: &Arc<Lease>,
    request: CompletionRequest,
) -> Result<ParsedCompletionRequest, ApiError> {
    let model = Arc::clone(model);
    run_blocking(app, move |app| parse::parse(&request, model.assistant().vocab(), &app.limits.request)).await
}

/// A continuation that is not begun.
struct Planned {
    index: u32,
    prompt: Vec<u32>,
    options: TextOptions,
    view: TextView,
}

impl Planned {
    /// Tokens of the prompt, those that are given one by one among them.
    fn num_read(&self) -> usize {
        self.prompt.len() + self.options.forced_tokens.len()
    }

    /// What the prompt says.
    fn said(&self, model: &Lease) -> String {
        let ids = [self.prompt.as_slice(), &self.options.forced_tokens].concat();
        String::from_utf8_lossy(&model.assistant().vocab().decode(&ids).unwrap_or_default()).into_owned()
    }

    /// Begins it; `waiting` is its place in the queue.
    ///
    /// Errors: the engine refuses.
    fn begin(&self, model: &Arc<Lease>, waiting: Option<Waiting>) -> Result<TextStream, ApiError> {
        let begun = Instant::now();
        let text =
            model.assistant().start_text(self.prompt.clone(), self.options.clone()).map_err(refused)?;
        Ok(TextStream::new(model, (text, begun), waiting, self.view.clone()))
    }

    /// Begins it when there is room: this request has been taken, so a queue that is full for the moment does
    /// not refuse it any more.
    async fn begin_in_time(&self, model: &Arc<Lease>) -> Result<TextStream, ApiError> {
        loop {
            let begun = enter_queue(model, &self.options.tenant.0, 1)
                .and_then(|mut waiting| self.begin(model, waiting.pop()));
            match begun {
                Err(ApiError::Busy { .. })
                    if self.options.deadline.is_none_or(|end| Instant::now() < end) =>
                {
                    tokio::time::sleep(QUEUE_PAUSE).await;
                }
                other => return other,
            }
        }
    }
}

/// What a request asks, text by text.
///
/// Errors: a prompt that does not fit the context.
fn plan(
    app: &App,
    model: &Lease,
    caller: &Caller,
    parsed: &ParsedCompletionRequest,
) -> Result<Vec<Planned>, ApiError> {
    let scores = parsed.echo && parsed.logprobs.is_some();
    let options = TextOptions {
        sampling: params(&parsed.sampling, &model.served().sampling),
        forced_tokens: Vec::new(),
        max_new_tokens: parsed.max_new_tokens,
        min_new_tokens: parsed.min_new_tokens,
        stop_ids: parsed.stop_ids.clone(),
        logprobs: parsed.logprobs,
        tenant: Tenant(Arc::from(caller.tenant.as_str())),
        priority: priority(caller.is_background),
        deadline: deadline(app, caller.is_background, Instant::now()),
    };
    let mut planned = Vec::new();
    for prompt in &parsed.prompts {
        let (prompt_tokens, max_context) = (prompt.len(), model.served().max_context);
        if prompt_tokens > max_context {
            return Err(ApiError::ContextLength { prompt_tokens, max_context });
        }
        for number in 0..parsed.count {
            let mut options = options.clone();
            options.sampling.seed = options.sampling.seed.wrapping_add(number as u64);
            let read = if scores { 1 } else { prompt.len() };
            options.forced_tokens = prompt[read..].to_vec();
            if !scores && options.max_new_tokens == Some(0) {
                // Nothing is asked but the prompt itself: one token is written and not shown.
                options.max_new_tokens = Some(1);
            }
            let view = TextView {
                head: if parsed.echo { prompt[..read].to_vec() } else { Vec::new() },
                stops: parsed.stops.clone(),
                num_forced: options.forced_tokens.len(),
                tells_logprobs: parsed.logprobs.is_some(),
                shows_text: parsed.max_new_tokens != Some(0) || scores,
            };
            let (index, prompt) = (planned.len() as u32, prompt[..read].to_vec());
            planned.push(Planned { index, prompt, options, view });
        }
    }
    Ok(planned)
}

/// Starts the task of a request, which says in `spent` what it took.
///
/// Errors: a prompt that does not fit, that the key has too few tokens for, or that the engine refuses.
pub(crate) async fn start(
    app: &Arc<App>,
    model: &Arc<Lease>,
    caller: &Caller,
    parsed: &ParsedCompletionRequest,
    spent: Spent,
) -> Result<mpsc::Receiver<ChoiceEvent<CompletionChoice>>, ApiError> {
    let begun = Instant::now();
    let mut later = plan(app, model, caller, parsed)?;
    if let Some(bill) = model.bill() {
        let input = later.iter().map(Planned::num_read).sum();
        let output = later.iter().map(|planned| planned.options.max_new_tokens).sum::<Option<usize>>();
        bill.reserve_apart(input, output).await?;
    }
    let first = later.drain(..later.len().min(TEXTS_AT_ONCE));
    // What is refused is refused before anything is answered.
    let waiting = enter_queue(model, &caller.tenant, first.len())?;
    let first = first
        .zip(waiting)
        .map(|(planned, waiting)| planned.begin(model, Some(waiting)).map(|text| (planned, Some(text))));
    let first: Vec<(Planned, Option<TextStream>)> = first.collect::<Result<_, _>>()?;
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let texts = first.into_iter().chain(later.into_iter().map(|planned| (planned, None)));
    let text = |(planned, text)| {
        continuation((Arc::clone(app), Arc::clone(model)), planned, text, ChannelSink(sender.clone()), begun)
    };
    let choices = Choices {
        model: Arc::clone(model),
        list: texts.map(text).collect(),
        at_once: TEXTS_AT_ONCE,
        count: TokenUsage::add,
        warnings: parsed.warnings.clone(),
        begun,
        spent,
    };
    spawn(app, choices, sender);
    Ok(receiver)
}

/// One continuation from its first chunk to its last; begun here unless it has been.
fn continuation(
    (app, model): (Arc<App>, Arc<Lease>),
    planned: Planned,
    text: Option<TextStream>,
    sink: ChannelSink<CompletionChoice>,
    begun: Instant,
) -> BoxFuture<'static, Result<Written, Abort>> {
    async move {
        let mut text = match text {
            Some(text) => text,
            None => planned.begin_in_time(&model).await.map_err(Abort::Failed)?,
        };
        text.watch = Watch::of_text(&app, &model, &planned.options.tenant.0, || planned.said(&model));
        let tells_logprobs = planned.view.tells_logprobs;
        let request =
            Request { turns: &model.entry.turns, tenant: &planned.options.tenant.0, tells_logprobs, begun };
        let machine = CompletionMachine::new(planned.index, tells_logprobs);
        write(&app, request, ChoiceStream::Text(Box::new(text)), machine, &sink).await
    }
    .boxed()
}

/// The lines of a stream that an event makes.
fn chunk_lines(heading: &Completion, event: ChoiceEvent<CompletionChoice>, wants_usage: bool) -> Vec<String> {
    let chunk = |choices, usage| line(&Completion { choices, usage, ..heading.clone() });
    let last = match event {
        ChoiceEvent::Chunk(choice) => return vec![chunk(vec![*choice], wants_usage.then_some(None))],
        ChoiceEvent::End { tokens, warnings, .. } => {
            let usage = wants_usage.then(|| Some(tokens.chat_usage()));
            let is_needed = wants_usage || !warnings.is_empty();
            is_needed.then(|| line(&Completion { choices: Vec::new(), usage, warnings, ..heading.clone() }))
        }
        ChoiceEvent::Failed(error) => Some(error_line(&error)),
    };
    last.into_iter().chain([DONE.to_owned()]).collect()
}
