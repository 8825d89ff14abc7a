//! Patches that can be taken back, and the one that is on its way.
//!
//! Beneath `.gptoss/edits` each patch has a folder with a number: what was there before, what comes, and a
//! list of both. The ending of the folder's name says how far it is, and renaming it is what makes a step
//! count:
//!
//! - `.staged`: nothing was touched yet; it is thrown away.
//! - `.open`: files are being replaced, or put back; whoever finds it puts all of them back.
//! - `.done`: it was applied, and can be taken back.
//!
//! Whoever holds the lock is alone, so what it finds half done was left by somebody who is gone.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::edit::{Edit, FileContent};
use super::error::PatchError;
use super::folder::Folder;
use super::relative_path::{OWN_FOLDER, RelativePath};

/// Patches that can be taken back; older ones stay.
const UNDOABLE_MAX: usize = 100;

/// The list of a patch.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    files: Vec<RecordedFile>,
    /// Folders that were not there, from the top.
    folders: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordedFile {
    path: String,
    /// Hash of what was there; None where nothing was.
    before: Option<String>,
    /// Hash of what comes; None where nothing does.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Staged,
    Open,
    Done,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Staged, Stage::Open, Stage::Done];

    fn ending(self) -> &'static str {
        match self {
            Stage::Staged => "staged",
            Stage::Open => "open",
            Stage::Done => "done",
        }
    }
}

/// The patches of a folder, as long as nobody else has them.
pub(super) struct Journal<'a> {
    folder: &'a Folder,
    _lock: OwnedFd,
}

