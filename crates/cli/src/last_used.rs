//! When a model was last loaded, for `gptoss list`.
//!
//! An empty file in the state folder for each model, whose time of change says it: access times of the
//! weights are not kept on many disks, and looking at a header would change them. What cannot be written is
//! not remembered.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::state_folder;

/// Remembers that a model is loaded now.
pub fn mark(name: &str) {
    let Some(path) = path(name) else { return };
    let made = path.parent().is_some_and(|folder| fs::create_dir_all(folder).is_ok());
    if made && let Ok(file) = File::create(path) {
        // The time is what the file is for; without it the list shows none.
        let _ = file.set_modified(SystemTime::now());
    }
}

/// When the model was last loaded, if that is known.
pub fn when(name: &str) -> Option<SystemTime> {
    fs::metadata(path(name)?).ok()?.modified().ok()
}

/// Forgets a model.
pub fn forget(name: &str) {
    if let Some(path) = path(name) {
        // It may never have been loaded.
        let _ = fs::remove_file(path);
    }
}

fn path(name: &str) -> Option<PathBuf> {
    // Names hold slashes and colons.
    let file = name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "--");
    Some(state_folder::place()?.join("last_used").join(file))
}
