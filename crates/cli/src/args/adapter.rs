//! Flags of `gptoss adapter`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::MODEL;

/// `gptoss adapter`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct AdapterArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: AdapterCommand,
}

/// What can be done with an adapter.
#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Which matrices it changes, and by how much
    Inspect(AdapterInspectArgs),
    /// Whether it is for this model, to the last tensor
    Check(AdapterCheckArgs),
    /// The model with it in its weights, as a folder that opens everywhere
    Merge(AdapterMergeArgs),
    /// The adapter as PEFT writes it, whichever stack it came from
    Export(AdapterExportArgs),
}

/// The adapter, and the model that it belongs to.
#[derive(Debug, Args)]
pub struct AdapterSourceArgs {
    /// The folder with adapter_model.safetensors and adapter_config.json
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The model that it was trained beside
    #[arg(long, short, value_name = "MODEL", default_value = "demo", help = MODEL)]
    pub model: String,
    /// How B is laid out where the experts of a layer are one tensor and the files do not say
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub lora_b_layout: Option<FactorLayoutArg>,
}

/// The layouts of B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FactorLayoutArg {
    /// PEFT's, and Unsloth's since September 2026
    RankMajor,
    /// Unsloth's before
    GroupedByExpert,
}

/// `gptoss adapter inspect`.
#[derive(Debug, Args)]
pub struct AdapterInspectArgs {
    /// What to look at.
    #[command(flatten)]
    pub source: AdapterSourceArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss adapter check`.
#[derive(Debug, Args)]
pub struct AdapterCheckArgs {
    /// What to check.
    #[command(flatten)]
    pub source: AdapterSourceArgs,
    /// Rows as `gptoss dataset` reads them: prints the mean loss without the adapter and with it, under both
    /// layouts where there are two
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss adapter merge`.
#[derive(Debug, Args)]
pub struct AdapterMergeArgs {
    /// What to merge.
    #[command(flatten)]
    pub source: AdapterSourceArgs,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// How experts are stored: bf16 keeps what was learned and takes four times the room; mxfp4 rounds it to
    /// the grid of the base, where small changes are lost
    #[arg(long, value_enum)]
    pub format: MergeFormatArg,
    /// Rows as `gptoss dataset` reads them: prints the mean loss of base, unmerged and merged model, and how
    /// far the merged one is from the unmerged
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Write it even if the merge lost most of the tuning
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How merged experts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MergeFormatArg {
    /// `[E, in, out]` in bf16, as fine-tunes have them
    Bf16,
    /// As published
    Mxfp4,
}

/// `gptoss adapter export`.
#[derive(Debug, Args)]
pub struct AdapterExportArgs {
    /// What to write again.
    #[command(flatten)]
    pub source: AdapterSourceArgs,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// How its numbers are stored
    #[arg(long, value_enum, default_value_t = FactorDtypeArg::F32)]
    pub dtype: FactorDtypeArg,
    /// What the config calls the base [default: as it was, else the name of --model]
    #[arg(long, value_name = "NAME")]
    pub base_name: Option<String>,
}

/// How numbers of an adapter are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FactorDtypeArg {
    /// As they are
    F32,
    /// Rounded to half the size
    Bf16,
}
