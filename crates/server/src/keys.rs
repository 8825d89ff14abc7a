//! Who may use the server, and as whom?
//!
//! A key file has one key a line: the key itself or `sha256:HEX` of it, then any of `name=NAME` and `reasoning=raw|summary|hidden`. Only
//! digests are held in memory, and they are compared without stopping early. A key's name is its tenant: what one tenant has stored, and
//! the reasoning kept for its calls, another cannot see. Without a key file everybody is the tenant `local`, which is only allowed on an
//! address that other machines cannot reach.
//!
//! It does not know files: the composition root reads them.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::visibility::Visibility;
use crate::wire::errors::ApiError;

/// The tenant of everybody when there are no keys.
const LOCAL: &str = "local";
/// Fewest characters of a key: fewer can be guessed.
const KEY_CHARS_MIN: usize = 16;

/// Who may use the server.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// None: everybody may.
    keys: Option<Vec<Key>>,
}

#[derive(Debug, Clone)]
struct Key {
    digest: [u8; 32],
    caller: Caller,
}

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whose state it sees.
    pub(crate) tenant: String,
    /// The most of the reasoning it sees.
    pub(crate) visibility: Visibility,
}

impl Keys {
    /// Reads a key file.
    ///
    /// Errors: by line: no key, too short a key, a wrong digest, an unknown word.
    pub fn parse(text: &str) -> Result<Keys, Error> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(key(line).map_err(|problem| Error::KeyFile { line: index + 1, problem })?);
        }
        match keys.is_empty() {
            true => Err(Error::KeyFile { line: 1, problem: "there is no key in the file".to_owned() }),
            false => Ok(Keys { keys: Some(keys) }),
        }
    }

    /// Whether a key is asked for.
    pub fn are_asked_for(&self) -> bool {
        self.keys.is_some()
    }

    /// Who sent a request.
    ///
    /// Errors: `Key`, when one is asked for and the request's is none of them.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(keys) = &self.keys else {
            return Ok(Caller { tenant: LOCAL.to_owned(), visibility: Visibility::Raw });
        };
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        let bearer =
            bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        let plain = headers.get("api-key").or(headers.get("x-api-key")).and_then(|value| value.to_str().ok());
        let digest: [u8; 32] = Sha256::digest(bearer.or(plain).ok_or(ApiError::Key)?).into();
        // Every key is looked at in full, so that the time says nothing about how much of one was right.
        let mut found = None;
        for key in keys {
            let difference = key.digest.iter().zip(digest).fold(0, |sum, (a, b)| sum | (a ^ b));
            if difference == 0 {
                found = Some(&key.caller);
            }
        }
        found.cloned().ok_or(ApiError::Key)
    }
}

fn key(line: &str) -> Result<Key, String> {
    let mut words = line.split_whitespace();
    let secret = words.next().unwrap_or_default();
    let digest = match secret.strip_prefix("sha256:") {
        Some(hex) => from_hex(hex).ok_or("sha256: is followed by 64 hex digits")?,
        None if secret.chars().count() < KEY_CHARS_MIN => {
            return Err(format!("the key is shorter than {KEY_CHARS_MIN} characters"));
        }
        None => Sha256::digest(secret).into(),
    };
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut caller = Caller { tenant: format!("key-{short}"), visibility: Visibility::Raw };
    for word in words {
        match word.split_once('=') {
            Some(("name", name)) if !name.is_empty() => caller.tenant = name.to_owned(),
            Some(("reasoning", name)) => {
                caller.visibility =
                    Visibility::from_name(name).ok_or("reasoning is raw, summary or hidden")?;
            }
            _ => return Err(format!("{word:?} is neither name=NAME nor reasoning=raw|summary|hidden")),
        }
    }
    Ok(Key { digest, caller })
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SECRET: &str = "sk-0123456789abcdef";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_key_is_known_by_itself_or_by_its_digest() {
        let digest: String = Sha256::digest(SECRET).iter().map(|byte| format!("{byte:02x}")).collect();
        for line in [
            format!("{SECRET} name=app reasoning=hidden"),
            format!("sha256:{digest} reasoning=hidden name=app"),
        ] {
            let keys = Keys::parse(&format!("# keys\n\n{line}\n")).unwrap();
            let caller = Caller { tenant: "app".into(), visibility: Visibility::Hidden };
            assert_eq!(
                keys.caller(&headers("authorization", &format!("Bearer {SECRET}"))),
                Ok(caller.clone())
            );
            assert_eq!(keys.caller(&headers("x-api-key", SECRET)), Ok(caller));
            assert_eq!(keys.caller(&headers("authorization", "Bearer sk-else")), Err(ApiError::Key));
            assert_eq!(keys.caller(&HeaderMap::new()), Err(ApiError::Key));
        }
    }

    #[test]
    fn without_keys_everybody_is_local() {
        assert_eq!(Keys::default().caller(&HeaderMap::new()).unwrap().tenant, LOCAL);
    }

    #[test]
    fn wrong_lines_are_named() {
        let check = |text: &str, expect: &str| {
            let message = Keys::parse(text).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check("", "no key");
        check("# a\nshort", "line 2");
        check("sha256:12", "64 hex");
        check("sk-0123456789abcdef color=red", "color=red");
        check("sk-0123456789abcdef reasoning=loud", "raw, summary");
    }
}
