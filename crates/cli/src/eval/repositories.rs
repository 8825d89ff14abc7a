//! Repositories of the user's, and copies of one commit that may be changed.
//!
//! `git` is run on copies alone, and keeps its own files where no program of the model's reaches them: a
//! repository's configuration can name programs.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::failure::usage;

/// What `git` may not be told by this program's environment.
const GIT_VARIABLES: [&str; 5] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
];
/// Hexadecimal digits of a commit's name: fewer may be of several.
const COMMIT_CHARS: std::ops::RangeInclusive<usize> = 7..=64;

/// Folder of clones.
#[derive(Debug, Clone)]
pub struct Repositories {
    folder: PathBuf,
}

impl Repositories {
    /// The clones of a folder.
    ///
    /// Errors: there is none, or no git.
    pub fn open(folder: Option<&Path>) -> Result<Repositories> {
        let Some(folder) = folder else {
            return Err(usage(
                "swe-bench works on repositories: give --repositories DIR\n\
                 nothing is downloaded; clone them there, as OWNER/NAME",
            ));
        };
        if !folder.is_dir() {
            bail!("{} is no folder of repositories", folder.display());
        }
        git(None, &["--version"], None).context("swe-bench needs git")?;
        let folder = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
        Ok(Repositories { folder })
    }

    /// The files of a commit, alone: nothing of what came later is to be seen.
    ///
    /// Errors: the repository or the commit is not there; the disk.
    pub fn check_out(&self, repository: &str, commit: &str) -> Result<Checkout> {
        let is_commit =
            COMMIT_CHARS.contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            bail!("`{commit}` is no name of a commit");
        }
        let source = self.find(repository)?;
        let place = tempfile::tempdir().context("there is no room for a copy")?;
        let checkout = Checkout {
            clone: place.path().join("clone"),
            files: place.path().join("files"),
            commit: commit.to_owned(),
            _place: place,
        };
        fs::create_dir(&checkout.files).context("there is no room for a copy")?;
        let clone: [&OsStr; 6] = [
            "clone".as_ref(),
            "--quiet".as_ref(),
            "--no-checkout".as_ref(),
            "--shared".as_ref(),
            source.as_ref(),
            checkout.clone.as_ref(),
        ];
        git(None, &clone, None).with_context(|| format!("cannot copy {}", source.display()))?;
        checkout
            .git(&["checkout", "--quiet", "--force", "--detach", commit], None)
            .with_context(|| format!("{repository} has no commit {commit} here"))?;
        Ok(checkout)
    }

    fn find(&self, repository: &str) -> Result<PathBuf> {
        let parts: Vec<&str> = repository.split('/').collect();
        let is_plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) {
            bail!("`{repository}` is no name of a repository, which is OWNER/NAME");
        }
        let names =
            [repository.to_owned(), parts.join("__"), parts.last().copied().unwrap_or_default().to_owned()];
        let places = names.iter().flat_map(|name| [name.clone(), format!("{name}.git")]);
        let found = places.map(|name| self.folder.join(name)).find(|place| place.is_dir());
        found.with_context(|| {
            format!("{} has no {repository}: clone it there, as {}", self.folder.display(), parts.join("__"))
        })
    }
}

/// The files of a commit in a folder of their own, which is gone when this is dropped.
#[derive(Debug)]
pub struct Checkout {
    /// What `git` keeps.
    clone: PathBuf,
    files: PathBuf,
    commit: String,
    _place: TempDir,
}

impl Checkout {
    /// The folder of the files.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// What was changed, as a patch, but for these files.
    ///
    /// Errors: the disk.
    pub fn patch(&self, without: &[&str]) -> Result<String> {
        remove_clones(&self.files).context("cannot look at what was changed")?;
        self.git(&["add", "--all", "--", "."], None)?;
        let excluded = without.iter().map(|file| format!(":(exclude,top,literal){file}"));
        let mut args: Vec<String> =
            ["diff", "--cached", "--binary", "--no-color", "--no-ext-diff", "--no-textconv"]
                .map(str::to_owned)
                .into();
        args.extend([self.commit.clone(), "--".to_owned(), ".".to_owned()]);
        args.extend(excluded);
        let out = self.git(&args, None)?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Applies a patch; why it does not apply.
    pub fn apply(&self, patch: &str) -> Result<(), String> {
        let ends = patch.ends_with('\n');
        let patch = if ends { patch.to_owned() } else { format!("{patch}\n") };
        let applied = self.git(&["apply", "--whitespace=nowarn", "-"], Some(patch.as_bytes()));
        applied.map(|_| ()).map_err(|error| format!("{error:#}"))
    }

    /// Puts files back as the commit has them; those that it has not are removed.
    ///
    /// Errors: the disk.
    pub fn restore(&self, files: &[&str]) -> Result<()> {
        for file in files {
            let known = self.git(&["ls-tree", "--name-only", &self.commit, "--", file], None)?;
            match known.stdout.is_empty() {
                false => {
                    self.git(&["checkout", "--quiet", "--force", &self.commit, "--", file], None)?;
                }
                // Where the path leads is not followed.
                true => {
                    self.git(&["clean", "--quiet", "--force", "-d", "-x", "--", file], None)?;
                }
            }
        }
        Ok(())
    }

    fn git<S: AsRef<OsStr>>(&self, args: &[S], input: Option<&[u8]>) -> Result<Output> {
        git(Some(self), args, input)
    }
}

/// Runs git, on a copy's files or nowhere.
///
/// Errors: it cannot be run, or does not end well; with what it said.
fn git<S: AsRef<OsStr>>(checkout: Option<&Checkout>, args: &[S], input: Option<&[u8]>) -> Result<Output> {
    let mut command = Command::new("git");
    for variable in GIT_VARIABLES {
        command.env_remove(variable);
    }
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
    ]);
    command.args([
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.autocrlf=false",
        "-c",
        "core.quotePath=false",
    ]);
    if let Some(checkout) = checkout {
        command.arg("--git-dir").arg(checkout.clone.join(".git"));
        command.arg("--work-tree").arg(&checkout.files).current_dir(&checkout.files);
    }
    command.args(args).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run git")?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        let input = input.to_vec();
        // It may say much before it has read all.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let output = child.wait_with_output().context("cannot run git")?;
    if !output.status.success() {
        bail!("git: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// A model may have made repositories of its own, whose configuration `git` would follow.
fn remove_clones(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        if entry.file_name().eq_ignore_ascii_case(".git") {
            match is_folder {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        } else if is_folder {
            remove_clones(&entry.path())?;
        }
    }
    Ok(())
}
