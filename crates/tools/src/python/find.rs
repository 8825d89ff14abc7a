//! The Python of the machine that a cell shows.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::cell::Bind;

/// The oldest Python whose syntax trees the driver knows.
const VERSION_MIN: (u32, u32) = (3, 8);
/// The names that it has in a folder of programs.
const NAMES: [&str; 2] = ["python3", "python"];
/// What it is asked.
const QUESTION: &str = "import json, os, sys; print(json.dumps({'version': sys.version_info[:2], 'path': sys.executable, \
                        'folders': [sys.prefix, sys.base_prefix, sys.exec_prefix, \
                        os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))]}))";
/// Folders that every cell shows.
const SHOWN: [&str; 5] = ["/usr", "/bin", "/lib", "/nix/store", "/gnu/store"];

/// There is no Python that would do.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Python {}.{} or newer was found: {}\ninstall one, or name its folder",
    VERSION_MIN.0,
    VERSION_MIN.1,
    looked(.0)
)]
pub struct NoPython(pub Vec<(PathBuf, String)>);

fn looked(places: &[(PathBuf, String)]) -> String {
    if places.is_empty() {
        return "there is no folder to look in".to_owned();
    }
    let places: Vec<String> =
        places.iter().map(|(path, why)| format!("{} ({why})", path.display())).collect();
    places.join(", ")
}

/// A Python that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: (u32, u32),
    /// Where it and its modules lie, beside the system's folders.
    pub folders: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Answer {
    version: (u32, u32),
    path: PathBuf,
    folders: Vec<PathBuf>,
}

impl Interpreter {
    /// The first one in these folders that is new enough. Each that is there is started once, outside of
    /// walls.
    pub fn find(folders: &[PathBuf]) -> Result<Self, NoPython> {
        let mut looked = Vec::new();
        for folder in folders {
            let mut is_here = false;
            for path in NAMES.map(|name| folder.join(name)).into_iter().filter(|path| path.exists()) {
                is_here = true;
                match ask(&path) {
                    Ok(found) if found.version >= VERSION_MIN => return Ok(found),
                    Ok(found) => looked.push((path, format!("{}.{}", found.version.0, found.version.1))),
                    Err(why) => looked.push((path, why)),
                }
            }
            if !is_here {
                looked.push((folder.clone(), "none there".to_owned()));
            }
        }
        Err(NoPython(looked))
    }

    /// What a cell must show for it.
    pub fn binds(&self) -> Vec<Bind> {
        let bind = |folder: &PathBuf| {
            // Its own paths may lead through symbolic links, which a cell does not follow.
            let outside = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            Bind { outside, inside: folder.clone(), writable: false }
        };
        self.folders.iter().map(bind).collect()
    }
}

/// Asks a Python who it is.
fn ask(path: &Path) -> Result<Interpreter, String> {
    let output = Command::new(path)
        .args(["-I", "-c", QUESTION])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| "it does not say its version".to_owned())?;
    let mut folders = answer.folders;
    folders
        .retain(|folder| folder.parent().is_some() && !SHOWN.iter().any(|shown| folder.starts_with(shown)));
    folders.sort();
    // A folder within another is shown with it.
    folders.dedup_by(|inner, outer| inner.starts_with(&*outer));
    Ok(Interpreter { path: answer.path, version: answer.version, folders })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_was_looked_is_said() {
        let error = Interpreter::find(&["/no/such/folder".into(), "/proc".into()]).unwrap_err().to_string();
        assert!(error.contains("Python 3.8 or newer"), "{error}");
        assert!(error.contains("/no/such/folder (none there), /proc (none there)"), "{error}");
    }
}
