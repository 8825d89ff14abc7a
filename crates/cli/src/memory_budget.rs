//! `--memory`: what is planned for a model, and what the disk had to do.
//!
//! [`plan`] asks the model room how the model fits, and [`print()`] shows the terms, so that nobody has to
//! guess what the number went into; [`plan_of_shape`] does the same for a model that is not there;
//! [`traffic_line`] and [`traffic_json`] say afterwards what was read from disk, or sent to the card, while
//! the model ran. Without the flag nothing is planned: files are mapped, and the page cache does what it
//! does. Bytes are told to people by [`human`] everywhere.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::{Result, anyhow};
use bytesize::ByteSize;
use gptoss_checkpoint::{Checkpoint, LayerPart, Part};
use gptoss_engine::KvPlan;
use gptoss_model::{
    DenseMode, Error, ExpertHome, ExpertTraffic, MemoryPlan, ModelConfig, PROGRAM_BYTES, Precision, Term,
    memory, plan_memory,
};
use serde_json::{Value, json};

const GIGABYTE: f64 = 1e9;

/// Bytes as people read them: a number and a decimal unit, such as `12.4 GB`.
pub fn human(bytes: u64) -> String {
    ByteSize::b(bytes).display().si().to_string()
}

/// Whose plan it is, for the messages.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How the model is called to people.
    pub name: String,
    /// Where its weights are.
    pub place: Place,
}

/// Where the weights of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In files, of which experts can stay on disk.
    Files,
    /// In this program.
    Program,
    /// Nowhere: they are drawn at random when they are read.
    Nowhere,
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// Tokens of a whole conversation.
    pub context: usize,
    /// The numeric mode.
    pub precision: Precision,
    /// The format of dense matrices.
    pub dense: DenseMode,
    /// The keys and values of an engine, in the place of those of one conversation.
    pub kv: Option<&'a KvPlan>,
    /// What adapters take beside the weights. Units: bytes.
    pub adapters: u64,
}

/// The plan without a budget: everything in memory.
///
/// Errors: a shape that is no gpt-oss.
pub fn whole(checkpoint: &Checkpoint, needs: &Needs<'_>) -> Result<Vec<Term>> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let terms = memory(&config, &checkpoint.part_bytes(), needs.context, needs.precision, needs.dense);
    Ok(with_rest(terms, needs))
}

/// The smallest budget that `--memory` takes for a model; `None` when no part of it can stay on disk. Units:
/// bytes.
pub fn least(checkpoint: &Checkpoint, needs: &Needs<'_>) -> Option<u64> {
    match plan_memory(checkpoint, needs.context, needs.precision, needs.dense, 0) {
        Err(Error::BudgetTooSmall { smallest, .. }) => Some(smallest),
        _ => None,
    }
}

/// Plans a model into a budget of bytes.
///
/// Errors: the budget is too small, with the smallest that is not.
pub fn plan(
    checkpoint: &Checkpoint,
    subject: &Subject,
    needs: &Needs<'_>,
    budget: u64,
) -> Result<MemoryPlan> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    // The model room plans for one conversation; what the engine's plan has beyond that, and adapters, are
    // taken from the budget first.
    let one = memory(&config, &[], needs.context, needs.precision, needs.dense);
    let one: u64 = one.iter().filter(|term| is_kv(term)).map(|term| term.bytes).sum();
    let all: u64 = needs.kv.map_or(one, |plan| plan.terms.iter().map(|term| term.bytes).sum());
    let all = all + needs.adapters;
    let for_one = (budget + one).saturating_sub(all);
    let plan = plan_memory(checkpoint, needs.context, needs.precision, needs.dense, for_one);
    let plan =
        plan.map_err(|error| too_small(error, subject, budget, |bytes| (bytes + all).saturating_sub(one)))?;
    Ok(MemoryPlan { terms: with_rest(plan.terms, needs), ..plan })
}

/// Writes a plan to standard error.
pub fn print(plan: &MemoryPlan, context: usize, budget: u64) -> io::Result<()> {
    io::stderr().write_all(describe(plan, context, budget).as_bytes())
}

/// The same for a model that need not be there, for those who only look: a preset is planned as if it were in
/// files.
///
/// Errors: the budget is too small, with the smallest that is not.
pub fn plan_of_shape(
    checkpoint: &Checkpoint,
    subject: &Subject,
    needs: &Needs<'_>,
    budget: u64,
) -> Result<Vec<Term>> {
    match plan_memory(checkpoint, needs.context, needs.precision, needs.dense, budget) {
        Ok(plan) => Ok(plan.terms),
        Err(Error::NotOnDisk { .. }) if subject.place == Place::Nowhere => {
            as_if_in_files(checkpoint, subject, needs, budget)
        }
        Err(error) => Err(too_small(error, subject, budget, |bytes| bytes)),
    }
}

