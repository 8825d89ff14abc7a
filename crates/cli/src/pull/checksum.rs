//! Whether a file is what the hub said it is.
//!
//! [`verify`] reads a file once, from start to end, and compares its length and its hash with the listing's.
//! It is used on a file that has just arrived, before the file gets its name in the cache, and on files that
//! were there before.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::listing::{Digest, RemoteFile};

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// How a file differs from what was promised.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not differ.
    Right,
    /// Its length, where another was promised.
    Length(u64),
    /// Its hash, where another was promised.
    Hash(String),
}

/// Compares a file with its promise; `progress` hears how many bytes have been read.
///
/// Errors: the file cannot be read.
pub fn verify(path: &Path, promised: &RemoteFile, progress: &mut dyn FnMut(u64)) -> Result<Verdict> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let num_bytes = file.metadata().with_context(context)?.len();
    if num_bytes != promised.num_bytes {
        return Ok(Verdict::Length(num_bytes));
    }
    let mut running = Running::new(&promised.digest, num_bytes);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0;
    loop {
        let read = file.read(&mut buffer).with_context(context)?;
        if read == 0 {
            break;
        }
        running.update(&buffer[..read]);
        done += read as u64;
        progress(done);
    }
    let hash = running.finish();
    Ok(if hash == promised.digest.hex() { Verdict::Right } else { Verdict::Hash(hash) })
}

/// The digits of a hash, as tools write them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash under way.
enum Running {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl Running {
    fn new(digest: &Digest, num_bytes: u64) -> Running {
        match digest {
            Digest::Sha256(_) => Running::Sha256(Sha256::new()),
            // Git hashes the kind and the length before the content.
            Digest::GitBlob(_) => Running::Sha1(Sha1::new_with_prefix(format!("blob {num_bytes}\0"))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Sha256(hash) => hash.update(bytes),
            Running::Sha1(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Running::Sha256(hash) => hex(&hash.finalize()),
            Running::Sha1(hash) => hex(&hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`.
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn check(content: &str, digest: Digest, expect: Verdict) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let promised = RemoteFile { name: "file".to_owned(), num_bytes: 6, digest };
        let mut last = 0;
        assert_eq!(verify(&path, &promised, &mut |done| last = done).unwrap(), expect);
        assert!(matches!(expect, Verdict::Length(_)) || last == 6);
    }

    #[test]
    fn both_hashes_are_the_ones_of_their_tools() {
        check("hello\n", Digest::Sha256(SHA256.to_owned()), Verdict::Right);
        check("hello\n", Digest::GitBlob(GIT.to_owned()), Verdict::Right);
    }

    #[test]
    fn a_changed_byte_and_a_lost_byte_are_told_apart() {
        check(
            "jello\n",
            Digest::GitBlob(GIT.to_owned()),
            Verdict::Hash("da643281e874ed4c68c6a5d2217d24f48f575b12".into()),
        );
        check("hello", Digest::Sha256(SHA256.to_owned()), Verdict::Length(5));
    }
}
