//! A policy judged by a model that is loaded here.
//!
//! Greedy, under the form's schema, with a bound on the reasoning; nothing of it is written to disk.

use std::time::Instant;

use gptoss_harmony::{Logprob, ReasoningEffort};
use gptoss_turn::{
    Assistant, Channel, ConstraintLimits, Delta, OutputRules, SamplingParams, Tenant, Turn, TurnCanceller,
    TurnEnd, TurnEvent, TurnOptions,
};

use crate::error::Error;
use crate::form::Form;
use crate::judge_usage::JudgeUsage;
use crate::policy::Policy;
use crate::verdict::{ALTERNATIVES, Verdict};

/// Most tokens of an answer. Units: tokens.
const ANSWER_TOKENS_MAX: usize = 512;

/// Most tokens that the judge thinks. Units: tokens.
fn reasoning_budget(effort: ReasoningEffort) -> u32 {
    match effort {
        ReasoningEffort::Low => 512,
        ReasoningEffort::Medium => 2048,
        ReasoningEffort::High => 8192,
    }
}

/// A judgment on its way; dropping it cancels it.
pub struct Judging {
    turn: Turn,
    policy: String,
    form: Form,
}

/// Begins to judge `text`; tokenizes and compiles, so call it where waiting is allowed.
///
/// Errors: the text does not fit the model's context, the queue is full.
pub fn judge(
    assistant: &Assistant,
    policy: &Policy,
    text: &str,
    tenant: &Tenant,
    deadline: Instant,
) -> Result<Judging, Error> {
    let failed = |source| Error::Turn { policy: policy.name.clone(), source };
    let conversation = policy.conversation(text);
    let limits = ConstraintLimits { tenant: tenant.0.clone(), ..ConstraintLimits::default() };
    let compiled = assistant.compile(&conversation, &policy.rules(), &limits);
    let compiled = compiled.map_err(|error| failed(error.into()))?;
    let budget = reasoning_budget(policy.effort);
    let options = TurnOptions {
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        max_new_tokens: Some(budget as usize + ANSWER_TOKENS_MAX),
        reasoning_budget: Some(budget),
        answer_tokens: Some(ANSWER_TOKENS_MAX),
        logprobs: Some(ALTERNATIVES),
        rules: OutputRules::Compiled(compiled),
        tenant: tenant.clone(),
        deadline: Some(deadline),
        is_private: true,
        ..TurnOptions::default()
    };
    let turn = assistant.start_turn(&conversation, &options).map_err(failed)?;
    Ok(Judging { turn, policy: policy.name.clone(), form: policy.form })
}

impl Judging {
    /// A way to end it early; the verdict is none then, and what it took until then is told.
    pub fn canceller(&self) -> TurnCanceller {
        self.turn.canceller()
    }

    /// Waits for the verdict, and tells what it took, also where there is none.
    ///
    /// Errors: the engine failed, or the answer is none of the form.
    pub async fn verdict(mut self) -> (Result<Verdict, Error>, JudgeUsage) {
        let mut usage = JudgeUsage::default();
        let verdict = self.heard(&mut usage).await;
        (verdict, usage)
    }

    async fn heard(&mut self, usage: &mut JudgeUsage) -> Result<Verdict, Error> {
        let (mut answer, mut tokens): (String, Vec<Logprob>) = Default::default();
        let problem = loop {
            match self.turn.next().await {
                Some(TurnEvent::Delta(Delta::Text { channel: Channel::Final, text, logprobs })) => {
                    answer.push_str(&text);
                    tokens.extend(logprobs);
                }
                Some(TurnEvent::Finished(outcome)) => {
                    let engine = &outcome.usage.engine;
                    *usage = JudgeUsage {
                        input: engine.prompt_tokens as u64,
                        cached: engine.cached_tokens as u64,
                        output: engine.completion_tokens as u64,
                    };
                    match Verdict::read(self.form, &answer, &tokens) {
                        Some(verdict) => return Ok(verdict),
                        None if outcome.end == TurnEnd::Deadline => break "its time was up".to_owned(),
                        None => break "the model gave no answer of the form".to_owned(),
                    }
                }
                Some(TurnEvent::Failed(failure)) => break failure.to_string(),
                Some(_) => {}
                None => break "the turn ended without an end".to_owned(),
            }
        };
        Err(Error::NoVerdict { policy: self.policy.clone(), problem })
    }
}
