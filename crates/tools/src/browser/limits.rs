//! Bounds of browsing: how much is fetched, kept and shown. Each has a name, a unit and a default, and is
//! told in the text that the model reads when it is hit.

use std::time::Duration;

/// Bounds that a caller may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest page that is fetched or read, before it becomes text. Units: bytes.
    pub page_bytes_max: usize,
    /// Longest time for one search or one page, redirects included.
    pub fetch_time_max: Duration,
    /// Most redirects that one page may take; each is checked as the first address was.
    pub redirects_max: usize,
    /// Most displays of one session, each of which has a cursor.
    pub cursors_max: usize,
    /// Most text and addresses of pages that one session keeps. Units: bytes.
    pub kept_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_bytes_max: 4 << 20,
            fetch_time_max: Duration::from_secs(20),
            redirects_max: 5,
            cursors_max: 1024,
            kept_bytes_max: 64 << 20,
        }
    }
}

/// How much of a page one display shows, rounded up to the line. Units: tokens of o200k.
pub(crate) const VIEW_TOKENS: usize = 1024;

/// Characters of a line, as the model was trained to see pages.
pub(crate) const LINE_CHARS: usize = 80;

/// Results that a search asks for, whatever `topn` says.
pub(crate) const SEARCH_RESULTS: usize = 20;

/// Matches that one `find` shows.
pub(crate) const FIND_MATCHES_MAX: usize = 50;

/// Lines that one match of `find` shows.
pub(crate) const FIND_LINES: usize = 4;

/// Longest address or message in a display; the rest is three dots. Units: characters.
pub(crate) const SHOWN_CHARS_MAX: usize = 1024;

/// How much more text than source a page of HTML may become, as a factor; what follows is left out.
pub(crate) const TEXT_PER_SOURCE_MAX: usize = 4;

/// How much text a page of HTML may become however small it is. Units: bytes.
pub(crate) const TEXT_BYTES_MIN: usize = 1 << 20;

/// Longest addresses of one page's links together; links beyond are text. Units: bytes.
pub(crate) const LINK_BYTES_MAX: usize = 16 << 20;

/// Quotations within quotations that are told apart.
pub(crate) const QUOTATION_DEPTH_MAX: usize = 16;
