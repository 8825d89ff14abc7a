//! One choice on its way: the running turns behind it.
//!
//! [`TurnStream`] holds the turn itself and, when the reasoning is to be summarized, a second one at low
//! effort that begins when the reasoning has ended and is told before the answer goes on. What piles up while
//! nobody reads goes out as one. Dropping a stream cancels what runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use gptoss_api::ApiError;
use gptoss_api::generation::{format::Format, request::GenerationRequest};
use gptoss_api::usage::{PhaseTimes, TokenUsage};
use gptoss_harmony::{Analysis, Conversation, DeveloperContent, Message, ReasoningEffort, SystemContent};
use gptoss_turn::{
    Channel, Class, Delta, EngineError, EngineUsage, Failure, Outcome, OutputRules, Priority, Tenant, Turn,
    TurnConstraint, TurnEvent, TurnOptions,
};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::blocking::run_blocking;
use crate::limits::SUMMARY_TOKENS_MAX;
use crate::metered::Metered;
use crate::model_host::Lease;
use crate::queue_share::{ShareTaken, Waiting};
use crate::rules;
use crate::sampling::params;
use crate::state::App;
use crate::stream_item::{ChoiceOutcome, StreamItem};
use crate::watch::Watch;

/// What the model is told to do with its own reasoning.
const SUMMARY_INSTRUCTIONS: &str = "Summarise the following notes in two or three plain sentences for somebody who wants to know how \
    the answer was found. Write the summary and nothing else.";
/// Texts longer than this are tokenized on a thread that may wait. Units: bytes.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// How long a client should wait for a full queue. Units: seconds.
const QUEUE_RETRY_SECONDS: u64 = 2;

/// One choice on its way.
pub(crate) struct TurnStream {
    /// Stays in memory to the end.
    model: Arc<Lease>,
    turn: Metered<Turn>,
    /// What holds it back until it was judged; None lets it go.
    pub(crate) watch: Option<Watch>,
    begun: Instant,
    /// Until it begins.
    waiting: Option<Waiting>,
    ready: VecDeque<StreamItem>,
    outcome: Option<Outcome>,
    failed: Option<ApiError>,
    /// How summaries are made; None makes none.
    summary: Option<TurnOptions>,
    /// Reasoning that has not been summarised.
    reasoning: String,
    summarizing: Option<Summarizing>,
    /// What came when the summary began, and is told behind it.
    behind: Option<Delta>,
    extra: TokenUsage,
    is_read: bool,
}

/// A summary on its way.
enum Summarizing {
    /// Its prompt is being tokenized.
    Beginning(JoinHandle<Result<Turn, gptoss_turn::Error>>),
    Running(Box<Turn>),
}

/// Begins `count` choices, tokenizing where waiting is allowed.
///
/// Errors: what the engine refuses: too long a prompt, a parameter out of its range, a full queue.
pub(crate) async fn begin(
    app: &Arc<App>,
    model: &Arc<Lease>,
    generation: Arc<GenerationRequest>,
    summarizes: bool,
    count: usize,
) -> Result<Vec<TurnStream>, ApiError> {
    let deadline = deadline(app, generation.is_background, Instant::now());
    begin_until(app, model, generation, summarizes, count, deadline).await
}

/// Begins a choice that ends at `deadline` with what it has.
///
/// Errors: as [`begin`].
pub(crate) async fn begin_one(
    app: &Arc<App>,
    model: &Arc<Lease>,
    generation: &Arc<GenerationRequest>,
    summarizes: bool,
    deadline: Option<Instant>,
) -> Result<TurnStream, ApiError> {
    let mut streams = begin_until(app, model, Arc::clone(generation), summarizes, 1, deadline).await?;
    streams.pop().ok_or_else(|| ApiError::Internal { problem: "there is no turn".to_owned() })
}

