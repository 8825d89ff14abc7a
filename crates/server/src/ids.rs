//! What is a new thing called?
//!
//! [`random`] makes names nobody can guess, since the name of a stored response is half of the way to it. The shape is OpenAI's: a prefix
//! that tells the kind, and hex digits. [`seed`] is for requests that name none.
//!
//! It does not know what it names.

/// A name nobody can guess.
pub(crate) fn random(prefix: &str) -> String {
    let mut bytes = [0u8; 16];
    // Without the system's randomness names would repeat; the allocator's addresses are the best that is left then.
    if getrandom::fill(&mut bytes).is_err() {
        let fallback = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), prefix);
        bytes[..8].copy_from_slice(&fallback.to_le_bytes());
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}_{digits}")
}

/// A seed for a request that names none: as many bits as a JSON number holds exactly.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes) >> 11,
        Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8) >> 11,
    }
}
