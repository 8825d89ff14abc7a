//! The folder whose files patches change.

use std::path::Path;

use super::edit::{Edit, FileContent, Plan};
use super::error::PatchError;
use super::folder::{FILE_BYTES_MAX, Folder};
use super::grammar::{FilePatch, Patch};
use super::hunk::{self, Hunk, Misfit};
use super::journal::Journal;
use super::relative_path::RelativePath;

/// A folder, and what patches did to it.
#[derive(Debug)]
pub struct Workspace {
    folder: Folder,
}

impl Workspace {
    /// Opens a folder. A patch that was killed in its middle is put back first.
    ///
    /// Errors: it is not a folder; what was left half done cannot be put back.
    pub fn open(path: &Path) -> Result<Workspace, PatchError> {
        let folder = Folder::open(path)?;
        if Journal::is_in(&folder)? {
            Journal::open(&folder)?;
        }
        Ok(Workspace { folder })
    }

    /// What a patch would do; nothing is written.
    ///
    /// Errors: a file that is or is not there against what the patch says, lies behind a symbolic link, is
    /// none that people edit, or has no place for a hunk.
    pub fn plan(&self, patch: &Patch) -> Result<Plan, PatchError> {
        let mut plan = Plan { edits: Vec::new() };
        for file in &patch.files {
            match file {
                FilePatch::Add { path, text } => {
                    self.check_free(path)?;
                    let after = FileContent { bytes: text.clone().into_bytes(), mode: None };
                    plan.edits.push(Edit { path: path.clone(), before: None, after: Some(after) });
                }
                FilePatch::Delete { path } => {
                    let before = Some(self.existing(path)?);
                    plan.edits.push(Edit { path: path.clone(), before, after: None });
                }
                FilePatch::Update { path, move_to, hunks } => {
                    let before = self.existing(path)?;
                    let after = updated(path, &before, hunks)?;
                    // A larger one could be neither changed again nor taken back.
                    if after.bytes.len() as u64 > FILE_BYTES_MAX {
                        let what = format!("it would have more than {FILE_BYTES_MAX} bytes");
                        return Err(PatchError::File { path: path.clone(), what });
                    }
                    let (before, after) = (Some(before), Some(after));
                    match move_to {
                        None => plan.edits.push(Edit { path: path.clone(), before, after }),
                        Some(target) => {
                            self.check_free(target)?;
                            plan.edits.push(Edit { path: target.clone(), before: None, after });
                            plan.edits.push(Edit { path: path.clone(), before, after: None });
                        }
                    }
                }
            }
        }
        Ok(plan)
    }

    /// Does what was planned: all of it, or nothing.
    ///
    /// Errors: a file is not what it was when the plan was made; the system refuses.
    pub fn apply(&self, plan: &Plan) -> Result<(), PatchError> {
        let journal = Journal::open(&self.folder)?;
        for edit in &plan.edits {
            let is_same = match &edit.before {
                None => !self.folder.has(&edit.path)?,
                before => self.folder.read(&edit.path)? == *before,
            };
            if !is_same {
                let what =
                    "it was changed since the patch was read; nothing was written. Read it and try again";
                return Err(PatchError::File { path: edit.path.clone(), what: what.to_owned() });
            }
        }
        journal.apply(&plan.edits)
    }

    /// Takes the last patch back and says which files it had changed; None when there is none to be taken
    /// back.
    ///
    /// Errors: a file was changed since; then all stay as they are.
    pub fn undo(&self) -> Result<Option<Vec<RelativePath>>, PatchError> {
        match Journal::is_in(&self.folder)? {
            true => Journal::open(&self.folder)?.undo(),
            false => Ok(None),
        }
    }

    fn check_free(&self, path: &RelativePath) -> Result<(), PatchError> {
        match self.folder.has(path)? {
            true => {
                let what = "it is there already; change it with `*** Update File:`".to_owned();
                Err(PatchError::File { path: path.clone(), what })
            }
            false => Ok(()),
        }
    }

    fn existing(&self, path: &RelativePath) -> Result<FileContent, PatchError> {
        let what = "there is no such file; a new one begins with `*** Add File:`";
        self.folder.read(path)?.ok_or_else(|| PatchError::File { path: path.clone(), what: what.to_owned() })
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }
}

fn updated(path: &RelativePath, before: &FileContent, hunks: &[Hunk]) -> Result<FileContent, PatchError> {
    if hunks.is_empty() {
        return Ok(before.clone());
    }
    let text = std::str::from_utf8(&before.bytes).map_err(|_| {
        let what = "it is not text in UTF-8; hunks fit text alone".to_owned();
        PatchError::File { path: path.clone(), what }
    })?;
    let updated = hunk::update(text, hunks).map_err(|misfit| match misfit {
        Misfit::NoPlace { hunk, after } => {
            let Hunk { line, old, .. } = &hunks[hunk];
            PatchError::NoPlace { path: path.clone(), line: *line, after, lines: old.join("\n") }
        }
        Misfit::TooVague => PatchError::TooVague { path: path.clone() },
    })?;
    Ok(FileContent { bytes: updated.text.into_bytes(), mode: before.mode })
}
