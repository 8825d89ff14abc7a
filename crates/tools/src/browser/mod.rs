//! A browser that shows text: what it searched, what it opened, and what it found there.
//!
//! Displays are those of the reference to the byte, since the models were trained to read them. A display's
//! number, its cursor, is how later calls and citations name it; it shows what it showed for good, also when
//! its address is opened again. (In the reference both then show the newer page.)
//!
//! Source: openai/gpt-oss `gpt_oss/tools/simple_browser` 0.0.9.

mod arguments;
mod backend;
mod characters;
mod corpus;
mod display;
mod error;
mod find;
mod guard;
mod html;
mod http;
mod limits;
mod link;
mod page;
mod service;
mod web;
mod wrap;

use std::{collections::HashMap, sync::Arc};

pub use backend::Backend;
pub use corpus::{Corpus, CorpusError};
pub use guard::{Guard, Refused, Resolve};
pub use limits::Limits;
pub use service::{EXA_URL, Key, Service, ServiceError, YOU_COM_URL};
pub use web::Web;

use self::{
    arguments::{Arguments, Target, View},
    error::Error,
    page::Page,
};
use crate::reply::ToolReply;

/// What stands before an address whose source is shown.
const VIEW_SOURCE: &str = "view-source:";

/// One session of browsing. A clone goes on from where it is, and shares its pages.
#[derive(Debug, Clone)]
pub struct Browser {
    backend: Arc<Backend>,
    limits: Limits,
    /// What each cursor shows.
    shown: Vec<Arc<Page>>,
    /// The newest page of each address that was opened.
    opened: HashMap<String, Arc<Page>>,
    kept_bytes: usize,
}

/// The answer of a call, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browsed {
    /// What the model reads.
    pub reply: ToolReply,
    /// What was done or tried; none when the call could not be understood.
    pub action: Option<Action>,
}

/// What a call does, as it is told to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A search.
    Search {
        /// What was searched.
        query: String,
        /// The addresses of its results.
        sources: Vec<String>,
    },
    /// A page was opened or scrolled.
    OpenPage {
        /// Its address; none when it has none, as results of a search.
        url: Option<String>,
    },
    /// A pattern was searched in a page.
    FindInPage {
        /// The pattern.
        pattern: String,
        /// The page's address; none when it has none.
        url: Option<String>,
    },
}

impl Browser {
    /// A session in which nothing was shown yet; several may share a backend.
    pub fn new(backend: impl Into<Arc<Backend>>, limits: Limits) -> Self {
        Self { backend: backend.into(), limits, shown: Vec::new(), opened: HashMap::new(), kept_bytes: 0 }
    }

    /// Answers a call of `search`, `open` or `find`, whose arguments are JSON as the model wrote it.
    pub async fn call(&mut self, function: &str, arguments: &str) -> Browsed {
        let mut action = None;
        let reply = match self.try_call(function, arguments, &mut action).await {
            Ok(display) => ToolReply::text(display),
            Err(error) => ToolReply::error(error.to_string()),
        };
        Browsed { reply, action }
    }

    /// What a call would do, for people to read before it is answered; none where it cannot be understood.
    pub fn foresee(&self, function: &str, arguments: &str) -> Option<Action> {
        self.action(&Arguments::parse(function, arguments).ok()?)
    }

    /// The pages that an answer may cite by now: the cursor and the address of each.
    pub fn pages(&self) -> impl Iterator<Item = (usize, &str)> {
        let cited = self.shown.iter().enumerate().map(|(cursor, page)| (cursor, page.cited_url()));
        cited.filter(|(_, url)| !url.is_empty())
    }

