//! The loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gptoss_harmony::{Conversation, Message, Role};
use gptoss_tools::ToolReply;
use gptoss_turn::{
    Assistant, Call, ConstraintLimits, EngineError, OutputRules, TurnEnd, TurnEvent, TurnOptions, TurnRules,
    is_offered,
};

use crate::action::{Action, Decision};
use crate::budget::Budget;
use crate::ending::{AgentEnd, AgentUsage, Ending};
use crate::error::Error;
use crate::event::{AgentEvent, CallStatus};
use crate::prepared::Answer;
use crate::toolbox::Toolbox;

/// How long the loop waits before it looks at the flag again.
const FLAG_PATIENCE: Duration = Duration::from_millis(20);
/// Most of a result that the model reads; its middle is left out. Units: bytes.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Task {
    /// What was said so far, without the tools of the box. One that ends in a call of a tool's begins with
    /// its answer.
    pub conversation: Conversation,
    /// How each turn is taken; its rules, its limit of tokens and its deadline are the run's to set.
    pub options: TurnOptions,
    /// What each turn is held to.
    pub rules: TurnRules,
    /// How much it may take.
    pub budget: Budget,
}

/// Who hears of it and who decides.
pub struct Host<'a, E, A> {
    /// Ends the run while it is true: a turn within a step, a tool at once.
    pub cancel: &'a AtomicBool,
    /// Hears everything in order.
    pub on_event: E,
    /// Is asked before each action that needs approval.
    pub approve: A,
}

/// Works on a task until it is done, or may not go on.
///
/// Errors: the first turn cannot be taken, the engine fails, or what the turns are held to cannot be
/// compiled. All else is an ending.
pub async fn run<E: FnMut(AgentEvent), A: FnMut(&Action) -> Decision>(
    assistant: &Assistant,
    toolbox: &Toolbox,
    task: Task,
    host: Host<'_, E, A>,
) -> Result<Ending, Error> {
    let Task { mut conversation, mut options, rules, budget } = task;
    toolbox.offer(&mut conversation);
    let rules = toolbox.rules(&rules);
    let limits = ConstraintLimits { tenant: options.tenant.0.clone(), ..ConstraintLimits::default() };
    options.rules = OutputRules::Compiled(assistant.compile(&conversation, &rules, &limits)?);
    let deadline = budget.time_max.map(|time| Instant::now() + time);
    options.deadline = [options.deadline, deadline].into_iter().flatten().min();
    let num_given = conversation.messages.len();
    let mut run = Run {
        assistant,
        toolbox,
        host,
        conversation,
        options,
        budget,
        answer: None,
        usage: AgentUsage::default(),
        warnings: Vec::new(),
        num_calls: 0,
    };
    let end = run.until_end().await?;
    let messages = run.conversation.messages.split_off(num_given);
    Ok(Ending { end, messages, answer: run.answer, usage: run.usage, warnings: run.warnings })
}

struct Run<'a, E, A> {
    assistant: &'a Assistant,
    toolbox: &'a Toolbox,
    host: Host<'a, E, A>,
    conversation: Conversation,
    options: TurnOptions,
    budget: Budget,
    answer: Option<String>,
    usage: AgentUsage,
    warnings: Vec<String>,
    num_calls: usize,
}

/// Why a wait was given up.
enum GivenUp {
    Cancelled,
    Time,
}

