//! A file of rules on the disk: read, and replaced whole.
//!
//! A reader sees the old file or the new one, and two editors follow each other: the folder is locked from
//! reading to writing.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gptoss_govern::{Rules, RulesProblem};

/// Its text.
pub fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The rules in it; an error has the file, the line and the reason.
pub fn read(path: &Path) -> Result<Rules> {
    Rules::parse(&text(path)?).map_err(|problem| wrong(path, &problem))
}

/// A problem with the file's name before the line.
pub fn wrong(path: &Path, problem: &RulesProblem) -> anyhow::Error {
    anyhow::anyhow!("{}:{}: {}", path.display(), problem.line, problem.problem)
}

/// Puts what `work` makes of the text in its place. With `may_be_made` a file that is not there is empty.
pub fn edit<T>(
    path: &Path,
    may_be_made: bool,
    work: impl FnOnce(&str) -> Result<(String, T), RulesProblem>,
) -> Result<T> {
    // What a link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let _lock = lock(&folder)?;
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_made => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let (text, result) = work(&text).map_err(|problem| wrong(&path, &problem))?;
    replace(&path, &folder, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(result)
}

/// Held until it is dropped.
fn lock(folder: &Path) -> Result<Option<File>> {
    if !folder.is_dir() {
        bail!("{}: there is no such folder", folder.display());
    }
    // A folder can be locked where it can be opened as a file.
    if !cfg!(unix) {
        return Ok(None);
    }
    let file = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    Ok(Some(file))
}

/// Writes beside and renames. The new file has the old one's permissions; one that is new is its user's
/// alone.
fn replace(path: &Path, folder: &Path, text: &str) -> Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    if let Ok(metadata) = path.metadata() {
        new.as_file().set_permissions(metadata.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        let write = |text: &'static str| move |_: &str| Ok((text.to_owned(), ()));
        assert!(edit(&path, false, write("x")).unwrap_err().to_string().contains("cannot read"));
        edit(&path, true, write("# one\n")).unwrap();
        let refused = |_: &str| Err::<(String, ()), _>(RulesProblem { line: 3, problem: "no".into() });
        let error = edit(&path, true, refused).unwrap_err().to_string();
        assert!(error.ends_with("rules.toml:3: no"), "{error}");
        assert_eq!(text(&path).unwrap(), "# one\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["rules.toml", "link.toml"].map(|name| folder.path().join(name));
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        edit(&path, true, |_| Ok((String::new(), ()))).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        edit(&link, false, |_| Ok(("# new\n".to_owned(), ()))).unwrap();
        assert_eq!((mode(), text(&path).unwrap().as_str()), (0o640, "# new\n"));
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }
}