    /// Text and addresses of the pages that it keeps. Units: bytes.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    async fn try_call(
        &mut self,
        function: &str,
        arguments: &str,
        action: &mut Option<Action>,
    ) -> Result<String, Error> {
        let arguments = Arguments::parse(function, arguments)?;
        *action = self.action(&arguments);
        if self.shown.len() >= self.limits.cursors_max {
            return Err(Error::Cursors(self.limits.cursors_max));
        }
        match arguments {
            Arguments::Search { query } => {
                let page = self.backend.search(&query, &self.limits).await;
                let page = page
                    .map_err(|failure| Error::Search { query: query.clone(), reason: failure.to_string() })?;
                *action = Some(Action::Search { query, sources: page.links.clone() });
                let page = self.keep(page)?;
                self.show(page, View { line: None, num_lines: None })
            }
            Arguments::Find { pattern, cursor } => {
                let page = self.page_at(cursor)?;
                if page.found.is_some() {
                    return Err(Error::FindInFound);
                }
                let found = find::find(&pattern, page);
                let found = self.keep(found)?;
                self.show(found, View { line: None, num_lines: None })
            }
            Arguments::Open { target, cursor, mut view, view_source } => {
                let place = self.place(&target, cursor)?;
                if view.line.is_none() && !view_source {
                    view.line = place.line();
                }
                let page = match place {
                    Place::Page(page, _) if !view_source => page,
                    place => {
                        let fresh = matches!(place, Place::Fresh(_));
                        self.open(place.url(view_source), fresh).await?
                    }
                };
                self.show(page, view)
            }
        }
    }

    /// What a call will do if it can: a search has no sources yet.
    fn action(&self, arguments: &Arguments) -> Option<Action> {
        match arguments {
            Arguments::Search { query } => Some(Action::Search { query: query.clone(), sources: Vec::new() }),
            Arguments::Find { pattern, cursor } => Some(Action::FindInPage {
                pattern: pattern.clone(),
                url: self.page_at(*cursor).ok().and_then(|page| url_of(&page.url)),
            }),
            Arguments::Open { target, cursor, view_source, .. } => {
                let place = self.place(target, *cursor).ok()?;
                Some(Action::OpenPage { url: url_of(&place.url(*view_source)) })
            }
        }
    }

    /// The page that a cursor names.
    fn page_at(&self, cursor: i64) -> Result<&Arc<Page>, Error> {
        let last = self.shown.len().checked_sub(1).ok_or(Error::NoPages)?;
        let place = if cursor == -1 { Some(last) } else { usize::try_from(cursor).ok() };
        place.and_then(|place| self.shown.get(place)).ok_or(Error::Cursor { cursor, last })
    }

    fn place(&self, target: &Target, cursor: i64) -> Result<Place, Error> {
        let (page, id) = match target {
            Target::Url(url) => return Ok(Place::Fresh(url.clone())),
            Target::Link(id) => (self.page_at(cursor)?, *id),
            Target::Same => return Ok(Place::Page(Arc::clone(self.page_at(cursor)?), None)),
        };
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        let url = page.links.get(at).ok_or(Error::Link(id))?;
        Ok(match &page.found {
            Some(found) => Place::Page(Arc::clone(&found.page), found.lines.get(at).copied()),
            None => Place::Link(url.clone()),
        })
    }

    async fn open(&mut self, url: String, fresh: bool) -> Result<Arc<Page>, Error> {
        if let Some(page) = self.opened.get(&url).filter(|_| !fresh) {
            return Ok(Arc::clone(page));
        }
        let page = self.backend.fetch(&url, &self.limits).await;
        let page = page.map_err(|failure| Error::Fetch { url: url.clone(), reason: failure.to_string() })?;
        let page = self.keep(page)?;
        self.opened.insert(url, Arc::clone(&page));
        Ok(page)
    }

    /// Counts a page among those that the session keeps.
    fn keep(&mut self, page: Page) -> Result<Arc<Page>, Error> {
        self.kept_bytes += page.text.len() + page.links.iter().map(String::len).sum::<usize>();
        match self.kept_bytes <= self.limits.kept_bytes_max {
            true => Ok(Arc::new(page)),
            false => Err(Error::Kept(self.limits.kept_bytes_max)),
        }
    }

    /// Gives a page the next cursor, if it can be displayed.
    fn show(&mut self, page: Arc<Page>, view: View) -> Result<String, Error> {
        let display = display::display(&page, self.shown.len(), view)?;
        self.shown.push(page);
        Ok(display)
    }
}

/// Where a call to open leads.
enum Place {
    /// To an address that the model wrote: it is fetched anew.
    Fresh(String),
    /// To an address that a page linked.
    Link(String),
    /// To a page that was shown, at a line of it.
    Page(Arc<Page>, Option<usize>),
}

impl Place {
    fn url(&self, view_source: bool) -> String {
        let url = match self {
            Self::Fresh(url) | Self::Link(url) => url,
            Self::Page(page, _) => page.cited_url(),
        };
        if view_source { format!("{VIEW_SOURCE}{url}") } else { url.to_owned() }
    }

    /// The first line to show: a little above what was found.
    fn line(&self) -> Option<usize> {
        match self {
            Self::Page(_, Some(line)) => Some(if *line > 4 { line - 4 } else { *line }),
            _ => None,
        }
    }
}

fn url_of(url: &str) -> Option<String> {
    (!url.is_empty()).then(|| url.to_owned())
}
