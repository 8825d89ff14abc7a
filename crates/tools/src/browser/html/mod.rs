//! Pages of HTML as text. Nothing in them runs or is loaded.

mod events;
mod flat;
mod tree;

use self::tree::{DOCUMENT, Data, Tree};
use super::{
    characters::{is_space, merge_space, without_marks, without_pictographs},
    http::Failure,
    limits::{TEXT_BYTES_MIN, TEXT_PER_SOURCE_MAX},
    link,
    page::{Page, head},
};

/// What is told at the end of a page that goes on beyond what is parsed.
const CUT: &str = "\n\n[The page goes on: it has more elements, text or links than are read.]";

/// A page of what a server sent; its own title counts when none is given.
pub(super) fn page(html: &str, url: &str, title: Option<&str>) -> Page {
    let html = without_pictographs(&without_marks(html));
    let tree = Tree::parse(&html);
    let title = match title.map(without_marks).filter(|title| !title.is_empty()) {
        Some(title) => title,
        None => own_title(&tree).unwrap_or_else(|| link::host(url)),
    };
    let (events, links) = events::events(&tree, url);
    let (text, is_long) = flat::flatten(&events, text_bytes_max(&html));
    let cut = if tree.is_cut || is_long || links.is_full { CUT } else { "" };
    let text = format!("{}{}{cut}", head(url), without_empty_lines(text.trim_matches(is_space)));
    Page { url: url.to_owned(), title, text, links: links.urls, found: None }
}

/// The same, on a thread where it keeps nobody waiting.
pub(super) async fn page_later(html: String, url: String, title: Option<String>) -> Result<Page, Failure> {
    let made = tokio::task::spawn_blocking(move || page(&html, &url, title.as_deref())).await;
    made.map_err(|_| Failure::Nothing("its HTML cannot be read".to_owned()))
}

/// The title that a page gives itself, and its words alone, as something to search.
pub(super) fn title_and_text(html: &str) -> (Option<String>, String) {
    let tree = Tree::parse(html);
    let (events, _) = events::events(&tree, "");
    let (text, _) = flat::flatten(&events, text_bytes_max(html));
    (own_title(&tree), link::strip_marks(&without_empty_lines(&text)))
}

/// How much text a page may become: indents can make gigabytes of a few megabytes.
fn text_bytes_max(html: &str) -> usize {
    html.len().saturating_mul(TEXT_PER_SOURCE_MAX).max(TEXT_BYTES_MIN)
}

fn own_title(tree: &Tree) -> Option<String> {
    let element = tree.walk(DOCUMENT).find(|&node| tree.data(node).name() == "title")?;
    let text: String = tree
        .children(element)
        .iter()
        .filter_map(|&node| match tree.data(node) {
            Data::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    Some(merge_space(&text).trim().to_owned())
}

/// At most one empty line in a row.
fn without_empty_lines(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        let line = if line.chars().all(is_space) { "" } else { line };
        if !line.is_empty() || kept.last().is_some_and(|last| !last.is_empty()) {
            kept.push(line);
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::browser::limits::LINK_BYTES_MAX;

    #[test]
    fn no_page_grows_beyond_its_bounds() {
        let quoted = format!("{}<pre>{}", "<blockquote>".repeat(400), "\n".repeat(1 << 20));
        let shown = page(&quoted, "https://x.example/", None);
        assert!(shown.text.ends_with(CUT) && shown.text.len() < 5 << 20, "{}", shown.text.len());
        let links: String = (0..10_000).map(|i| format!("<a href={i}>x</a> ")).collect();
        let shown = page(&links, &format!("https://x.example/{}/", "a".repeat(4000)), None);
        assert!(shown.text.ends_with(CUT) && shown.links.len() > 1000);
        assert!(shown.links.iter().map(String::len).sum::<usize>() <= LINK_BYTES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_markup_is_a_page(
            parts in prop::collection::vec(prop::sample::select(vec![
                "<p>", "</p>", "<b>", "</b>", "<table>", "<tr>", "<td>", "</table>", "<ul>", "<ol start=9>", "<li>",
                "</ul>", "<pre>", "</pre>", "<a href=/x>", "<a href='#y'>", "</a>", "<sup>", "</sup>", "<math>", "<svg>",
                "<title>", "</title>", "<blockquote>", "</blockquote>", "<del>", "</del>", "<abbr title=t>", "</abbr>",
                "<script>", "</script>", "<template>", "</template>", "<select>", "<option>", "<head>", "<body>", "<!--",
                "-->", "<br>", "<img alt=i>", "<q>", "<code>", "word", " ", "\n", "&amp;", "- ", "1. ", "é", "【", "】", "†",
            ]), 0..60)
        ) {
            let page = page(&parts.concat(), "https://x.example/", None);
            prop_assert!(!page.text.contains("\n\n\n"), "{:?}", page.text);
            let marks = page.text.matches('【').count();
            prop_assert_eq!(marks, page.text.matches('】').count());
        }
    }
}
