//! The entries of the audit as they come, a line of JSON each, for whoever collects them (`--audit-forward`).
//!
//! What was written stands in the state folder, so that a server that starts again goes on where it was.
//! After a kill in between, lines may come twice, by their numbers; none is left out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gptoss_server::{Governance, Log};

use crate::output::Target;

/// How long an entry may wait.
const PAUSE: Duration = Duration::from_secs(1);
/// What the state folder calls the number of the last entry that was written.
const PLACE: &str = "govern.forwarded";

/// Where entries go, and how far they are.
pub struct AuditForward {
    file: PathBuf,
    place: Option<PathBuf>,
    /// The number of the last entry that was written.
    after: u64,
}

impl AuditForward {
    /// To a file, which is appended to; without a state folder from the first entry on.
    ///
    /// Errors: the file cannot be written, or the state folder not be read.
    pub fn open(file: &Path, state_folder: Option<&Path>) -> Result<AuditForward> {
        let place = state_folder.map(|folder| folder.join(PLACE));
        let after = match place.as_deref().map(fs::read_to_string) {
            None => 0,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => 0,
            Some(text) => text.ok().and_then(|text| text.trim().parse().ok()).with_context(|| {
                format!("{PLACE} in the state folder holds no number; remove it, and all entries are written")
            })?,
        };
        let forward = AuditForward { file: file.to_owned(), place, after };
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
        let mut out = AllButLast { out: io::BufWriter::new(self.out()?), held: Vec::new() };
        let head = governance.export_audit(&mut out, self.after).context("the journal")?;
        out.flush().with_context(|| format!("cannot write {}", self.file.display()))?;
        self.after = head.count;
        match &self.place {
            Some(place) => Target::at(place)?.write(|out| Ok(writeln!(out, "{}", head.count)?)),
            None => Ok(()),
        }
    }

    fn out(&self) -> Result<fs::File> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.file);
        opened.with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// Passes on what is written but for the last piece, which in an export is the chain's head.
struct AllButLast<W> {
    out: W,
    held: Vec<u8>,
}

impl<W: Write> Write for AllButLast<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.out.write_all(&self.held)?;
        self.held = piece.to_vec();
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
