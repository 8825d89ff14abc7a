//! Paths as clients write them, made those of the table of routes: a slash at the end is nothing, and `/v1`
//! may be missing.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The prefix of OpenAI's and Anthropic's paths.
const PREFIX: &str = "/v1";

/// Makes the path of a request one of the table's, if it is meant to be; `names` are the first parts of those
/// below `/v1`.
pub(crate) fn settle(uri: &mut Uri, names: &[&str]) {
    let Some(path) = settled(uri.path(), names) else { return };
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    // What came out of a path and a query goes into one.
    let Ok(path_and_query) = PathAndQuery::try_from(format!("{path}{query}")) else { return };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    if let Ok(settled) = Uri::from_parts(parts) {
        *uri = settled;
    }
}

/// None for a path that is as it should be.
fn settled(path: &str, names: &[&str]) -> Option<String> {
    let bare = path.trim_end_matches('/');
    let first = bare.strip_prefix('/')?.split('/').next()?;
    let prefix = if names.contains(&first) { PREFIX } else { "" };
    (bare != path || !prefix.is_empty()).then(|| format!("{prefix}{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_those_of_the_table() {
        let check = |text: &str, expect: &str| {
            let mut uri: Uri = text.parse().unwrap();
            settle(&mut uri, &["chat", "models", "messages", "tokenize"]);
            assert_eq!(uri.to_string(), expect, "{text}");
        };
        check("/v1/chat/completions", "/v1/chat/completions");
        check("/v1/chat/completions/", "/v1/chat/completions");
        check("/chat/completions", "/v1/chat/completions");
        check("/models/org/name/?a=b/", "/v1/models/org/name?a=b/");
        check("/tokenize", "/v1/tokenize");
        check("http://localhost:8000/models", "http://localhost:8000/v1/models");
        check("/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true");
        check("/api/chat/", "/api/chat");
        for path in ["/", "/docs", "/page/app.js", "/health", "/nothing", "/modelsx", "/api/chat", "*"] {
            check(path, path);
        }
        check("//", "//");
    }
}
