//! Flags of `gptoss key`, `policy` and `audit`: who may use a server, what of it, and what it did.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use gptoss_govern::{Effort, Head, Period, Scope, Sensitivity, ToolKind};
use jiff::Timestamp;

/// `gptoss key`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Draw a key, write its hash into a file of rules, and show the key: once, here
    New(KeyNewArgs),
    /// The keys of a file of rules
    List(KeyListArgs),
    /// Draw another secret for a key; the old one opens until the grace ends
    Rotate(KeyRotateArgs),
    /// Take back a key: it opens nothing from the next reload on
    Revoke(KeyRevokeArgs),
}

/// `gptoss key new`.
#[derive(Debug, Args)]
pub struct KeyNewArgs {
    /// The key's name, which is its tenant: keys of one name share what is stored, limits and budgets
    pub name: String,
    /// The file of rules; made when it is not there
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,
    /// What it opens: infer, raw_reasoning, tools, tune, admin, metrics
    #[arg(long = "scope", value_name = "SCOPE,...", value_delimiter = ',', default_value = "infer", value_parser = scope)]
    pub scopes: Vec<Scope>,
    /// A group of the file, whose limits hold beside its own
    #[arg(long)]
    pub group: Option<String>,
    /// A policy of the file
    #[arg(long)]
    pub policy: Option<String>,
    /// A model that it may ask, by name or with stars; may be repeated [default: all]
    #[arg(long = "model", value_name = "PATTERN")]
    pub models: Vec<String>,
    /// Requests a minute
    #[arg(long, value_name = "N")]
    pub rpm_limit: Option<u64>,
    /// Tokens a minute
    #[arg(long, value_name = "N")]
    pub tpm_limit: Option<u64>,
    /// Requests at a time
    #[arg(long, value_name = "N")]
    pub max_parallel_requests: Option<u64>,
    /// Most tokens of prompts and answers in a period
    #[arg(long, value_name = "N")]
    pub budget_tokens: Option<u64>,
    /// Most money in a period, by the file's prices
    #[arg(long, value_name = "USD")]
    pub budget_usd: Option<f64>,
    /// The period of both, such as 1d, 7d, 30d or 1mo [default: the key's whole life]
    #[arg(long, value_name = "LENGTH")]
    pub budget_duration: Option<String>,
    /// From when it opens nothing: a length from now such as 90d, a day, or a moment
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub expires: Option<When>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss key list`.
#[derive(Debug, Args)]
pub struct KeyListArgs {
    /// The file of rules
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// `gptoss key rotate`.
#[derive(Debug, Args)]
pub struct KeyRotateArgs {
    /// The key's name, or the public part of its secret
    pub name: String,
    /// The file of rules
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,
    /// How long the old secret still opens, such as 24h; 0s: not at all
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = length)]
    pub grace: u64,
    /// From when the new secret opens nothing, as in `key new` [default: as the old one would have]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub expires: Option<When>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss key revoke`.
#[derive(Debug, Args)]
pub struct KeyRevokeArgs {
    /// The key's name, for all its secrets, or the public part of one
    pub name: String,
    /// The file of rules
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,
    /// Take it out of the file, instead of noting since when it opens nothing
    #[arg(long)]
    pub remove: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss policy`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say what is wrong with a file of rules, with its line, and what is to be known of it
    Check(PolicyCheckArgs),
    /// Say why a request would be allowed or refused: ends with 3 where it would be refused
    Explain(PolicyExplainArgs),
}

/// `gptoss policy check`.
#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// The file of rules
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss policy explain`.
#[derive(Debug, Args)]
pub struct PolicyExplainArgs {
    /// The file of rules
    pub file: PathBuf,
    /// Whose request: a key's name, or the public part of its secret
    #[arg(long, value_name = "NAME")]
    pub key: String,
    /// The model that it asks
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// The adapter that it names
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// The effort that it says
    #[arg(long, value_parser = effort)]
    pub effort: Option<Effort>,
    /// A tool that the model may call: function, python, browser, mcp, shell or apply_patch, with a name
    /// behind it if it has one, as in mcp:docs; may be repeated
    #[arg(long = "tool", value_name = "KIND[:NAME]", value_parser = tool)]
    pub tools: Vec<Tool>,
    /// A host that it names; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Most tokens of an answer that it says
    #[arg(long, value_name = "N")]
    pub max_output_tokens: Option<u32>,
    /// Its own label: any or local_only
    #[arg(long, default_value = "any", value_parser = label)]
    pub label: Sensitivity,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss audit`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Walk the chain of what a server did: ends with 1 at the first entry that is not as it was written
    Verify(AuditVerifyArgs),
    /// Write the chain as JSON lines, its head as the last
    Export(AuditExportArgs),
    /// Erase what was said and kept by a policy's audit_content: the chain verifies as before
    Erase(AuditEraseArgs),
}

/// `gptoss audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// The folder of `serve --state-dir`, also while the server runs
    #[arg(long, value_name = "DIR", required_unless_present = "file", conflicts_with = "file")]
    pub state_dir: Option<PathBuf>,
    /// An export, instead of a folder; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The entry that an export begins after
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "state_dir")]
    pub after: u64,
    /// A head that was kept elsewhere, as `verify` and exports tell it: the chain must go through it
    #[arg(long, value_name = "COUNT:HASH", value_parser = Head::from_str)]
    pub expect: Option<Head>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gptoss audit export`.
#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// The folder of `serve --state-dir`, also while the server runs
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Only entries after this one, for those who fetch it again and again
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// With what was said, where a policy's audit_content kept it: a line behind its entry
    #[arg(long)]
    pub content: bool,
    /// JSON lines, which it always is
    #[arg(long, hide = true)]
    pub json: bool,
}

/// `gptoss audit erase`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct AuditEraseArgs {
    /// The folder of `serve --state-dir`, also while the server runs
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Of this tenant: the name of its keys
    #[arg(long, value_name = "NAME", group = "which")]
    pub tenant: Option<String>,
    /// Of the key with this public part
    #[arg(long, value_name = "ID", group = "which")]
    pub key: Option<String>,
    /// Of the request with this id
    #[arg(long, value_name = "ID", group = "which")]
    pub request: Option<String>,
    /// Of before then: a length until now such as 90d, a day, or a moment
    #[arg(long, value_name = "WHEN", value_parser = when, group = "which")]
    pub before: Option<When>,
    /// Of everybody
    #[arg(long, group = "which", conflicts_with_all = ["tenant", "key", "request", "before"])]
    pub all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A tool as the command line has it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// What it is.
    pub kind: ToolKind,
    /// Its name; empty: it has none.
    pub name: String,
}

/// A moment, or how far it is from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Units: seconds between now and then.
    After(u64),
    /// Units: seconds since 1970.
    At(u64),
}

fn scope(name: &str) -> Result<Scope, String> {
    let names = Scope::ALL.map(Scope::name).join(", ");
    Scope::from_name(name).ok_or_else(|| format!("there are {names}"))
}

fn effort(name: &str) -> Result<Effort, String> {
    Effort::from_name(name).ok_or_else(|| "there are low, medium and high".to_owned())
}

fn label(name: &str) -> Result<Sensitivity, String> {
    Sensitivity::from_name(name).ok_or_else(|| "there are any and local_only".to_owned())
}

fn tool(text: &str) -> Result<Tool, String> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let names = ToolKind::ALL.map(ToolKind::name).join(", ");
    let kind = ToolKind::from_name(kind).ok_or_else(|| format!("there are {names}"))?;
    Ok(Tool { kind, name: name.to_owned() })
}

/// Seconds of a length.
fn length(text: &str) -> Result<u64, String> {
    match Period::from_name(text) {
        _ if text == "0s" => Ok(0),
        Some(Period::Fixed(ms)) => Ok(ms.unsigned_abs() / 1000),
        _ => Err("write a length such as 30m, 24h or 90d".to_owned()),
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(seconds) = length(text) {
        return Ok(When::After(seconds));
    }
    let day = || format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
    let moment = text.parse::<Timestamp>().ok().or_else(day);
    let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
    seconds.map(When::At).ok_or_else(|| {
        "write a length such as 90d, a day such as 2027-01-01, or a moment with its zone".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_are_read() {
        assert_eq!(when("90d"), Ok(When::After(7_776_000)));
        assert_eq!(when("2027-01-01"), Ok(When::At(1_798_761_600)));
        assert_eq!(when("2027-01-01T01:00:00+01:00"), Ok(When::At(1_798_761_600)));
        assert!(when("soon").is_err() && when("1mo").is_err() && when("2027-13-01").is_err());
        assert_eq!((length("0s"), length("24h")), (Ok(0), Ok(86_400)));
    }

    #[test]
    fn tools_and_heads_are_read() {
        let found = tool("mcp:docs:2").unwrap();
        assert_eq!((found.kind, found.name.as_str()), (ToolKind::Mcp, "docs:2"));
        assert!(tool("pyton").unwrap_err().contains("python"));
        let head = |text: &str| text.parse::<Head>();
        assert_eq!(head(&format!("7:{}", "0a".repeat(32))).unwrap().count, 7);
        assert!(
            head("7").is_err() && head("7:12").is_err() && head(&format!("-1:{}", "0a".repeat(32))).is_err()
        );
    }
}
