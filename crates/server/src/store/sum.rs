//! The checksum of what is stored: a disk that gives other bytes back than it was given is noticed when they
//! are read.
//!
//! SQLite looks whether its pages hang together, and not whether what stands in them is what was written.

use gptoss_api::ApiError;
use sha2::{Digest, Sha256};

/// Of parts in their order.
pub(super) fn sum(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // Where one ends and the next begins counts too.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Holds parts against the sum that was stored with them; rows of before version 4, batches of before
/// version 5 and results of before version 6 have none.
///
/// Errors: `Damaged`.
pub(super) fn check(
    stored: Option<&[u8]>,
    parts: &[&[u8]],
    (what, id): (&'static str, &str),
) -> Result<(), ApiError> {
    match stored.is_none_or(|stored| stored == sum(parts)) {
        true => Ok(()),
        false => Err(ApiError::Damaged { what, id: id.to_owned() }),
    }
}
