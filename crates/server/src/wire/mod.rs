//! What do the JSON bodies of the APIs look like?
//!
//! One file per API, serde types and nothing else: no field here decides anything. Requests are read
//! leniently, because agents send back what other servers gave them: every field but the essential ones may
//! be missing or null, unknown fields are passed over, and a kind that is not known is a string for the
//! conversion to judge. Bodies that we write have every field that OpenAI's have, null included.
//! `/openapi.json` is made from these types.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod errors;
pub(crate) mod models;
pub(crate) mod ollama;
pub(crate) mod response_events;
pub(crate) mod response_items;
pub(crate) mod responses;
pub(crate) mod tokens;