impl<'a> Journal<'a> {
    /// Waits until nobody else has it, and puts back what was left half done.
    pub(super) fn open(folder: &'a Folder) -> Result<Journal<'a>, PatchError> {
        for path in [OWN_FOLDER.to_owned(), format!("{OWN_FOLDER}/edits")] {
            folder.make_folder(&RelativePath::own(path))?;
        }
        let lock = folder.lock(&RelativePath::own(format!("{OWN_FOLDER}/lock")))?;
        let ignored = RelativePath::own(format!("{OWN_FOLDER}/.gitignore"));
        if !folder.has(&ignored)? {
            folder.create(&ignored, &FileContent { bytes: b"*\n".to_vec(), mode: None })?;
        }
        let journal = Journal { folder, _lock: lock };
        for (number, stage) in journal.patches()? {
            match stage {
                Stage::Staged => journal.throw_away(number)?,
                Stage::Open => journal.put_back(number)?,
                Stage::Done => {}
            }
        }
        Ok(journal)
    }

    /// Whether a folder has one at all.
    pub(super) fn is_in(folder: &Folder) -> Result<bool, PatchError> {
        folder.has(&RelativePath::own(format!("{OWN_FOLDER}/edits")))
    }

    /// Does all of the edits, or none of them.
    pub(super) fn apply(&self, edits: &[Edit]) -> Result<(), PatchError> {
        let patches = self.patches()?;
        let number = patches.last().map_or(1, |(number, _)| number + 1);
        self.stage(number, edits)?;
        self.advance(number, Stage::Staged, Stage::Open)?;
        match self.replace(number, edits) {
            Ok(()) => self.advance(number, Stage::Open, Stage::Done)?,
            Err(error) => {
                self.put_back(number)?;
                return Err(error);
            }
        }
        let too_many = (patches.len() + 1).saturating_sub(UNDOABLE_MAX);
        for (number, _) in patches.iter().take(too_many) {
            self.advance(*number, Stage::Done, Stage::Staged)?;
            self.throw_away(*number)?;
        }
        Ok(())
    }

    /// Takes the last patch back and says which files it had changed; None when there is no patch.
    pub(super) fn undo(&self) -> Result<Option<Vec<RelativePath>>, PatchError> {
        let Some((number, _)) = self.patches()?.pop() else { return Ok(None) };
        let record = self.record(number, Stage::Done)?;
        let files = self.check(&record)?;
        self.advance(number, Stage::Done, Stage::Open)?;
        self.put_back(number)?;
        Ok(Some(files.into_iter().map(|(path, _)| path).collect()))
    }

    /// All patches by number.
    fn patches(&self) -> Result<Vec<(u32, Stage)>, PatchError> {
        let names = self.folder.names(&RelativePath::own(format!("{OWN_FOLDER}/edits")))?;
        let mut patches: Vec<(u32, Stage)> = names
            .iter()
            .filter_map(|name| {
                let (number, ending) = name.split_once('.')?;
                let stage = Stage::ALL.into_iter().find(|stage| stage.ending() == ending)?;
                Some((number.parse().ok()?, stage))
            })
            .collect();
        patches.sort_by_key(|(number, _)| *number);
        Ok(patches)
    }

    /// Writes down all that is needed in either direction.
    fn stage(&self, number: u32, edits: &[Edit]) -> Result<(), PatchError> {
        self.folder.make_folder(&place(number, Stage::Staged))?;
        let mut record = Record::default();
        for (index, edit) in edits.iter().enumerate() {
            for (side, content) in [("before", &edit.before), ("after", &edit.after)] {
                if let Some(content) = content {
                    self.folder.create(&part(number, Stage::Staged, &format!("{side}-{index}")), content)?;
                }
            }
            for above in edit.path.ancestors().filter(|_| edit.after.is_some()) {
                if !record.folders.iter().any(|folder| folder == above.as_str())
                    && !self.folder.has(&above)?
                {
                    record.folders.push(above.as_str().to_owned());
                }
            }
            record.files.push(RecordedFile {
                path: edit.path.as_str().to_owned(),
                before: edit.before.as_ref().map(hash),
                after: edit.after.as_ref().map(hash),
            });
        }
        let bytes = serde_json::to_vec_pretty(&record).expect("a record of texts is JSON");
        self.folder.create(&part(number, Stage::Staged, "record.json"), &FileContent { bytes, mode: None })
    }

    /// Puts the new files in their places.
    fn replace(&self, number: u32, edits: &[Edit]) -> Result<(), PatchError> {
        for folder in self.record(number, Stage::Open)?.folders {
            self.folder.make_folder(&RelativePath::own(folder))?;
        }
        for (index, edit) in edits.iter().enumerate() {
            match edit.after {
                Some(_) => {
                    self.folder.rename(&part(number, Stage::Open, &format!("after-{index}")), &edit.path)?
                }
                None => self.folder.remove(&edit.path)?,
            }
        }
        Ok(())
    }

    /// Brings all files of an open patch back to what they were.
    fn put_back(&self, number: u32) -> Result<(), PatchError> {
        let record = self.record(number, Stage::Open)?;
        let files = self.check(&record)?;
        for (index, (file, (path, now))) in record.files.iter().zip(files).enumerate() {
            match &file.before {
                before if *before == now => {}
                Some(_) => {
                    for above in path.ancestors() {
                        self.folder.make_folder(&above)?;
                    }
                    self.folder.rename(&part(number, Stage::Open, &format!("before-{index}")), &path)?;
                }
                None => self.folder.remove(&path)?,
            }
        }
        for folder in record.folders.iter().rev() {
            self.folder.remove_folder(&own_checked(folder)?)?;
        }
        self.advance(number, Stage::Open, Stage::Staged)?;
        self.throw_away(number)
    }

    /// Path and hash of each file, all of which are as the patch left them, or as they were before.
    fn check(&self, record: &Record) -> Result<Vec<(RelativePath, Option<String>)>, PatchError> {
        let checked = record.files.iter().map(|file| {
            let path = own_checked(&file.path)?;
            let now = self.folder.read(&path)?.as_ref().map(hash);
            if now != file.before && now != file.after {
                return Err(PatchError::ChangedSince { path });
            }
            Ok((path, now))
        });
        checked.collect()
    }

    fn record(&self, number: u32, stage: Stage) -> Result<Record, PatchError> {
        let path = part(number, stage, "record.json");
        let damaged = |what: &str| PatchError::File {
            path: path.clone(),
            what: format!("{what}; remove {} to keep all files as they are", place(number, stage)),
        };
        let content = self.folder.read(&path)?.ok_or_else(|| damaged("the list of a patch is missing"))?;
        serde_json::from_slice(&content.bytes).map_err(|_| damaged("the list of a patch cannot be read"))
    }

    fn advance(&self, number: u32, from: Stage, to: Stage) -> Result<(), PatchError> {
        self.folder.rename(&place(number, from), &place(number, to))
    }

    /// Removes what is staged.
    fn throw_away(&self, number: u32) -> Result<(), PatchError> {
        let folder = place(number, Stage::Staged);
        for name in self.folder.names(&folder)? {
            self.folder.remove(&RelativePath::own(format!("{folder}/{name}")))?;
        }
        self.folder.remove_folder(&folder)
    }
}

fn place(number: u32, stage: Stage) -> RelativePath {
    RelativePath::own(format!("{OWN_FOLDER}/edits/{number:06}.{}", stage.ending()))
}

fn part(number: u32, stage: Stage, name: &str) -> RelativePath {
    RelativePath::own(format!("{}/{name}", place(number, stage)))
}

/// A path of a list, which anything in the workspace may have written.
fn own_checked(path: &str) -> Result<RelativePath, PatchError> {
    RelativePath::parse(path)
        .map_err(|what| PatchError::File { path: RelativePath::own(path.to_owned()), what: what.to_owned() })
}

/// What the content of a file is known by.
fn hash(content: &FileContent) -> String {
    Sha256::digest(&content.bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
