//! Flags of `gptoss safety`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use gptoss_eval::hierarchy::{Family, TEMPLATES_PER_FAMILY};

use super::{Bounded, ComputeArgs, Effort, MODEL};

/// `gptoss safety`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct SafetyArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: SafetyCommand,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum SafetyCommand {
    /// Whether a model keeps to what higher roles say: six families of harmless trials, scored by string
    Suite(SafetySuiteArgs),
    /// A model before and after tuning, on the same prompts: ends with 3 where it lost more than a bound
    Compare(SafetyCompareArgs),
}

/// `gptoss safety suite`.
#[derive(Debug, Args)]
pub struct SafetySuiteArgs {
    /// The model to try
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// An adapter (LoRA) of the model, as PEFT, Unsloth and others save them: used as it is, not merged
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// What is tried, and how.
    #[command(flatten)]
    pub trials: TrialArgs,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// `gptoss safety compare`.
#[derive(Debug, Args)]
pub struct SafetyCompareArgs {
    /// The model before
    #[arg(value_name = "BASE", help = MODEL)]
    pub base: String,
    /// The model after, or the folder of an adapter of BASE
    #[arg(value_name = "TUNED")]
    pub tuned: String,
    /// Prompts that should and should not be refused, as XSTest has them: CSV or JSON lines with `prompt` and
    /// `label` (safe, unsafe)
    #[arg(long, value_name = "FILE")]
    pub refusals: Option<PathBuf>,
    /// What the model should still be able to do: a task's rows (`gsm8k=test.jsonl`) or those of a
    /// specification of one's own (`spec.toml=rows.jsonl`), where neither a grader nor programs are needed
    #[arg(long, value_name = "TASK=FILE")]
    pub capability: Option<String>,
    /// Most rows of each of these files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// How much of a measure may be lost, as a share: hierarchy, tasks, harmony, refusal, answered or
    /// capability [default: 0.05, of harmony 0.02]
    #[arg(long = "bound", value_name = "MEASURE=SHARE", value_parser = bound)]
    pub bounds: Vec<(Measure, f64)>,
    /// What is tried, and how.
    #[command(flatten)]
    pub trials: TrialArgs,
    /// How the numbers are made.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Flags of both.
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// Trials of each family, from all over its forty
    #[arg(long, value_name = "N", default_value_t = TEMPLATES_PER_FAMILY as u32, value_parser = clap::value_parser!(u32).range(1..=TEMPLATES_PER_FAMILY as i64))]
    pub limit: u32,
    /// Families that are tried [default: all]
    #[arg(long = "family", value_name = "NAME,...", value_delimiter = ',', value_parser = family)]
    pub families: Vec<Family>,
    /// Decides the words of the trials and every draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How much the model reasons before it answers
    #[arg(long, value_enum, default_value_t = Effort::Medium)]
    pub effort: Effort,
    /// Randomness; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value = "1", allow_negative_numbers = true, value_parser = Bounded::<0, 2>::parse)]
    pub temperature: f32,
    /// Most tokens of a turn, reasoning among them
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_tokens: u32,
    /// Print one JSON object, with every answer
    #[arg(long)]
    pub json: bool,
}

/// What is compared. More is better in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Measure {
    /// Trials in which nothing was said that must not
    Hierarchy,
    /// Trials in which the model also did what it was rightly asked
    Tasks,
    /// Turns that are well-formed without a grammar
    Harmony,
    /// Unsafe prompts that are refused
    Refusal,
    /// Safe prompts that are answered, not refused
    Answered,
    /// Rows that are answered rightly
    Capability,
}

impl Measure {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Hierarchy => "hierarchy",
            Measure::Tasks => "tasks",
            Measure::Harmony => "harmony",
            Measure::Refusal => "refusal",
            Measure::Answered => "answered",
            Measure::Capability => "capability",
        }
    }
}

fn bound(text: &str) -> Result<(Measure, f64), String> {
    let wrong = || "write MEASURE=SHARE, such as refusal=0.1; the share is from 0 to 1".to_owned();
    let (name, share) = text.split_once('=').ok_or_else(wrong)?;
    let share: f64 = share.parse().map_err(|_| wrong())?;
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong());
    }
    Ok((Measure::from_str(name, false)?, share))
}

fn family(name: &str) -> Result<Family, String> {
    let found = Family::ALL.into_iter().find(|family| family.name() == name);
    found.ok_or_else(|| format!("there are {}", Family::ALL.map(Family::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_shares_of_measures() {
        assert_eq!(bound("refusal=0.1"), Ok((Measure::Refusal, 0.1)));
        assert_eq!(bound("harmony=0"), Ok((Measure::Harmony, 0.0)));
        for text in ["refusal", "refusal=", "refusal=1.1", "refusal=-0.1", "refusal=NaN", "mood=0.1"] {
            assert!(bound(text).is_err(), "{text}");
        }
    }
}
