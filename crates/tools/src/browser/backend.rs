//! Where pages and results come from.

use super::{
    corpus::Corpus,
    limits::{Limits, SEARCH_RESULTS},
    page::Page,
};

/// Who answers a search and who gives pages: a closed set.
#[derive(Debug)]
pub enum Backend {
    /// A folder of this machine.
    Corpus(Corpus),
}

impl Backend {
    /// A search's results, or why there are none.
    pub(super) async fn search(&self, query: &str, _limits: &Limits) -> Result<Page, String> {
        match self {
            Self::Corpus(corpus) => Ok(Page::of_hits(query, &corpus.search(query, SEARCH_RESULTS))),
        }
    }

    /// A page, or why there is none.
    pub(super) async fn fetch(&self, url: &str, _limits: &Limits) -> Result<Page, String> {
        match self {
            Self::Corpus(corpus) => corpus.page(url).ok_or_else(|| {
                "no file of the corpus has this address; search to find those there are".to_owned()
            }),
        }
    }
}
