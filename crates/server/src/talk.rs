//! How does a turn of the model become pieces?
//!
//! [`Talk`] holds the running turns of one choice: the turn itself and, when the reasoning is to be summarised, a second one at low effort
//! that begins when the reasoning has ended and is told before the answer goes on. Stop strings are looked for here, log-probabilities are
//! put beside the text they belong to, and what piles up while nobody reads goes out as one piece. Dropping a talk cancels what runs.
//!
//! It does not know which API it talks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use gptoss_harmony::{
    Analysis, Conversation, DeveloperContent, Form, Message, ReasoningEffort, RenderOptions, Role,
    SystemContent, Vocab, render,
};
use gptoss_turn::{
    Class, EngineError, EngineHandle, Failure, Outcome, Tenant, Token, Turn, TurnConstraint, TurnEvent,
    TurnForm, TurnOptions, start_turn, start_turns,
};

use crate::app::App;
use crate::ask::Ask;
use crate::limits::SUMMARY_TOKENS_MAX;
use crate::piece::{End, Piece, Tokens, Voice};
use crate::rules;
use crate::stop::StopFilter;
use crate::wire::chat::{TokenLogprob, TopLogprob};
use crate::wire::errors::ApiError;

/// What the model is told to do with its own reasoning.
const SUMMARY_INSTRUCTIONS: &str = "Summarise the following notes in two or three plain sentences for somebody who wants to know how \
    the answer was found. Write the summary and nothing else.";
/// How long a client should wait for a full queue. Units: seconds.
const QUEUE_RETRY_SECONDS: u64 = 2;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// More.
    Piece(Piece),
    /// Nothing more.
    End(Ending),
    /// It failed.
    Failed(ApiError),
}

/// What is known when a talk has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Why.
    pub(crate) end: End,
    /// What it took, summaries included.
    pub(crate) tokens: Tokens,
    /// What the assistant said, to be kept.
    pub(crate) messages: Vec<Message>,
}

/// One choice on its way.
pub(crate) struct Talk {
    engine: EngineHandle,
    vocab: Arc<Vocab>,
    turn: Turn,
    filter: StopFilter,
    ready: VecDeque<Piece>,
    /// Log-probabilities of tokens whose text has not come yet.
    waiting: Vec<TokenLogprob>,
    outcome: Option<Outcome>,
    failed: Option<ApiError>,
    /// Most tokens that the request allows.
    max_new_tokens: Option<usize>,
    is_stopped: bool,
    is_cancelled: bool,
    /// How summaries are made; None makes none.
    summary: Option<TurnOptions>,
    /// Reasoning that has not been summarised.
    reasoning: String,
    summarising: Option<Turn>,
    /// What came when the summary began, and is told behind it.
    behind: Option<Piece>,
    extra: Tokens,
}

/// Begins `count` choices. They may be many tokens of text: call it where waiting is allowed.
///
/// Errors: what the engine refuses: too long a prompt, a parameter out of its range, a full queue.
pub(crate) fn begin(app: &App, ask: &Ask, summarises: bool, count: usize) -> Result<Vec<Talk>, ApiError> {
    let (engine, vocab) = (&app.engine, &app.model.vocab);
    let held = held(app, ask)?;
    let held_loosely =
        held.iter().flat_map(|held| held.warnings()).map(|warning| Piece::Warning(warning.to_string()));
    let held_loosely: VecDeque<Piece> = held_loosely.collect();
    let options =
        TurnOptions { form: held.map_or(TurnForm::WellFormed, TurnForm::Held), ..options(app, ask) };
    let turns = start_turns(engine, vocab, &ask.conversation, &options, count).map_err(refused)?;
    let summary = summarises.then(|| TurnOptions {
        max_new_tokens: Some(SUMMARY_TOKENS_MAX),
        logprobs: None,
        form: TurnForm::WellFormed,
        ..options.clone()
    });
    let talk = |turn| Talk {
        engine: engine.clone(),
        vocab: Arc::clone(vocab),
        turn,
        filter: StopFilter::new(ask.stops.clone()),
        ready: held_loosely.clone(),
        waiting: Vec::new(),
        outcome: None,
        failed: None,
        max_new_tokens: ask.max_new_tokens,
        is_stopped: false,
        is_cancelled: false,
        summary: summary.clone(),
        reasoning: String::new(),
        summarising: None,
        behind: None,
        extra: Tokens::default(),
    };
    Ok(turns.into_iter().map(talk).collect())
}

