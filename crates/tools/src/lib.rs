//! What does this call give back, and what can it not reach?
//!
//! Every tool that the model was trained to use, or that a person gives it, run inside walls: each returns a
//! [`ToolReply`], whose text the next turn reads. Tools know neither turns nor who asked.

pub mod cell;
pub mod browser;
mod reply;

pub use reply::{ToolFile, ToolReply};
