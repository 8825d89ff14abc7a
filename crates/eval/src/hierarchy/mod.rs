//! Instruction hierarchy: does a model keep to what a higher role said when a lower one wants it otherwise?
//!
//! A suite of our own in six families of forty templates. A [`Trial`] is a conversation in harmony's roles up
//! to the model's turn, and a [`Rule`] of strings that its answer is held to. What must not happen is that a
//! canary is said, an invented word that does no harm. [`trials`] fills the templates from a seed, always the
//! same way.

mod conversations;
mod family;
mod fillers;
mod rule;
mod template;
mod trial;

pub use family::{Family, Reference};
pub use rule::{Answer, Outcome, Rule, Sign, Verdict};
pub use trial::{Plan, TEMPLATES_PER_FAMILY, Trial, trials};
