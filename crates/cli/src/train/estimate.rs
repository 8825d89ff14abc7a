//! What a run would take: memory by named terms, and hours by a short measurement.
//!
//! Measured are whole passes, forward and backward, through a model of one layer and of two: what the second
//! adds is a layer's, the rest belongs to embedding and head.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use gptoss_kernels::{Document, Pool};
use gptoss_model::PROGRAM_BYTES;
use gptoss_train::{
    Batch, Gradients, Network, Term, Text, Trained, Weights, add_gradients, memory, num_rows, num_trained,
    pack,
};
use serde_json::json;

use crate::args::TrainArgs;
use crate::machine;
use crate::memory_budget::human;
use crate::model_source::Opened;

use super::course::duration;
use super::recipe::Recipe;
use super::rows::Rows;

/// Most tokens of a measured pass.
const PROBE_TOKENS: usize = 256;
/// How long passes are measured, each at least once.
const PROBE_TIME: Duration = Duration::from_millis(500);
/// Code, stacks and buffers that the program has not touched when a plan is made: the peak of runs of the
/// demo above their terms. Units: bytes.
const UNTOUCHED_BYTES: u64 = 6_000_000;
/// Steps of which the largest batch is taken.
const STEPS_LOOKED_AT: u64 = 1000;

/// The memory of a run.
pub struct Plan {
    terms: Vec<Term>,
    /// What there is, where the system tells.
    limit: Option<u64>,
}

impl Plan {
    /// The plan of a recipe for some rows.
    pub fn of(args: &TrainArgs, opened: &Opened, recipe: &Recipe, rows: &Rows) -> Plan {
        // The rows are read by now, so that they are part of it.
        let program = machine::resident_bytes().map_or(PROGRAM_BYTES, |bytes| bytes + UNTOUCHED_BYTES);
        let (together, asked) = largest_batch(recipe, rows);
        let mut terms = memory(
            &opened.checkpoint,
            (&recipe.tuning, recipe.quantized.map(|(format, _)| format)),
            together,
            asked,
        );
        terms.push(Term { name: "program, vocabulary and rows", bytes: program });
        let limit = args.memory.or_else(|| machine::memory().map(|memory| memory.most()));
        Plan { terms, limit }
    }

    /// The sum of its terms.
    pub fn bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.bytes).sum()
    }

    fn fits(&self) -> bool {
        self.limit.is_none_or(|limit| self.bytes() <= limit)
    }

    fn describe(&self) -> String {
        let lines = self.terms.iter().map(|term| format!("  {:>9}  {}\n", human(term.bytes), term.name));
        lines.collect()
    }

    /// Errors: the plan has more than there is.
    pub fn refuse_too_large(&self, args: &TrainArgs) -> Result<()> {
        if self.fits() {
            return Ok(());
        }
        let (needed, limit) = (human(self.bytes()), human(self.limit.unwrap_or_default()));
        let whose = if args.memory.is_some() { "--memory allows" } else { "this machine has" };
        Err(anyhow!(
            "this run would take {needed}, and {whose} {limit}:\n{}a smaller --tokens takes less, and so does a \
             smaller --rank",
            self.describe()
        ))
    }
}

/// Says what a run would take.
///
/// Errors: the weights cannot be read.
pub fn tell(
    args: &TrainArgs,
    opened: &Opened,
    recipe: &Recipe,
    rows: &Rows,
    plan: &Plan,
    pool: &Pool,
) -> Result<()> {
    let config = opened.checkpoint.config();
    let texts = rows.train_texts();
    let steps = recipe.course.steps();
    let answers = rows.answers(&texts);
    let alone = recipe.course.sum(|place| answers[place].iter().map(|text| text.num_rows() as u64).sum());
    let tokens = (alone as f64 * computed_share(recipe, &answers)) as u64;
    let learned = texts.iter().flat_map(|text| text.weights).filter(|weight| **weight != 0.0).count();
    let all: usize = texts.iter().map(|text| text.tokens.len()).sum();
    let probe = Probe::of(opened, recipe, pool, learned as f64 / all as f64)?;
    let seconds = probe.seconds(config.num_hidden_layers) * tokens as f64;
    let rate = 1.0 / probe.seconds(config.num_hidden_layers);
    let trained = num_trained(config, &recipe.tuning);
    let mut out = io::stdout().lock();
    if args.json {
        let terms: Vec<_> =
            plan.terms.iter().map(|term| json!({"name": term.name, "bytes": term.bytes})).collect();
        let told = json!({
            "memory": terms,
            "memory_bytes": plan.bytes(),
            "memory_limit": plan.limit,
            "fits": plan.fits(),
            "trained_numbers": trained,
            "steps": steps,
            "tokens": tokens,
            "tokens_per_second": rate,
            "hours": seconds / 3600.0,
        });
        writeln!(out, "{told}")?;
        return Ok(());
    }
    let limit = plan.limit.map_or(String::new(), |limit| format!(" of {}", human(limit)));
    writeln!(out, "memory: {}{limit}\n{}", human(plan.bytes()), plan.describe().trim_end())?;
    writeln!(out, "trained: {trained} numbers")?;
    let (steps, tokens, time) = (steps, tokens, duration(seconds));
    writeln!(
        out,
        "time: {time} for {steps} steps with {tokens} tokens, at {rate:.0} tokens/s as measured now"
    )?;
    if !plan.fits() {
        writeln!(out, "it does not fit: a smaller --tokens takes less, and so does a smaller --rank")?;
    }
    Ok(out.flush()?)
}