async fn begin_until(
    app: &Arc<App>,
    model: &Arc<Lease>,
    generation: Arc<GenerationRequest>,
    summarizes: bool,
    count: usize,
    deadline: Option<Instant>,
) -> Result<Vec<TurnStream>, ApiError> {
    let texts = generation.conversation.messages.iter().map(|message| message.text().len());
    // Whatever can be called or has a form has a grammar, which takes time to compile.
    let is_plain = generation.tools.list.is_empty() && generation.format == Format::Text;
    // The journal of what is counted is a file.
    let is_here = is_plain && model.bill().is_none() && texts.sum::<usize>() <= INLINE_BYTES_MAX;
    let watches: Vec<Option<Watch>> =
        (0..count).map(|_| Watch::of(app, model, &generation)).collect::<Result<_, _>>()?;
    let mut streams = if is_here {
        begin_here(app, model, &generation, summarizes, count, deadline)?
    } else {
        let model = Arc::clone(model);
        run_blocking(app, move |app| begin_here(app, &model, &generation, summarizes, count, deadline))
            .await?
    };
    streams.iter_mut().zip(watches).for_each(|(stream, watch)| stream.watch = watch);
    Ok(streams)
}

fn begin_here(
    app: &App,
    model: &Arc<Lease>,
    generation: &GenerationRequest,
    summarizes: bool,
    count: usize,
    deadline: Option<Instant>,
) -> Result<Vec<TurnStream>, ApiError> {
    let waiting = enter_queue(model, &generation.tenant, count)?;
    let assistant = model.assistant();
    let compiled = compiled(model, generation)?;
    let held_loosely = compiled.iter().flat_map(|compiled| compiled.warnings());
    let held_loosely: Vec<String> = held_loosely.map(ToString::to_string).collect();
    let rules = compiled.map_or(OutputRules::Harmony, OutputRules::Compiled);
    let options = TurnOptions { rules, deadline, ..options(app, model, generation) };
    let begun = Instant::now();
    let reserve = |num_tokens| match model.bill() {
        Some(bill) => {
            let output = options.max_new_tokens.map(|max| max.saturating_mul(count));
            bill.reserve(num_tokens, output)
        }
        None => Ok(()),
    };
    let turns = assistant.start_turns_if(&generation.conversation, &options, count, reserve);
    let turns = turns.map_err(refused)??;
    let summary = summarizes.then(|| TurnOptions {
        max_new_tokens: Some(SUMMARY_TOKENS_MAX),
        min_new_tokens: 0,
        logprobs: None,
        rules: OutputRules::Harmony,
        stop: Vec::new(),
        ..options.clone()
    });
    let stream = |(turn, waiting)| TurnStream {
        model: Arc::clone(model),
        turn: Metered::new(turn, model.bill(), 0),
        watch: None,
        begun,
        waiting: Some(waiting),
        ready: held_loosely
            .iter()
            .map(|warning| StreamItem::Delta(Delta::Warning(warning.clone())))
            .collect(),
        outcome: None,
        failed: None,
        summary: summary.clone(),
        reasoning: String::new(),
        summarizing: None,
        behind: None,
        extra: TokenUsage::default(),
        is_read: false,
    };
    Ok(turns.into_iter().zip(waiting).map(stream).collect())
}

/// Places in the queue for `count` turns of the tenant's.
///
/// Errors: `Busy`, when its share is taken.
pub(crate) fn enter_queue(model: &Lease, tenant: &str, count: usize) -> Result<Vec<Waiting>, ApiError> {
    let taken =
        |taken: ShareTaken| ApiError::Busy { what: taken.to_string(), retry_seconds: QUEUE_RETRY_SECONDS };
    model.queue().enter(tenant, count).map_err(taken)
}

/// What the request demands, compiled.
fn compiled(model: &Lease, generation: &GenerationRequest) -> Result<Option<TurnConstraint>, ApiError> {
    if !rules::has_demands(generation) {
        return Ok(None);
    }
    rules::constraint(model.assistant(), generation).map(Some)
}

