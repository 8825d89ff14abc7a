//! The operator's rules that `gptoss serve` asks keys by, their journal, and their being read again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gptoss_govern::{Journal, Rules};
use gptoss_guard::Guard;
use gptoss_server::Governance;

use crate::args::ServeArgs;

/// Reads the rules of `--govern`, if it is given.
///
/// Errors: they cannot be read, or used; then with the line.
pub fn read(args: &ServeArgs, guard: Option<&Guard>) -> Result<Option<Rules>> {
    let Some(file) = &args.govern else { return Ok(None) };
    let rules = Governance::parse(&text(file)?, &judges(guard));
    rules.with_context(|| format!("--govern {}", file.display())).map(Some)
}

/// The rules with the journal in the state folder.
///
/// Errors: the journal cannot be opened or written.
pub fn open(args: &ServeArgs, rules: Rules, guard: Option<&Guard>) -> Result<Arc<Governance>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let journal = Journal::open(args.state_dir.as_deref(), now_ms).context("the journal of --govern")?;
    let governance = Governance::new(rules, judges(guard), journal).context("the journal of --govern")?;
    Ok(Arc::new(governance))
}

/// Reads the file again, and says what came of it; what cannot be used changes nothing.
pub fn reread(file: &Path, governance: &Governance) -> String {
    let place = file.display();
    let stays = format!("the rules {} hold on", governance.rules().version());
    match fs::read_to_string(file) {
        Err(error) => {
            governance.refuse(0);
            format!("rules: {place} cannot be read: {error}; {stays}")
        }
        Ok(text) => match governance.reload(&text) {
            Ok(version) => format!("rules: {place} holds now, version {version}"),
            Err(problem) => format!("rules: {place}: {problem}; {stays}"),
        },
    }
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The guard's policies, by which rules may have requests judged.
fn judges(guard: Option<&Guard>) -> Vec<String> {
    guard.into_iter().flat_map(|guard| &guard.checks).map(|check| check.name.clone()).collect()
}
