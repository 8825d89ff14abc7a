//! `POST /v1/completions`: the text that follows, without the format.
//!
//! Prompts go to the model as they are. With `echo` and `logprobs` the prompt's own tokens are given to the
//! model one by one, so that each comes with the log-probability it had there, which is what evaluation
//! harnesses add up. Chunks and the whole body are made by the same task; the body is the chunks added up.
//!
//! It does not know harmony; a model that was made for it answers better in the other APIs, and a warning
//! says so.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use gptoss_harmony::Token as VocabToken;
use gptoss_turn::{
    Channel, Delta, FinishReason, Logprob, StopFilter, Tenant, Text, TextEvent, TextOptions, logprob_of,
};
use tokio::sync::mpsc;

use crate::access_log::Spent;
use crate::blocking::{apart, run_blocking};
use crate::body::Body;
use crate::ids;
use crate::keys::Caller;
use crate::limits::{PROMPTS_MAX, READER_PATIENCE, STREAM_EVENTS_MAX, TEXTS_AT_ONCE};
use crate::sampling;
use crate::sse::{error_line, keep_alive};
use crate::state::{App, Shared, now};
use crate::talk::{failed, refused};
use crate::usage::TokenUsage;
use crate::wire::chat::TokenLogprob;
use crate::wire::completions::{Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, Prompt};
use crate::wire::errors::ApiError;

/// Tokens that are written when a request does not say how many, as the API has it.
const DEFAULT_TOKENS: i64 = 16;
/// Most alternatives per token that the old API tells.
const LOGPROBS_MAX: u32 = 20;

/// Between two looks at a full queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

/// What a request asks.
struct Ask {
    prompts: Vec<Vec<u32>>,
    options: TextOptions,
    stops: Vec<String>,
    count: usize,
    echo: bool,
    logprobs: Option<usize>,
}

enum Out {
    Chunk(CompletionChoice),
    End(TokenUsage),
    Failed(ApiError),
}

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, ApiError> {
    app.model.check(request.model.as_deref())?;
    let is_of_tokens = matches!(&request.prompt, Some(Prompt::Tokens(_) | Prompt::TokenLists(_)));
    if is_of_tokens && !caller.may_use_tokens {
        return Err(ApiError::Scope { what: "send prompts of token ids" });
    }
    let (ask, request) = run_blocking(&app, move |app| Ok((ask(app, &caller, &request)?, request))).await?;
    let heading = Completion {
        id: ids::random("cmpl"),
        object: "text_completion",
        created: now(),
        model: request
            .model
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| app.model.name.clone()),
        choices: Vec::new(),
        usage: None,
        system_fingerprint: app.model.fingerprint.clone(),
        warnings: Vec::new(),
    };
    let is_much = ask.logprobs.is_some();
    let (out, spent) = start(&app, &ask)?;
    if request.stream == Some(true) {
        let wants_usage =
            request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true));
        return Ok(spent.of(streamed(&app, heading, out, wants_usage)));
    }
    let whole = whole(heading, out).await?;
    Ok(spent.of(apart(is_much, || Json(whole).into_response())))
}

