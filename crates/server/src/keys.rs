//! The keys of a server, and who shows them.
//!
//! A key file has one key a line: the key itself or `sha256:HEX` of it, then any of `name=NAME`,
//! `reasoning=raw|summary|hidden`, `reasoning-budget=N`, `tokens=raw|none` and `scopes=SCOPE,...` (without it
//! all but `admin`, and `raw_reasoning` as `tokens` says). A line that could mean something else is refused:
//! a key that is not what the operator thinks locks out whoever has it, or lets in whoever has none. Only
//! digests are held in memory, and they are compared in constant time. A key's name is its tenant: what one
//! tenant has stored, and the reasoning kept for its calls, another cannot see. Without a key file everybody
//! is the tenant `local`, which is only allowed on an address that other machines cannot reach.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use gptoss_govern::{Ask, Digest, Reasoning, Scope, Sensitivity};

use crate::bill::Bill;
use crate::error::Error;
use crate::governance::{Governance, Pass};
use crate::scope::Scopes;

/// The tenant of everybody when there are no keys.
pub const LOCAL: &str = "local";
/// Hex digits of a key's digest in the name of a tenant that has none.
const SHORT_CHARS: usize = 8;
/// Fewest characters of a key: fewer can be guessed.
const KEY_CHARS_MIN: usize = 16;

/// Who may use the server.
#[derive(Debug, Clone, Default)]
pub struct Keys(Asked);

/// What is asked of whoever sends a request.
#[derive(Debug, Clone, Default)]
enum Asked {
    /// Nothing: everybody may.
    #[default]
    Nothing,
    /// One of these.
    Listed(Vec<Key>),
    /// One of the operator's rules.
    Governed(Arc<Governance>),
}

#[derive(Debug, Clone)]
struct Key {
    digest: Digest,
    caller: Caller,
}

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whose state it sees.
    pub(crate) tenant: String,
    /// The most of the reasoning it sees.
    pub(crate) visibility: Visibility,
    /// Most tokens of reasoning of its requests. Units: tokens.
    pub(crate) reasoning_max: Option<u32>,
    /// Whether it may give and get tokens as they are, reasoning and control tokens among them.
    pub(crate) may_use_tokens: bool,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// Whether nobody waits for the answer: a line of a batch.
    pub(crate) is_background: bool,
    /// Whether nothing of this request may leave the machine.
    pub(crate) stays: bool,
    /// The public part of its key; None: there are no rules, or an older program did not note it.
    pub(crate) key_id: Option<String>,
    /// By which rules it may; None: there are none.
    pub(crate) pass: Option<Pass>,
    /// What this request is charged; None: nothing is counted.
    pub(crate) bill: Option<Arc<Bill>>,
}

impl Caller {
    /// Whether nothing of its requests may leave this machine: a label says so, or its key's policy.
    pub(crate) fn must_stay(&self) -> bool {
        // A policy's sensitivity holds whatever the model.
        let by_policy =
            |pass: &Pass| pass.rules.decide(&pass.key, &Ask::default()).sensitivity == Sensitivity::LocalOnly;
        self.stays || self.pass.as_ref().is_some_and(by_policy)
    }

    /// Everybody, when there are no keys.
    pub(crate) fn local() -> Caller {
        Caller {
            tenant: LOCAL.to_owned(),
            visibility: Visibility::Raw,
            reasoning_max: None,
            may_use_tokens: true,
            scopes: Scopes::all(),
            is_background: false,
            stays: false,
            key_id: None,
            pass: None,
            bill: None,
        }
    }

    /// Whoever has the pass.
    pub(crate) fn of_pass(pass: Pass) -> Caller {
        let scopes = Scopes::of(pass.key.scopes.iter().copied());
        let visibility = ruled_visibility(pass.rules.reasoning(&pass.key));
        Caller {
            tenant: pass.key.name.clone(),
            visibility,
            reasoning_max: None,
            may_use_tokens: scopes.has(Scope::RawReasoning) && visibility == Visibility::Raw,
            scopes,
            is_background: false,
            stays: false,
            key_id: Some(pass.key.id.clone()),
            pass: Some(pass),
            bill: None,
        }
    }

    /// The same, whose request is admitted and charged on a bill of its own, if any is kept.
    ///
    /// Errors: as [`Bill::admit`] and [`Bill::keep_said`].
    pub(crate) async fn admitted(self, route: &str, request_id: &str) -> Result<Caller, ApiError> {
        let Some(pass) = self.pass.clone() else { return Ok(self) };
        let bill = Bill::new(pass, route.to_owned(), request_id.to_owned());
        let admitted = async {
            bill.admit().await?;
            bill.keep_said().await
        };
        match admitted.await {
            Ok(()) => Ok(Caller { bill: Some(bill), ..self }),
            Err(error) => {
                bill.failed(&error);
                Err(error)
            }
        }
    }
}

