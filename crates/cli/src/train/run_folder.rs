//! The folder of a run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use gptoss_train::has_state;

/// Name of the log, by which a folder is known as one of a run.
pub const LOG: &str = "loss.csv";

/// The folder of a run, which is there.
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes it, or takes the one of a run that goes on.
    ///
    /// Errors: there is something else in it, or a run that nobody said should go on.
    pub fn open(path: &Path, resume: bool) -> Result<RunFolder> {
        let folder = RunFolder { path: path.to_owned() };
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let is_run = has_state(&folder.states())? || folder.log().exists();
        let mut entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        match (is_run, resume) {
            (true, false) => Err(anyhow!(
                "{}: there is a run in this folder\n--resume goes on with it; give another folder for a new one",
                path.display()
            )),
            (false, _) if entries.next().is_some() => {
                Err(anyhow!("{}: the folder is not empty, and no run is in it", path.display()))
            }
            _ => Ok(folder),
        }
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where states are.
    pub fn states(&self) -> PathBuf {
        self.path.join("state")
    }

    /// A line a step.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }
}
