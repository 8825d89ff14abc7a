//! Flags of `gptoss redact`.

use std::path::PathBuf;

use clap::Args;

/// `gptoss redact`.
#[derive(Debug, Args)]
pub struct RedactArgs {
    /// The text; `-`, or nothing, is standard input
    pub file: Option<PathBuf>,
    /// The filter: a folder with the files of openai/privacy-filter, or of a fine-tune of it
    #[arg(long, short, value_name = "DIR")]
    pub model: PathBuf,
    /// Print one JSON object: the text, its spans, the redacted text
    #[arg(long)]
    pub json: bool,
    /// Redact these alone, such as private_person,secret [default: all that the filter knows]
    #[arg(long, value_name = "LABEL,...", value_delimiter = ',')]
    pub labels: Option<Vec<String>>,
    /// What stands in a span's place; {LABEL} and {label} are its label, {n} is the number of its text among
    /// those of its label
    #[arg(long, value_name = "FORM", default_value = "<{LABEL}>")]
    pub replace: String,
    /// Threads to compute with [default: all]; the numbers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}
