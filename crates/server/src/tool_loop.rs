//! A response that may be several turns: turn, call, result, turn, until the model has answered, calls
//! something of the client's, or may not go on.
//!
//! What is bounded counts for all turns together: tokens written, the request's time, and the calls. The
//! prompt of each turn is that of the one before with what was said since, so its keys and values are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gptoss_api::generation::hosted::HostedCall;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::tools::Choice;
use gptoss_api::responses::events::{Next, ResponseMachine, ToolOutcome};
use gptoss_api::responses::parse::ApprovedCall;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::moderations::Moderated;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::{ApiError, ChoiceEnd, Machine};
use gptoss_guard::{Mode, Stage};
use gptoss_harmony::{Call, Message};
use gptoss_turn::TurnEnd;

use crate::blocking::apart;
use crate::container_inputs;
use crate::container_registry::Whose;
use crate::drive::{Abort, ChoiceStream, Request, Sink, joined, turn};
use crate::state::{App, now};
use crate::stream_item::ChoiceOutcome;
use crate::tool_host::ToolSession;
use crate::trace::ChoiceWork;
use crate::turn_source::TurnSource;

/// What the model reads instead of a result when it may call no more.
const NO_MORE_CALLS: &str =
    "This call was not run: there were as many as this response may have. Answer with what you know.";

/// What the model and the client read instead of a result that a policy holds back.
const HELD_BACK: &str = "The result of this call is held back by a policy of this server.";

/// How long a turn behind a call waits before it asks a full server again.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What is written, and with what.
pub(crate) struct ToolLoop<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) source: &'a TurnSource,
    pub(crate) request: Request<'a>,
    /// What the next turn is asked; it grows.
    pub(crate) generation: Arc<GenerationRequest>,
    /// Whether the reasoning is summarized.
    pub(crate) summarizes: bool,
    /// Who runs the calls; None where nothing may be called.
    pub(crate) session: Option<Box<dyn ToolSession>>,
    /// Where its code runs, by the client's name.
    pub(crate) container: String,
    /// When all of it ends with what it has.
    pub(crate) deadline: Option<Instant>,
}

/// A response that was written to its end.
pub(crate) struct Looped {
    /// The last events, which no sink has had.
    pub(crate) last: Vec<Numbered>,
    /// What all turns took.
    pub(crate) tokens: TokenUsage,
    /// What the assistant and the tools said.
    pub(crate) messages: Vec<Message>,
    /// The id of the call that the messages end with.
    pub(crate) call_id: Option<String>,
    /// What the model did, turn by turn.
    pub(crate) works: Vec<ChoiceWork>,
}

/// What a response came to so far.
#[derive(Default)]
struct Progress {
    tokens: TokenUsage,
    messages: Vec<Message>,
    works: Vec<ChoiceWork>,
    moderation: Option<Box<Moderated>>,
}