impl<E: FnMut(AgentEvent), A: FnMut(&Action) -> Decision> Run<'_, E, A> {
    async fn until_end(&mut self) -> Result<AgentEnd, Error> {
        if let Some(call) = waiting_call(&self.conversation)
            && let Some(end) = self.answer_call(call).await
        {
            return Ok(end);
        }
        loop {
            if let Some(end) = self.spent() {
                return Ok(end);
            }
            let (end, calls) = match self.turn().await {
                // What the run itself has said does not fit any more.
                Err(gptoss_turn::Error::Engine(EngineError::PromptTooLong { .. }))
                    if self.usage.steps > 0 =>
                {
                    return Ok(AgentEnd::Context);
                }
                taken => taken?,
            };
            match end {
                TurnEnd::Answer => return Ok(AgentEnd::Answer),
                TurnEnd::Call => {}
                TurnEnd::Length => return Ok(AgentEnd::Tokens),
                TurnEnd::Context => return Ok(AgentEnd::Context),
                TurnEnd::Cancelled => return Ok(AgentEnd::Cancelled),
                TurnEnd::Deadline => return Ok(AgentEnd::Time),
                TurnEnd::NoAnswer | TurnEnd::Filtered => return Ok(AgentEnd::NoAnswer),
            }
            for call in calls {
                if let Some(end) = self.answer_call(call).await {
                    return Ok(end);
                }
            }
        }
    }

    /// What does not let another turn begin.
    fn spent(&self) -> Option<AgentEnd> {
        if self.host.cancel.load(Ordering::Relaxed) {
            return Some(AgentEnd::Cancelled);
        }
        if self.options.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(AgentEnd::Time);
        }
        if self.budget.tokens_max.is_some_and(|max| self.usage.completion_tokens >= max) {
            return Some(AgentEnd::Tokens);
        }
        (self.usage.steps >= self.budget.steps_max).then_some(AgentEnd::Steps)
    }

    /// Takes one turn, and keeps what it said. Gives why it ended, and the calls that wait for a result.
    async fn turn(&mut self) -> Result<(TurnEnd, Vec<Call>), gptoss_turn::Error> {
        let left = self.budget.tokens_max.map(|max| max - self.usage.completion_tokens);
        let options = TurnOptions {
            max_new_tokens: [self.options.max_new_tokens, left].into_iter().flatten().min(),
            ..self.options.clone()
        };
        let mut turn = self.assistant.start_turn(&self.conversation, &options)?;
        self.tell(AgentEvent::TurnStarted);
        let outcome = loop {
            let event = tokio::time::timeout(FLAG_PATIENCE, turn.next()).await;
            if self.host.cancel.load(Ordering::Relaxed) {
                turn.cancel();
            }
            match event {
                Err(_) => {}
                Ok(None) => return Err(EngineError::Stopped.into()),
                Ok(Some(TurnEvent::Finished(outcome))) => break outcome,
                Ok(Some(TurnEvent::Failed(failure))) => {
                    return Err(gptoss_turn::Error::Engine(failure.into()));
                }
                Ok(Some(event)) => self.tell(AgentEvent::Turn(event)),
            }
        };
        self.usage.add(&outcome.usage);
        self.warnings.extend(outcome.warnings.iter().cloned());
        self.conversation.messages.extend(outcome.messages.iter().cloned());
        if outcome.end == TurnEnd::Answer {
            self.answer = outcome.answer();
        }
        let ended = (outcome.end, outcome.calls.clone());
        self.tell(AgentEvent::TurnEnded(Box::new(outcome)));
        Ok(ended)
    }

    /// Answers a call; an end where the run may not go on behind it.
    async fn answer_call(&mut self, call: Call) -> Option<AgentEnd> {
        let Some(prepared) = self.toolbox.prepare(&call).await else {
            // Then it is the caller's.
            if is_offered(&self.conversation, &call.recipient) {
                return Some(AgentEnd::Call(call));
            }
            let reply = ToolReply::error(format!("There is no tool {}.", call.name));
            let action = Action::Unknown { name: call.name.clone() };
            self.end_call(&call, action, CallStatus::Failed, reply.into());
            return None;
        };
        let action = prepared.action.clone();
        if prepared.is_understood() {
            if action.needs_approval() {
                match (self.host.approve)(&action) {
                    Decision::Approve => {}
                    Decision::Decline { reason } => {
                        self.end_call(&call, action, CallStatus::Declined, ToolReply::error(reason).into());
                        return None;
                    }
                    Decision::Wait => return Some(AgentEnd::Approval(call)),
                }
            }
            self.tell(AgentEvent::CallStarted { number: self.num_calls, action: action.clone() });
        }
        let (cancel, deadline) = (self.host.cancel, self.options.deadline);
        let (answer, end) = tokio::select! {
            answer = prepared.answer() => (answer, None),
            given_up = give_up(cancel, deadline) => match given_up {
                GivenUp::Cancelled => (ToolReply::error("The call was cancelled.").into(), Some(AgentEnd::Cancelled)),
                GivenUp::Time => (ToolReply::error("The call was ended: the time for the task is over.").into(), Some(AgentEnd::Time)),
            },
        };
        let status = if answer.reply.is_error { CallStatus::Failed } else { CallStatus::Completed };
        self.end_call(&call, action, status, answer);
        end
    }

    /// Puts a result behind the call, and tells it.
    fn end_call(&mut self, call: &Call, action: Action, status: CallStatus, answer: Answer) {
        let Answer { mut reply, exit_code } = answer;
        reply.text = shortened(reply.text);
        let mut message = Message::tool_result(call.recipient.clone(), reply.text.clone());
        message.channel = call.channel.clone().or(message.channel);
        self.conversation.messages.push(message);
        let number = self.num_calls;
        self.num_calls += 1;
        self.tell(AgentEvent::CallEnded { number, action, status, reply, exit_code });
    }

    fn tell(&mut self, event: AgentEvent) {
        (self.host.on_event)(event);
    }
}

/// The call that a conversation ends with: its answer is still to come.
fn waiting_call(conversation: &Conversation) -> Option<Call> {
    let message = conversation.messages.last()?;
    let recipient = message.recipient.as_ref()?;
    if message.author.role != Role::Assistant {
        return None;
    }
    Some(Call {
        name: recipient.strip_prefix("functions.").unwrap_or(recipient).to_owned(),
        recipient: recipient.clone(),
        channel: message.channel.clone(),
        arguments: message.text(),
    })
}

async fn give_up(cancel: &AtomicBool, deadline: Option<Instant>) -> GivenUp {
    loop {
        if cancel.load(Ordering::Relaxed) {
            return GivenUp::Cancelled;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return GivenUp::Time;
        }
        tokio::time::sleep(FLAG_PATIENCE).await;
    }
}

/// A text without its middle where it is too long.
fn shortened(text: String) -> String {
    if text.len() <= REPLY_BYTES_MAX {
        return text;
    }
    let head = text.floor_char_boundary(REPLY_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - REPLY_BYTES_MAX / 2);
    format!("{}\n[{} bytes are left out here]\n{}", &text[..head], tail - head, &text[tail..])
}