/// The share of the rows of texts that is computed: the others are those of another text too.
fn computed_share(recipe: &Recipe, answers: &[&[Text<'_>]]) -> f64 {
    let (mut computed, mut alone) = (0, 0);
    for step in 0..recipe.course.steps().min(STEPS_LOOKED_AT) {
        let chosen = recipe.course.chosen(step, answers).concat();
        alone += chosen.iter().map(Text::num_rows).sum::<usize>();
        let batches = pack(&chosen, recipe.tokens);
        computed += batches.iter().map(|batch| num_rows(&chosen, batch)).sum::<usize>();
    }
    if alone == 0 { 1.0 } else { computed as f64 / alone as f64 }
}

/// The most rows that go through the model together, and the most of them that are learned.
fn largest_batch(recipe: &Recipe, rows: &Rows) -> (usize, usize) {
    let texts = rows.train_texts();
    let answers = rows.answers(&texts);
    let learned = |text: &Text<'_>| text.weights.iter().filter(|weight| **weight != 0.0).count();
    let (mut most, mut most_learned) = (0, 0);
    for step in 0..recipe.course.steps().min(STEPS_LOOKED_AT) {
        let chosen = recipe.course.chosen(step, &answers).concat();
        for batch in pack(&chosen, recipe.tokens) {
            most = num_rows(&chosen, &batch).max(most);
            let learned = batch.iter().map(|placed| learned(&chosen[placed.text])).sum();
            most_learned = most_learned.max(learned);
        }
    }
    (most, most_learned)
}

/// Seconds that a token takes.
struct Probe {
    layer: f64,
    rest: f64,
}

impl Probe {
    fn of(opened: &Opened, recipe: &Recipe, pool: &Pool, learned: f64) -> Result<Probe> {
        let weights = Weights::open(&opened.checkpoint, Some(2))?;
        let (network, trained) = recipe.network(&weights);
        let tokens = PROBE_TOKENS.min(recipe.tokens);
        let time = |layers: usize| {
            let layers = network.layers[..layers.min(network.layers.len())].to_vec();
            pass_seconds(&Network { layers, ..network.clone() }, &trained, pool, tokens, learned)
        };
        let (one, two) = (time(1), time(2));
        // Where noise is larger than a layer, all of the time is a layer's.
        let layer = if two > one { two - one } else { two / 2.0 };
        Ok(Probe { layer: layer / tokens as f64, rest: (one - layer).max(0.0) / tokens as f64 })
    }

    fn seconds(&self, layers: usize) -> f64 {
        self.layer * layers as f64 + self.rest
    }
}

/// The shortest of some passes.
fn pass_seconds(network: &Network<'_>, trained: &Trained, pool: &Pool, t: usize, learned: f64) -> f64 {
    let vocabulary = network.shape.vocabulary;
    let token = |place: usize| ((place * 7919 + 13) % vocabulary) as u32;
    let tokens: Vec<u32> = (0..t).map(token).collect();
    let targets: Vec<u32> = (1..=t).map(token).collect();
    let count = ((t as f64 * learned) as usize).clamp(1, t);
    let weights: Vec<f32> =
        (0..t).map(|place| if place < count { 1.0 / count as f32 } else { 0.0 }).collect();
    let documents = &[Document::alone(t)];
    let batch =
        Batch { tokens: &tokens, documents, targets: &targets, weights: &weights, balance_weight: 0.0 };
    let mut gradients = Gradients::zeros(trained);
    let (started, mut best) = (Instant::now(), f64::INFINITY);
    while best.is_infinite() || started.elapsed() < PROBE_TIME {
        let start = Instant::now();
        add_gradients(pool, network, trained, &mut gradients, batch);
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
