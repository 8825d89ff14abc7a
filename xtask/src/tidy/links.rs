//! Links between the documents: every relative link of a `.md` file leads to a file of the repository, and
//! its anchor to a heading.

use std::collections::BTreeSet;
use std::path::Path;

use super::Violation;

/// Links of one document that lead nowhere. `paths` are all files of the repository, `read` gives the text of
/// one.
pub fn check(
    path: &str,
    text: &str,
    paths: &BTreeSet<String>,
    read: &dyn Fn(&str) -> Option<String>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let file = if file.is_empty() { path.to_owned() } else { beside(path, file) };
        let is_folder = || {
            let folder = format!("{}/", file.trim_end_matches('/'));
            paths.range(folder.clone()..).next().is_some_and(|path| path.starts_with(&folder))
        };
        let message = if !paths.contains(&file) {
            (!is_folder()).then(|| format!("the link to `{target}` leads to no file: there is no {file}"))
        } else if anchor.is_empty() || !file.ends_with(".md") {
            None
        } else {
            let found = read(&file).is_some_and(|text| anchors(&text).any(|known| known == anchor));
            (!found).then(|| format!("the link to `{target}` leads to no heading of {file}"))
        };
        violations.extend(message.map(|message| Violation::at(path, line, "links", message)));
    }
    violations
}

/// The targets of `[text](target)` and `src="target"`, with their lines; code is left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (opening, closing) in [("](", ')'), ("src=\"", '"')] {
            for (start, _) in line.match_indices(opening) {
                let target = line[start + opening.len()..].split(closing).next().unwrap_or_default();
                found.push((index + 1, target.to_owned()));
            }
        }
    }
    found
}

/// A relative path as seen from the root.
fn beside(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.strip_prefix(' '))?
    });
    headings.map(|heading| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// Whether a name in a document's folder is a document.
pub fn is_document(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() {
        let paths = ["README.md", "docs/a.md", "docs/decisions/0001.md"];
        let paths: BTreeSet<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let read = |_: &str| Some("# The `first` one, here\n".to_owned());
        let check = |text: &str| check("docs/a.md", text, &paths, &read).len();
        for fine in [
            "[x](../README.md)",
            "[x](decisions/0001.md#the-first-one-here) and [y](decisions)",
            "[x](#the-first-one-here)",
            "[x](https://example.org/y)",
            "```\n[x](nowhere)\n```",
        ] {
            assert_eq!(check(fine), 0, "{fine}");
        }
        for dead in ["[x](README.md)", "![x](b.svg)", "[x](#second)", "<img src=\"x.svg\">"] {
            assert_eq!(check(dead), 1, "{dead}");
        }
    }
}
