//! The JSON bodies of the APIs.
//!
//! One file per API, serde types and nothing else: no field here decides anything. Requests are read
//! leniently, because agents send back what other servers gave them: every field but the essential ones may
//! be missing or null, unknown fields are passed over, and a kind that is not known is a string for the
//! conversion to judge. Bodies that we write have every field that OpenAI's have, null included.
//! `/openapi.json` is made from these types.

pub mod batches;
pub mod chat;
pub mod completions;
pub mod containers;
pub mod dialect;
pub mod files;
pub mod fine_tuning;
pub mod loads;
pub mod lora;
pub mod message_events;
pub mod messages;
pub mod models;
pub mod moderations;
pub mod ollama;
pub mod organization;
pub mod redact;
pub mod response_events;
pub mod response_items;
pub mod response_socket;
pub mod responses;
pub mod tokens;
pub mod tool_items;
