//! Places of a page that hold a pattern, as a page of their own.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    limits::{FIND_LINES, FIND_MATCHES_MAX},
    link::strip_marks,
    page::{Found, Page},
    wrap,
};

/// What an address leaves as it is, besides letters and digits.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// Finds a pattern, whatever its case.
pub(super) fn find(pattern: &str, page: &Arc<Page>) -> Page {
    let pattern = pattern.to_lowercase();
    let text = strip_marks(&wrap::lines(&page.text).join("\n"));
    let lines: Vec<&str> = text.split('\n').collect();
    let (mut found, mut shown) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < lines.len() && found.len() < FIND_MATCHES_MAX {
        if lines[i].to_lowercase().contains(&pattern) {
            let snippet = lines[i..lines.len().min(i + FIND_LINES)].join("\n");
            shown.push(format!("# 【{}†match at L{i}】\n{snippet}", found.len()));
            found.push(i);
            i += FIND_LINES;
        } else {
            i += 1;
        }
    }
    let text = match shown.is_empty() {
        true => format!("No `find` results for pattern: `{pattern}`"),
        false => shown.join("\n\n"),
    };
    Page {
        url: format!("{}/find?pattern={}", page.url, utf8_percent_encode(&pattern, QUOTED)),
        title: format!("Find results for text: `{pattern}` in `{}`", page.title),
        text,
        links: vec![page.url.clone(); found.len()],
        found: Some(Found { page: Arc::clone(page), lines: found }),
    }
}
