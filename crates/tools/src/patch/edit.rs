//! What a patch does to files, computed and not yet done.

use similar::TextDiff;

use super::relative_path::RelativePath;

/// Lines of a difference that are shown around what changes.
const CONTEXT_LINES: usize = 3;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Who may read, write and run it: the bits of its mode. None for what the system gives a new file.
    pub mode: Option<u32>,
}

/// One file before and after; never absent in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Beneath the workspace.
    pub path: RelativePath,
    /// None where it is not there.
    pub before: Option<FileContent>,
    /// None where it goes.
    pub after: Option<FileContent>,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditKind {
    /// It is new.
    Add,
    /// It goes.
    Delete,
    /// It changes.
    Update,
}

/// All that one patch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// No path twice. A file that is renamed is one that goes and one that is new.
    pub edits: Vec<Edit>,
}

impl Edit {
    /// What happens to the file.
    pub fn kind(&self) -> EditKind {
        match (&self.before, &self.after) {
            (None, _) => EditKind::Add,
            (_, None) => EditKind::Delete,
            _ => EditKind::Update,
        }
    }

    /// The change as people read it: a unified difference.
    pub fn diff(&self) -> String {
        let text = |content: &Option<FileContent>| {
            content
                .as_ref()
                .map(|content| String::from_utf8_lossy(&content.bytes).into_owned())
                .unwrap_or_default()
        };
        let name = |content: &Option<FileContent>, side: &str| match content {
            None => "/dev/null".to_owned(),
            Some(_) => format!("{side}/{}", self.path),
        };
        let (old, new) = (text(&self.before), text(&self.after));
        let diff = TextDiff::from_lines(&old, &new);
        let (from, to) = (name(&self.before, "a"), name(&self.after, "b"));
        diff.unified_diff().context_radius(CONTEXT_LINES).header(&from, &to).to_string()
    }
}

impl Plan {
    /// All changes as people read them.
    pub fn diff(&self) -> String {
        self.edits.iter().map(Edit::diff).collect()
    }
}
