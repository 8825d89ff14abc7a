//! One choice on its way: the running turns behind it.
//!
//! [`Talk`] holds the turn itself and, when the reasoning is to be summarised, a second one at low effort
//! that begins when the reasoning has ended and is told before the answer goes on. What piles up while nobody
//! reads goes out as one. Dropping a talk cancels what runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use gptoss_api::ApiError;
use gptoss_api::generation::{format::Format, request::Ask};
use gptoss_api::usage::TokenUsage;
use gptoss_harmony::{
    Analysis, Conversation, DeveloperContent, Form, Message, ReasoningEffort, RenderOptions, Role,
    SystemContent, render,
};
use gptoss_turn::{
    Assistant, Channel, Class, Delta, EngineError, Failure, Outcome, OutputRules, Tenant, Turn,
    TurnConstraint, TurnEnd, TurnEvent, TurnOptions,
};

use crate::blocking::run_blocking;
use crate::limits::SUMMARY_TOKENS_MAX;
use crate::rules;
use crate::sampling::params;
use crate::state::App;

/// What the model is told to do with its own reasoning.
const SUMMARY_INSTRUCTIONS: &str = "Summarise the following notes in two or three plain sentences for somebody who wants to know how \
    the answer was found. Write the summary and nothing else.";
/// Texts longer than this are tokenized on a thread that may wait. Units: bytes.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// How long a client should wait for a full queue. Units: seconds.
const QUEUE_RETRY_SECONDS: u64 = 2;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// More of the turn.
    Delta(Delta),
    /// More of a summary of the reasoning before.
    Summary(String),
    /// Nothing more.
    End(Ending),
    /// It failed.
    Failed(ApiError),
}

