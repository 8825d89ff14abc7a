//! What does a client see: the HTTP APIs of OpenAI, over `turn`.
//!
//! Enter at [`listen`] and [`run()`]: an [`App`] is a [`ServedModel`], the way to the engine, [`Limits`] and
//! [`Keys`]. Inside, a request walks one way: a body becomes a wire type (`wire`), that becomes an `Ask`
//! (`chat_input`, `responses_input`), turns of the model are a `Talk`, whose deltas a pure machine
//! (`chat_stream`, `responses_stream`) puts into the words of the API. A body without a stream is what the
//! streamed events add up to.
//!
//! API types live here and nowhere else. The room does not know weights, kernels, files of models or
//! terminals, and nothing that a client or the model says is ever logged.

mod access_log;
mod ask;
mod blocking;
mod body;
mod chat;
mod chat_input;
mod chat_stream;
mod compaction;
mod completions;
mod conversations;
mod error;
mod gate;
mod history;
mod ids;
mod keys;
pub mod limits;
mod live;
mod memory;
mod metrics;
mod model;
mod ollama;
mod openapi;
mod paging;
mod query;
mod responses;
mod responses_input;
mod responses_stream;
mod routes;
mod rules;
mod run;
mod sampling;
mod sse;
mod state;
mod status;
mod store;
mod stored_response;
mod talk;
mod timed_stream;
mod tokens;
mod tools;
mod usage;
mod visibility;
mod wire;

pub use access_log::Log;
pub use error::Error;
pub use keys::Keys;
pub use limits::Limits;
pub use model::ServedModel;
pub use run::{listen, run};
pub use state::App;
pub use visibility::Visibility;