fn ask(app: &App, caller: &Caller, request: &CompletionRequest) -> Result<Ask, ApiError> {
    if request.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::unsupported("suffix", "This model does not fill gaps."));
    }
    let count = sampling::choices(request.n, app.limits.choices_max)?;
    if request.best_of.is_some_and(|best_of| best_of != 1 && best_of != count as i64) {
        return Err(ApiError::unsupported("best_of", "Ask for that many with 'n' and choose."));
    }
    let logprobs = match request.logprobs {
        Some(top) if top > LOGPROBS_MAX => {
            let message = format!("logprobs is {top}, but must be from 0 to {LOGPROBS_MAX}");
            return Err(ApiError::invalid("logprobs", message));
        }
        top => top.map(|top| top as usize),
    };
    let echo = request.echo.unwrap_or(false);
    let max_new_tokens = match request.max_tokens.unwrap_or(DEFAULT_TOKENS) {
        0 if echo => Some(0),
        tokens => sampling::max_tokens("max_tokens", Some(tokens))?,
    };
    let prompts = prompts(app, request.prompt.as_ref())?;
    Ok(Ask {
        prompts,
        options: TextOptions {
            sampling: sampling::sampling(request.into(), &app.model.sampling)?,
            forced_tokens: Vec::new(),
            max_new_tokens,
            ignores_stop_tokens: request.ignore_eos.unwrap_or(false),
            logprobs,
            tenant: Tenant(Arc::from(caller.tenant.as_str())),
            deadline: Instant::now().checked_add(app.limits.request_time),
        },
        stops: sampling::stops(request.stop.as_ref())?,
        count,
        echo,
        logprobs,
    })
}

fn prompts(app: &App, prompt: Option<&Prompt>) -> Result<Vec<Vec<u32>>, ApiError> {
    let encode = |text: &String| app.assistant.vocab().encode_ids(text);
    let prompts: Vec<Vec<u32>> = match prompt {
        None => return Err(ApiError::Missing { param: "prompt" }),
        Some(Prompt::Text(text)) => vec![encode(text)],
        Some(Prompt::Texts(texts)) => texts.iter().map(encode).collect(),
        Some(Prompt::Tokens(tokens)) => vec![tokens.clone()],
        Some(Prompt::TokenLists(lists)) => lists.clone(),
    };
    if prompts.is_empty() || prompts.len() > PROMPTS_MAX || prompts.iter().any(Vec::is_empty) {
        let message =
            format!("prompt must be 1 to {PROMPTS_MAX} texts or lists of token ids, none of them empty");
        return Err(ApiError::invalid("prompt", message));
    }
    Ok(prompts)
}

/// One continuation while it is written.
struct Choice {
    index: u32,
    text: Text,
    /// Tokens that stand at the head of the text before any comes from the engine.
    head: Vec<u32>,
    filter: StopFilter,
    /// Bytes of a character that is not whole yet.
    bytes: Vec<u8>,
    logprobs: Vec<Logprob>,
    /// Characters written so far.
    offset: usize,
    /// Prompt tokens that are forced and not read.
    num_forced: usize,
    tells_logprobs: bool,
}

/// A continuation that is not begun.
struct Planned {
    index: u32,
    prompt: Vec<u32>,
    options: TextOptions,
    head: Vec<u32>,
    stops: Vec<String>,
    tells_logprobs: bool,
}

impl Planned {
    /// Begins it.
    ///
    /// Errors: the engine refuses.
    fn begin(&self, app: &App) -> Result<Choice, ApiError> {
        let text = app.assistant.start_text(self.prompt.clone(), self.options.clone()).map_err(refused)?;
        Ok(Choice {
            index: self.index,
            text,
            head: self.head.clone(),
            filter: StopFilter::new(self.stops.clone()),
            bytes: Vec::new(),
            logprobs: Vec::new(),
            offset: 0,
            num_forced: self.options.forced_tokens.len(),
            tells_logprobs: self.tells_logprobs,
        })
    }