/// A rule's visibility in the words of the APIs.
pub(crate) fn ruled_visibility(reasoning: Reasoning) -> Visibility {
    match reasoning {
        Reasoning::Raw => Visibility::Raw,
        Reasoning::Summary => Visibility::Summary,
        Reasoning::Hidden => Visibility::Hidden,
    }
}

impl Keys {
    /// Reads a key file.
    ///
    /// Errors: by line: no key, too short a key, a wrong digest, an unknown word, anything twice, what only
    /// looks like a key.
    pub fn parse(text: &str) -> Result<Keys, Error> {
        let mut keys: Vec<Key> = Vec::new();
        if text.starts_with('\u{feff}') {
            let problem = "the file begins with a byte order mark; save it without one".to_owned();
            return Err(Error::KeyFile { line: 1, problem });
        }
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |problem| Error::KeyFile { line: index + 1, problem };
            let key = key(line).map_err(refused)?;
            if keys.iter().any(|other| other.digest.is(&key.digest)) {
                return Err(refused("the key stands in an earlier line too; keep one of them".to_owned()));
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(Error::KeyFile { line: 1, problem: "there is no key in the file".to_owned() }),
            false => Ok(Keys(Asked::Listed(keys))),
        }
    }

    /// Those of the operator's rules.
    pub fn governed(governance: Arc<Governance>) -> Keys {
        Keys(Asked::Governed(governance))
    }

    /// The rules, where there are any.
    pub(crate) fn governance(&self) -> Option<&Arc<Governance>> {
        match &self.0 {
            Asked::Governed(governance) => Some(governance),
            Asked::Nothing | Asked::Listed(_) => None,
        }
    }

    /// Whether a key is asked for.
    pub fn are_asked_for(&self) -> bool {
        !matches!(self.0, Asked::Nothing)
    }

    /// Whether some keys are of one tenant and some of another.
    pub(crate) fn have_several_tenants(&self) -> bool {
        let Asked::Listed(keys) = &self.0 else {
            // Rules may name others at any time.
            return self.governance().is_some();
        };
        let mut tenants = keys.iter().map(|key| &key.caller.tenant);
        tenants.next().is_some_and(|first| tenants.any(|other| other != first))
    }

    /// Who sent a request.
    ///
    /// Errors: `Key`, when one is asked for and the request's is none of them; `KeyExpired`.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if !self.are_asked_for() {
            return Ok(Caller::local());
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        let bearer =
            bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        let plain = headers.get("api-key").or(headers.get("x-api-key")).and_then(|value| value.to_str().ok());
        let secret = bearer.or(plain).filter(|secret| !secret.is_empty()).ok_or(ApiError::Key)?;
        let keys = match &self.0 {
            Asked::Nothing => return Ok(Caller::local()),
            Asked::Governed(governance) => return governance.pass(secret).map(Caller::of_pass),
            Asked::Listed(keys) => keys,
        };
        let digest = Digest::of(secret);
        // Every key is looked at in full, so that the time says nothing about how much of one was right.
        let mut found = None;
        for key in keys {
            if key.digest.is(&digest) {
                found = Some(&key.caller);
            }
        }
        found.cloned().ok_or(ApiError::Key)
    }
}

fn key(line: &str) -> Result<Key, String> {
    let mut words = line.split_whitespace();
    let secret = words.next().unwrap_or_default();
    if let Some(problem) = suspicion(secret) {
        return Err(problem.to_owned());
    }
    let digest = match secret.strip_prefix("sha256:") {
        Some(hex) => Digest::from_hex(hex).ok_or("sha256: is followed by 64 hex digits")?,
        None if secret.chars().count() < KEY_CHARS_MIN => {
            return Err(format!("the key is shorter than {KEY_CHARS_MIN} characters"));
        }
        None => Digest::of(secret),
    };
    if digest.is(&Digest::of("")) {
        return Err("it is the digest of nothing; make one of the key, without a line's end".to_owned());
    }
    let (mut tenant, mut visibility, mut reasoning_max, mut may_use_tokens) = (None, None, None, None);
    let mut scopes = None;
    for word in words {
        let is_first = match word.split_once('=') {
            Some(("name", name)) if !name.is_empty() => tenant.replace(name.to_owned()).is_none(),
            Some(("reasoning", name)) => {
                let named = Visibility::from_name(name).ok_or("reasoning is raw, summary or hidden")?;
                visibility.replace(named).is_none()
            }
            Some(("reasoning-budget", number)) => {
                let tokens: u32 = number.parse().map_err(|_| "reasoning-budget is a number of tokens")?;
                reasoning_max.replace(tokens).is_none()
            }
            Some(("tokens", "raw")) => may_use_tokens.replace(true).is_none(),
            Some(("tokens", "none")) => may_use_tokens.replace(false).is_none(),
            Some(("scopes", list)) => scopes.replace(Scopes::parse(list)?).is_none(),
            _ => {
                return Err(format!(
                    "{word:?} is none of name=NAME, reasoning=raw|summary|hidden, reasoning-budget=N, \
                     tokens=raw|none and scopes=SCOPE,..."
                ));
            }
        };
        if !is_first {
            return Err(format!("{word:?} says again what the line has said already"));
        }
    }
    let has_raw = scopes.as_ref().is_none_or(|scopes: &Scopes| scopes.has(Scope::RawReasoning));
    let most = if has_raw { Visibility::Raw } else { Visibility::Summary };
    let visibility = visibility.map_or(most, |visibility: Visibility| visibility.min(most));
    // Tokens as they are show the reasoning.
    let may_use_tokens = may_use_tokens.unwrap_or(visibility == Visibility::Raw) && has_raw;
    let scopes = scopes.unwrap_or_else(|| Scopes::all().without(Scope::Admin));
    let scopes = if may_use_tokens { scopes } else { scopes.without(Scope::RawReasoning) };
    let tenant = tenant.unwrap_or_else(|| format!("key-{}", &digest.to_hex()[..SHORT_CHARS]));
    let caller = Caller { tenant, visibility, reasoning_max, may_use_tokens, scopes, ..Caller::local() };
    Ok(Key { digest, caller })
}

