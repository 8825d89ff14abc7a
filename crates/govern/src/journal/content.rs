//! What was said, beside the chain: texts in tables of their own, of which an entry has salted hashes alone.
//!
//! So a text can be erased (`journal/erase.rs`) and the chain still verifies. A hash is the SHA-256 of the
//! row's 32 random bytes and the text; the bytes go with the text, since a short one could be guessed from
//! its hash without them. A row that is not there where its entry says so is a break; one that was erased
//! says when.
//!
//! Rows are only ever appended to a table, so that no page of it is split and leaves a copy in its gap.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::break_place::NotVerified;
use super::schema::{PLACES, place};
use crate::digest::{Digest, to_hex};
use crate::error::JournalError;

/// Bytes of a row's salt.
pub(super) const SALT_BYTES: usize = 32;

/// A text as it is handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken {
    /// As much of it as is kept.
    pub text: String,
    /// How long it was. Units: bytes.
    pub bytes: u64,
}

/// What was said in a request and its answer. None: it is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The request's body.
    pub prompt: Option<Spoken>,
    /// The answer's.
    pub answer: Option<Spoken>,
    /// Random bytes of this row alone.
    pub salt: [u8; SALT_BYTES],
}

/// What an entry has of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<TextHash>,
    /// Of the answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<TextHash>,
}

/// What an entry has of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextHash {
    /// How long it was. Units: bytes.
    pub bytes: u64,
    /// How much of it was kept. Units: bytes.
    pub kept: u64,
    /// The SHA-256 of the salt and what was kept, in 64 hex digits.
    pub sha256: String,
}

/// A row as an export has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) seq: i64,
    salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

impl Said {
    /// What its entry has of it.
    pub(super) fn content(&self) -> Content {
        let hash = |spoken: &Spoken| TextHash {
            bytes: spoken.bytes,
            kept: spoken.text.len() as u64,
            sha256: hash(&self.salt, &spoken.text),
        };
        Content { prompt: self.prompt.as_ref().map(hash), answer: self.answer.as_ref().map(hash) }
    }
}

impl Line {
    /// Whether these are the texts of the entry with that number, which has these hashes.
    pub(super) fn is_of(&self, seq: i64, content: &Content) -> bool {
        let Some(salt) = Digest::from_hex(&self.salt).filter(|_| self.seq == seq) else { return false };
        let is_it = |told: Option<&TextHash>, text: Option<&String>| match (told, text) {
            (None, None) => true,
            (Some(told), Some(text)) => {
                told.kept == text.len() as u64 && told.sha256 == hash(&salt.to_bytes(), text)
            }
            _ => false,
        };
        is_it(content.prompt.as_ref(), self.prompt.as_ref())
            && is_it(content.answer.as_ref(), self.answer.as_ref())
    }
}

fn hash(salt: &[u8; SALT_BYTES], text: &str) -> String {
    to_hex(&Sha256::new().chain_update(salt).chain_update(text).finalize())
}

/// Keeps the texts of the entry of that number.
pub(super) fn keep(connection: &Connection, seq: i64, said: &Said) -> Result<(), JournalError> {
    let text = |spoken: &Option<Spoken>| spoken.as_ref().map(|spoken| spoken.text.clone());
    let table = PLACES[place(connection)?];
    let sql = format!("INSERT INTO {table} (seq, salt, prompt, answer) VALUES (?1, ?2, ?3, ?4)");
    let values = params![seq, said.salt, text(&said.prompt), text(&said.answer)];
    connection.prepare_cached(&sql)?.execute(values)?;
    Ok(())
}

/// The texts of an entry. None: they were erased.
///
/// Errors: there is no row; the database failed.
pub(super) fn line(connection: &Connection, seq: i64) -> Result<Option<Line>, JournalError> {
    let sql = "SELECT salt, prompt, answer FROM said WHERE seq = ?1";
    let row = connection.prepare_cached(sql)?.query_row([seq], |row| {
        let salt: Option<[u8; SALT_BYTES]> = row.get(0)?;
        Ok((salt, row.get(1)?, row.get(2)?))
    });
    let (salt, prompt, answer) = row?;
    Ok(salt.map(|salt| Line { seq, salt: to_hex(&salt), prompt, answer }))
}

/// Compares the texts with the chain: how many rows have theirs, and how many were erased.
///
/// Errors: the first entry whose texts are others or are not there; the database failed.
pub(super) fn verify(connection: &Connection) -> Result<(u64, u64), NotVerified> {
    let failed = |error: rusqlite::Error| NotVerified::Journal(error.into());
    let sql = "SELECT seq, content FROM entries WHERE content IS NOT NULL ORDER BY seq";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let (mut num_kept, mut num_erased) = (0, 0);
    while let Some(row) = rows.next().map_err(failed)? {
        let (seq, content): (i64, String) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let at = |why: &str| NotVerified::at(seq.unsigned_abs(), why);
        match line(connection, seq) {
            Ok(None) => num_erased += 1,
            Ok(Some(line)) => {
                let content: Content =
                    serde_json::from_str(&content).map_err(|_| at("its hashes of texts cannot be read"))?;
                if !line.is_of(seq, &content) {
                    return Err(at("its texts were changed: their hashes are others"));
                }
                num_kept += 1;
            }
            Err(JournalError::Database(rusqlite::Error::QueryReturnedNoRows)) => {
                return Err(at("its texts are gone, and were not erased by `audit erase`"));
            }
            Err(error @ JournalError::Database(rusqlite::Error::SqliteFailure(..))) => {
                return Err(error.into());
            }
            Err(error) => return Err(at(&format!("its texts cannot be read: {error}"))),
        }
    }
    let sql = "SELECT seq FROM said WHERE seq NOT IN (SELECT seq FROM entries WHERE content IS NOT NULL)";
    let stray: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional().map_err(failed)?;
    match stray {
        Some(seq) => Err(NotVerified::elsewhere(format!("there are texts of entry {seq}, which has none"))),
        None => Ok((num_kept, num_erased)),
    }
}
