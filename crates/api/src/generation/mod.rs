//! What a request asks of the model, in no API's words, and how its parts are read.

mod client_tools;
pub mod content;
pub mod dialect;
pub mod effort;
pub mod fields;
pub mod format;
mod gbnf;
pub mod hosted;
pub mod metadata;
pub mod request;
pub mod sampling;
mod tool;
pub mod tools;
pub mod visibility;