fn options(app: &App, model: &Lease, generation: &GenerationRequest) -> TurnOptions {
    TurnOptions {
        sampling: params(&generation.sampling, &model.served().sampling),
        max_new_tokens: generation.max_new_tokens,
        min_new_tokens: generation.min_new_tokens,
        reasoning_budget: rules::reasoning_budget(generation, &app.limits),
        answer_tokens: app.limits.answer_tokens,
        breaks_loops: app.limits.breaks_loops,
        analysis: Analysis::KeepAll,
        logprobs: generation.top_logprobs,
        stop: generation.stops.clone(),
        tenant: Tenant(Arc::from(generation.tenant.as_str())),
        priority: priority(generation.is_background),
        ..TurnOptions::default()
    }
}

/// How urgent a request is.
pub(crate) fn priority(is_background: bool) -> Priority {
    if is_background { Priority::Background } else { Priority::Normal }
}

/// When a request that has `begun` ends with what it has. A time beyond the clock's end is never; what waits
/// for room may wait longer than a client would.
pub(crate) fn deadline(app: &App, is_background: bool, begun: Instant) -> Option<Instant> {
    if is_background { None } else { begun.checked_add(app.limits.request_time) }
}

impl TurnStream {
    /// What comes next; after `End` or `Failed` nothing does. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> StreamItem {
        loop {
            if let Some(step) = self.take() {
                return step;
            }
            if self.summarizing.is_some() {
                self.summarize().await;
                continue;
            }
            if let Some(delta) = self.behind.take() {
                self.emit(delta);
                continue;
            }
            if let Some(error) = self.failed.take() {
                return StreamItem::Failed(error);
            }
            if let Some(outcome) = self.outcome.take() {
                return StreamItem::End(self.ending(outcome));
            }
            let event = self.turn.next().await;
            self.on_event(event);
            // What has come meanwhile goes out together.
            while self.is_running()
                && let Some(event) = self.turn.next().now_or_never()
            {
                self.on_event(event);
            }
        }
    }

    /// Counts what was spent before it began.
    pub(crate) fn has_spent(&mut self, tokens: TokenUsage) {
        self.extra.add(tokens);
    }

    /// Asks the turn to end: within one step, with what there is.
    pub(crate) fn cancel(&mut self) {
        // What is thought from now on has no reader.
        self.summary = None;
        self.summarizing = None;
        self.turn.cancel();
    }

    fn is_running(&self) -> bool {
        self.outcome.is_none() && self.failed.is_none() && self.summarizing.is_none()
    }

    fn take(&mut self) -> Option<StreamItem> {
        let mut step = self.ready.pop_front()?;
        while let Some(next) = self.ready.pop_front() {
            if let Some(next) = step.join(next) {
                self.ready.push_front(next);
                break;
            }
        }
        Some(step)
    }

    fn on_event(&mut self, event: Option<TurnEvent>) {
        self.waiting = None;
        match event {
            Some(TurnEvent::Prefill { done, total }) => self.on_prefill(done, total),
            Some(TurnEvent::Delta(delta)) => self.emit(delta),
            Some(TurnEvent::Finished(outcome)) => {
                self.model.health().ended();
                self.start_summary();
                self.outcome = Some(outcome);
            }
            Some(TurnEvent::Failed(failure)) => {
                self.model.health().failed(&failure);
                self.failed = Some(failed(&failure));
            }
            None => {
                let problem = "the turn ended without an end".to_owned();
                self.failed = Some(ApiError::Internal { problem });
            }
        }
    }

    /// The first word about the prompt says how much of it was there before.
    fn on_prefill(&mut self, done: usize, total: usize) {
        if !std::mem::replace(&mut self.is_read, true) {
            let (prompt, cached) = (total as u64, done as u64);
            self.ready.push_back(StreamItem::Read(TokenUsage { prompt, cached, ..TokenUsage::default() }));
        }
    }

    fn emit(&mut self, delta: Delta) {
        match &delta {
            Delta::Text { channel: Channel::Analysis, text, .. } if self.summary.is_some() => {
                self.reasoning.push_str(text)
            }
            Delta::Warning(_) => {}
            _ => self.start_summary(),
        }
        match self.summarizing {
            Some(_) => self.behind = Some(delta),
            None => self.ready.push_back(StreamItem::Delta(delta)),
        }
    }

    fn start_summary(&mut self) {
        let Some(options) = &self.summary else { return };
        let reasoning = std::mem::take(&mut self.reasoning);
        if reasoning.trim().is_empty() || self.summarizing.is_some() {
            return;
        }
        let is_long = reasoning.len() > INLINE_BYTES_MAX;
        let system = SystemContent::default().with_reasoning_effort(ReasoningEffort::Low);
        let developer = DeveloperContent::default().with_instructions(SUMMARY_INSTRUCTIONS);
        let messages = [Message::system(system), Message::developer(developer), Message::user(reasoning)];
        let conversation = Conversation::from_messages(messages);
        if is_long {
            let (model, options) = (Arc::clone(&self.model), options.clone());
            let begin = move || model.assistant().start_turn(&conversation, &options);
            self.summarizing = Some(Summarizing::Beginning(spawn_blocking(begin)));
            return;
        }
        match self.model.assistant().start_turn(&conversation, options) {
            Ok(turn) => self.summarizing = Some(Summarizing::Running(Box::new(turn))),
            Err(error) => self.have_no_summary(&error),
        }
    }

    /// Hears more of the summary.
    async fn summarize(&mut self) {
        let turn = match &mut self.summarizing {
            None => return,
            Some(Summarizing::Beginning(begun)) => {
                match begun.await {
                    Ok(Ok(turn)) => self.summarizing = Some(Summarizing::Running(Box::new(turn))),
                    Ok(Err(error)) => self.have_no_summary(&error),
                    Err(error) => self.have_no_summary(&error),
                }
                return;
            }
            Some(Summarizing::Running(turn)) => turn,
        };
        match turn.next().await {
            Some(TurnEvent::Delta(Delta::Text { channel: Channel::Final, text, .. })) => {
                self.ready.push_back(StreamItem::Summary(text));
            }
            Some(TurnEvent::Finished(outcome)) => {
                self.extra.completion += outcome.usage.engine.completion_tokens as u64;
                self.extra.reasoning += outcome.usage.reasoning_tokens as u64;
                if let Some(bill) = self.model.bill() {
                    bill.computed(0, 0, outcome.usage.engine.completion_tokens);
                }
                self.summarizing = None;
            }
            Some(TurnEvent::Failed(failure)) => self.have_no_summary(&failure),
            Some(_) => {}
            None => self.summarizing = None,
        }
    }

    fn have_no_summary(&mut self, reason: &dyn std::fmt::Display) {
        self.summarizing = None;
        let warning = format!("the reasoning has no summary: {reason}");
        self.ready.push_back(StreamItem::Delta(Delta::Warning(warning)));
    }

    fn ending(&self, outcome: Outcome) -> ChoiceOutcome {
        let mut tokens = usage_of(&outcome.usage.engine);
        tokens.reasoning = outcome.usage.reasoning_tokens as u64;
        let times = tokens.times;
        tokens.add(self.extra);
        let Outcome { end, messages, stopped_by, .. } = outcome;
        let (rest, begun) = (Vec::new(), self.begun);
        ChoiceOutcome { end, tokens, messages, rest, stop: stopped_by, begun, times, moderation: None }
    }
}

/// What the engine took.
pub(crate) fn usage_of(usage: &EngineUsage) -> TokenUsage {
    TokenUsage {
        prompt: usage.prompt_tokens as u64,
        cached: usage.cached_tokens as u64,
        completion: usage.completion_tokens as u64,
        reasoning: 0,
        times: PhaseTimes {
            queued: usage.timings.queued,
            prefill: usage.timings.prefill,
            decode: usage.timings.decode,
        },
    }
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
