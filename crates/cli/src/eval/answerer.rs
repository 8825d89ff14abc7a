//! Who answers: this program's engine, its agent, or a server of OpenAI's API.
//!
//! All take the same question: a conversation, functions, an effort, limits. Any number of threads may ask
//! at a time; each waits for its answer.

use std::sync::atomic::AtomicBool;

use gptoss_eval::{Ask, Item, Response};
use gptoss_turn::{Outcome, SamplingParams, TurnEnd, TurnOptions};
use serde_json::{Value, json};

use super::address::{Address, Failure, one_call};
use super::manner::{Manner, Names, body, opened};
use super::repairer::Repairer;
use crate::generation::Session;

/// Who answers.
pub enum Answerer {
    /// The engine of this program.
    Engine(Box<Session>),
    /// The engine, in a repository.
    Repairer(Box<Repairer>),
    /// A server.
    Address(Box<Address>),
}

impl Answerer {
    /// Puts a question and waits for the answer, whose id and repeat are the caller's.
    ///
    /// Errors: there is none, or `stop` was raised.
    pub fn answer(
        &self,
        item: &Item,
        how: &Manner,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<Response, Failure> {
        let ask = &item.ask;
        let names = Names::of(&ask.functions);
        let mut response = match self {
            Answerer::Engine(session) => engine_answer(session, ask, &names, how, seed, stop)?,
            Answerer::Repairer(repairer) => {
                repairer.answer(item, how, options(repairer.session(), how, seed), stop)?
            }
            Answerer::Address(address) => address.ask(&body(ask, &names, how, Some(seed)), stop)?,
        };
        for call in response.calls.iter_mut().flatten() {
            names.restore(call);
        }
        Ok(response)
    }
}

/// How a turn is taken.
fn options(session: &Session, how: &Manner, seed: u64) -> TurnOptions {
    let own = &session.options;
    TurnOptions {
        sampling: SamplingParams {
            temperature: how.temperature.unwrap_or(own.sampling.temperature),
            top_p: how.top_p.unwrap_or(own.sampling.top_p),
            seed,
            ..own.sampling.clone()
        },
        max_new_tokens: how.max_tokens.map(|tokens| tokens as usize),
        ..own.clone()
    }
}

fn engine_answer(
    session: &Session,
    ask: &Ask,
    names: &Names,
    how: &Manner,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Response, Failure> {
    let options = options(session, how, seed);
    let (head, turns) = opened(ask, names, how);
    let outcome = session.assistant().run_turn(&head.conversation(&turns), &options, stop, &mut |_| {});
    match outcome {
        Ok(outcome) if outcome.end == TurnEnd::Cancelled => Err(Failure::Stopped),
        Ok(outcome) => Ok(response(&outcome)),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

fn response(outcome: &Outcome) -> Response {
    let usage = &outcome.usage.engine;
    let calls: Vec<Value> = outcome.calls.iter().map(|call| one_call(&call.name, &call.arguments)).collect();
    Response {
        response: outcome.answer().unwrap_or_default(),
        reasoning: outcome.reasoning(),
        calls: Some(calls).filter(|calls| !calls.is_empty()),
        finish_reason: Some(outcome.end.finish_reason().to_owned()),
        usage: Some(json!({
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "completion_tokens_details": {"reasoning_tokens": outcome.usage.reasoning_tokens},
        })),
        ..Response::default()
    }
}
