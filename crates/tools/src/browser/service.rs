//! Searches, and pages, by services with an interface of their own. The operator chose them: where they are
//! is not guarded, and they get no redirect to elsewhere.

use std::fmt;

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use super::{
    VIEW_SOURCE,
    characters::truncated,
    guard::{self, Refused},
    html,
    http::{Client, Failure, request},
    limits::{Limits, SEARCH_RESULTS},
    page::{Hit, Page},
};

/// Where Exa is.
pub const EXA_URL: &str = "https://api.exa.ai";

/// Where You.com is.
pub const YOU_COM_URL: &str = "https://api.ydc-index.io";

/// How much larger a service's answer may be than the page in it: it holds several, or one in JSON's escapes.
const ANSWER_PER_PAGE: usize = 4;

/// How much of a service's complaint is told. Units: characters.
const COMPLAINT_CHARS: usize = 300;

/// A service at an address, with the key that it knows its user by.
#[derive(Debug, Clone)]
pub struct Service {
    url: Url,
    key: Option<Key>,
    client: Client,
}

/// A secret: it is sent to its service and shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(HeaderValue);

/// Why there is no such service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Its address is none.
    #[error("{url} is not the http or https address of a service: {source}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: Refused,
    },
    /// Its key cannot be sent.
    #[error("the service's key is empty or has characters that keys do not have")]
    Key,
}

impl Key {
    /// A key as its service gave it.
    ///
    /// **Errors**: when it is empty or cannot stand in a header.
    pub fn new(key: &str) -> Result<Self, ServiceError> {
        let key = key.trim();
        let mut value =
            HeaderValue::from_str(key).ok().filter(|_| !key.is_empty()).ok_or(ServiceError::Key)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl Service {
    /// A service at an address, which may have a path.
    ///
    /// **Errors**: when the address is none.
    pub fn new(url: &str, key: Option<Key>) -> Result<Self, ServiceError> {
        let parsed = guard::parse(&format!("{}/", url.trim_end_matches('/')));
        let url = parsed.map_err(|source| ServiceError::Url { url: url.to_owned(), source })?;
        Ok(Self { url, key, client: Client::new() })
    }

    /// Asks the service at a path with a query, or a body, and reads its JSON.
    async fn ask(
        &self,
        name: &'static str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
        limits: &Limits,
    ) -> Result<Value, Failure> {
        let mut url = self.url.join(path).map_err(|_| Refused::Invalid)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = Vec::new();
        if let Some(Key(key)) = &self.key {
            headers.push((HeaderName::from_static("x-api-key"), key.clone()));
        }
        if body.is_some() {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let request = request(&url, &headers, body.map(|body| body.to_string().into_bytes()));
        let max = limits.page_bytes_max.saturating_mul(ANSWER_PER_PAGE);
        let exchange = async {
            let addresses = addresses(&url).await?;
            self.client.send(request, &url, &addresses, max).await
        };
        let answer = timeout(limits.fetch_time_max, exchange);
        let answer = answer.await.map_err(|_| Failure::TimedOut(limits.fetch_time_max))??;
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(Failure::Service {
                name,
                status: answer.status,
                text: truncated(&text, COMPLAINT_CHARS),
            });
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::Unexpected { name, reason: error.to_string() })
    }

    pub(super) async fn exa_search(&self, query: &str, limits: &Limits) -> Result<Page, Failure> {
        let body = json!({
            "query": query, "numResults": SEARCH_RESULTS, "contents": {"text": true, "summary": true}
        });
        let answer = self.ask("Exa", "search", &[], Some(body), limits).await?;
        Ok(Page::of_hits(query, &hits(&answer["results"], "summary")))
    }

    pub(super) async fn exa_page(&self, url: &str, limits: &Limits) -> Result<Page, Failure> {
        let bare = guarded(url)?;
        let body = json!({"urls": [bare], "text": {"includeHtmlTags": true}});
        let answer = self.ask("Exa", "contents", &[], Some(body), limits).await?;
        match answer["results"].get(0) {
            Some(result) => page(url, text(&result["text"]), text(&result["title"])).await,
            None => Err(Failure::Nothing(format!("No contents returned for {bare}"))),
        }
    }

    pub(super) async fn you_com_search(&self, query: &str, limits: &Limits) -> Result<Page, Failure> {
        let count = SEARCH_RESULTS.to_string();
        let answer =
            self.ask("You.com", "v1/search", &[("query", query), ("count", &count)], None, limits).await?;
        let mut found = hits(&answer["results"]["web"], "snippets");
        found.extend(hits(&answer["results"]["news"], "description"));
        Ok(Page::of_hits(query, &found))
    }

    pub(super) async fn you_com_page(&self, url: &str, limits: &Limits) -> Result<Page, Failure> {
        let bare = guarded(url)?;
        let body = json!({"urls": [bare], "livecrawl_formats": "html"});
        let answer = self.ask("You.com", "v1/contents", &[], Some(body), limits).await?;
        match answer.get(0) {
            Some(result) if result["html"].is_string() => {
                page(url, text(&result["html"]), text(&result["title"])).await
            }
            Some(_) => Err(Failure::Nothing(format!("No HTML returned for {bare}"))),
            None => Err(Failure::Nothing(format!("No contents returned for {bare}"))),
        }
    }

    pub(super) async fn searxng_search(&self, query: &str, limits: &Limits) -> Result<Page, Failure> {
        let answer = self.ask("SearXNG", "search", &[("q", query), ("format", "json")], None, limits).await?;
        let mut found = hits(&answer["results"], "content");
        found.truncate(SEARCH_RESULTS);
        Ok(Page::of_hits(query, &found))
    }
}

async fn addresses(url: &Url) -> Result<Vec<std::net::SocketAddr>, Failure> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(443);
    gptoss_egress::check("the browser")?;
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(source) => Err(Failure::Unreachable { host: host.to_owned(), source }),
    }
}

/// A page's address, as it may be given to a service.
fn guarded(url: &str) -> Result<&str, Failure> {
    let bare = url.strip_prefix(VIEW_SOURCE).unwrap_or(url);
    guard::parse(bare)?;
    Ok(bare)
}

async fn page(url: &str, source: String, title: String) -> Result<Page, Failure> {
    match url.starts_with(VIEW_SOURCE) {
        true => Ok(Page::plain(url, &title, &source)),
        false => html::page_later(source, url.to_owned(), Some(title)).await,
    }
}

fn hits(results: &Value, summary: &str) -> Vec<Hit> {
    let results = results.as_array().map_or(&[][..], Vec::as_slice);
    let hit = |result: &Value| Hit {
        title: text(&result["title"]),
        url: text(&result["url"]),
        summary: text(&result[summary]),
    };
    results.iter().map(hit).collect()
}

/// A text, or several with a space between; nothing for what is neither.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}
