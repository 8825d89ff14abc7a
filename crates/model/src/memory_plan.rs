//! A model fitted into a number of bytes: whole, or with its experts on disk.
//!
//! Entry point: [`plan_memory`]. If all terms of `memory.rs` and what the program itself takes are within the
//! budget, the model is used as its files are. Otherwise everything but two things is held in memory: the
//! experts, of which as many are kept as the rest of the budget has room for, and the embedding, of which a
//! token reads a single row, so that its rows are taken from the file when they are needed, unless it is the
//! unembedding too, or had to be made of other bytes. The terms are
//! what the process will hold, and their sum keeps to the budget.

use gptoss_checkpoint::{Checkpoint, Part};

use crate::Error;
use crate::config::{DenseMode, ModelConfig, Precision};
use crate::cpu::expert_cache::READ_THREADS;
use crate::memory::{Term, memory, memory_terms, row_forms};
use crate::parameters::is_expert_matrix;

/// What the program takes beside the model: itself, the vocabulary, stacks and small buffers. Units: bytes.
/// Measured with the published vocabulary.
pub const PROGRAM_BYTES: u64 = 100_000_000;

/// What will be in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Named terms. Units: bytes.
    pub terms: Vec<Term>,
    /// How many experts are kept, if not all: the `expert_slots` of [`LoadOptions`](crate::LoadOptions).
    pub expert_slots: Option<usize>,
}

impl MemoryPlan {
    /// The sum of the terms.
    pub fn bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.bytes).sum()
    }
}

/// Fits a checkpoint, with a KV cache of `context` tokens, into `budget` bytes.
///
/// Errors: `BudgetTooSmall` with the smallest budget that would do; `NotOnDisk`; `Checkpoint` when the files
/// cannot be opened again.
pub fn plan_memory(
    checkpoint: &Checkpoint,
    context: usize,
    precision: Precision,
    dense: DenseMode,
    budget: u64,
) -> Result<MemoryPlan, Error> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let program = Term { name: "program: vocabulary, code, stacks".to_string(), bytes: PROGRAM_BYTES };
    let mut parts = checkpoint.part_bytes();
    let mut terms = memory(&config, &parts, context, precision, dense);
    terms.push(program.clone());
    let whole = MemoryPlan { terms, expert_slots: None };
    if whole.bytes() <= budget {
        return Ok(whole);
    }
    let Some(reader) = checkpoint.expert_reader()? else {
        return Err(Error::NotOnDisk { needed: whole.bytes() });
    };
    let forms = row_forms(&config, &parts, precision, dense);
    // What is made of a file's bytes has no rows there to be read one by one.
    let is_on_disk = |part| part == Part::Embedding && !checkpoint.is_made(part);
    parts.retain(|(part, _)| !is_expert_matrix(*part) && !is_on_disk(*part));
    let mut terms = memory_terms(&config, &parts, context, precision, dense, forms);
    terms.push(program);
    let scratch = READ_THREADS as u64 * reader.scratch_bytes();
    if scratch > 0 {
        terms.push(Term { name: "experts being laid out".to_string(), bytes: scratch });
    }
    let fixed: u64 = terms.iter().map(|term| term.bytes).sum();
    let slot = reader.buffer_bytes();
    let all = config.num_layers * config.expert_slots();
    let slots = (budget.saturating_sub(fixed) / slot).min(all as u64);
    if slots == 0 {
        return Err(Error::BudgetTooSmall { budget, smallest: fixed + slot });
    }
    let name = format!("experts in memory: {slots} of {all}");
    terms.push(Term { name, bytes: slots * slot });
    Ok(MemoryPlan { terms, expert_slots: Some(slots as usize) })
}
