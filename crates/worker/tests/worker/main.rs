//! The worker through the vendor's own client bindings: over the demo model, and over an engine that the test
//! plays.

mod answers;
mod fixture;
mod reading;
mod refusals;
mod stopping;
mod tls;