impl ToolLoop<'_> {
    /// Writes the response, but for its first events and its last; `first` is its first turn, unless a call
    /// that was allowed is run before it.
    ///
    /// Errors: a turn failed, or nobody reads and the sink does not finish.
    pub(crate) async fn run<S: Sink<ResponseMachine>>(
        mut self,
        first: Result<ChoiceStream, ApprovedCall>,
        machine: &mut ResponseMachine,
        sink: &S,
    ) -> Result<Looped, Abort> {
        let mut progress = Progress::default();
        let tokens_max = self.generation.max_new_tokens;
        let left = |so_far: TokenUsage| tokens_max.map(|max| max.saturating_sub(so_far.completion as usize));
        let mut next = match first {
            Ok(first) => Ok(first),
            Err(approved) => {
                let ApprovedCall { request_id, server_label, name, call } = &approved;
                sink.put(machine.approved(request_id, server_label, name, &call.arguments), machine).await?;
                let ended = self.answer(&approved.call, &mut progress, machine, sink).await?;
                self.go_on(ended, left(progress.tokens), sink).await?
            }
        };
        loop {
            let stream = match next {
                Ok(turn) => turn,
                Err(end) => {
                    let usage = progress.tokens;
                    let end = ChoiceEnd { end, usage, rest: Vec::new(), at: now(), stop: None };
                    return Ok(self.finish(end, progress, machine));
                }
            };
            let ending = turn(self.request, stream, machine, sink).await?;
            let is_call = ending.outcome.end == TurnEnd::Call;
            let what = if is_call { machine.take_next() } else { None };
            progress.tokens.add(ending.outcome.tokens);
            progress.works.push(ending.work);
            let ChoiceOutcome { end, messages, rest, stop, moderation, .. } = ending.outcome;
            progress.moderation = joined(progress.moderation.take(), moderation);
            let call = messages.last().and_then(call_of);
            let (Some(what), Some(call)) = (what, call) else {
                progress.messages.extend(messages);
                let end = ChoiceEnd { end, usage: progress.tokens, rest, at: now(), stop };
                return Ok(self.finish(end, progress, machine));
            };
            let generation = Arc::make_mut(&mut self.generation);
            generation.conversation.messages.extend(messages.iter().cloned());
            progress.messages.extend(messages);
            // What was demanded has been done; and who was told that there is no more cannot call.
            generation.tools.choice = if what == Next::Refuse { Choice::None } else { Choice::Auto };
            let ended = match what {
                Next::Run => self.answer(&call, &mut progress, machine, sink).await?,
                Next::Refuse => {
                    self.say(&call, NO_MORE_CALLS.to_owned(), &mut progress);
                    None
                }
            };
            next = self.go_on(ended, left(progress.tokens), sink).await?;
            self.request.begun = Instant::now();
        }
    }

    /// Runs a call and puts its result behind it; why the response ends before there is one.
    async fn answer<S: Sink<ResponseMachine>>(
        &mut self,
        call: &Call,
        progress: &mut Progress,
        machine: &mut ResponseMachine,
        sink: &S,
    ) -> Result<Option<TurnEnd>, Abort> {
        let deadline = self.deadline;
        let found = self.generation.tools.hosted.find(&call.recipient);
        let (Some(session), Some(found)) = (&mut self.session, found) else {
            let problem = format!("nobody runs {}", call.recipient);
            return Err(Abort::Failed(ApiError::Internal { problem }));
        };
        let (app, source, generation) = (self.app, self.source, &self.generation);
        let whose = Whose { tenant: self.request.tenant.to_owned(), id: self.container.clone() };
        let is_code = found == HostedCall::Python;
        let running =
            is_code.then(|| container_inputs::begin_call(app, &whose, source.left(), session.as_mut()));
        let answered = async {
            let outcome = session.run(found, &call.arguments).await;
            judged(app, source, generation, outcome).await
        };
        let outcome = tokio::select! {
            outcome = answered => outcome,
            () = sink.closed() => return Ok(Some(TurnEnd::Cancelled)),
            () = until(deadline) => return Ok(Some(TurnEnd::Deadline)),
        };
        drop(running);
        if is_code {
            source.raise(app.containers.label(&whose));
        }
        let mut outcome = outcome.map_err(Abort::Failed)?;
        let place = (self.request.tenant, self.container.as_str());
        self.app.container_files.keep(place, &mut outcome.files, now());
        let text = outcome.text.clone();
        let events = machine.ran(outcome);
        self.say(call, text, progress);
        sink.put(events, machine).await?;
        Ok(None)
    }

    /// Puts a result behind a call.
    fn say(&mut self, call: &Call, text: String, progress: &mut Progress) {
        let mut message = Message::tool_result(call.recipient.clone(), text);
        message.channel.clone_from(&call.channel);
        progress.messages.push(message.clone());
        Arc::make_mut(&mut self.generation).conversation.messages.push(message);
    }

    /// The next turn, or why there is none: `ended`, if it has. It waits for a place in the queue: a client
    /// that was refused would ask again, and what the tools did would be done twice.
    ///
    /// Errors: the engine refuses it.
    async fn go_on<S: Sink<ResponseMachine>>(
        &mut self,
        ended: Option<TurnEnd>,
        tokens_left: Option<usize>,
        sink: &S,
    ) -> Result<Result<ChoiceStream, TurnEnd>, Abort> {
        if let Some(end) = ended {
            return Ok(Err(end));
        }
        let (app, source, deadline) = (self.app, self.source, self.deadline);
        source.goes_on();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Err(TurnEnd::Deadline));
        }
        if tokens_left == Some(0) {
            return Ok(Err(TurnEnd::Length));
        }
        Arc::make_mut(&mut self.generation).max_new_tokens = tokens_left;
        loop {
            // An upstream takes its time.
            let begun = tokio::select! {
                begun = source.begin(app, &self.generation, self.summarizes, deadline) => begun,
                () = sink.closed() => return Ok(Err(TurnEnd::Cancelled)),
                () = until(deadline) => return Ok(Err(TurnEnd::Deadline)),
            };
            match begun {
                Ok(turn) => return Ok(Ok(turn)),
                Err(ApiError::ContextLength { .. }) => return Ok(Err(TurnEnd::Context)),
                // A rate is one to wait for, too.
                Err(
                    ApiError::Busy { .. }
                    | ApiError::Overloaded { .. }
                    | ApiError::Rate { retry_ms: Some(_), .. },
                ) => {}
                Err(error) => return Err(Abort::Failed(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(BUSY_PAUSE) => {}
                () = sink.closed() => return Ok(Err(TurnEnd::Cancelled)),
                () = until(deadline) => return Ok(Err(TurnEnd::Deadline)),
            }
        }
    }

    fn finish(mut self, end: ChoiceEnd, progress: Progress, machine: &mut ResponseMachine) -> Looped {
        let Progress { tokens, messages, works, moderation } = progress;
        machine.moderated(moderation.map(|found| *found));
        let is_call = messages.last().is_some_and(|message| call_of(message).is_some());
        let call_id = machine.last_call_id().filter(|_| is_call).map(str::to_owned);
        if let Some(id) = &call_id {
            let (tenant, left, now) = (self.request.tenant, self.source.left(), Instant::now());
            self.app.calls.keep((tenant, id), messages.clone(), left, now);
            if let Some(session) = self.session.take() {
                self.app.paused.keep((tenant, id.as_str()), &self.container, (session, left), now);
            }
        }
        let last = apart(self.request.tells_logprobs, || machine.finish(end));
        Looped { last, tokens, messages, call_id, works }
    }
}

