//! The Responses API: a body read, the object that answers it, and the events that change the object.

pub mod events;
pub mod object;
pub mod parse;
mod patch_text;
pub mod prompt;
pub mod socket;
