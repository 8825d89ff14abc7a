//! Pages of the public internet, fetched by this program itself.

use std::fmt::Write as _;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use tokio::time::timeout;
use url::Url;

use super::{
    VIEW_SOURCE,
    guard::{self, Guard},
    html,
    http::{Answer, Client, Failure, request},
    limits::Limits,
    page::Page,
};

/// How far into a page its character encoding may be declared. Units: bytes.
const DECLARATION_BYTES: usize = 1024;

/// A way to the pages that a guard lets through.
#[derive(Debug, Clone)]
pub struct Web {
    client: Client,
    guard: Guard,
}

impl Web {
    /// A way to the pages that `guard` lets through.
    pub fn new(guard: Guard) -> Self {
        Self { client: Client::new(), guard }
    }

    pub(super) async fn fetch(&self, url: &str, limits: &Limits) -> Result<Page, Failure> {
        let (url, as_source) = match url.strip_prefix(VIEW_SOURCE) {
            Some(url) => (url, true),
            None => (url, false),
        };
        let (url, answer) = timeout(limits.fetch_time_max, self.follow(url, limits))
            .await
            .map_err(|_| Failure::TimedOut(limits.fetch_time_max))??;
        let kind = kind_of(&answer)?;
        let mut text = decode(&answer, kind);
        if answer.is_cut {
            let _ =
                write!(text, "\n\n[The page goes on: its first {} bytes are read.]", limits.page_bytes_max);
        }
        match kind {
            _ if as_source => Ok(Page::plain(&format!("{VIEW_SOURCE}{url}"), url.as_str(), &text)),
            Kind::Text => {
                Ok(Page::plain(url.as_str(), url.path().rsplit('/').next().unwrap_or_default(), &text))
            }
            Kind::Html => html::page_later(text, url.into(), None).await,
        }
    }

    /// The answer at the end of a chain of redirects, and where that was.
    async fn follow(&self, url: &str, limits: &Limits) -> Result<(Url, Answer), Failure> {
        let headers = [
            (
                ACCEPT,
                HeaderValue::from_static(
                    "text/html, text/plain, text/*;q=0.9, application/json;q=0.8, */*;q=0.1",
                ),
            ),
            (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
        ];
        let mut url = guard::parse(url)?;
        for _ in 0..=limits.redirects_max {
            let addresses = self.guard.check(&url).await?;
            let request = request(&url, &headers, None);
            let answer = self.client.send(request, &url, &addresses, limits.page_bytes_max).await?;
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            match to.filter(|_| answer.status.is_redirection()) {
                Some(to) => url = guard::parse_redirect(&url, to)?,
                None if answer.status.is_success() => return Ok((url, answer)),
                None => return Err(Failure::Status(answer.status)),
            }
        }
        Err(Failure::Redirects(limits.redirects_max))
    }
}

/// What a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Text,
}

/// What an answer says it is; one that says nothing is looked at.
fn kind_of(answer: &Answer) -> Result<Kind, Failure> {
    let said = content_type(&answer.headers);
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = |name: &str| {
        name.starts_with("text/")
            || ["json", "xml", "yaml", "javascript", "x-sh"].iter().any(|end| name.ends_with(end))
    };
    match essence.as_str() {
        "text/html" | "application/xhtml+xml" => Ok(Kind::Html),
        "" if answer.body.contains(&0) => Err(Failure::NotText("not said to be anything".to_owned())),
        "" if answer.body.trim_ascii_start().starts_with(b"<") => Ok(Kind::Html),
        "" => Ok(Kind::Text),
        name if is_text(name) => Ok(Kind::Text),
        other => Err(Failure::NotText(other.to_owned())),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A body's text, by the encoding that it begins with, that its header names, that it declares, or that fits.
fn decode(answer: &Answer, kind: Kind) -> String {
    let start = &answer.body[..answer.body.len().min(DECLARATION_BYTES)];
    let declared = || (kind == Kind::Html).then(|| charset(&String::from_utf8_lossy(start))).flatten();
    let encoding = charset(content_type(&answer.headers)).or_else(declared);
    let fitting =
        || if std::str::from_utf8(&answer.body).is_ok() || answer.is_cut { UTF_8 } else { WINDOWS_1252 };
    encoding.unwrap_or_else(fitting).decode(&answer.body).0.into_owned()
}

/// The encoding that a text names after `charset=`.
fn charset(text: &str) -> Option<&'static Encoding> {
    let text = text.to_ascii_lowercase();
    let (_, after) = text.split_once("charset=")?;
    let after = after.trim_start_matches(['"', '\'', ' ']);
    let end =
        after.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.+".contains(c))).unwrap_or(after.len());
    Encoding::for_label(&after.as_bytes()[..end])
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn answer(content_type: &'static str, body: &[u8]) -> Answer {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
        Answer { status: StatusCode::OK, headers, body: body.to_vec(), is_cut: false }
    }

    #[test]
    fn pages_are_read_in_their_encoding() {
        for (content_type, body, expected) in [
            ("text/html; charset=utf-8", "é".as_bytes(), "é"),
            ("text/html; charset=\"ISO-8859-1\"", b"\xe9", "é"),
            ("text/html", b"<meta charset='shift_jis'>\x93\xfa", "<meta charset='shift_jis'>日"),
            ("text/html", b"\xe9", "é"),
            ("text/html; charset=nonsense", "é".as_bytes(), "é"),
            ("text/plain; charset=utf-8", b"\xff\xfeA\0", "A"),
        ] {
            assert_eq!(decode(&answer(content_type, body), Kind::Html), expected, "{content_type} {body:?}");
        }
    }

    #[test]
    fn only_text_is_shown() {
        for (content_type, body, expected) in [
            ("text/html; charset=x", "", Some(Kind::Html)),
            ("TEXT/PLAIN", "", Some(Kind::Text)),
            ("application/ld+json", "", Some(Kind::Text)),
            ("application/pdf", "", None),
            ("image/png", "", None),
            ("", " <p>", Some(Kind::Html)),
            ("", "x", Some(Kind::Text)),
            ("", "x\0", None),
        ] {
            assert_eq!(
                kind_of(&answer(content_type, body.as_bytes())).ok(),
                expected,
                "{content_type} {body}"
            );
        }
    }
}
