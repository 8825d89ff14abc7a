//! The gateway over upstreams that fail in every way, on real connections of this machine.

mod asking;
mod failures;
mod files;
mod labels;
mod scripted;
mod words;
