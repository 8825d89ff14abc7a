//! What does the assistant say next?
//!
//! [`run_turn`] is the one walk from a conversation to the next thing said: render, generate, listen. The terminal, the HTTP APIs,
//! batches and evaluations all take it, so that they cannot disagree about what a conversation means. It keeps nothing between turns: the
//! caller appends [`Outcome::messages`] to the conversation, and results of calls after them.
//!
//! The cancel flag is looked at whenever the engine reports something, that is at every token and every chunk of the prompt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gptoss_engine::{Engine, Event, FinishReason, Request, SamplingParams};
use gptoss_harmony::{Analysis, Conversation, Form, RenderOptions, Role, Vocab, render};

use crate::error::Error;
use crate::event::{Outcome, TurnEnd, TurnEvent, TurnUsage};
use crate::listen::{Heard, Listener};

/// How a turn is to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Most tokens that may be written; None is as many as the context holds. Units: tokens.
    pub max_new_tokens: Option<usize>,
    /// Whether the reasoning of finished turns is rendered; by the format it is not.
    pub analysis: Analysis,
}

/// Takes one turn: the model reads `conversation` and writes until it has answered, called, or reached a limit.
///
/// `on_event` hears everything in order. Setting `cancel` ends the turn at the next token with what there is.
///
/// Errors: the conversation cannot be rendered, the prompt does not fit the context, a sampling parameter is illegal, or the forward pass
/// failed. Nothing that the model writes is an error.
pub fn run_turn(
    engine: &mut Engine,
    vocab: &Arc<Vocab>,
    conversation: &Conversation,
    options: &TurnOptions,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(TurnEvent),
) -> Result<Outcome, Error> {
    let (vocabulary, model) = (vocab.len(), engine.model().config().vocab_size);
    if vocabulary > model {
        return Err(Error::ForeignVocabulary { vocabulary, model });
    }
    let form = RenderOptions { form: Form::Completion(Role::Assistant), analysis: options.analysis };
    let request = Request {
        prompt: render(vocab, conversation, form)?,
        sampling: options.sampling.clone(),
        stop_ids: vocab.stop_ids().to_vec(),
        max_new_tokens: options.max_new_tokens.unwrap_or(usize::MAX),
    };
    let mut listener = Listener::new(Arc::clone(vocab), conversation, on_event);
    // The turn may be over before the caller says so; the engine sees one flag for both.
    let stop = AtomicBool::new(cancel.load(Ordering::Relaxed));
    let completion = engine.generate(&request, &stop, &mut |event| {
        match event {
            Event::Prefill { done, total } => listener.tell(TurnEvent::Prefill { done, total }),
            Event::Token { id, .. } => listener.push(id),
            Event::Finished { .. } => {}
        }
        if listener.is_over() || cancel.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    let heard = listener.finish();
    let end = end_of(&heard, completion.reason, cancel.load(Ordering::Relaxed));
    let usage = TurnUsage { engine: completion.usage, reasoning_tokens: heard.reasoning_tokens };
    Ok(Outcome { messages: heard.messages, calls: heard.calls, end, usage, warnings: heard.warnings })
}

/// A turn that has answered or called has ended well, whatever else happened in the same moment.
fn end_of(heard: &Heard, reason: FinishReason, cancelled: bool) -> TurnEnd {
    match reason {
        _ if !heard.calls.is_empty() => TurnEnd::Call,
        _ if heard.has_whole_answer => TurnEnd::Answer,
        FinishReason::Length => TurnEnd::Length,
        FinishReason::Cancelled if cancelled => TurnEnd::Cancelled,
        FinishReason::Stop | FinishReason::Cancelled => TurnEnd::NoAnswer,
    }
}
