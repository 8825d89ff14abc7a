//! What went wrong in a call, in the words that the model was trained to read.

use super::{characters::truncated, limits::SHOWN_CHARS_MAX};

/// Why a call has no display. Its text is the answer of the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("{{\"error\": \"Invalid function arguments\"}}")]
    Arguments,
    #[error("{}", serde_json::json!({ "error": format!("Unknown function: {_0}") }).to_string().replacen("\":\"", "\": \"", 1))]
    Function(String),
    #[error("`{name}` should be an integer, not `{kind}`")]
    NotAnInteger { name: &'static str, kind: &'static str },
    #[error("No pages to access!")]
    NoPages,
    #[error("Cursor `{cursor}` is out of range. Available cursor indices: [0 - {last}].")]
    Cursor { cursor: i64, last: usize },
    #[error("Invalid link id `{_0}`.")]
    Link(i64),
    #[error("Invalid location parameter: `{line}`. Cannot exceed page maximum of {last}.")]
    Line { line: usize, last: usize },
    #[error("Cannot run `find` on search results page or find results page")]
    FindInFound,
    #[error("Error during search for `{query}`: {}", truncated(reason, SHOWN_CHARS_MAX))]
    Search { query: String, reason: String },
    #[error(
        "Error fetching URL `{}`: {}",
        truncated(url, SHOWN_CHARS_MAX),
        truncated(reason, SHOWN_CHARS_MAX)
    )]
    Fetch { url: String, reason: String },
    #[error("This session shows no more pages: it has had {_0} displays. Answer with what was read.")]
    Cursors(usize),
    #[error("This session keeps no more pages: they are {_0} bytes of text. Answer with what was read.")]
    Kept(usize),
}