impl Step {
    /// Takes `next` in, if it is more of the same; otherwise gives it back.
    fn join(&mut self, next: Step) -> Option<Step> {
        match (self, next) {
            (Step::Delta(delta), Step::Delta(next)) => delta.join(next).map(Step::Delta),
            (Step::Summary(text), Step::Summary(more)) => {
                text.push_str(&more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// What is known when a talk has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Why.
    pub(crate) end: TurnEnd,
    /// What it took, summaries included.
    pub(crate) tokens: TokenUsage,
    /// What the assistant said, to be kept.
    pub(crate) messages: Vec<Message>,
    /// Text that was kept back to the end, as it might have become a stop string.
    pub(crate) rest: Vec<Delta>,
}

/// One choice on its way.
pub(crate) struct Talk {
    assistant: Assistant,
    turn: Turn,
    ready: VecDeque<Step>,
    outcome: Option<Outcome>,
    failed: Option<ApiError>,
    /// How summaries are made; None makes none.
    summary: Option<TurnOptions>,
    /// Reasoning that has not been summarised.
    reasoning: String,
    summarising: Option<Turn>,
    /// What came when the summary began, and is told behind it.
    behind: Option<Delta>,
    extra: TokenUsage,
}

/// Begins `count` choices, tokenizing where waiting is allowed.
///
/// Errors: what the engine refuses: too long a prompt, a parameter out of its range, a full queue.
pub(crate) async fn begin(
    app: &Arc<App>,
    ask: Arc<Ask>,
    summarises: bool,
    count: usize,
) -> Result<Vec<Talk>, ApiError> {
    let texts = ask.conversation.messages.iter().map(|message| message.text().len());
    // Whatever can be called or has a form has a grammar, which takes time to compile.
    let is_plain = ask.tools.list.is_empty() && ask.format == Format::Text;
    if is_plain && texts.sum::<usize>() <= INLINE_BYTES_MAX {
        return begin_here(app, &ask, summarises, count);
    }
    run_blocking(app, move |app| begin_here(app, &ask, summarises, count)).await
}

fn begin_here(app: &App, ask: &Ask, summarises: bool, count: usize) -> Result<Vec<Talk>, ApiError> {
    let assistant = &app.assistant;
    let compiled = compiled(app, ask)?;
    let held_loosely = compiled.iter().flat_map(|compiled| compiled.warnings());
    let held_loosely: Vec<String> = held_loosely.map(ToString::to_string).collect();
    let rules = compiled.map_or(OutputRules::Harmony, OutputRules::Compiled);
    let options = TurnOptions { rules, ..options(app, ask) };
    let turns = assistant.start_turns(&ask.conversation, &options, count).map_err(refused)?;
    let summary = summarises.then(|| TurnOptions {
        max_new_tokens: Some(SUMMARY_TOKENS_MAX),
        logprobs: None,
        rules: OutputRules::Harmony,
        stop: Vec::new(),
        ..options.clone()
    });
    let talk = |turn| Talk {
        assistant: assistant.clone(),
        turn,
        ready: held_loosely.iter().map(|warning| Step::Delta(Delta::Warning(warning.clone()))).collect(),
        outcome: None,
        failed: None,
        summary: summary.clone(),
        reasoning: String::new(),
        summarising: None,
        behind: None,
        extra: TokenUsage::default(),
    };
    Ok(turns.into_iter().map(talk).collect())
}

/// What the ask demands, compiled, with a budget for talking if the model could talk instead.
fn compiled(app: &App, ask: &Ask) -> Result<Option<TurnConstraint>, ApiError> {
    if !rules::has_demands(ask) {
        return Ok(None);
    }
    let mut budget = None;
    if rules::needs_budget(ask) {
        let form = RenderOptions { form: Form::Completion(Role::Assistant), analysis: Analysis::KeepAll };
        let prompt =
            render(app.assistant.vocab(), &ask.conversation, form).map_err(|error| refused(error.into()))?;
        let room = app.model.max_context.saturating_sub(prompt.len());
        let left = ask.max_new_tokens.map_or(room, |max| max.min(room));
        budget = Some(app.limits.forced_reasoning_max.min(left / 2) as u32);
    }
    rules::constraint(&app.assistant, ask, budget).map(Some)
}

fn options(app: &App, ask: &Ask) -> TurnOptions {
    TurnOptions {
        sampling: params(&ask.sampling, &app.model.sampling),
        max_new_tokens: ask.max_new_tokens,
        analysis: Analysis::KeepAll,
        logprobs: ask.top_logprobs,
        stop: ask.stops.clone(),
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
            if let Some(step) = self.take() {
                return step;
            }
            if self.summarising.is_some() {
                self.summarise().await;
                continue;
            }
            if let Some(delta) = self.behind.take() {
                self.say(delta);
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
        self.summarising = None;
        self.turn.cancel();
    }

    fn is_hearing(&self) -> bool {
        self.outcome.is_none() && self.failed.is_none() && self.summarising.is_none()
    }

    fn take(&mut self) -> Option<Step> {
        let mut step = self.ready.pop_front()?;
        while let Some(next) = self.ready.pop_front() {
            if let Some(next) = step.join(next) {
                self.ready.push_front(next);
                break;
            }
        }
        Some(step)
    }

    fn hear(&mut self, event: Option<TurnEvent>) {
        match event {
            Some(TurnEvent::Prefill { .. }) => {}
            Some(TurnEvent::Delta(delta)) => self.say(delta),
            Some(TurnEvent::Finished(outcome)) => {
                self.begin_summary();
                self.outcome = Some(outcome);
            }
            Some(TurnEvent::Failed(failure)) => self.failed = Some(failed(&failure)),
            None => {
                let problem = "the turn ended without an end".to_owned();
                self.failed = Some(ApiError::Internal { problem });
            }
        }
    }

    fn say(&mut self, delta: Delta) {
        match &delta {
            Delta::Text { channel: Channel::Analysis, text, .. } if self.summary.is_some() => {
                self.reasoning.push_str(text)
            }
            Delta::Warning(_) => {}
            _ => self.begin_summary(),
        }
        match self.summarising {
            Some(_) => self.behind = Some(delta),
            None => self.ready.push_back(Step::Delta(delta)),
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
        match self.assistant.start_turn(&conversation, options) {
            Ok(turn) => self.summarising = Some(turn),
            Err(error) => self.warn_of_no_summary(&error),
        }
    }

    /// Hears more of the summary.
    async fn summarise(&mut self) {
        let Some(turn) = &mut self.summarising else { return };
        match turn.next().await {
            Some(TurnEvent::Delta(Delta::Text { channel: Channel::Final, text, .. })) => {
                self.ready.push_back(Step::Summary(text));
            }
            Some(TurnEvent::Finished(outcome)) => {
                self.extra.completion += outcome.usage.engine.completion_tokens as u64;
                self.extra.reasoning += outcome.usage.reasoning_tokens as u64;
                self.summarising = None;
            }
            Some(TurnEvent::Failed(failure)) => {
                self.warn_of_no_summary(&failure);
                self.summarising = None;
            }
            Some(_) => {}
            None => self.summarising = None,
        }
    }

    fn warn_of_no_summary(&mut self, reason: &dyn std::fmt::Display) {
        let warning = format!("the reasoning has no summary: {reason}");
        self.ready.push_back(Step::Delta(Delta::Warning(warning)));
    }

    fn ending(&self, outcome: Outcome) -> Ending {
        let mut tokens = usage_of(&outcome);
        tokens.add(self.extra);
        Ending { end: outcome.end, tokens, messages: outcome.messages, rest: Vec::new() }
    }
}

/// What a turn took.
fn usage_of(outcome: &Outcome) -> TokenUsage {
    let usage = &outcome.usage;
    TokenUsage {
        prompt: usage.engine.prompt_tokens as u64,
        cached: usage.engine.cached_tokens as u64,
        completion: usage.engine.completion_tokens as u64,
        reasoning: usage.reasoning_tokens as u64,
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
