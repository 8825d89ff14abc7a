//! The Python of the machine that a cell shows.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
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

/// Where a Python may be, and where none may.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The folders of programs.
    pub folders: Vec<PathBuf>,
    /// The folder that a model may write to: what lies there is passed over. The root counts as none, because
    /// no cell shows it.
    pub current: Option<PathBuf>,
    /// The user's own folder, which no cell may show.
    pub home: Option<PathBuf>,
}

impl Places {
    /// Whether a program lies where a model may write, by its name or behind its links.
    fn may_be_forged(&self, path: &Path) -> bool {
        let Some(current) = self.current.as_deref().filter(|current| current.parent().is_some()) else {
            return false;
        };
        let named = current.join(path);
        let real = path.canonicalize().unwrap_or_else(|_| named.clone());
        let folder = named.parent().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default();
        let current = [current.to_owned(), current.canonicalize().unwrap_or_else(|_| current.to_owned())];
        [named, real, folder].iter().any(|path| current.iter().any(|current| path.starts_with(current)))
    }

    /// The folder of a Python's that would show the user's own.
    fn shows_home<'a>(&self, folders: &'a [PathBuf]) -> Option<&'a PathBuf> {
        let home = self.home.as_ref()?;
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        folders.iter().find(|folder| home.starts_with(folder) || real(home).starts_with(real(folder)))
    }
}

#[derive(Deserialize)]
struct Answer {
    version: (u32, u32),
    path: PathBuf,
    folders: Vec<PathBuf>,
}

impl Interpreter {
    /// The first one in these places that is new enough. Each that is there is started once, outside of
    /// walls.
    pub fn find(places: &Places) -> Result<Self, NoPython> {
        let mut looked = Vec::new();
        for folder in &places.folders {
            let mut is_here = false;
            for path in NAMES.map(|name| folder.join(name)).into_iter().filter(|path| path.exists()) {
                is_here = true;
                if places.may_be_forged(&path) {
                    looked.push((path, "it lies in the current folder".to_owned()));
                    continue;
                }
                let found = match ask(&path, ANSWER_MAX) {
                    Ok(found) => found,
                    Err(why) => {
                        looked.push((path, why));
                        continue;
                    }
                };
                if found.version < VERSION_MIN {
                    looked.push((path, format!("{}.{}", found.version.0, found.version.1)));
                } else if let Some(shown) = places.shows_home(&found.folders) {
                    looked.push((path, format!("its folder {} holds your own", shown.display())));
                } else {
                    return Ok(found);
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

/// Whether every cell shows a path.
pub(super) fn is_shown(path: &Path) -> bool {
    SHOWN.iter().any(|shown| path.starts_with(shown))
}

/// Asks a Python who it is, and ends it when it takes too long.
fn ask(path: &Path, time: Duration) -> Result<Interpreter, String> {
    let mut child = Command::new(path)
        .args(["-I", "-c", QUESTION])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (to, from) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // A thread of its own: what the Python started may hold the pipe for ever.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
            let _ = to.send(read.map(|_| bytes));
        });
    }
    let read = from.recv_timeout(time);
    // It has said what it has to say, or too little.
    let _ = child.kill();
    let _ = child.wait();
    let answer = read.map_err(|_| format!("it did not answer within {} s", time.as_secs_f64()))?;
    let answer: Answer = answer
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| "it does not say its version".to_owned())?;
    let mut folders = answer.folders;
    folders.retain(|folder| folder.parent().is_some() && !is_shown(folder));
    folders.sort();
    // A folder within another is shown with it.
    folders.dedup_by(|inner, outer| inner.starts_with(&*outer));
    Ok(Interpreter { path: answer.path, version: answer.version, folders })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn where_was_looked_is_said() {
        let folders = vec!["/no/such/folder".into(), "/proc".into()];
        let error = Interpreter::find(&Places { folders, ..Places::default() }).unwrap_err().to_string();
        assert!(error.contains("Python 3.8 or newer"), "{error}");
        assert!(error.contains("/no/such/folder (none there), /proc (none there)"), "{error}");
    }
    #[test]
    fn a_python_that_a_model_may_have_written_is_not_started() {
        let root = tempfile::tempdir().unwrap();
        let (own, bin) = (root.path().join("own"), root.path().join("bin"));
        for folder in [&own, &bin] {
            fs::create_dir(folder).unwrap();
        }
        let started = root.path().join("started");
        let script = format!("#!/bin/sh\n: > '{}'\n", started.display());
        fs::write(own.join("python3"), script).unwrap();
        fs::set_permissions(own.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(own.join("python3"), bin.join("python")).unwrap();
        let places = Places { folders: vec![own.clone(), bin], current: Some(own), home: None };
        let error = Interpreter::find(&places).unwrap_err().to_string();
        assert_eq!(error.matches("it lies in the current folder").count(), 2, "{error}");
        assert!(!started.exists());
    }

    #[test]
    fn a_python_that_does_not_answer_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("python3");
        fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // A program that another thread has still open for writing as it forks is busy: it is no answer
        // either.
        assert!(ask(&path, Duration::from_millis(50)).is_err());
    }

    #[test]
    fn no_folder_may_hold_the_users_own() {
        let places = Places { home: Some("/home/user".into()), ..Places::default() };
        for (folder, is_refused) in [("/home", true), ("/home/user", true), ("/home/user/.pyenv/3.12", false)]
        {
            assert_eq!(places.shows_home(&[folder.into()]).is_some(), is_refused, "{folder}");
        }
    }
}
