//! The page at `/`: a chat in the browser, over this server's own API.
//!
//! Its files are made of `page/` at the root of the repository and embedded as they were built; CI builds
//! them again and compares. They are the same for everybody and hold nothing of a conversation, so no key is
//! asked for: the page asks its reader for one. The content policy lets it load and reach nothing but this
//! server.

use std::sync::OnceLock;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gptoss_api::ApiError;
use sha2::{Digest, Sha256};

use crate::rejection::Rejection;

/// One file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    tag: OnceLock<String>,
}

impl Asset {
    const fn new(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Asset {
        Asset { name, kind, bytes, tag: OnceLock::new() }
    }

    /// The entity tag: a digest of the bytes, in quotes.
    fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let digest: String =
                Sha256::digest(self.bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("\"{digest}\"")
        })
    }
}

static INDEX: Asset = Asset::new("index.html", "text/html; charset=utf-8", include_bytes!("page/index.html"));
static ASSETS: [Asset; 3] = [
    Asset::new("app.js", "text/javascript; charset=utf-8", include_bytes!("page/app.js")),
    Asset::new("style.css", "text/css; charset=utf-8", include_bytes!("page/style.css")),
    Asset::new("licenses.txt", "text/plain; charset=utf-8", include_bytes!("page/licenses.txt")),
];

/// Nothing from elsewhere, nothing inline, no frame around it, no form that leaves.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every file. Browsers keep them and ask each time whether they are still the same.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// `GET /`.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    respond(&INDEX, &headers)
}

/// `GET /page/{file}`.
///
/// Errors: `Path` when the page has no such file.
pub(crate) async fn file(Path(name): Path<String>, request: Request) -> Result<Response, Rejection> {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => Ok(respond(asset, request.headers())),
        None => Err(Rejection(ApiError::Path { path: request.uri().path().to_owned() })),
    }
}

fn respond(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let mut response = if is_known(asset.tag(), headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(asset.tag()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether the client says that it has the file with this tag.
fn is_known(tag: &str, headers: &HeaderMap) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).map(str::trim).any(|one| {
        let one = one.strip_prefix("W/").unwrap_or(one);
        one == "*" || one == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader's browser loads. Units: bytes.
    const PAGE_BYTES_MAX: usize = 300_000;

    fn text(asset: &Asset) -> &str {
        std::str::from_utf8(asset.bytes).unwrap()
    }

    #[test]
    fn every_file_comes_with_the_policy() {
        for asset in ASSETS.iter().chain([&INDEX]) {
            let response = respond(asset, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CONTENT_TYPE], asset.kind);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
        }
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let check = |sent: &str, expect: StatusCode| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(sent).unwrap());
            assert_eq!(respond(&INDEX, &headers).status(), expect, "{sent}");
        };
        check(INDEX.tag(), StatusCode::NOT_MODIFIED);
        check(&format!("\"old\", W/{}", INDEX.tag()), StatusCode::NOT_MODIFIED);
        check("*", StatusCode::NOT_MODIFIED);
        check("\"old\"", StatusCode::OK);
        check(ASSETS[0].tag(), StatusCode::OK);
    }

    /// The policy would refuse what is inline, and the reader would see an empty page.
    #[test]
    fn the_document_names_its_files_and_holds_nothing_inline() {
        let document = text(&INDEX);
        assert!(document.contains("src=\"./page/app.js\"") && document.contains("href=\"./page/style.css\""));
        assert_eq!(document.matches("<script").count(), 1);
        assert!(!document.contains("<style") && !document.contains(" style=") && !document.contains(" on"));
    }

    #[test]
    fn the_style_loads_nothing() {
        let style = text(&ASSETS[1]);
        assert!(!style.contains("url(") && !style.contains("@import"));
    }

    #[test]
    fn the_page_is_small() {
        let bytes = INDEX.bytes.len() + ASSETS[0].bytes.len() + ASSETS[1].bytes.len();
        assert!(bytes <= PAGE_BYTES_MAX, "{bytes} bytes");
    }
}
