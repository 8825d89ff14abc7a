//! The entries of the audit as they come, a line of JSON each, for whoever collects them (`--audit-forward`).
//!
//! What was written stands in the state folder, so that a server that starts again goes on where it was.
//! After a kill in between, lines may come twice, by their numbers; none is left out.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gptoss_govern::{Audit, EntryQuery, Head, Texts};
use gptoss_server::{Governance, Log};

use crate::output::Target;

/// How long an entry may wait.
const PAUSE: Duration = Duration::from_secs(1);
/// What the state folder calls the number of the last entry that was written.
const PLACE: &str = "govern.forwarded";

/// Where entries go, and how far they are.
pub struct AuditForward {
    file: PathBuf,
    state_folder: Option<PathBuf>,
    texts: Texts,
    /// The number of the last entry that was written.
    after: u64,
}

impl AuditForward {
    /// To a file, which is appended to; from the first entry on, where the state folder says nothing else. A
    /// state folder whose chain is another than the one that was written begins anew.
    ///
    /// Errors: the file cannot be written, or the state folder not be read.
    pub fn open(file: &Path, state_folder: Option<&Path>, texts: Texts) -> Result<AuditForward> {
        let after = match state_folder {
            Some(folder) => place(folder)?,
            None => 0,
        };
        let forward = AuditForward {
            file: file.to_owned(),
            state_folder: state_folder.map(Path::to_owned),
            texts,
            after,
        };
        forward.out()?;
        Ok(forward)
    }

    /// Writes what comes, until the runtime ends. To be called on the runtime.
    pub fn follow(mut self, governance: Arc<Governance>, log: Log) {
        tokio::spawn(async move {
            let mut failed = false;
            loop {
                tokio::time::sleep(PAUSE).await;
                let governance = Arc::clone(&governance);
                let written = tokio::task::spawn_blocking(move || {
                    let told = self.forward(&governance);
                    (self, told)
                });
                let Ok((back, told)) = written.await else { return };
                self = back;
                if let Err(error) = &told
                    && !failed
                {
                    log(&format!("--audit-forward: {error:#}; it is tried again"));
                }
                failed = told.is_err();
            }
        });
    }

    /// Writes what has come since.
    fn forward(&mut self, governance: &Governance) -> Result<()> {
        if governance.audit_head().count <= self.after {
            return Ok(());
        }
        // Opened each time: whoever turns logs over may have taken the file away.
        let file = self.out()?;
        let length = file.metadata().ok().filter(Metadata::is_file).map(|meta| meta.len());
        let mut out = io::BufWriter::new(&file);
        // Beside the server where that can be: whoever reads slowly keeps no request waiting.
        let written = match &self.state_folder {
            Some(folder) => {
                Audit::open(folder).and_then(|audit| audit.export_entries(&mut out, self.after, self.texts))
            }
            None => governance.export_audit(&mut out, self.after, self.texts),
        };
        let written = written.context("the journal").and_then(|head| {
            out.flush().with_context(|| format!("cannot write {}", self.file.display()))?;
            Ok(head)
        });
        drop(out);
        let head = match (written, length) {
            (Ok(head), _) => head,
            (Err(error), length) => {
                // What is half there comes again whole.
                if let Some(length) = length {
                    let _ = file.set_len(length);
                }
                return Err(error);
            }
        };
        self.after = head.count;
        match &self.state_folder {
            Some(folder) => Target::at(&folder.join(PLACE))?.write(|out| Ok(writeln!(out, "{head}")?)),
            None => Ok(()),
        }
    }

    fn out(&self) -> Result<fs::File> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.file);
        opened.with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// How far a folder's chain was written; 0 where it was not, or another was.
fn place(folder: &Path) -> Result<u64> {
    let text = match fs::read_to_string(folder.join(PLACE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        text => text.with_context(|| format!("cannot read {PLACE} in the state folder"))?,
    };
    let said = text.trim().parse::<Head>().ok();
    let Some(head) = said.filter(|head| head.count > 0) else { return Ok(0) };
    let query = EntryQuery { after: Some(head.count.cast_signed() - 1), limit: 1, ..EntryQuery::default() };
    let found = Audit::open(folder)?.entries(&query)?;
    let is_there =
        found.first().is_some_and(|entry| entry.seq.unsigned_abs() == head.count && entry.hash == head.hash);
    Ok(if is_there { head.count } else { 0 })
}
