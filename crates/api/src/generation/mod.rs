//! What a request asks of the model, in no API's words, and how its parts are read.

pub mod content;
pub mod effort;
pub mod format;
pub mod metadata;
pub mod request;
pub mod sampling;
pub mod tools;
pub mod visibility;