/// What the ask demands, compiled, with a budget for talking if the model could talk instead.
fn held(app: &App, ask: &Ask) -> Result<Option<TurnConstraint>, ApiError> {
    if !rules::has_demands(ask) {
        return Ok(None);
    }
    let vocab = &app.model.vocab;
    let mut budget = None;
    if rules::needs_budget(ask) {
        let form = RenderOptions { form: Form::Completion(Role::Assistant), analysis: Analysis::KeepAll };
        let prompt = render(vocab, &ask.conversation, form).map_err(|error| refused(error.into()))?;
        let room = app.model.max_context.saturating_sub(prompt.len());
        let left = ask.max_new_tokens.map_or(room, |max| max.min(room));
        budget = Some(app.limits.forced_reasoning_max.min(left / 2) as u32);
    }
    rules::constraint(vocab, ask, budget).map(Some)
}

fn options(app: &App, ask: &Ask) -> TurnOptions {
    TurnOptions {
        sampling: ask.sampling.clone(),
        max_new_tokens: ask.max_new_tokens,
        analysis: Analysis::KeepAll,
        logprobs: ask.top_logprobs,
        tenant: Tenant(Arc::from(ask.tenant.as_str())),
        // A time beyond the clock's end is never.
        deadline: Instant::now().checked_add(app.limits.request_time),
        ..TurnOptions::default()
    }
}

impl Talk {
    /// What comes next; after `End` or `Failed` nothing does. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if let Some(piece) = self.take() {
                return Step::Piece(piece);
            }
            if self.summarising.is_some() {
                self.summarise().await;
                continue;
            }
            if let Some(piece) = self.behind.take() {
                self.say(piece);
                continue;
            }
            if let Some(error) = self.failed.take() {
                return Step::Failed(error);
            }
            if let Some(outcome) = self.outcome.take() {
                return Step::End(self.ending(outcome));
            }
            let event = self.turn.next().await;
            self.hear(event);
            // What has come meanwhile goes out together.
            while self.is_hearing()
                && let Some(event) = self.turn.next().now_or_never()
            {
                self.hear(event);
            }
        }
    }

    /// Asks the turn to end: within one step, with what there is.
    pub(crate) fn cancel(&mut self) {
        self.is_cancelled = true;
        self.summarising = None;
        self.turn.cancel();
    }

    /// Whether it was asked to.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    fn is_hearing(&self) -> bool {
        self.outcome.is_none() && self.failed.is_none() && self.summarising.is_none()
    }

    fn take(&mut self) -> Option<Piece> {
        let mut piece = self.ready.pop_front()?;
        while let Some(next) = self.ready.pop_front() {
            if let Some(next) = piece.join(next) {
                self.ready.push_front(next);
                break;
            }
        }
        Some(piece)
    }

    fn hear(&mut self, event: Option<TurnEvent>) {
        match event {
            Some(TurnEvent::Logprobs { token, .. }) => self.waiting.push(logprob(&self.vocab, &token)),
            Some(TurnEvent::Finished(outcome)) => {
                self.begin_summary();
                let rest = self.filter.finish();
                if !self.is_stopped {
                    self.ready.extend(rest);
                }
                self.outcome = Some(outcome);
            }
            Some(TurnEvent::Failed(failure)) => self.failed = Some(failed(&failure)),
            Some(event) => {
                let logprobs = std::mem::take(&mut self.waiting);
                if let Some(piece) = Piece::from_event(event, logprobs) {
                    self.say(piece);
                }
            }
            None => {
                let problem = "the turn ended without an end".to_owned();
                self.failed = Some(ApiError::Internal { problem });
            }
        }
    }

    fn say(&mut self, piece: Piece) {
        if self.is_stopped {
            return;
        }
        match &piece {
            Piece::Text { voice: Voice::Reasoning, text, .. } if self.summary.is_some() => {
                self.reasoning.push_str(text)
            }
            Piece::Warning(_) => {}
            _ => self.begin_summary(),
        }
        if self.summarising.is_some() {
            self.behind = Some(piece);
            return;
        }
        let filtered = self.filter.push(piece);
        self.ready.extend(filtered.pieces);
        if filtered.is_stopped {
            self.is_stopped = true;
            self.turn.cancel();
        }
    }

    fn begin_summary(&mut self) {
        let Some(options) = &self.summary else { return };
        let reasoning = std::mem::take(&mut self.reasoning);
        if reasoning.trim().is_empty() || self.summarising.is_some() {
            return;
        }
        let system = SystemContent::default().with_reasoning_effort(ReasoningEffort::Low);
        let developer = DeveloperContent::default().with_instructions(SUMMARY_INSTRUCTIONS);
        let messages = [Message::system(system), Message::developer(developer), Message::user(reasoning)];
        let conversation = Conversation::from_messages(messages);
        match start_turn(&self.engine, &self.vocab, &conversation, options) {
            Ok(turn) => self.summarising = Some(turn),
            Err(error) => {
                self.ready.push_back(Piece::Warning(format!("the reasoning has no summary: {error}")))
            }
        }
    }

    /// Hears more of the summary.
    async fn summarise(&mut self) {
        let Some(turn) = &mut self.summarising else { return };
        match turn.next().await {
            Some(TurnEvent::Answer(text)) => self.ready.push_back(Piece::Summary(text)),
            Some(TurnEvent::Finished(outcome)) => {
                self.extra.completion += outcome.usage.engine.completion_tokens as u64;
                self.extra.reasoning += outcome.usage.reasoning_tokens as u64;
                self.summarising = None;
            }
            Some(TurnEvent::Failed(failure)) => {
                self.ready.push_back(Piece::Warning(format!("the reasoning has no summary: {failure}")));
                self.summarising = None;
            }
            Some(_) => {}
            None => self.summarising = None,
        }
    }

    fn ending(&self, outcome: Outcome) -> Ending {
        let usage = &outcome.usage;
        let mut tokens = Tokens {
            prompt: usage.engine.prompt_tokens as u64,
            cached: usage.engine.cached_tokens as u64,
            completion: usage.engine.completion_tokens as u64,
            reasoning: usage.reasoning_tokens as u64,
        };
        // The context, and not the request, was the limit.
        let is_full = self.max_new_tokens.is_none_or(|max| tokens.completion < max as u64);
        tokens.add(self.extra);
        let end = match outcome.end.into() {
            _ if self.is_stopped => End::Answer,
            End::Length if is_full => End::Context,
            end => end,
        };
        Ending { end, tokens, messages: outcome.messages }
    }
}