/// The result of a tool, or words in its place if a policy holds it back.
///
/// Errors: the request wants a policy that is not known, and no turn before the call has refused it.
async fn judged(
    app: &App,
    source: &TurnSource,
    generation: &GenerationRequest,
    outcome: ToolOutcome,
) -> Result<ToolOutcome, ApiError> {
    let (Some(guarding), Some(judge)) = (&app.guard, source.judge()) else { return Ok(outcome) };
    let whose = guarding.whose(judge, generation)?;
    // What is scored alone is found beside the next turn, as all that is said to the model.
    if guarding.mode(Stage::Tools, &whose.asked) != Mode::Block {
        return Ok(outcome);
    }
    Ok(match guarding.look(&app.models, Stage::Tools, &outcome.text, &whose).await.blocked {
        None => outcome,
        Some(why) => {
            app.log.notice(&format!("the result of a tool is held back: {why}"));
            ToolOutcome { text: HELD_BACK.to_owned(), is_error: true, ..ToolOutcome::default() }
        }
    })
}

/// The call that a message is.
fn call_of(message: &Message) -> Option<Call> {
    let recipient = message.recipient.clone().filter(|_| message.author.name.is_none())?;
    let (channel, arguments) = (message.channel.clone(), message.text());
    Some(Call { name: recipient.clone(), recipient, channel, arguments })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
