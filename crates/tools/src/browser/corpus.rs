//! A folder of texts as something to search and to read: for machines without a network, and for tests.
//!
//! The folder is read once, at the start, in the order of its paths; links out of it are not followed, and
//! only what was found then can be opened. A search ranks files by BM25 and breaks ties by path, so that the
//! same folder gives the same pages.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    VIEW_SOURCE, html,
    page::{Hit, Page},
};

/// Most files of a folder.
const FILES_MAX: usize = 20_000;

/// Largest sum of their sizes. Units: bytes.
const BYTES_MAX: u64 = 512 << 20;

/// Deepest folder below the first.
const DEPTH_MAX: usize = 32;

/// Characters of a result's summary.
const SUMMARY_CHARS: usize = 240;

/// Words of a query that a summary is chosen by.
const SUMMARY_WORDS_MAX: usize = 64;

/// How soon more of the same word counts for less, and how much long files are held down: BM25's usual
/// values.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// A folder that was read; its clones share it.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// By address.
    documents: Arc<BTreeMap<String, Document>>,
    /// Which documents hold a word, and how often, by their place.
    words: Arc<HashMap<String, Vec<(usize, u32)>>>,
    average_words: f64,
}

#[derive(Debug)]
struct Document {
    kind: Kind,
    source: String,
    /// What is searched in the place of the source.
    text: Option<String>,
    title: String,
    num_words: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Markdown,
    Html,
}

/// Why a folder cannot be a corpus.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The folder or something in it cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to search.
    #[error("{}: no .txt, .md or .html file is in it", _0.display())]
    Empty(PathBuf),
    /// There is too much to search.
    #[error("{}: {what}; name a smaller folder", path.display())]
    TooLarge {
        /// The folder, or the file that was too much.
        path: PathBuf,
        /// Which bound was hit.
        what: String,
    },
}

impl Corpus {
    /// Reads a folder: its `.txt`, `.md` and `.html` files, those in folders below too. It blocks.
    ///
    /// **Errors**: when the folder cannot be read, is empty, or is beyond a bound, one of which is
    /// `page_bytes_max` for a file.
    pub fn open(folder: &Path, page_bytes_max: usize) -> Result<Self, CorpusError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| CorpusError::Unreadable { path, source }
        };
        let root = folder.canonicalize().map_err(unreadable(folder))?;
        let host = host_of(&root);
        let mut documents = BTreeMap::new();
        let mut bytes = 0;
        let mut folders = vec![(root.clone(), 0)];
        while let Some((within, depth)) = folders.pop() {
            for entry in fs::read_dir(&within).map_err(unreadable(&within))? {
                let path = entry.map_err(unreadable(&within))?.path();
                let found = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
                if found.is_dir() && depth < DEPTH_MAX {
                    folders.push((path.clone(), depth + 1));
                }
                let Some(kind) = Kind::of(&path).filter(|_| found.is_file()) else { continue };
                let too_large = |what| Err(CorpusError::TooLarge { path: path.clone(), what });
                bytes += found.len();
                if found.len() > page_bytes_max as u64 {
                    return too_large(format!("a page has at most {page_bytes_max} bytes"));
                }
                if documents.len() == FILES_MAX || bytes > BYTES_MAX {
                    return too_large(format!(
                        "a corpus has at most {FILES_MAX} files and {BYTES_MAX} bytes"
                    ));
                }
                let source = fs::read(&path).map_err(unreadable(&path))?;
                let source = String::from_utf8_lossy(&source).into_owned();
                let name = path.strip_prefix(&root).unwrap_or(&path);
                documents.insert(address(&host, name), Document::new(kind, name, source));
            }
        }
        if documents.is_empty() {
            return Err(CorpusError::Empty(folder.to_owned()));
        }
        Ok(Self::index(documents))
    }

    fn index(mut documents: BTreeMap<String, Document>) -> Self {
        let mut words: HashMap<String, Vec<(usize, u32)>> = HashMap::new();
        for (place, document) in documents.values_mut().enumerate() {
            let mut counts: HashMap<String, u32> = HashMap::new();
            let mut num_words = 0;
            for word in words_of(document.text()).chain(words_of(&document.title)) {
                *counts.entry(word).or_default() += 1;
                num_words += 1;
            }
            document.num_words = num_words;
            for (word, count) in counts {
                words.entry(word).or_default().push((place, count));
            }
        }
        let sum: usize = documents.values().map(|document| document.num_words).sum();
        let average_words = sum as f64 / documents.len() as f64;
        Self { documents: Arc::new(documents), words: Arc::new(words), average_words }
    }

    /// The files that a query's words stand in, the best first. It computes for long.
    pub(super) fn search(&self, query: &str, max: usize) -> Vec<Hit> {
        let documents: Vec<(&String, &Document)> = self.documents.iter().collect();
        let mut query: Vec<String> = words_of(query).collect();
        query.sort();
        query.dedup();
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        for word in &query {
            let found = self.words.get(word).map_or(&[][..], Vec::as_slice);
            let (all, with) = (documents.len() as f64, found.len() as f64);
            let rarity = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            for &(place, count) in found {
                let length = documents[place].1.num_words as f64 / self.average_words.max(1.0);
                let count = f64::from(count);
                *scores.entry(place).or_default() +=
                    rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
            }
        }
        let mut ranked: Vec<(usize, f64)> = scores.into_iter().collect();
        let told: HashSet<&str> = query.iter().take(SUMMARY_WORDS_MAX).map(String::as_str).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked
            .into_iter()
            .take(max)
            .map(|(place, _)| {
                let (url, document) = documents[place];
                Hit {
                    title: document.title.clone(),
                    url: url.clone(),
                    summary: summary(document.text(), &told),
                }
            })
            .collect()
    }

    /// A file as a page, or as its source; none if there is no file at this address.
    pub(super) fn page(&self, url: &str) -> Option<Page> {
        let bare = url.strip_prefix(VIEW_SOURCE).unwrap_or(url);
        let document = self.documents.get(bare)?;
        Some(match document.kind {
            Kind::Html if bare == url => html::page(&document.source, url, Some(&document.title)),
            _ => Page::plain(url, &document.title, &document.source),
        })
    }
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "txt" => Some(Self::Text),
            "md" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