    /// Begins it when there is room: this request has been taken, so a queue that is full for the moment does
    /// not refuse it any more.
    async fn begin_in_time(&self, app: &App) -> Result<Choice, ApiError> {
        loop {
            match self.begin(app) {
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
fn plan(app: &App, ask: &Ask) -> Result<Vec<Planned>, ApiError> {
    let scores = ask.echo && ask.logprobs.is_some();
    let mut planned = Vec::new();
    for prompt in &ask.prompts {
        if prompt.len() > app.model.max_context {
            return Err(ApiError::ContextLength {
                prompt_tokens: prompt.len(),
                max_context: app.model.max_context,
            });
        }
        for number in 0..ask.count {
            let mut options = ask.options.clone();
            options.sampling.seed = options.sampling.seed.wrapping_add(number as u64);
            let read = if scores { 1 } else { prompt.len() };
            options.forced_tokens = prompt[read..].to_vec();
            if !scores && options.max_new_tokens == Some(0) {
                // Nothing is asked but the prompt itself: one token is written and not shown.
                options.max_new_tokens = Some(1);
            }
            planned.push(Planned {
                index: planned.len() as u32,
                prompt: prompt[..read].to_vec(),
                options,
                head: if ask.echo { prompt[..read].to_vec() } else { Vec::new() },
                stops: ask.stops.clone(),
                tells_logprobs: ask.logprobs.is_some(),
            });
        }
    }
    Ok(planned)
}

fn start(app: &Arc<App>, ask: &Ask) -> Result<(mpsc::Receiver<Out>, Spent), ApiError> {
    let mut later = plan(app, ask)?;
    let first = later.drain(..later.len().min(TEXTS_AT_ONCE));
    // What is refused is refused before anything is answered.
    let first: Vec<Choice> = first.map(|planned| planned.begin(app)).collect::<Result<_, _>>()?;
    let shows_text = ask.options.max_new_tokens != Some(0) || (ask.echo && ask.logprobs.is_some());
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS_MAX);
    let (app, begun, spent) = (Arc::clone(app), Instant::now(), Spent::default());
    let told = spent.clone();
    let begun_ones = first.into_iter().map(|choice| {
        let (app, sender) = (Arc::clone(&app), sender.clone());
        async move { choice.write(&app, &sender, shows_text).await }.boxed()
    });
    let later_ones = later.into_iter().map(|planned| {
        let (app, sender) = (Arc::clone(&app), sender.clone());
        async move { planned.begin_in_time(&app).await?.write(&app, &sender, shows_text).await }.boxed()
    });
    let texts: Vec<_> = begun_ones.chain(later_ones).collect();
    tokio::spawn(async move {
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        let texts = stream::iter(texts).buffer_unordered(TEXTS_AT_ONCE);
        // The first text that fails ends the request, and with it the others.
        let sum = texts.try_fold(TokenUsage::default(), |mut sum, more| {
            sum.add(more);
            std::future::ready(Ok(sum))
        });
        let ended = sum.await;
        app.metrics.running.fetch_sub(1, Ordering::Relaxed);
        match ended {
            Ok(tokens) => {
                told.set(tokens);
                app.metrics.ended(tokens, begun.elapsed());
                let _ = sender.send(Out::End(tokens)).await;
            }
            Err(error) => {
                let _ = sender.send(Out::Failed(error)).await;
            }
        }
    });
    Ok((receiver, spent))
}

impl Choice {
    /// Writes to the end.
    async fn write(
        mut self,
        app: &App,
        sender: &mpsc::Sender<Out>,
        shows_text: bool,
    ) -> Result<TokenUsage, ApiError> {
        for token in std::mem::take(&mut self.head) {
            let bytes = bytes_of(app, token);
            if self.tells_logprobs {
                // Nothing stands before the first token, so it has no probability; the wire form says null.
                self.logprobs.push(Logprob { bytes: bytes.clone(), logprob: f64::NAN, top: Vec::new() });
            }
            let deltas = self.hear(&bytes);
            self.send(sender, deltas, None).await?;
        }
        let mut is_stopped = false;
        loop {
            let event = tokio::select! {
                event = self.text.next() => event,
                () = sender.closed() => return Err(ApiError::Cancelled),
            };
            match event {
                Some(TextEvent::Prefill { .. }) => {}
                Some(TextEvent::Token(token)) => {
                    if is_stopped || !shows_text || token.is_stop {
                        continue;
                    }
                    let bytes = bytes_of(app, token.id);
                    if self.tells_logprobs {
                        self.logprobs.push(logprob_of(app.assistant.vocab(), &token));
                    }
                    let (deltas, stopped) = self.hear_filtered(&bytes);
                    is_stopped = stopped;
                    self.send(sender, deltas, None).await?;
                    if is_stopped {
                        self.text.cancel();
                    }
                }
                Some(TextEvent::Finished { reason, usage }) => {
                    let finish_reason =
                        if reason == FinishReason::Length && !is_stopped { "length" } else { "stop" };
                    let rest = if is_stopped { Vec::new() } else { self.rest() };
                    self.send(sender, rest, Some(finish_reason)).await?;
                    let prompt = usage.prompt_tokens + self.num_forced;
                    return Ok(TokenUsage {
                        prompt: prompt as u64,
                        cached: usage.cached_tokens as u64,
                        completion: usage.completion_tokens.saturating_sub(self.num_forced) as u64,
                        reasoning: 0,
                    });
                }
                Some(TextEvent::Failed(failure)) => return Err(failed(&failure)),
                None => {
                    return Err(ApiError::Internal { problem: "the text ended without an end".to_owned() });
                }
            }
        }
    }

    /// The deltas of more bytes, of the prompt: no stop string is looked for in it.
    fn hear(&mut self, bytes: &[u8]) -> Vec<Delta> {
        self.bytes.extend_from_slice(bytes);
        let text = whole_characters(&mut self.bytes);
        let logprobs = std::mem::take(&mut self.logprobs);
        vec![Delta::Text { channel: Channel::Final, text, logprobs }]
    }

    fn hear_filtered(&mut self, bytes: &[u8]) -> (Vec<Delta>, bool) {
        let mut deltas = Vec::new();
        let mut is_stopped = false;
        for delta in self.hear(bytes) {
            let filtered = self.filter.push(delta);
            deltas.extend(filtered.deltas);
            is_stopped |= filtered.is_stopped;
        }
        (deltas, is_stopped)
    }

    /// What was kept back, at the end.
    fn rest(&mut self) -> Vec<Delta> {
        let mut deltas = self.filter.finish();
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() || !self.logprobs.is_empty() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            deltas.push(Delta::Text {
                channel: Channel::Final,
                text,
                logprobs: std::mem::take(&mut self.logprobs),
            });
        }
        deltas
    }

    async fn send(
        &mut self,
        sender: &mpsc::Sender<Out>,
        deltas: Vec<Delta>,
        finish_reason: Option<&'static str>,
    ) -> Result<(), ApiError> {
        let mut chunk = CompletionChoice { index: self.index, finish_reason, ..CompletionChoice::default() };
        for delta in deltas {
            let Delta::Text { text, logprobs, .. } = delta else { continue };
            if self.tells_logprobs {
                let lists = chunk.logprobs.get_or_insert_default();
                let mut offset = self.offset;
                for logprob in logprobs.into_iter().map(TokenLogprob::from) {
                    let characters = logprob.token.chars().count();
                    lists.push(logprob, offset);
                    offset += characters;
                }
            }
            self.offset += text.chars().count();
            chunk.text.push_str(&text);
        }
        if chunk.text.is_empty() && chunk.logprobs.is_none() && finish_reason.is_none() {
            return Ok(());
        }
        match tokio::time::timeout(READER_PATIENCE, sender.send(Out::Chunk(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ApiError::Cancelled),
        }
    }
}

impl CompletionLogprobs {
    fn push(&mut self, logprob: TokenLogprob, offset: usize) {
        let is_known = !logprob.logprob.is_nan();
        self.token_logprobs.push(is_known.then_some(logprob.logprob));
        let top: BTreeMap<String, f64> =
            logprob.top_logprobs.into_iter().map(|top| (top.token, top.logprob)).collect();
        self.top_logprobs.push(is_known.then_some(top));
        self.tokens.push(logprob.token);
        self.text_offset.push(offset);
    }
}

/// Text of a token; control tokens have none here.
fn bytes_of(app: &App, id: u32) -> Vec<u8> {
    match app.assistant.vocab().token(id) {
        Some(VocabToken::Text(token)) => app.assistant.vocab().bytes(token).to_vec(),
        Some(VocabToken::Control(_)) | None => Vec::new(),
    }
}

/// Takes the characters that are whole; what can be no character is replaced.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[..valid]));
                match error.error_len() {
                    Some(wrong) => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        bytes.drain(..valid + wrong);
                    }
                    None => {
                        bytes.drain(..valid);
                        return text;
                    }
                }
            }
        }
    }
}

