//! The model as an assistant: an engine and the vocabulary of its model.
//!
//! [`Assistant::start_turn`] is the one walk from a conversation to the next thing said: render, generate,
//! decode. The terminal, the HTTP APIs, batches and evaluations all take it, so that they cannot disagree
//! about what a conversation means. The composition root makes one and hands it on; a clone is the same
//! assistant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gptoss_constrain::{Limits, TokenTable};
use gptoss_engine::{AdapterId, EngineHandle};
use gptoss_harmony::{Conversation, Vocab};

use crate::constraint::{TurnConstraint, TurnRules};
use crate::error::Error;
use crate::event::{Outcome, TurnEvent};
use crate::options::TurnOptions;
use crate::text::{Text, TextOptions, start_text};
use crate::turn::{PreparedTurn, Turn};

/// How long `run_turn` waits for an event before it looks at its flag.
const FLAG_PATIENCE: Duration = Duration::from_millis(20);
/// Between the seeds of several choices: an odd constant of splitmix64.
const CHOICE_STEP: u64 = 0xbf58_476d_1ce4_e5b9;

/// An engine, the vocabulary of its model, and the adapter under which it speaks, if there is one.
#[derive(Clone)]
pub struct Assistant {
    engine: EngineHandle,
    table: Arc<TokenTable>,
    adapter: Option<AdapterId>,
}

impl Assistant {
    /// The assistant of the model that `engine` runs; `table` is made of that model's vocabulary, once.
    ///
    /// Errors: the vocabulary is not the model's.
    pub fn new(engine: EngineHandle, table: Arc<TokenTable>) -> Result<Assistant, Error> {
        let (vocabulary, model) = (table.vocab().len(), engine.limits().vocab_size);
        if vocabulary > model {
            return Err(Error::ForeignVocabulary { vocabulary, model });
        }
        Ok(Assistant { engine, table, adapter: None })
    }

    /// The same model under one of its adapters: everything that this assistant begins is computed with it.
    pub fn with_adapter(self, adapter: Option<AdapterId>) -> Assistant {
        Assistant { adapter, ..self }
    }

    /// The way to the engine.
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// The model's vocabulary.
    pub fn vocab(&self) -> &Arc<Vocab> {
        self.table.vocab()
    }

    /// Its tokens as constraints are compiled for them.
    pub fn table(&self) -> &Arc<TokenTable> {
        &self.table
    }

    /// Compiles rules for the tools of a conversation, as [`TurnConstraint::compile`] does.
    ///
    /// Errors: a schema or grammar that is refused, a tool choice that cannot be met, too much at once.
    pub fn compile(
        &self,
        conversation: &Conversation,
        rules: &TurnRules,
        limits: &Limits,
    ) -> Result<TurnConstraint, gptoss_constrain::Error> {
        TurnConstraint::compile(&self.table, conversation, rules, limits)
    }

    /// Begins a turn: the model reads `conversation` and writes until it has answered, called, or reached a
    /// limit.
    ///
    /// Errors: the conversation cannot be rendered, its rules cannot be compiled, or the engine refuses the
    /// request: the prompt does not fit the context, a parameter is illegal, the queue is full, the engine
    /// stops. Nothing that the model writes is an error.
    pub fn start_turn(&self, conversation: &Conversation, options: &TurnOptions) -> Result<Turn, Error> {
        self.prepare(conversation, options)?.submit(options.sampling.seed)
    }

    /// Begins `count` turns on the same conversation, each with its own seed made from the given one; the
    /// first has the seed itself. They share the computation of the prompt.
    ///
    /// Errors: as [`Assistant::start_turn`]; then none of them runs.
    pub fn start_turns(
        &self,
        conversation: &Conversation,
        options: &TurnOptions,
        count: usize,
    ) -> Result<Vec<Turn>, Error> {
        submitted(&self.prepare(conversation, options)?, options, count)
    }

    /// As [`Assistant::start_turns`], if `allow` does: it is told how many tokens the prompt has before the
    /// engine is given it.
    ///
    /// Errors: as [`Assistant::start_turns`]; within, that of `allow`.
    pub fn start_turns_if<R>(
        &self,
        conversation: &Conversation,
        options: &TurnOptions,
        count: usize,
        allow: impl FnOnce(usize) -> Result<(), R>,
    ) -> Result<Result<Vec<Turn>, R>, Error> {
        let prepared = self.prepare(conversation, options)?;
        match allow(prepared.num_tokens()) {
            Ok(()) => submitted(&prepared, options, count).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn prepare<'a>(
        &'a self,
        conversation: &'a Conversation,
        options: &'a TurnOptions,
    ) -> Result<PreparedTurn<'a>, Error> {
        PreparedTurn::new((&self.engine, self.adapter), &self.table, conversation, options)
    }

    /// Takes one turn to its end.
    ///
    /// `on_event` hears everything in order, except the end, which is returned. Setting `cancel` ends the
    /// turn at the next token with what there is.
    ///
    /// Errors: as [`Assistant::start_turn`]; the engine failed.
    pub fn run_turn(
        &self,
        conversation: &Conversation,
        options: &TurnOptions,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(TurnEvent),
    ) -> Result<Outcome, Error> {
        let mut turn = self.start_turn(conversation, options)?;
        loop {
            if cancel.load(Ordering::Relaxed) {
                turn.cancel();
            }
            match turn.next_event_within(FLAG_PATIENCE) {
                None => {}
                Some(TurnEvent::Finished(outcome)) => return Ok(outcome),
                Some(TurnEvent::Failed(failure)) => return Err(Error::Engine(failure.into())),
                Some(event) => on_event(event),
            }
        }
    }

    /// Begins to continue `prompt` as it is, without a format.
    ///
    /// Errors: the engine refuses: an empty or too long prompt, a parameter out of its range, a full queue.
    pub fn start_text(&self, prompt: Vec<u32>, options: TextOptions) -> Result<Text, Error> {
        start_text(&self.engine, self.vocab(), self.adapter, prompt, options)
    }
}

/// As many turns as are wanted, each with its own seed.
fn submitted(prepared: &PreparedTurn<'_>, options: &TurnOptions, count: usize) -> Result<Vec<Turn>, Error> {
    let seed = |index: usize| options.sampling.seed.wrapping_add((index as u64).wrapping_mul(CHOICE_STEP));
    (0..count).map(|index| prepared.submit(seed(index))).collect()
}
