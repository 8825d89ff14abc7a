//! Keys and values on a card: as many as leave room for the weights.
//!
//! Entry point: [`fit`]. Where a model does not fit a card whole, blocks beyond one whole context make way
//! for it first, and only then experts stay in the computer's memory. What `--kv-memory` says is not changed.

use std::io::{self, Write};

use anyhow::Result;
use gptoss_engine::{EngineOptions, KvPlan};
use gptoss_model::BLOCK_TOKENS;

use crate::args::{ComputeArgs, DeviceArg};
use crate::memory_budget::Needs;
use crate::model_source::{Opened, dense, kv_format, precision};
use crate::{device, engine_start};

/// The options of an engine, with fewer blocks where a card would otherwise hold fewer experts.
///
/// Errors: those of planning, and of the flags.
pub fn fit(opened: &Opened, compute: &ComputeArgs, options: EngineOptions) -> Result<EngineOptions> {
    if compute.device == DeviceArg::Cpu || options.kv_bytes.is_some() {
        return Ok(options);
    }
    let wished = engine_start::plan_kv(opened, compute, &options)?;
    let with = |blocks: usize| EngineOptions { kv_bytes: Some(bytes_with(&wished, blocks)), ..options };
    let numbers: Vec<usize> = (1..=wished.sizes.blocks).collect();
    let fewest =
        numbers.partition_point(|blocks| engine_start::plan_kv(opened, compute, &with(*blocks)).is_err());
    let numbers = &numbers[fewest..];
    let Some(fewest) = numbers.first() else { return Ok(options) };
    let (context, precision) = (options.max_context, precision(compute.precision));
    let dense = dense(compute.dense, compute.precision)?;
    let needs = Needs { context, precision, dense, kv: None, adapters: opened.adapter_bytes() };
    let least = engine_start::plan_kv(opened, compute, &with(*fewest))?;
    let kv_format = kv_format(compute);
    let Some(card) =
        device::find(compute, &opened.checkpoint, &Needs { kv: Some(&least), ..needs }, kv_format)?
    else {
        return Ok(options);
    };
    let is_whole = |kv: &KvPlan| {
        let needs = Needs { kv: Some(kv), ..needs };
        let plan = device::plan(&card, compute, &opened.checkpoint, &needs, kv_format);
        plan.is_ok_and(|plan| plan.expert_slots.is_none())
    };
    if is_whole(&wished) {
        return Ok(options);
    }
    let holds =
        |blocks: &usize| engine_start::plan_kv(opened, compute, &with(*blocks)).is_ok_and(|kv| is_whole(&kv));
    let blocks = numbers[numbers.partition_point(holds).saturating_sub(1)];
    if blocks < wished.sizes.blocks {
        let [tokens, all] = [blocks, wished.sizes.blocks].map(|blocks| blocks * BLOCK_TOKENS);
        writeln!(
            io::stderr(),
            "keys and values have room for {tokens} tokens, not for {all}, so that more of the weights fit the card"
        )?;
    }
    Ok(with(blocks))
}

/// Bytes of a plan with another number of blocks.
fn bytes_with(plan: &KvPlan, blocks: usize) -> u64 {
    // Invariant: the first term is that of the blocks.
    let of_blocks = plan.terms.first().map_or(0, |term| term.bytes);
    let all: u64 = plan.terms.iter().map(|term| term.bytes).sum();
    all - of_blocks + of_blocks / plan.sizes.blocks.max(1) as u64 * blocks as u64
}
