//! `gptoss audit`: the chain of what a server did, verified and exported, and what was said in it, erased.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use gptoss_govern::{Audit, Break, Erasure, Head, NotVerified, Summary, Texts, erase_content, verify_export};
use jiff::Timestamp;
use serde_json::json;

use crate::args::{AuditArgs, AuditCommand, AuditEraseArgs, AuditExportArgs, AuditVerifyArgs, When};
use crate::terminal;

/// Runs the command.
pub fn run(args: &AuditArgs) -> Result<ExitCode> {
    match &args.command {
        AuditCommand::Verify(args) => verify(args),
        AuditCommand::Export(args) => export(args),
        AuditCommand::Erase(args) => erase(args),
    }
}

fn verify(args: &AuditVerifyArgs) -> Result<ExitCode> {
    let verified = match (&args.state_dir, &args.file) {
        (Some(folder), _) => Audit::open(folder)?.verify(args.expect),
        (None, Some(file)) => of_export(file, args.after, args.expect)?,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let mut out = io::stdout().lock();
    let code = match verified {
        Ok(summary) => {
            told(&mut out, &summary, args.json)?;
            ExitCode::SUCCESS
        }
        Err(NotVerified::Broken(found)) => {
            match args.json {
                true => writeln!(out, "{:#}", json!({"valid": false, "at": found.at, "why": found.why}))?,
                false => writeln!(out, "broken: {}", terminal::safe(&found.to_string()))?,
            }
            ExitCode::FAILURE
        }
        Err(NotVerified::Journal(error)) => return Err(error.into()),
    };
    out.flush()?;
    Ok(code)
}

/// An export; its own last line is the head that it had, and `kept` one of before or the same.
fn of_export(file: &Path, after: u64, kept: Option<Head>) -> Result<Result<Summary, NotVerified>> {
    let verified = match file == Path::new("-") {
        true => verify_export(io::stdin().lock(), after),
        false => {
            let file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            verify_export(BufReader::new(file), after)
        }
    };
    let other = |summary: &Summary| {
        let why = "the head that is expected is not the export's: compare it with the folder by --state-dir";
        NotVerified::Broken(Break { at: Some(summary.head.count), why: why.to_owned() })
    };
    Ok(verified.and_then(|summary| match kept.is_some_and(|kept| kept != summary.head) {
        true => Err(other(&summary)),
        false => Ok(summary),
    }))
}

fn told(out: &mut dyn Write, summary: &Summary, is_json: bool) -> io::Result<()> {
    let head = summary.head.to_string();
    let moment = |ms: Option<i64>| Some(Timestamp::from_millisecond(ms?).ok()?.to_string());
    if is_json {
        let report = json!({
            "valid": true,
            "entries": summary.num_entries,
            "head": head,
            "first": moment(summary.first_ms),
            "last": moment(summary.last_ms),
            "gaps": summary.num_gaps,
            "contents": summary.num_said,
            "contents_gone": summary.num_unsaid,
        });
        return writeln!(out, "{report:#}");
    }
    writeln!(out, "the chain is whole: {} entries", summary.num_entries)?;
    if let (Some(first), Some(last)) = (moment(summary.first_ms), moment(summary.last_ms)) {
        writeln!(out, "  from  {first}\n  to    {last}")?;
    }
    writeln!(out, "  head  {head}")?;
    if summary.num_said + summary.num_unsaid > 0 {
        let (said, gone) = (summary.num_said, summary.num_unsaid);
        writeln!(out, "  said  {said} contents are those that were written, {gone} were erased or left out")?;
    }
    match summary.num_gaps {
        0 => Ok(()),
        num => writeln!(out, "  gaps  {num}: the chain once ended elsewhere than it should; see chain.gap"),
    }
}

fn export(args: &AuditExportArgs) -> Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let texts = if args.content { Texts::With } else { Texts::Without };
    Audit::open(&args.state_dir)?.export(&mut out, args.after, texts)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn erase(args: &AuditEraseArgs) -> Result<ExitCode> {
    let now = Timestamp::now();
    let before = args.before.map(|when| match when {
        When::After(seconds) => now.as_second().saturating_sub(seconds.cast_signed()),
        When::At(seconds) => seconds.cast_signed(),
    });
    let erasure = Erasure {
        tenant: args.tenant.as_deref(),
        actor: args.key.as_deref(),
        request_id: args.request.as_deref(),
        before_ms: before.map(|seconds| seconds.saturating_mul(1000)),
    };
    let num = erase_content(&args.state_dir, &erasure, now.as_millisecond())?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", json!({"erased": num}))?,
        false => writeln!(out, "what was said in {num} requests is erased")?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
