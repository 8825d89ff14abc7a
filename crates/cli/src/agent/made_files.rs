//! Files that calls made, such as plots, put where a person finds them.
//!
//! A run has a folder of its own for them, made with the first file and open to its user alone. It lies
//! outside of the workspace: no command of the model's can have put a link there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gptoss_tools::ToolFile;

use crate::terminal;

/// Where the files of a run are.
#[derive(Default)]
pub struct MadeFiles {
    folder: Option<PathBuf>,
}

impl MadeFiles {
    /// Writes the files of a call, each in the place of an earlier one of its path, and says where they are.
    /// What cannot be written is a warning.
    pub fn keep(&mut self, files: &[ToolFile]) -> Vec<PathBuf> {
        let mut kept = Vec::new();
        for file in files {
            match self.folder().and_then(|folder| write(folder, file)) {
                Ok(path) => kept.push(path),
                Err(error) => {
                    eprintln!("{}", terminal::safe(&format!("warning: {} is lost: {error}", file.path)));
                }
            }
        }
        kept
    }

    fn folder(&mut self) -> io::Result<&Path> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => tempfile::Builder::new().prefix("gptoss-files-").tempdir()?.keep(),
        };
        Ok(self.folder.insert(folder))
    }
}

/// A path of a tool's stays beneath its folder.
fn write(folder: &Path, file: &ToolFile) -> io::Result<PathBuf> {
    let path = folder.join(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, &file.bytes)?;
    Ok(path)
}

/// Files in lines.
pub fn lines_of(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| terminal::safe(&format!("  file: {}", path.display()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_together_and_the_newest_of_a_path_stays() {
        let file = |path: &str, bytes: &[u8]| ToolFile { path: path.into(), bytes: bytes.into() };
        let mut made = MadeFiles::default();
        assert!(made.keep(&[]).is_empty() && made.folder.is_none());
        let first = made.keep(&[file("a.png", b"1"), file("b/c.csv", b"2")]);
        let again = made.keep(&[file("a.png", b"3"), file("a.png/d", b"4")]);
        assert_eq!((first.len(), &again[..]), (2, &first[..1]));
        assert_eq!(fs::read(&first[0]).unwrap(), b"3");
        assert!(first[1].ends_with("b/c.csv") && lines_of(&first)[1].ends_with("b/c.csv"));
        fs::remove_dir_all(made.folder.unwrap()).unwrap();
    }
}
