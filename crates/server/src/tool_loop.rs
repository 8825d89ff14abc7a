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
use gptoss_api::responses::events::{Next, ResponseMachine};
use gptoss_api::responses::parse::ApprovedCall;
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::{ApiError, ChoiceEnd, Machine};
use gptoss_harmony::{Call, Message};
use gptoss_turn::TurnEnd;

use crate::blocking::apart;
use crate::drive::{Abort, ChoiceStream, Request, Sink, turn};
use crate::model_host::Lease;
use crate::state::{App, now};
use crate::tool_host::ToolSession;
use crate::trace::ChoiceWork;
use crate::turn_stream::{self, ChoiceOutcome, TurnStream};

/// What the model reads instead of a result when it may call no more.
const NO_MORE_CALLS: &str =
    "This call was not run: there were as many as this response may have. Answer with what you know.";

/// How long a turn behind a call waits before it asks a full server again.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What is written, and with what.
pub(crate) struct ToolLoop<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) model: &'a Arc<Lease>,
    pub(crate) request: Request<'a>,
    /// What the next turn is asked; it grows.
    pub(crate) generation: GenerationRequest,
    /// Whether the reasoning is summarized.
    pub(crate) summarizes: bool,
    /// Who runs the calls; None where nothing may be called.
    pub(crate) session: Option<Box<dyn ToolSession>>,
    /// When it began.
    pub(crate) began: Instant,
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
}

/// Whether a call was answered.
enum Ran {
    Answered,
    /// The response ends here.
    Ended(TurnEnd),
}

