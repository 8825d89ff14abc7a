//! The journal of a run: JSON lines, one an answered item, in the order in which they ended.
//!
//! A line is one write, so a kill leaves whole lines and perhaps the beginning of one, which is dropped when
//! the journal is opened again. Two programs cannot write one at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::usage;

/// How every line begins.
const HEAD: &[u8] = br#"{"id":"#;

/// A journal that can be gone on with.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens or makes it, with the lines that it holds.
    ///
    /// Errors: it is something else, another program writes it, it cannot be read or written.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Journal, Vec<T>)> {
        let failed = || format!("cannot go on with {}", path.display());
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(path).with_context(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(usage("another run writes it")).with_context(failed),
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(failed)?;
        let (lines, whole) = read(&text).with_context(failed)?;
        file.set_len(whole as u64).with_context(failed)?;
        Ok((Journal { file }, lines))
    }

    /// Writes a line; the system has all of it when this returns.
    ///
    /// Errors: it cannot be written.
    pub fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The lines of a journal that is only looked at.
///
/// Errors: there is none, or it is something else.
pub fn look<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let failed = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(failed)?;
    Ok(read(&text).with_context(failed)?.0)
}

/// The whole lines of a text, and the bytes that they take.
fn read<T: DeserializeOwned>(text: &[u8]) -> Result<(Vec<T>, usize)> {
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (lines, rest) = text.split_at(whole);
    if !HEAD.starts_with(rest) && !rest.starts_with(HEAD) {
        bail!("it holds something else than answers of an evaluation");
    }
    let line = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).with_context(|| format!("line {number} is not an answer"))
    };
    let lines = (1..).zip(lines.split(|&byte| byte == b'\n')).filter(|(_, line)| !line.is_empty());
    Ok((lines.map(line).collect::<Result<Vec<T>>>()?, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_journal_cut_at_any_byte_goes_on_behind_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        let (mut journal, none) = Journal::open::<Value>(&path).unwrap();
        assert!(none.is_empty());
        journal.append(&json!({"id": "1"})).unwrap();
        journal.append(&json!({"id": "2"})).unwrap();
        assert!(
            format!("{:#}", Journal::open::<Value>(&path).unwrap_err()).contains("another run writes it")
        );
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, lines) = Journal::open::<Value>(&path).unwrap();
            let ended = whole[..length].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(lines.len(), ended, "cut at {length}");
            journal.append(&json!({"id": "3"})).unwrap();
            drop(journal);
            let lines = look::<Value>(&path).unwrap();
            assert_eq!((lines.len(), &lines[ended]["id"]), (ended + 1, &json!("3")), "cut at {length}");
        }
    }

    #[test]
    fn something_else_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        for other in ["notes\n", "notes", "{\"id\":\"1\"}\nnotes", "{\"id\":}\n"] {
            std::fs::write(&path, other).unwrap();
            assert!(Journal::open::<Value>(&path).is_err(), "{other}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
    }
}
