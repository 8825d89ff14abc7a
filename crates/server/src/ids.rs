//! Names of new things, and seeds.
//!
//! Nobody can guess a name, since the name of a stored response is half of the way to it. The shape is
//! OpenAI's: a prefix that tells the kind, and hex digits.

/// A name nobody can guess.
///
/// Errors: the system gives no random bytes.
pub(crate) fn try_random(prefix: &str) -> Result<String, getrandom::Error> {
    named(prefix, getrandom::fill)
}

fn named(
    prefix: &str,
    fill: impl FnOnce(&mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{prefix}_{digits}"))
}

/// A name nobody can guess, inside a request.
///
/// Panics: the system gives no random bytes any more, though it gave the request its own name a moment ago
/// (`app` refuses requests that get none). A name that could be guessed would be worse than a request that
/// fails.
pub(crate) fn random(prefix: &str) -> String {
    try_random(prefix).unwrap_or_else(|error| panic!("the system gives no random bytes: {error}"))
}

/// As [`random`], in the shape that Chat Completions and Completions have: `chatcmpl-` and digits.
pub(crate) fn random_dashed(prefix: &str) -> String {
    random(prefix).replacen('_', "-", 1)
}

/// Bytes that nobody can guess, for a hash of a text that could be.
///
/// Panics: as [`random`].
pub(crate) fn salt() -> [u8; 32] {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    filled.unwrap_or_else(|error| panic!("the system gives no random bytes: {error}"));
    bytes
}

/// A seed for a request that names none: as many bits as a JSON number holds exactly.
///
/// Panics: as [`random`].
pub(crate) fn seed() -> u64 {
    let bytes = getrandom::u64();
    bytes.unwrap_or_else(|error| panic!("the system gives no random bytes: {error}")) >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_random_bytes_there_is_no_name() {
        let none = |_: &mut [u8]| Err(getrandom::Error::UNSUPPORTED);
        assert_eq!(named("req", none), Err(getrandom::Error::UNSUPPORTED));
        let name = try_random("req").unwrap();
        assert!(name.starts_with("req_") && name.len() == 36 && name != try_random("req").unwrap(), "{name}");
    }
}