impl ToolLoop<'_> {
    /// Writes the response, but for its first events and its last; `first` is its first turn, unless a call
    /// that was allowed is run before it.
    ///
    /// Errors: a turn failed, or nobody reads and the sink does not finish.
    pub(crate) async fn run<S: Sink<ResponseMachine>>(
        mut self,
        first: Result<TurnStream, ApprovedCall>,
        machine: &mut ResponseMachine,
        sink: &S,
    ) -> Result<Looped, Abort> {
        let mut progress = Progress::default();
        let mut next = match first {
            Ok(first) => first,
            Err(approved) => {
                let events = self.approved(&approved, machine)?;
                sink.put(events, machine).await?;
                match self.answer(&approved.call, &mut progress, machine, sink).await? {
                    Ran::Answered => match self.begin(progress.tokens, sink).await? {
                        Ok(turn) => turn,
                        Err(end) => return Ok(self.end(end, progress, machine)),
                    },
                    Ran::Ended(end) => return Ok(self.end(end, progress, machine)),
                }
            }
        };
        loop {
            let stream = ChoiceStream::Turn(Box::new(next));
            let ending = turn(self.request, stream, machine, sink).await?;
            let is_call = ending.outcome.end == TurnEnd::Call;
            let what = if is_call { machine.take_next() } else { None };
            progress.tokens.add(ending.outcome.tokens);
            progress.works.push(ending.work);
            let ChoiceOutcome { end, messages, rest, stop, .. } = ending.outcome;
            progress.messages.extend(messages.iter().cloned());
            let call = messages.last().and_then(call_of);
            let (Some(what), Some(call)) = (what, call) else {
                return Ok(self.finish(
                    ChoiceEnd { end, usage: progress.tokens, rest, at: now(), stop },
                    progress,
                    machine,
                ));
            };
            self.generation.conversation.messages.extend(messages);
            // What was demanded has been done.
            self.generation.tools.choice = Choice::Auto;
            let ran = match what {
                Next::Run => self.answer(&call, &mut progress, machine, sink).await?,
                Next::Refuse => {
                    // Once it was told, it cannot call any more.
                    self.generation.tools.choice = Choice::None;
                    self.say(&call, NO_MORE_CALLS.to_owned(), &mut progress);
                    Ran::Answered
                }
            };
            next = match ran {
                Ran::Answered => match self.begin(progress.tokens, sink).await? {
                    Ok(turn) => turn,
                    Err(end) => return Ok(self.end(end, progress, machine)),
                },
                Ran::Ended(end) => return Ok(self.end(end, progress, machine)),
            };
            self.request.begun = Instant::now();
        }
    }

    /// The first events of a call that was allowed.
    fn approved(
        &self,
        approved: &ApprovedCall,
        machine: &mut ResponseMachine,
    ) -> Result<Vec<Numbered>, Abort> {
        let ApprovedCall { request_id, call } = approved;
        match self.generation.tools.hosted.find(&call.recipient) {
            Some(HostedCall::Mcp(server, offered)) => {
                Ok(machine.approved(request_id, &server.label, &offered.tool.name, &call.arguments))
            }
            _ => {
                let problem = "a call was allowed that nobody could have asked for".to_owned();
                Err(Abort::Failed(ApiError::Internal { problem }))
            }
        }
    }

    /// Runs a call and puts its result behind it.
    async fn answer<S: Sink<ResponseMachine>>(
        &mut self,
        call: &Call,
        progress: &mut Progress,
        machine: &mut ResponseMachine,
        sink: &S,
    ) -> Result<Ran, Abort> {
        let deadline = self.deadline();
        let found = self.generation.tools.hosted.find(&call.recipient);
        let (Some(session), Some(found)) = (&mut self.session, found) else {
            let problem = format!("nobody runs {}", call.recipient);
            return Err(Abort::Failed(ApiError::Internal { problem }));
        };
        let outcome = tokio::select! {
            outcome = session.run(found, &call.arguments) => outcome,
            () = sink.closed() => return Ok(Ran::Ended(TurnEnd::Cancelled)),
            () = until(deadline) => return Ok(Ran::Ended(TurnEnd::Deadline)),
        };
        let text = outcome.text.clone();
        let events = machine.ran(outcome);
        self.say(call, text, progress);
        sink.put(events, machine).await?;
        Ok(Ran::Answered)
    }

    /// When all of it has to end.
    fn deadline(&self) -> Option<Instant> {
        match self.generation.is_background {
            true => None,
            false => self.began.checked_add(self.app.limits.request_time),
        }
    }

    /// Puts a result behind a call.
    fn say(&mut self, call: &Call, text: String, progress: &mut Progress) {
        let mut message = Message::tool_result(call.recipient.clone(), text);
        message.channel.clone_from(&call.channel);
        progress.messages.push(message.clone());
        self.generation.conversation.messages.push(message);
    }

    /// The next turn, or why there is none. It waits for a place in the queue: a client that was refused
    /// would ask again, and what the tools did would be done twice.
    ///
    /// Errors: the engine refuses it.
    async fn begin<S: Sink<ResponseMachine>>(
        &mut self,
        so_far: TokenUsage,
        sink: &S,
    ) -> Result<Result<TurnStream, TurnEnd>, Abort> {
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Err(TurnEnd::Deadline));
        }
        let mut generation = self.generation.clone();
        if let Some(max) = generation.max_new_tokens {
            let left = max.saturating_sub(so_far.completion as usize);
            if left == 0 {
                return Ok(Err(TurnEnd::Length));
            }
            generation.max_new_tokens = Some(left);
        }
        let (app, model, summarizes) = (self.app, self.model, self.summarizes);
        let generation = Arc::new(generation);
        loop {
            let asked = Arc::clone(&generation);
            match turn_stream::begin_until(app, model, asked, summarizes, 1, deadline).await {
                Ok(mut streams) => {
                    let missing = || ApiError::Internal { problem: "there is no turn".to_owned() };
                    return streams.pop().map(Ok).ok_or_else(|| Abort::Failed(missing()));
                }
                Err(ApiError::ContextLength { .. }) => return Ok(Err(TurnEnd::Context)),
                Err(ApiError::Busy { .. } | ApiError::Overloaded { .. }) => {}
                Err(error) => return Err(Abort::Failed(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(BUSY_PAUSE) => {}
                () = sink.closed() => return Ok(Err(TurnEnd::Cancelled)),
                () = until(deadline) => return Ok(Err(TurnEnd::Deadline)),
            }
        }
    }

    /// The end between two turns.
    fn end(&self, end: TurnEnd, progress: Progress, machine: &mut ResponseMachine) -> Looped {
        let usage = progress.tokens;
        self.finish(ChoiceEnd { end, usage, rest: Vec::new(), at: now(), stop: None }, progress, machine)
    }

    fn finish(&self, end: ChoiceEnd, progress: Progress, machine: &mut ResponseMachine) -> Looped {
        let Progress { tokens, messages, works } = progress;
        let is_call = messages.last().is_some_and(|message| call_of(message).is_some());
        let call_id = machine.last_call_id().filter(|_| is_call).map(str::to_owned);
        if let Some(id) = &call_id {
            self.app.calls.keep(self.request.tenant, id, messages.clone(), Instant::now());
        }
        let last = apart(self.request.tells_logprobs, || machine.finish(end));
        Looped { last, tokens, messages, call_id, works }
    }
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