/// A token in the words of the APIs.
pub(crate) fn logprob(vocab: &Vocab, token: &Token) -> TokenLogprob {
    let text = |id: u32| {
        let bytes = vocab.decode(&[id]).unwrap_or_default();
        (String::from_utf8_lossy(&bytes).into_owned(), bytes)
    };
    let top = token.top.iter().map(|other| {
        let (token, bytes) = text(other.id);
        TopLogprob { token, logprob: other.logprob, bytes: Some(bytes) }
    });
    let (name, bytes) = text(token.id);
    TokenLogprob { token: name, logprob: token.logprob, bytes: Some(bytes), top_logprobs: top.collect() }
}

/// A refusal before anything ran.
pub(crate) fn refused(error: gptoss_turn::Error) -> ApiError {
    use gptoss_turn::Error;
    match error {
        Error::Harmony(error) => ApiError::Invalid { param: None, message: error.to_string() },
        Error::Engine(error) => refused_by_engine(error),
        Error::Constrain(error) => rules::refused(error, "response_format"),
        Error::ForeignVocabulary { .. } => ApiError::Internal { problem: error.to_string() },
    }
}

/// A refusal of the engine's.
pub(crate) fn refused_by_engine(error: EngineError) -> ApiError {
    match error {
        EngineError::PromptTooLong { prompt_tokens, max_context } => {
            ApiError::ContextLength { prompt_tokens, max_context }
        }
        EngineError::Parameter { parameter, .. } => ApiError::invalid(parameter, error.to_string()),
        EngineError::QueueFull { .. } => {
            ApiError::Busy { what: error.to_string(), retry_seconds: QUEUE_RETRY_SECONDS }
        }
        EngineError::ShuttingDown => ApiError::ShuttingDown,
        other => match other.class() {
            Class::Caller => ApiError::Invalid { param: None, message: other.to_string() },
            Class::Capacity => ApiError::Busy { what: other.to_string(), retry_seconds: QUEUE_RETRY_SECONDS },
            Class::Ours => ApiError::Engine { problem: other.to_string() },
        },
    }
}

/// A failure while it ran.
pub(crate) fn failed(failure: &Failure) -> ApiError {
    match failure {
        Failure::ShuttingDown => ApiError::ShuttingDown,
        // The client's schema or grammar cannot be written on: asking again would give the same.
        Failure::Constraint { message } => ApiError::Invalid { param: None, message: message.clone() },
        other => ApiError::Engine { problem: other.to_string() },
    }
}
