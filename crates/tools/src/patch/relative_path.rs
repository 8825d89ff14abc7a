//! The name of a file beneath a folder.

use std::fmt;

/// A path that leads down only: no root, no `..`, and neither git's own files nor those of the journal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

/// Where the journal of patches lies.
pub(super) const OWN_FOLDER: &str = ".gptoss";

impl RelativePath {
    /// The path that a patch wrote.
    ///
    /// Errors: why it is refused, as what follows its name.
    pub fn parse(text: &str) -> Result<RelativePath, &'static str> {
        if text.starts_with('/') {
            return Err("the path is absolute; write it from the workspace's root");
        }
        if text.contains('\0') {
            return Err("the path holds a zero byte");
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err("the path leads upward; only files beneath the workspace can be changed");
        }
        // A hook that git runs would be code outside of every wall.
        if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err("these are git's own files, which no patch may change");
        }
        match parts.first() {
            None => Err("the path names no file"),
            Some(first) if first.eq_ignore_ascii_case(OWN_FOLDER) => {
                Err("this is where patches are kept to be taken back, which no patch may change")
            }
            Some(_) if text.ends_with('/') => Err("the path names a folder"),
            Some(_) => Ok(RelativePath(parts.join("/"))),
        }
    }

    /// A path of the journal.
    pub(super) fn own(text: String) -> RelativePath {
        RelativePath(text)
    }

    /// The folders above, from the top, and the name in the last of them.
    pub(super) fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (folders, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (folders.split('/').filter(|part| !part.is_empty()), name)
    }

    /// The folders above as paths, from the top.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = RelativePath> {
        self.0.match_indices('/').map(|(end, _)| RelativePath(self.0[..end].to_owned()))
    }

    /// As text, with slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
