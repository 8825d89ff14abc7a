//! The language of patches, and its reader.
//!
//! ```text
//! *** Begin Patch
//! *** Add File: PATH          then `+` lines
//! *** Delete File: PATH
//! *** Update File: PATH       then, if it is renamed, `*** Move to: PATH`, and hunks
//! @@ HEADER                   a line before the hunk; several narrow it down; the first `@@` may be left out
//!  context, -removed, +added  an empty line is empty context
//! *** End of File             the hunk is the file's last
//! *** End Patch
//! ```
//!
//! Nothing of a file is needed to read a patch, so a patch that is not one is refused before any file is
//! looked at.

use std::collections::BTreeSet;

use super::error::PatchError;
use super::hunk::{Chunk, Hunk};
use super::relative_path::RelativePath;

/// Longest patch. Units: bytes.
pub const PATCH_BYTES_MAX: usize = 1 << 20;
/// Most files that one patch may name.
pub const FILES_MAX: usize = 256;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";
/// What every marker begins with.
const MARKER: &str = "***";

/// What a patch does, file by file; no path is named twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// In the order of the text.
    pub files: Vec<FilePatch>,
}

/// What happens to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePatch {
    /// A new file.
    Add {
        /// Which is not there yet.
        path: RelativePath,
        /// All that is in it.
        text: String,
    },
    /// A file that goes.
    Delete {
        /// Which is there.
        path: RelativePath,
    },
    /// A file that changes.
    Update {
        /// Which is there.
        path: RelativePath,
        /// Its new name, which is not there yet.
        move_to: Option<RelativePath>,
        /// From its top to its end.
        hunks: Vec<Hunk>,
    },
}

impl Patch {
    /// Reads a patch. White space around it does not matter.
    ///
    /// Errors: the line that is wrong, and what to write in its place.
    pub fn parse(text: &str) -> Result<Patch, PatchError> {
        if text.len() > PATCH_BYTES_MAX {
            let what =
                format!("the patch has {} bytes, at most {PATCH_BYTES_MAX}: write several", text.len());
            return Err(PatchError::Grammar { line: 1, what });
        }
        let lines = text.trim().split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut reader = Reader { lines: lines.collect(), index: 0, paths: BTreeSet::new() };
        reader.patch()
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    /// The line that is read next.
    index: usize,
    /// All that were named.
    paths: BTreeSet<RelativePath>,
}

impl<'a> Reader<'a> {
    fn patch(&mut self) -> Result<Patch, PatchError> {
        if self.next().map(str::trim_end) != Some(BEGIN) {
            return Err(self.wrong(0, format!("a patch begins with `{BEGIN}`")));
        }
        let mut files = Vec::new();
        loop {
            let at = self.index;
            let Some(line) = self.next() else {
                return Err(self.wrong(at, format!("the patch is cut off; it ends with `{END}`")));
            };
            if line.trim_end() == END {
                break;
            }
            files.push(self.file(at, line)?);
            if files.len() > FILES_MAX {
                return Err(self.wrong(at, format!("more than {FILES_MAX} files: write several patches")));
            }
        }
        // A second end, as models write it, ends nothing more.
        if let Some(at) =
            (self.index..self.lines.len()).find(|&at| !matches!(self.lines[at].trim_end(), "" | END))
        {
            return Err(
                self.wrong(at, format!("there is text after `{END}`: put it before, or leave it out"))
            );
        }
        if files.is_empty() {
            return Err(self.wrong(0, "the patch names no file".to_owned()));
        }
        Ok(Patch { files })
    }

    fn file(&mut self, at: usize, line: &'a str) -> Result<FilePatch, PatchError> {
        if let Some(path) = line.strip_prefix(ADD) {
            let path = self.path(at, path)?;
            return Ok(FilePatch::Add { path, text: self.added()? });
        }
        if let Some(path) = line.strip_prefix(DELETE) {
            return Ok(FilePatch::Delete { path: self.path(at, path)? });
        }
        if let Some(path) = line.strip_prefix(UPDATE) {
            let path = self.path(at, path)?;
            let move_to = match self.peek().and_then(|line| line.strip_prefix(MOVE)) {
                None => None,
                Some(target) => {
                    self.index += 1;
                    Some(self.path(self.index - 1, target)?)
                }
            };
            let hunks = self.hunks()?;
            if hunks.is_empty() && move_to.is_none() {
                return Err(self.wrong(at, "the update has no hunk: begin one with `@@`".to_owned()));
            }
            return Ok(FilePatch::Update { path, move_to, hunks });
        }
        let what = format!(
            "{line:?} begins no file: write `{ADD}`, `{DELETE}` or `{UPDATE}` and a path, or `{END}`"
        );
        Err(self.wrong(at, what))
    }

