//! The user's folder for what the program remembers between runs.

use std::env;
use std::fs;
use std::path::PathBuf;

/// `gptoss` in `XDG_STATE_HOME`, else in `~/.local/state`; `None` when there is no home.
pub fn place() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("gptoss"))
}

/// The same, made if need be; `None` also when nothing can be written there.
pub fn made() -> Option<PathBuf> {
    let folder = place()?;
    fs::create_dir_all(&folder).ok()?;
    Some(folder)
}