impl Document {
    fn new(kind: Kind, name: &Path, source: String) -> Self {
        let (heading, text) = match kind {
            Kind::Text => (None, None),
            Kind::Markdown => {
                let heading = source.lines().find_map(|line| line.strip_prefix("# "));
                (heading.map(|heading| heading.trim().to_owned()), None)
            }
            Kind::Html => {
                let (title, text) = html::title_and_text(&source);
                (title, Some(text))
            }
        };
        let title = match heading {
            Some(heading) if !heading.is_empty() => heading,
            _ => name.to_string_lossy().into_owned(),
        };
        Self { kind, source, text, title, num_words: 0 }
    }

    fn text(&self) -> &str {
        self.text.as_ref().unwrap_or(&self.source)
    }
}

/// The name that stands where an address has its host: the folder's.
fn host_of(folder: &Path) -> String {
    let name = folder.file_name().map_or(String::new(), |name| name.to_string_lossy().to_lowercase());
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if name.is_empty() { "files".to_owned() } else { name }
}

fn address(host: &str, name: &Path) -> String {
    let parts: Vec<_> =
        name.iter().map(|part| part.to_string_lossy().replace('%', "%25").replace(' ', "%20")).collect();
    format!("corpus://{host}/{}", parts.join("/"))
}

/// The words of a text, in lower case. Where a script writes no spaces, each of its characters is one.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .flat_map(|word| word.split_inclusive(is_unspaced))
        .flat_map(|word| {
            let last = word.char_indices().next_back().filter(|&(_, c)| is_unspaced(c));
            let (word, character) = word.split_at(last.map_or(word.len(), |(i, _)| i));
            [word, character]
        })
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// A character of Thai, Japanese or Chinese.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// The passage that starts at the line with most words of the query; the first of those.
fn summary(source: &str, query: &HashSet<&str>) -> String {
    let score = |line: &str| {
        let found: HashSet<String> = words_of(line).filter(|word| query.contains(word.as_str())).collect();
        found.len()
    };
    let mut best = (0, 0);
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let score = score(line);
        if score > best.0 {
            best = (score, start);
        }
        start += line.len();
    }
    source[best.1..].chars().take(SUMMARY_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_starts_at_the_first_line_with_most_words() {
        let check = |query: &[&str], expected: &str| {
            let query = query.iter().copied().collect();
            assert_eq!(summary("fish fish\nHeron, fish.\nfish heron", &query), expected);
        };
        check(&["fish", "heron"], "Heron, fish.\nfish heron");
        check(&["boat"], "fish fish\nHeron, fish.\nfish heron");
    }

    #[test]
    fn texts_are_searched_by_their_words() {
        for (text, expected) in [
            ("The Heron's two-fold É", "the heron s two fold é"),
            ("東京の鳥 and ต้น", "東 京 の 鳥 and ต น"),
            ("a東b", "a 東 b"),
            ("", ""),
        ] {
            assert_eq!(words_of(text).collect::<Vec<_>>().join(" "), expected);
        }
    }
}