async fn whole(heading: Completion, mut out: mpsc::Receiver<Out>) -> Result<Completion, ApiError> {
    let mut choices: Vec<CompletionChoice> = Vec::new();
    while let Some(event) = out.recv().await {
        match event {
            Out::Chunk(chunk) => {
                let index = chunk.index as usize;
                while choices.len() <= index {
                    let index = choices.len() as u32;
                    choices.push(CompletionChoice { index, ..CompletionChoice::default() });
                }
                fold(&mut choices[index], chunk);
            }
            Out::Failed(error) => return Err(error),
            Out::End(tokens) => {
                return Ok(Completion { choices, usage: Some(Some(tokens.chat_usage())), ..heading });
            }
        }
    }
    Err(ApiError::Internal { problem: "the text broke off".to_owned() })
}

/// Adds a chunk to a choice.
fn fold(choice: &mut CompletionChoice, chunk: CompletionChoice) {
    choice.text.push_str(&chunk.text);
    if let Some(more) = chunk.logprobs {
        let lists = choice.logprobs.get_or_insert_default();
        lists.tokens.extend(more.tokens);
        lists.token_logprobs.extend(more.token_logprobs);
        lists.top_logprobs.extend(more.top_logprobs);
        lists.text_offset.extend(more.text_offset);
    }
    choice.finish_reason = chunk.finish_reason.or(choice.finish_reason);
}

