//! What an error of the hub means to the person who asked.
//!
//! [`explain`] puts what happened and what to do about it above the client's own words; [`may_pass`] says
//! which errors are worth another try. The hub answers 401 both for what is gated and for what does not
//! exist, so the sentence has to name both.

use std::io::ErrorKind;

/// What was asked of the hub.
pub struct Asked<'a> {
    /// `ORG/NAME`.
    pub name: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// The model's page, without anything after the name.
    pub page: &'a str,
    /// Whether a token went along.
    pub with_token: bool,
}

/// Whether the same request may succeed a moment later.
pub fn may_pass(error: &ureq::Error) -> bool {
    match error {
        // 416: the partial file and the hub disagree for a moment, as after a truncated upload of a mirror.
        ureq::Error::StatusCode(code) => matches!(code, 408 | 416 | 425 | 429 | 500..=599),
        ureq::Error::Io(error) => !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported),
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// The error with a sentence above it that says what to do, when there is one.
pub fn explain(error: anyhow::Error, asked: &Asked) -> anyhow::Error {
    let disk =
        error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<ureq::Error>());
    let sentence = match refused {
        Some(refused) => of_request(refused, asked),
        None if matches!(disk, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) => {
            Some("the disk is full: make room and run the same command, what has arrived is kept".to_owned())
        }
        None => None,
    };
    match sentence {
        Some(sentence) => error.context(sentence),
        None => error,
    }
}

fn of_request(error: &ureq::Error, asked: &Asked) -> Option<String> {
    let Asked { name, revision, page, with_token } = asked;
    Some(match error {
        ureq::Error::StatusCode(401) if *with_token => {
            format!(
                "the hub refuses the token (401) for {name}: check HF_TOKEN, or the token file, and the name"
            )
        }
        ureq::Error::StatusCode(401) => format!(
            "the hub wants to know who asks (401): {name} is gated, private, or does not exist. Check the name; if {page} asks \
             for consent, give it there, then set HF_TOKEN to your token"
        ),
        ureq::Error::StatusCode(403) => {
            format!("the hub refuses {name} (403): your token may not read it. Ask for access at {page}")
        }
        ureq::Error::StatusCode(404) => {
            format!("the hub has no {name} at revision {revision} (404): check both")
        }
        ureq::Error::StatusCode(429) => {
            "the hub asks for patience (429): run the same command later".to_owned()
        }
        ureq::Error::StatusCode(code) => format!("the hub answers {code}: run the same command later"),
        ureq::Error::HostNotFound => format!(
            "the host of {page} cannot be found: is this machine online? HF_ENDPOINT names another hub, a proxy goes in HTTPS_PROXY"
        ),
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::Timeout(_) => {
            format!(
                "cannot reach {page}: is this machine online? HF_ENDPOINT names another hub, a proxy goes in HTTPS_PROXY"
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(error: anyhow::Error, with_token: bool) -> String {
        let asked = Asked { name: "org/name", revision: "v2", page: "https://hub/org/name", with_token };
        format!("{:#}", explain(error, &asked))
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (code, with_token, expect) in [
            (401, false, "set HF_TOKEN"),
            (401, true, "check HF_TOKEN"),
            (403, true, "Ask for access at https://hub/org/name"),
            (404, false, "no org/name at revision v2"),
            (429, false, "later"),
            (503, false, "answers 503"),
        ] {
            let message = explained(ureq::Error::StatusCode(code).into(), with_token);
            assert!(message.contains(expect), "{code}: {message}");
        }
        assert!(explained(ureq::Error::HostNotFound.into(), false).contains("HF_ENDPOINT"));
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_connection() {
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let message = explained(anyhow::Error::from(full).context("cannot write blobs/x"), false);
        assert!(message.starts_with("the disk is full"), "{message}");
        let reset = std::io::Error::from(ErrorKind::ConnectionReset);
        assert!(explained(ureq::Error::Io(reset).into(), false).starts_with("cannot reach"));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let reset = || std::io::Error::from(ErrorKind::ConnectionReset);
        assert!(may_pass(&ureq::Error::Io(reset())) && may_pass(&ureq::Error::StatusCode(503)));
        assert!(!may_pass(&ureq::Error::StatusCode(404)) && !may_pass(&ureq::Error::HostNotFound));
    }
}
