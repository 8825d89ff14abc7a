//! A page as text with links, whatever it was made of.

use std::sync::Arc;

use super::{
    characters::{merge_space, without_marks, without_pictographs},
    link,
};

/// What a display shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// Its address; empty for results of a search.
    pub(super) url: String,
    pub(super) title: String,
    pub(super) text: String,
    /// The addresses of its links; a link's id is its place.
    pub(super) links: Vec<String>,
    /// Where its links lead, if it shows what was found in another page.
    pub(super) found: Option<Found>,
}

/// Lines of a page in which something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) page: Arc<Page>,
    pub(super) lines: Vec<usize>,
}

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) title: String,
    pub(super) url: String,
    pub(super) summary: String,
}

impl Page {
    /// A page of plain text.
    pub(super) fn plain(url: &str, title: &str, text: &str) -> Self {
        let text = format!("{}{}", head(url), without_marks(text));
        Self { url: url.to_owned(), title: without_marks(title), text, ..Self::default() }
    }

    /// The page of a search's results. It is what the reference makes of a list in HTML, made without the
    /// HTML: nothing in a result can be a tag.
    pub(super) fn of_hits(query: &str, hits: &[Hit]) -> Self {
        let mut links = link::Links::default();
        let mut text = format!("{}# Search Results", head(""));
        for (i, hit) in hits.iter().enumerate() {
            text.push_str(if i == 0 { "\n\n  * " } else { "\n  * " });
            let title = merge_space(&without_marks(&without_pictographs(&hit.title)));
            let mark = links.mark("", &hit.url, &title).unwrap_or(title);
            let summary = without_marks(&without_pictographs(&hit.summary));
            text.push_str(merge_space(&format!("{mark} {summary}")).trim_start());
        }
        text.truncate(text.trim_end().len());
        Self { title: query.to_owned(), text, links: links.urls, ..Self::default() }
    }

    /// Where a reader is sent by a citation of it: never to a list of matches, which has no address.
    pub(super) fn cited_url(&self) -> &str {
        self.found.as_ref().map_or(&self.url, |found| &found.page.url)
    }
}

/// The first line of a page that has an address.
pub(super) fn head(url: &str) -> String {
    format!("\nURL: {url}\n")
}
