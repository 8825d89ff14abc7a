//! Digests that tell contents apart.

use sha2::{Digest, Sha256};

use crate::pull::checksum::hex;

/// The SHA-256 of a content, in hexadecimal digits.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(content))
}
