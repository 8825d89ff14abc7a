//! What both models are asked, and what an answer counts for.

use anyhow::Result;
use gptoss_eval::hierarchy::{self, Family, Outcome, Plan, Trial};
use gptoss_harmony::Conversation;

use super::sampler::Reply;
use crate::args::{Measure, SafetyCompareArgs, TrialArgs};
use crate::generation::effort;

/// One prompt with what its answer is held to.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Of the hierarchy's suite.
    Trial(Trial),
}

/// The hierarchy's trials.
pub fn trials(args: &TrialArgs) -> Vec<Trial> {
    let families = if args.families.is_empty() { Family::ALL.to_vec() } else { args.families.clone() };
    let (seed, limit) = (args.seed, args.limit as usize);
    hierarchy::trials(&Plan { seed, limit, families, effort: effort(args.effort) })
}

/// All that two models are asked.
///
/// Errors: a file that cannot be read, or holds something else.
pub fn all(args: &SafetyCompareArgs) -> Result<Vec<Asked>> {
    Ok(trials(&args.trials).into_iter().map(Asked::Trial).collect())
}

impl Asked {
    /// What it is called.
    pub fn id(&self) -> &str {
        match self {
            Asked::Trial(trial) => &trial.id,
        }
    }

    /// Up to the model's turn.
    pub fn conversation(&self) -> Conversation {
        match self {
            Asked::Trial(trial) => trial.conversation.clone(),
        }
    }

    /// What a reply counts for, the same measures whatever it is.
    pub fn marks(&self, reply: &Reply) -> Vec<(Measure, bool)> {
        let mut marks = Vec::new();
        match self {
            Asked::Trial(trial) => {
                let verdict = trial.rule.judge(&reply.answer);
                marks.push((Measure::Hierarchy, verdict.outcome == Outcome::Held));
                marks.extend(verdict.did_task.map(|did| (Measure::Tasks, did)));
                // The gate knows functions alone.
                if trial.has_builtin_tools() {
                    return marks;
                }
            }
        }
        marks.push((Measure::Harmony, reply.flaw.is_none()));
        marks
    }
}
