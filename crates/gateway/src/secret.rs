//! A key of an upstream, which is never shown.

use std::fmt;

use hyper::header::HeaderValue;

use crate::limits::SECRET_BYTES_MAX;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key as it stands in a file or a variable; the whitespace around it is not part of it.
    ///
    /// Errors: it is empty, too long, or cannot stand in a header. Nothing of it is told.
    pub fn new(text: &str) -> Result<Secret, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > SECRET_BYTES_MAX {
            return Err("it is too long for a key");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has spaces, line ends or other characters that no key has");
        }
        Ok(Secret(text.to_owned()))
    }

    /// A header that begins with `before`; marked so that nothing prints it.
    pub(crate) fn header(&self, before: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{before}{}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A text without the key in it.
    pub(crate) fn redacted(&self, text: &str) -> String {
        text.replace(&self.0, "<key>")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<key>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let secret = Secret::new(" sk-canary\n").unwrap();
        assert_eq!(format!("{secret:?}"), "<key>");
        let header = secret.header("Bearer ").unwrap();
        assert_eq!(header, "Bearer sk-canary");
        assert!(!format!("{header:?}").contains("canary"));
        assert_eq!(secret.redacted("bad key sk-canary."), "bad key <key>.");
    }

    #[test]
    fn what_is_no_key_is_refused_without_its_words() {
        for text in ["", " \n", "two words", "a\u{e9}b"] {
            let why = Secret::new(text).unwrap_err();
            assert!(text.trim().is_empty() || !why.contains(text), "{why}");
        }
    }
}