/// What [`plan_memory`] would say of the published files of a shape: as many experts in memory as there is
/// room for.
fn as_if_in_files(
    checkpoint: &Checkpoint,
    subject: &Subject,
    needs: &Needs<'_>,
    budget: u64,
) -> Result<Vec<Term>> {
    let config = checkpoint.config();
    let parts = checkpoint.part_bytes();
    let experts: u64 = parts.iter().filter(|(part, _)| is_expert_matrix(*part)).map(|(_, bytes)| bytes).sum();
    let held: Vec<(Part, u64)> =
        parts.into_iter().filter(|(part, _)| !is_expert_matrix(*part) && *part != Part::Embedding).collect();
    let model = ModelConfig::from_checkpoint(config)?;
    let mut terms = memory(&model, &held, needs.context, needs.precision, needs.dense);
    terms.push(Term { name: "program: vocabulary, code, stacks".to_owned(), bytes: PROGRAM_BYTES });
    let fixed: u64 = terms.iter().map(|term| term.bytes).sum();
    let num_experts = (config.num_hidden_layers * config.num_local_experts.max(1)) as u64;
    let one = experts / num_experts;
    let slots = (budget.saturating_sub(fixed) / one.max(1)).min(num_experts);
    if slots == 0 {
        let error = Error::BudgetTooSmall { budget, smallest: fixed + one };
        return Err(too_small(error, subject, budget, |bytes| bytes));
    }
    let name = format!("experts in memory: {slots} of {num_experts}, the others on disk");
    terms.push(Term { name, bytes: slots * one });
    Ok(terms)
}

/// Whether a part is matrices of the experts, which can stay on disk.
fn is_expert_matrix(part: Part) -> bool {
    use LayerPart::{DownBf16, DownBlocks, DownScales, GateUpBf16, GateUpBlocks, GateUpScales};
    matches!(
        part,
        Part::Layer(_, GateUpBlocks | GateUpScales | DownBlocks | DownScales | GateUpBf16 | DownBf16)
    )
}

/// What to do when a model does not fit; `with_engine` adds to a number of bytes what the engine takes.
fn too_small(
    error: Error,
    subject: &Subject,
    budget: u64,
    with_engine: impl Fn(u64) -> u64,
) -> anyhow::Error {
    let (name, given) = (&subject.name, human(budget));
    match (error, subject.place) {
        (Error::BudgetTooSmall { smallest, .. }, _) => {
            let least = human(with_engine(smallest));
            anyhow!(
                "--memory of {given} is too little for {name}: {least} is the least\ngive it more, or a smaller --context"
            )
        }
        (Error::NotOnDisk { needed }, Place::Program) => {
            let needed = human(with_engine(needed));
            anyhow!(
                "--memory of {given} is too little for the demo, which needs {needed} with the program itself\n\
                 it lies inside this program, so that no part of it can stay on disk: give it more, or leave --memory away"
            )
        }
        (Error::NotOnDisk { needed }, _) => {
            let needed = human(with_engine(needed));
            anyhow!(
                "--memory of {given} is too little for {name}, which needs {needed}\n\
                 its random weights are made in memory: `gptoss synth PRESET DIR` writes them to files, of which experts can stay on disk"
            )
        }
        (other, _) => other.into(),
    }
}

fn is_kv(term: &Term) -> bool {
    term.name.starts_with("KV cache")
}

/// The cache of one conversation makes way for that of the engine, and adapters are there too.
fn with_rest(mut terms: Vec<Term>, needs: &Needs<'_>) -> Vec<Term> {
    if let Some(plan) = needs.kv {
        terms.retain(|term| !is_kv(term));
        terms.extend(plan.terms.iter().cloned());
    }
    if needs.adapters > 0 {
        terms.push(Term { name: "adapters".to_owned(), bytes: needs.adapters });
    }
    terms
}

fn describe(plan: &MemoryPlan, context: usize, budget: u64) -> String {
    let (planned, budget) = (human(plan.bytes()), human(budget));
    let mut text = format!("memory: {planned} planned of {budget}, with room for {context} tokens\n");
    for term in &plan.terms {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:>9}  {}", human(term.bytes), term.name);
    }
    text
}

/// One line about what was read or sent, for people.
pub fn traffic_line(traffic: &ExpertTraffic) -> String {
    let (home, place, came) = match traffic.home {
        ExpertHome::Disk => ("on disk", "in memory", "read"),
        ExpertHome::Host => ("in the computer's memory", "on the card", "sent"),
    };
    format!(
        "experts {home}: {} of {} {place}, {:.1} % of {} uses found there; {:.2} GB {came} at {:.2} GB/s, {:.1} s waited",
        traffic.slots,
        traffic.experts,
        100.0 * traffic.hit_rate(),
        traffic.hits + traffic.misses,
        traffic.bytes_read as f64 / GIGABYTE,
        traffic.read_bytes_per_second() / GIGABYTE,
        traffic.wait_time.as_secs_f64(),
    )
}

/// Where experts are, for programs.
pub fn home_word(home: ExpertHome) -> &'static str {
    match home {
        ExpertHome::Disk => "disk",
        ExpertHome::Host => "host",
    }
}

/// The same for programs; null when all experts are where they are used.
pub fn traffic_json(traffic: Option<&ExpertTraffic>) -> Value {
    let Some(traffic) = traffic else { return Value::Null };
    json!({
        "home": home_word(traffic.home),
        "expert_slots": traffic.slots,
        "experts": traffic.experts,
        "hits": traffic.hits,
        "misses": traffic.misses,
        "hit_rate": traffic.hit_rate(),
        "bytes_read": traffic.bytes_read,
        "read_seconds": traffic.read_time.as_secs_f64(),
        "read_bytes_per_second": traffic.read_bytes_per_second(),
        "wait_seconds": traffic.wait_time.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_have_a_unit() {
        for (bytes, expect) in
            [(0, "0 B"), (999, "999 B"), (8_700_000, "8.7 MB"), (12_440_457_856, "12.4 GB")]
        {
            assert_eq!(human(bytes), expect);
        }
    }
}
