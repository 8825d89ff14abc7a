//! Addresses of links, and the marks that stand for them in a page's text: `【id†text】` and, when it leads to
//! another host, `【id†text†host】`.
//!
//! Source: CPython 3.12 `urllib.parse`: what is relative is joined, what is not is left as it was written.

use std::collections::HashMap;

use super::limits::LINK_BYTES_MAX;

/// The links of a page, numbered by the first appearance of their address.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) urls: Vec<String>,
    ids: HashMap<String, usize>,
    bytes: usize,
    /// Whether there were more addresses than are kept.
    pub(super) is_full: bool,
}

impl Links {
    /// The mark of a link from the page at `base`; none if it leads nowhere or shows nothing,
    /// or if there are too many.
    pub(super) fn mark(&mut self, base: &str, link: &str, text: &str) -> Option<String> {
        if self.is_full {
            return None;
        }
        let url = join(base, link);
        let host = host(&url);
        if host.is_empty() || text.is_empty() {
            return None;
        }
        let shown = text.replace('†', "‡");
        let same = host == self::host(base);
        let suffix = if same { String::new() } else { format!("†{host}") };
        // Papers are read where they are HTML.
        let url = url.replace("arxiv.org", "ar5iv.org");
        let next = self.urls.len();
        let id = *self.ids.entry(url.clone()).or_insert(next);
        if id == next {
            self.bytes += url.len();
            if self.bytes > LINK_BYTES_MAX {
                self.ids.remove(&url);
                self.is_full = true;
                return None;
            }
            self.urls.push(url);
        }
        Some(format!("【{id}†{shown}{suffix}】"))
    }
}

/// The authority of an address, or of a bare host.
pub(super) fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())].to_owned()
}

/// The address that a link on a page leads to.
pub(super) fn join(base: &str, link: &str) -> String {
    let link = link.trim_matches(|c: char| c <= ' ');
    let (scheme, rest) = scheme(base);
    if base.is_empty() || self::scheme(link).0.is_some() {
        return link.to_owned();
    }
    if link.is_empty() {
        return base.to_owned();
    }
    let prefix = scheme.map_or(String::new(), |scheme| format!("{scheme}:"));
    if link.starts_with("//") {
        return format!("{prefix}{link}");
    }
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(after) => rest.split_at(2 + after.find(['/', '?', '#']).unwrap_or(after.len())),
        None => ("", rest),
    };
    let (before_fragment, _) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = before_fragment.split_at(before_fragment.find('?').unwrap_or(before_fragment.len()));
    let (link_path, link_rest) = link.split_at(link.find(['?', '#']).unwrap_or(link.len()));
    if link_path.is_empty() {
        let query = if link_rest.starts_with('?') { "" } else { query };
        return format!("{prefix}{authority}{path}{query}{link_rest}");
    }
    format!("{prefix}{authority}{}{link_rest}", join_path(path, link_path))
}

/// An address's scheme, if it has one, and what follows its colon.
fn scheme(url: &str) -> (Option<&str>, &str) {
    match url.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, url),
    }
}

fn join_path(base: &str, path: &str) -> String {
    let mut segments: Vec<&str> = match path.starts_with('/') {
        true => path.split('/').collect(),
        false => {
            let mut segments: Vec<&str> = base.split('/').collect();
            segments.pop();
            segments.extend(path.split('/'));
            segments
        }
    };
    // Empty segments within are dropped, as the reference does; the first and the last tell where slashes
    // are.
    let last = segments.len().saturating_sub(1);
    let mut i = 0;
    segments.retain(|segment| {
        i += 1;
        i == 1 || i > last || !segment.is_empty()
    });
    let mut resolved: Vec<&str> = Vec::new();
    for &segment in &segments {
        match segment {
            ".." => drop(resolved.pop()),
            "." => {}
            other => resolved.push(other),
        }
    }
    if matches!(segments.last(), Some(&"." | &"..")) {
        resolved.push("");
    }
    let joined = resolved.join("/");
    match joined.is_empty() {
        true => "/".to_owned(),
        false if joined.starts_with('/') => joined,
        false => format!("/{joined}"),
    }
}

/// The text with marks replaced by the words in them.
pub(super) fn strip_marks(text: &str) -> String {
    let text = match text.find(['【', '】']) {
        Some(i) if text[i..].starts_with('】') => &text[i + '】'.len_utf8()..],
        _ => text,
    };
    let mut stripped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('【') {
        stripped.push_str(&rest[..start]);
        rest = &rest[start..];
        let (shown, len) = match mark_at(rest) {
            Some(found) => found,
            None => ("【", '【'.len_utf8()),
        };
        stripped.push_str(shown);
        rest = &rest[len..];
    }
    stripped + rest
}

/// The words of the mark that a text starts with, whole or cut off by the text's end, and the mark's length.
fn mark_at(text: &str) -> Option<(&str, usize)> {
    let after = &text['【'.len_utf8()..];
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(after) = after[digits..].strip_prefix('†') else {
        return after[digits..].is_empty().then_some(("", text.len()));
    };
    let word = |text: &str| text.find(['†', '】']).unwrap_or(text.len());
    let (shown, mut rest) = after.split_at(word(after));
    if let Some(host) = rest.strip_prefix('†') {
        let end = word(host);
        rest = &host[end..];
        if end == 0 && !rest.is_empty() {
            return None;
        }
    }
    let closed = rest.starts_with('】') && digits > 0 && !shown.is_empty();
    let len = text.len() - rest.len();
    match closed {
        true => Some((shown, len + '】'.len_utf8())),
        false => rest.is_empty().then_some((shown, len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_joined_as_urllib_does() {
        for (base, link, expected) in [
            ("http://a/b/c/d?q", "g", "http://a/b/c/g"),
            ("http://a/b/c/d?q", "./g/", "http://a/b/c/g/"),
            ("http://a/b/c/d?q", "/g", "http://a/g"),
            ("http://a/b/c/d?q", "//g/x", "http://g/x"),
            ("http://a/b/c/d?q", "?y", "http://a/b/c/d?y"),
            ("http://a/b/c/d?q", "g?y#s", "http://a/b/c/g?y#s"),
            ("http://a/b/c/d?q", "..", "http://a/b/"),
            ("http://a/b/c/d?q", "../../../g", "http://a/g"),
            ("http://a/b/c/d?q", "", "http://a/b/c/d?q"),
            ("http://a", "g", "http://a/g"),
            ("http://a/b", "HTTPS://X.org", "HTTPS://X.org"),
            ("http://a/b", " mail to ", "http://a/mail to"),
            ("http://a/b", "tel:12", "tel:12"),
            ("", "/g", "/g"),
        ] {
            assert_eq!(join(base, link), expected, "{base} {link}");
        }
    }

    #[test]
    fn marks_become_their_words() {
        for (text, expected) in [
            ("see 【0†the guide】 and 【12†that†b.org】.", "see the guide and that."),
            ("tail】 of one, 【3†head", " of one, head"),
            ("【a†b】 【1】 【1†】", "【a†b】 【1】 【1†】"),
            ("ends in 【12", "ends in "),
            ("【1†a†】x", "【1†a†】x"),
        ] {
            assert_eq!(strip_marks(text), expected, "{text}");
        }
    }
}
