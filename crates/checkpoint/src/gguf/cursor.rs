//! Reading little-endian numbers and strings from bytes that may end anywhere.
//!
//! [`Cursor`] is the only place of the GGUF reader that moves through untrusted bytes: every step checks that
//! the bytes are there, and a step beyond the end says how long the file would have to be. It copies nothing
//! and allocates nothing but the words of an error.
//!
//! It knows lengths, not meanings.

use std::ops::Range;
use std::path::Path;

use crate::error::Error;

/// A place in a file's bytes.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    /// The start of the bytes; `path` labels errors.
    pub(crate) fn new(bytes: &'a [u8], path: &'a Path) -> Cursor<'a> {
        Cursor { bytes, at: 0, path }
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes there are in all.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The error of a broken rule.
    pub(crate) fn bad(&self, detail: String) -> Error {
        Error::BadGguf { path: self.path.to_path_buf(), detail }
    }

    /// The error of a file that would have to be `expected` bytes long.
    pub(crate) fn truncated(&self, expected: u64) -> Error {
        Error::Truncated { path: self.path.to_path_buf(), expected, found: self.bytes.len() as u64 }
    }

    /// Steps over `count` elements of `size` bytes each and says where they lie.
    pub(crate) fn skip(&mut self, count: u64, size: u64) -> Result<Range<usize>, Error> {
        let end = count.checked_mul(size).and_then(|length| length.checked_add(self.at as u64));
        let end = end.ok_or_else(|| self.bad(format!("{count} elements of {size} bytes overflow")))?;
        if end > self.bytes.len() as u64 {
            return Err(self.truncated(end));
        }
        let start = std::mem::replace(&mut self.at, end as usize);
        Ok(start..end as usize)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let range = self.skip(N as u64, 1)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[range]);
        Ok(array)
    }

    /// The next four bytes as a number.
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things, at most `most`.
    pub(crate) fn count(&mut self, what: &str, most: u64) -> Result<u64, Error> {
        let count = self.u64()?;
        if count > most {
            return Err(self.bad(format!("{count} {what}, above the {most} that are read")));
        }
        Ok(count)
    }

    /// A string's bytes, which need not be text.
    pub(crate) fn string(&mut self, what: &str, most: u64) -> Result<Range<usize>, Error> {
        let length = self.u64()?;
        if length > most {
            return Err(self.bad(format!("{length} bytes in {what}, above the {most} that are read")));
        }
        self.skip(length, 1)
    }

    /// A string that must be text.
    pub(crate) fn text(&mut self, what: &str, most: u64) -> Result<&'a str, Error> {
        let range = self.string(what, most)?;
        std::str::from_utf8(&self.bytes[range.clone()])
            .map_err(|_| self.bad(format!("{what} at byte {} is not UTF-8", range.start)))
    }
}
