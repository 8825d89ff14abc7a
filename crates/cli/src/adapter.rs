//! `gptoss adapter`: what a fine-tune's files change, whether they fit, and the model with them in it.
//!
//! Reading, writing and merging are the rooms'; here they are brought together and told. What is written is
//! opened again by our own loader, and its factors compared with what they were made of; a merged folder gets
//! its name only then.

mod check;
mod export;
mod inspect;
mod losses;
mod merge;

use std::process::ExitCode;

use anyhow::Result;
use gptoss_checkpoint::{AdapterForm, FactorLayout, LayoutSource, ReadAdapter, read_adapter};
use gptoss_kernels::Pool;

use crate::args::{AdapterArgs, AdapterCommand, AdapterSourceArgs, FactorLayoutArg};
use crate::machine;
use crate::model_source::Opened;
use crate::offer;

/// Runs the command.
pub fn run(args: &AdapterArgs) -> Result<ExitCode> {
    match &args.command {
        AdapterCommand::Inspect(args) => inspect::run(args),
        AdapterCommand::Check(args) => check::run(args),
        AdapterCommand::Merge(args) => merge::run(args),
        AdapterCommand::Export(args) => export::run(args),
    }
}

/// An adapter and its base.
struct Tuned {
    opened: Opened,
    read: ReadAdapter,
}

impl Tuned {
    fn open(args: &AdapterSourceArgs) -> Result<Tuned> {
        let opened = offer::opened(&args.model)?;
        let read = read_adapter(&args.folder, &opened.checkpoint, args.lora_b_layout.map(layout))?;
        Ok(Tuned { opened, read })
    }

    /// How its experts were stored, in words.
    fn form(&self) -> &'static str {
        match self.read.form {
            AdapterForm::NoExperts => "nothing beside experts",
            AdapterForm::Packed => "one pair for all experts of a layer (PEFT, Unsloth on bf16)",
            AdapterForm::PerExpert => "each expert apart",
            AdapterForm::SharedOuter => "each expert apart but for a shared outer factor (Tinker)",
        }
    }

    /// How B is laid out and who says so, in words; `None` where there is one way only.
    fn layout(&self) -> Option<String> {
        self.read.layout.map(|(layout, source)| {
            let source = match source {
                LayoutSource::Config => "its config says so",
                LayoutSource::Asked => "as --lora-b-layout says",
                LayoutSource::Assumed => "assumed: PEFT's, and nothing names Unsloth",
            };
            format!("{} ({source})", layout.name())
        })
    }
}

fn layout(layout: FactorLayoutArg) -> FactorLayout {
    match layout {
        FactorLayoutArg::RankMajor => FactorLayout::RankMajor,
        FactorLayoutArg::GroupedByExpert => FactorLayout::GroupedByExpert,
    }
}

/// As many threads as the machine has.
fn pool() -> Pool {
    Pool::new(machine::threads(None))
}
