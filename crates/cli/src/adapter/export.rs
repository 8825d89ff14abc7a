//! An adapter of any stack as PEFT writes it.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use gptoss_checkpoint::{Error, FactorDtype, FactorLayout, read_adapter, write_adapter};
use gptoss_model::adapter_distance;

use crate::adapter::Tuned;
use crate::args::{AdapterExportArgs, FactorDtypeArg};

/// How far an addition may be from what it was, beside its size.
const F32_DISTANCE_MAX: f64 = 1e-5;
/// The same after rounding to bf16: the sum of the roundings of two factors, eight bits each.
const BF16_DISTANCE_MAX: f64 = 2e-2;

/// Runs the command.
pub fn run(args: &AdapterExportArgs) -> Result<ExitCode> {
    let is_taken = fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || args.out.is_file() {
        return Err(Error::TargetExists { path: args.out.clone() }.into());
    }
    let tuned = Tuned::open(&args.source)?;
    let (base, adapter) = (&tuned.opened.checkpoint, &tuned.read.adapter);
    if tuned.read.had_dora || adapter.pairs.is_empty() {
        return Err(anyhow!(
            "{}: it has no factors that PEFT could load alone (DoRA was folded into whole matrices)\nmerge it with \
             `gptoss adapter merge`, or keep its own files",
            args.source.folder.display()
        ));
    }
    let name = args.base_name.clone().or(tuned.read.base_model.clone());
    let name = name.unwrap_or_else(|| tuned.opened.source.name());
    let (dtype, limit) = match args.dtype {
        FactorDtypeArg::F32 => (FactorDtype::F32, F32_DISTANCE_MAX),
        FactorDtypeArg::Bf16 => (FactorDtype::Bf16, BF16_DISTANCE_MAX),
    };
    write_adapter(&args.out, adapter, base.config(), &name, dtype)?;
    let again = read_adapter(&args.out, base, Some(FactorLayout::RankMajor))?.adapter;
    let distance = adapter_distance(&again, adapter);
    if distance > limit {
        return Err(anyhow!(
            "{}: what was written is off by {distance:.1e} of what was read\ndo not use it, and report this",
            args.out.display()
        ));
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} matrices, read again: off by {distance:.1e}",
        args.out.display(),
        adapter.pairs.len()
    )?;
    Ok(ExitCode::SUCCESS)
}