/// Why what stands in a key's place is probably not the key that clients have.
fn suspicion(secret: &str) -> Option<&'static str> {
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
    if secret.starts_with(is_quote) || secret.ends_with(is_quote) {
        return Some("the key stands in quotes; write it without them");
    }
    if secret.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("sha256:") && head != "sha256:") {
        return Some("write 'sha256:' in small letters");
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // Keys in base64 may end in equals signs.
    let is_assignment = |(name, value): (&str, &str)| is_name(name) && value.bytes().any(|byte| byte != b'=');
    if secret.split_once('=').is_some_and(is_assignment) {
        return Some("the line is NAME=KEY; write the key alone, and name=NAME behind it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use sha2::{Digest as _, Sha256};

    const SECRET: &str = "sk-0123456789abcdef";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_key_is_known_by_itself_or_by_its_digest() {
        let digest: String = Sha256::digest(SECRET).iter().map(|byte| format!("{byte:02x}")).collect();
        for line in [
            format!("{SECRET} name=app reasoning=hidden reasoning-budget=0"),
            format!("sha256:{digest} reasoning-budget=0 reasoning=hidden name=app"),
        ] {
            let keys = Keys::parse(&format!("# keys\n\n{line}\n")).unwrap();
            let caller = Caller {
                tenant: "app".into(),
                visibility: Visibility::Hidden,
                reasoning_max: Some(0),
                may_use_tokens: false,
                scopes: Scopes::all().without(Scope::Admin).without(Scope::RawReasoning),
                ..Caller::local()
            };
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
    fn keys_of_one_name_are_one_tenant() {
        let are_several = |names: [&str; 2]| {
            let text = format!("{SECRET} name={}\n{SECRET}2 name={}", names[0], names[1]);
            Keys::parse(&text).unwrap().have_several_tenants()
        };
        assert!(are_several(["a", "b"]) && !are_several(["a", "a"]));
        assert!(!Keys::default().have_several_tenants());
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
        check("sk-0123456789abcdef reasoning-budget=-1", "number of tokens");
    }

    /// These started the server and locked everybody out, or let in a client that showed nothing, or took the
    /// last of two words.
    #[test]
    fn what_only_looks_like_a_key_is_refused() {
        let check = |text: &str, expect: &str| {
            let message = Keys::parse(text).unwrap_err().to_string();
            assert!(message.contains(expect) && message.contains("line"), "{text:?}: {message}");
        };
        let nothing: String = Sha256::digest("").iter().map(|byte| format!("{byte:02x}")).collect();
        check(&format!("sha256:{nothing}"), "digest of nothing");
        check(&format!("SHA256:{nothing}"), "small letters");
        check("\u{feff}sk-0123456789abcdef", "byte order mark");
        check("\"sk-0123456789abcdef\"", "quotes");
        check("API_KEY=sk-0123456789abcdef", "NAME=KEY");
        check("sk-0123456789abcdef\nsk-0123456789abcdef name=b", "line 2");
        check("sk-0123456789abcdef reasoning=hidden reasoning=raw", "said already");
        check("sk-0123456789abcdef name=a name=b", "said already");
        assert!(Keys::parse("c2stMDEyMzQ1Njc4OWFiY2RlZg== name=a").is_ok(), "base64 ends in equals signs");
        let keys = Keys::parse(SECRET).unwrap();
        assert_eq!(keys.caller(&headers("x-api-key", "")), Err(ApiError::Key));
    }

    #[test]
    fn tokens_go_with_raw_reasoning_unless_said_otherwise() {
        let check = |options: &str, expect: bool| {
            let keys = Keys::parse(&format!("{SECRET} {options}")).unwrap();
            assert_eq!(keys.caller(&headers("api-key", SECRET)).unwrap().may_use_tokens, expect, "{options}");
        };
        check("", true);
        check("reasoning=hidden", false);
        check("reasoning=summary", false);
        check("reasoning=hidden tokens=raw", true);
        check("tokens=none", false);
    }
}
