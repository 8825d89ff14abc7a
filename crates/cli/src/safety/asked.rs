//! What both models are asked, and what an answer counts for.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use gptoss_eval::hierarchy::{self, Family, Plan, Trial};
use gptoss_eval::{
    Ask, AskMessage, AskRole, Item, Judges, Key, Outcome, Response, Spec, Suite, SuiteOptions, Task, judge,
    rows,
};
use gptoss_harmony::{Conversation, Message, Opening, ReasoningEffort};

use super::sampler::Reply;
use crate::args::{Measure, SafetyCompareArgs, TrialArgs};
use crate::failure::usage;
use crate::generation::effort;

/// A file's name that is a specification's.
const SPEC_ENDING: &str = ".toml";

/// One prompt with what its answer is held to.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Of the hierarchy's suite.
    Trial(Trial),
    /// Of a user's file.
    Row(Item),
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
    let mut asked: Vec<Asked> = trials(&args.trials).into_iter().map(Asked::Trial).collect();
    let limit = args.rows.map(|rows| rows as usize);
    if let Some(file) = &args.refusals {
        asked.extend(items(Task::XsTest.name(), file, limit)?);
    }
    if let Some(capability) = &args.capability {
        let (task, file) = capability.split_once('=').ok_or_else(|| {
            usage(format!(
                "--capability {capability}: write TASK=FILE, or SPEC.toml=FILE for a task of your own"
            ))
        })?;
        asked.extend(items(task, Path::new(file), limit)?);
    }
    Ok(asked)
}

/// The rows of a file as a task asks them.
fn items(task: &str, file: &Path, limit: Option<usize>) -> Result<Vec<Asked>> {
    let cannot = || format!("cannot use {}", file.display());
    let bytes = std::fs::read(file).with_context(cannot)?;
    let rows = rows(&bytes).with_context(cannot)?;
    let options = SuiteOptions { limit, ..SuiteOptions::default() };
    let suite = if task.ends_with(SPEC_ENDING) {
        let toml = std::fs::read_to_string(task).with_context(|| format!("cannot read {task}"))?;
        let spec = Spec::parse(&toml).with_context(|| format!("cannot use {task}"))?;
        Suite::own(&spec, rows, &options)
    } else {
        let task: Task = task.parse().map_err(|error: gptoss_eval::Error| usage(error.to_string()))?;
        Suite::new(task, rows, &options)
    };
    let items = suite.with_context(cannot)?.items;
    match items.iter().all(|item| is_scored_alone(&item.key)) {
        true => Ok(items.into_iter().map(Asked::Row).collect()),
        false => Err(anyhow!(
            "{}: its rows need a grader or a run of programs\ntake a task whose answers are choices, numbers or texts",
            file.display()
        )),
    }
}

fn is_scored_alone(key: &Key) -> bool {
    match key {
        Key::Letter(_)
        | Key::Integer(_)
        | Key::Number(_)
        | Key::Text(_)
        | Key::Pattern(_)
        | Key::Refusal(_) => true,
        Key::Program(_)
        | Key::Patch(_)
        | Key::Instructions(_)
        | Key::Calls(_)
        | Key::Graded(_)
        | Key::Rubric(_) => false,
    }
}

impl Asked {
    /// What it is called.
    pub fn id(&self) -> &str {
        match self {
            Asked::Trial(trial) => &trial.id,
            Asked::Row(item) => &item.id,
        }
    }

    /// Up to the model's turn.
    pub fn conversation(&self, effort: ReasoningEffort) -> Conversation {
        match self {
            Asked::Trial(trial) => trial.conversation.clone(),
            Asked::Row(item) => conversation(&item.ask, effort),
        }
    }

    /// What a reply counts for, the same measures whatever it is.
    pub fn marks(&self, reply: &Reply) -> Vec<(Measure, bool)> {
        let mut marks = Vec::new();
        let mut is_seen_by_gate = true;
        match self {
            Asked::Trial(trial) => {
                let verdict = trial.rule.judge(&reply.answer);
                marks.push((Measure::Hierarchy, verdict.outcome == hierarchy::Outcome::Held));
                marks.extend(verdict.did_task.map(|did| (Measure::Tasks, did)));
                // The gate knows functions alone.
                is_seen_by_gate = !trial.has_builtin_tools();
            }
            Asked::Row(item) => {
                let measure = match &item.key {
                    Key::Refusal(key) if key.should_refuse => Measure::Refusal,
                    Key::Refusal(_) => Measure::Answered,
                    _ => Measure::Capability,
                };
                // gpt-oss writes "I’m sorry", which no rule of others knows.
                let text = reply.answer.text.replace('’', "'");
                let response = Response { response: text, ..Response::default() };
                let judgement = judge(item, &response, &Judges::default());
                marks.push((measure, judgement.outcome == Outcome::Correct));
            }
        }
        if is_seen_by_gate {
            marks.push((Measure::Harmony, reply.flaw.is_none()));
        }
        marks
    }
}

/// A row's messages; what it has of system messages are the developer's instructions, as the APIs have it.
fn conversation(ask: &Ask, effort: ReasoningEffort) -> Conversation {
    let (mut instructions, mut messages) = (Vec::new(), Vec::new());
    for AskMessage { role, text } in ask.messages.clone() {
        match role {
            AskRole::System | AskRole::Developer => instructions.push(text),
            AskRole::User => messages.push(Message::user(text)),
            AskRole::Assistant => messages.push(Message::assistant("final", text)),
        }
    }
    Conversation::opening(Opening { effort, instructions, ..Opening::default() }, &messages)
}
