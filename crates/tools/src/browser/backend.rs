//! Where results and pages come from: a closed set.

use super::{
    corpus::Corpus,
    http::Failure,
    limits::{Limits, SEARCH_RESULTS},
    page::Page,
    service::Service,
    web::Web,
};

/// Who answers a search, and who gives pages.
#[derive(Debug)]
pub enum Backend {
    /// Exa, for both.
    Exa(Service),
    /// You.com, for both.
    YouCom(Service),
    /// A SearXNG for searches; pages are fetched by this program.
    Searxng(Service, Web),
    /// No searches; pages are fetched by this program.
    Fetch(Web),
    /// A folder of this machine, for both.
    Corpus(Corpus),
}

impl Backend {
    /// The page of a search's results.
    pub(super) async fn search(&self, query: &str, limits: &Limits) -> Result<Page, Failure> {
        match self {
            Self::Exa(service) => service.exa_search(query, limits).await,
            Self::YouCom(service) => service.you_com_search(query, limits).await,
            Self::Searxng(service, _) => service.searxng_search(query, limits).await,
            Self::Fetch(_) => Err(Failure::Nothing(
                "this browser has no search; open a page by its address instead".to_owned(),
            )),
            Self::Corpus(corpus) => {
                let (corpus, query) = (corpus.clone(), query.to_owned());
                let search = move || Page::of_hits(&query, &corpus.search(&query, SEARCH_RESULTS));
                let found = tokio::task::spawn_blocking(search).await;
                found.map_err(|_| Failure::Nothing("the corpus cannot be searched".to_owned()))
            }
        }
    }

    /// A page by its address.
    pub(super) async fn fetch(&self, url: &str, limits: &Limits) -> Result<Page, Failure> {
        match self {
            Self::Exa(service) => service.exa_page(url, limits).await,
            Self::YouCom(service) => service.you_com_page(url, limits).await,
            Self::Searxng(_, web) | Self::Fetch(web) => web.fetch(url, limits).await,
            Self::Corpus(corpus) => {
                let (corpus, url) = (corpus.clone(), url.to_owned());
                let page = tokio::task::spawn_blocking(move || corpus.page(&url)).await;
                let page = page.map_err(|_| Failure::Nothing("the corpus cannot be read".to_owned()))?;
                page.ok_or_else(|| {
                    Failure::Nothing(
                        "no file of the corpus has this address; a search tells those that have".to_owned(),
                    )
                })
            }
        }
    }
}