    fn path(&mut self, at: usize, text: &str) -> Result<RelativePath, PatchError> {
        let text = text.trim();
        let path = RelativePath::parse(text).map_err(|what| self.wrong(at, format!("{text:?}: {what}")))?;
        if !self.paths.insert(path.clone()) {
            return Err(
                self.wrong(at, format!("{path} is named twice: put all of its hunks under one header"))
            );
        }
        Ok(path)
    }

    /// The lines of a new file, whose last one ends too.
    fn added(&mut self) -> Result<String, PatchError> {
        let mut text = String::new();
        while let Some(line) = self.peek().filter(|line| !line.starts_with(MARKER)) {
            let Some(line) = line.strip_prefix('+') else {
                return Err(
                    self.wrong(self.index, format!("{line:?}: every line of a new file begins with `+`"))
                );
            };
            text.push_str(line);
            text.push('\n');
            self.index += 1;
        }
        Ok(text)
    }

    fn hunks(&mut self) -> Result<Vec<Hunk>, PatchError> {
        let mut hunks = Vec::new();
        while let Some(line) = self.peek() {
            if line.starts_with(MARKER) && line.trim_end() != END_OF_FILE {
                break;
            }
            hunks.push(self.hunk(hunks.is_empty())?);
        }
        Ok(hunks)
    }

    fn hunk(&mut self, is_first: bool) -> Result<Hunk, PatchError> {
        let at = self.index;
        let mut headers = Vec::new();
        while let Some(header) = self.peek().and_then(|line| line.strip_prefix("@@")) {
            match header.strip_prefix(' ') {
                Some(header) => headers.push(header.to_owned()),
                None if header.is_empty() => {}
                None => return Err(self.wrong(self.index, "there is no space after `@@`".to_owned())),
            }
            self.index += 1;
        }
        if self.index == at && !is_first {
            return Err(self.wrong(at, "a hunk after another one begins with `@@`".to_owned()));
        }
        let mut hunk = Hunk { line: at + 1, headers, ..Hunk::default() };
        let body = self.index;
        while let Some(line) = self.peek().filter(|line| !line.starts_with("@@") && !line.starts_with(MARKER))
        {
            if !hunk.push(line) {
                let what = format!("{line:?}: a line of a hunk begins with a space, `-` or `+`");
                return Err(self.wrong(self.index, what));
            }
            self.index += 1;
        }
        if self.peek().is_some_and(|line| line.trim_end() == END_OF_FILE) {
            self.index += 1;
            hunk.is_last = true;
        }
        if self.index == body {
            return Err(self.wrong(at, "the hunk has no lines".to_owned()));
        }
        Ok(hunk)
    }

    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.index).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.index += 1;
        Some(line)
    }

    fn wrong(&self, index: usize, what: String) -> PatchError {
        PatchError::Grammar { line: index + 1, what }
    }
}

impl Hunk {
    /// Takes a line; false when it is none of a hunk.
    fn push(&mut self, line: &str) -> bool {
        let (kind, text) = match line.chars().next() {
            None => (' ', ""),
            Some(kind) => (kind, &line[kind.len_utf8()..]),
        };
        // A run of removed and added lines is one chunk, whatever their order.
        let chunk = match (kind, self.chunks.last_mut()) {
            (' ', _) => {
                self.old.push(text.to_owned());
                return true;
            }
            ('-' | '+', Some(chunk)) if chunk.at + chunk.num_removed == self.old.len() => chunk,
            ('-' | '+', _) => {
                self.chunks.push(Chunk { at: self.old.len(), ..Chunk::default() });
                self.chunks.last_mut().expect("one was just put there")
            }
            _ => return false,
        };
        match kind {
            '-' => {
                chunk.num_removed += 1;
                self.old.push(text.to_owned());
            }
            _ => chunk.added.push(text.to_owned()),
        }
        true
    }
}
