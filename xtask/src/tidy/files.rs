//! The files that tidy looks at.
//!
//! [`list`] asks git for the tracked files and for new ones that no ignore rule covers, so that a file is
//! checked before its first commit. Without git (an unpacked archive) it walks the folder instead, leaving
//! out build output. The other functions here class a path by its name alone.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Paths from the root, `/` between parts, sorted; deleted files are left out.
///
/// Errors: when the folder cannot be read.
pub fn list(root: &Path) -> Result<Vec<String>> {
    let mut paths = match list_with_git(root) {
        Some(paths) => paths,
        None => {
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            paths
        }
    };
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// `None` when there is no git here or this is not a repository.
fn list_with_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    let full = root.join(folder);
    for entry in std::fs::read_dir(&full).with_context(|| format!("reading {}", full.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !entry.file_type()?.is_dir() {
            paths.push(path);
        } else if !matches!(name.as_str(), ".git" | "target" | "__pycache__") {
            walk(root, &path, paths)?;
        }
    }
    Ok(())
}

/// Whether people write and read this file as text; recorded data (`testdata/`, `Cargo.lock`) is not.
pub fn is_prose_or_code(path: &str) -> bool {
    let written =
        [".rs", ".md", ".toml", ".sh", ".py", ".yml", ".yaml"].iter().any(|end| path.ends_with(end));
    (written || path == ".ci/run") && (!path.starts_with("testdata/") || path.ends_with(".md"))
}

/// Whether the file holds tests, benches or fuzz targets and nothing that ships.
pub fn is_test(path: &str) -> bool {
    let mut folders = path.split('/').rev();
    let stem = folders.next().unwrap_or_default();
    stem == "tests.rs" || folders.any(|folder| matches!(folder, "tests" | "benches" | "examples" | "fuzz"))
}

/// The room that a path belongs to: `crates/ROOM/...`.
pub fn room(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split_once('/').map(|(room, _)| room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_classed_by_name() {
        assert!(is_test("crates/model/tests/golden.rs") && is_test("crates/model/src/rope/tests.rs"));
        assert!(!is_test("crates/model/src/rope.rs") && !is_test("crates/model/src/contests.rs"));
        assert!(is_prose_or_code(".ci/run") && is_prose_or_code("testdata/README.md"));
        assert!(!is_prose_or_code("testdata/tiny/config.toml") && !is_prose_or_code("Cargo.lock"));
        assert_eq!(room("crates/model/src/rope.rs"), Some("model"));
        assert_eq!(room("xtask/src/main.rs"), None);
    }

    #[test]
    fn this_file_is_listed_with_and_without_git() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        assert!(list(root).unwrap().iter().any(|path| path == "xtask/src/tidy/files.rs"));
        let mut walked = Vec::new();
        walk(root, "", &mut walked).unwrap();
        assert!(walked.iter().any(|path| path == "xtask/src/tidy/files.rs"));
        assert!(!walked.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
