//! The chain's end in a second place: a small file beside the database, written around every transaction.
//!
//! One line: the number and the hash of the last entry, and those of the one under way, or dashes. A kill
//! between leaves both, and the chain must end in one of them; at all other times there is one end. So a tail
//! that was cut and entries that were added past the server are found. Whoever can write the folder can write
//! this file too: `audit verify --expect` takes an end that was kept elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::chain::Head;
use crate::error::JournalError;

/// The file inside the state folder.
pub(super) const FILE: &str = "govern.head";

#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// There is no file yet.
    Nothing,
    /// The end, and the one under way.
    Heads(Head, Option<Head>),
    /// It is none of ours, or was changed.
    Garbled,
}

impl HeadFile {
    pub(super) fn open(folder: &Path) -> Result<HeadFile, JournalError> {
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        match opened {
            Ok(file) => Ok(HeadFile { file, path }),
            Err(source) => Err(JournalError::File { path, source }),
        }
    }

    /// Writes the line in one call, in the place of the one before, which is as long.
    pub(super) fn write(&mut self, head: &Head, next: Option<&Head>) -> Result<(), JournalError> {
        let next = next.map_or_else(|| format!("{:-<20} {:-<64}", "", ""), line);
        let text = format!("{} {next}\n", line(head));
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        written.map_err(|source| JournalError::File { path: self.path.clone(), source })
    }

    pub(super) fn read(&mut self) -> Result<Said, JournalError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(|source| JournalError::File { path: self.path.clone(), source })?;
        Ok(parse(&bytes))
    }
}

/// What the file of a folder says.
pub(super) fn read(folder: &Path) -> Result<Said, JournalError> {
    let path = folder.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Said::Nothing),
        Err(source) => Err(JournalError::File { path, source }),
    }
}

fn line(head: &Head) -> String {
    format!("{:020} {}", head.count, head.to_hex())
}

fn parse(bytes: &[u8]) -> Said {
    if bytes.is_empty() {
        return Said::Nothing;
    }
    let heads = || {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let words: Vec<&str> = text.split(' ').collect();
        let [count, hash, next_count, next_hash] = words[..] else { return None };
        let next = match next_count.starts_with('-') {
            true if next_count == "-".repeat(20) && next_hash == "-".repeat(64) => None,
            true => return None,
            false => Some(Head::parse(next_count, next_hash)?),
        };
        Some(Said::Heads(Head::parse(count, hash)?, next))
    };
    heads().unwrap_or(Said::Garbled)
}

impl Said {
    /// How the chain, which ends in `head`, differs from what the file says.
    pub(super) fn difference(&self, head: &Head) -> Option<String> {
        let said = match self {
            Said::Nothing if head.count == 0 => return None,
            Said::Nothing => {
                return Some(format!("{FILE} is missing, and the chain has {} entries", head.count));
            }
            Said::Garbled => {
                return Some(format!("{FILE} cannot be read, and the chain has {} entries", head.count));
            }
            Said::Heads(last, next) if last == head || next.as_ref() == Some(head) => return None,
            Said::Heads(last, _) => last,
        };
        let found = match head.count.cmp(&said.count) {
            std::cmp::Ordering::Less => "the tail is cut",
            std::cmp::Ordering::Equal => "the last entry is another one",
            std::cmp::Ordering::Greater => "entries were added past it",
        };
        Some(format!(
            "{found}: {FILE} says {} entries, the last {}, but the chain has {}, the last {}",
            said.count,
            said.to_hex(),
            head.count,
            head.to_hex()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(count: u64) -> Head {
        Head { count, hash: [u8::try_from(count).unwrap(); 32] }
    }

    #[test]
    fn the_file_says_what_was_written_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::open(folder.path()).unwrap();
        assert_eq!(file.read().unwrap(), Said::Nothing);
        file.write(&head(7), Some(&head(8))).unwrap();
        assert_eq!(file.read().unwrap(), Said::Heads(head(7), Some(head(8))));
        file.write(&head(8), None).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Said::Heads(head(8), None));
        let whole = std::fs::read(folder.path().join(FILE)).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            assert_ne!(parse(&bytes), Said::Heads(head(8), None), "byte {place}");
        }
    }

    #[test]
    fn the_chain_ends_where_the_file_says_or_in_what_was_under_way() {
        let check = |said: Said, count, expect: Option<&str>| {
            let found = said.difference(&head(count));
            assert_eq!(found.is_some(), expect.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expect.unwrap_or_default()));
        };
        check(Said::Nothing, 0, None);
        check(Said::Nothing, 3, Some("missing"));
        check(Said::Garbled, 3, Some("cannot be read"));
        check(Said::Heads(head(3), None), 3, None);
        check(Said::Heads(head(3), Some(head(4))), 3, None);
        check(Said::Heads(head(3), Some(head(4))), 4, None);
        check(Said::Heads(head(3), None), 4, Some("added"));
        check(Said::Heads(head(3), Some(head(4))), 5, Some("added"));
        check(Said::Heads(head(3), None), 2, Some("cut"));
        check(Said::Heads(Head { count: 3, hash: [9; 32] }, None), 3, Some("another"));
    }
}
