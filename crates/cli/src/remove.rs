//! `gptoss rm`: a pulled model leaves the cache.
//!
//! The refs go first and the bytes last, so that whatever ends a removal half way leaves no name that leads
//! to nothing. What another program is fetching at the moment is not touched: the locks that the hub's tools
//! share are asked.

use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::RemoveArgs;
use crate::failure::usage;
use crate::hub::{self, Settings};
use crate::memory_budget::human;
use crate::model_source::is_repository_name;
use crate::pulled::{self, Removal};
use crate::{last_used, offer};

/// Runs the command.
pub fn run(args: &RemoveArgs) -> Result<ExitCode> {
    let (name, revision) = match args.model.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (args.model.as_str(), None),
    };
    let name = hub::released(name).unwrap_or_else(|| name.to_owned());
    if !is_repository_name(&name) || !revision.is_none_or(hub::is_safe_revision) {
        let model = &args.model;
        return Err(usage(format!(
            "`{model}` is not a pulled model: write ORG/NAME or ORG/NAME@REVISION, as `gptoss list` shows it"
        )));
    }
    let cache = Settings::from_environment()?.cache;
    let removal = pulled::removal(&cache, &name, revision)?;
    let size = human(removal.num_bytes);
    if !args.yes {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(usage(format!(
                "{} takes {size}: give --yes to remove it without a question",
                args.model
            )));
        }
        if !offer::agrees(&format!("Remove {} ({size}) from {}?", args.model, cache.display()))? {
            writeln!(io::stderr(), "nothing was removed")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    refuse_while_fetched(&cache, &name)?;
    remove(&removal)?;
    last_used::forget(&name);
    match args.json {
        true => {
            let object = json!({"model": args.model, "freed_bytes": removal.num_bytes});
            writeln!(io::stdout(), "{object:#}")?;
        }
        false => writeln!(io::stdout(), "{} is removed, {size} are free again", args.model)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(removal: &Removal) -> Result<()> {
    let failed = |path: &Path| format!("cannot remove {}", path.display());
    for path in &removal.refs {
        fs::remove_file(path).with_context(|| failed(path))?;
    }
    for path in &removal.folders {
        fs::remove_dir_all(path).with_context(|| failed(path))?;
    }
    for path in &removal.blobs {
        fs::remove_file(path).with_context(|| failed(path))?;
    }
    Ok(())
}

/// Errors: another program holds the lock of one of the repository's files.
fn refuse_while_fetched(cache: &Path, name: &str) -> Result<()> {
    let folder = hub::repository_folder(cache, name);
    let locks = cache.join(".locks").join(folder.file_name().unwrap_or_default());
    for entry in fs::read_dir(locks).into_iter().flatten().flatten() {
        let Ok(lock) = File::open(entry.path()) else { continue };
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            bail!("another program is fetching {name}: let it finish, or end it");
        }
    }
    Ok(())
}
