//! Pages of HTML as text. Nothing in them runs or is loaded.

mod events;
mod flat;
mod tree;

use self::tree::{DOCUMENT, Data, Tree};
use super::{
    characters::{is_space, merge_space, without_marks, without_pictographs},
    http::Failure,
    link,
    page::{Page, head},
};

/// What is told at the end of a page that goes on beyond what is parsed.
const CUT: &str = "\n\n[The page goes on: it has more elements than are read.]";

/// A page of what a server sent; its own title counts when none is given.
pub(super) fn page(html: &str, url: &str, title: Option<&str>) -> Page {
    let html = without_pictographs(&without_marks(html));
    let tree = Tree::parse(&html);
    let title = match title.map(without_marks).filter(|title| !title.is_empty()) {
        Some(title) => title,
        None => own_title(&tree).unwrap_or_else(|| link::host(url)),
    };
    let (events, links) = events::events(&tree, url);
    let text = flat::flatten(&events);
    let cut = if tree.is_cut { CUT } else { "" };
    let text = format!("{}{}{cut}", head(url), without_empty_lines(text.trim_matches(is_space)));
    Page { url: url.to_owned(), title, text, links, found: None }
}

/// The same, on a thread where it keeps nobody waiting.
pub(super) async fn page_later(html: String, url: String, title: Option<String>) -> Result<Page, Failure> {
    let made = tokio::task::spawn_blocking(move || page(&html, &url, title.as_deref())).await;
    made.map_err(|_| Failure::Nothing("its HTML cannot be read".to_owned()))
}

/// The words of a page alone, as something to search.
pub(super) fn text(html: &str) -> String {
    link::strip_marks(&without_empty_lines(&flat::flatten(&events::events(&Tree::parse(html), "").0)))
}

/// The title that a page gives itself.
pub(super) fn title(html: &str) -> Option<String> {
    own_title(&Tree::parse(html))
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