fn streamed(app: &App, heading: Completion, out: mpsc::Receiver<Out>, wants_usage: bool) -> Response {
    let line = move |choices: Vec<CompletionChoice>, usage| {
        let chunk = Completion { choices, usage, ..heading.clone() };
        serde_json::to_string(&chunk).unwrap_or_default()
    };
    let lines = stream::unfold((out, false), move |(mut out, is_over)| {
        let line = line.clone();
        async move {
            if is_over {
                return None;
            }
            let last = match out.recv().await {
                Some(Out::Chunk(chunk)) => {
                    let usage = wants_usage.then_some(None);
                    return Some((vec![line(vec![chunk], usage)], (out, false)));
                }
                Some(Out::End(tokens)) => {
                    wants_usage.then(|| line(Vec::new(), Some(Some(tokens.chat_usage()))))
                }
                Some(Out::Failed(error)) => Some(error_line(&error)),
                None => Some(error_line(&ApiError::Internal { problem: "the text broke off".to_owned() })),
            };
            Some((last.into_iter().chain(["[DONE]".to_owned()]).collect(), (out, true)))
        }
    });
    let events = lines.flat_map(stream::iter::<Vec<String>>);
    let events = events.map(|line| Ok::<_, Infallible>(Event::default().data(line)));
    Sse::new(events).keep_alive(keep_alive(app.limits.keep_alive)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_their_bytes_are_cut() {
        let check = |bytes: &[u8], expect: &str| {
            for at in 0..=bytes.len() {
                let mut kept = bytes[..at].to_vec();
                let mut text = whole_characters(&mut kept);
                kept.extend_from_slice(&bytes[at..]);
                text.push_str(&whole_characters(&mut kept));
                assert_eq!(text, expect, "cut at {at}");
            }
        };
        check("aé€𝄞z".as_bytes(), "aé€𝄞z");
        check(b"a\xffb", "a\u{fffd}b");
    }
}
