//! Constraints hold, whatever a sampler draws from their masks.
//!
//! `walks` draws random turns through the headers and reads them back with harmony's parser; `schemas` draws
//! JSON of random schemas and validates it with another implementation; `hostile` has the schemas that would
//! cost too much; `choices` has every tool choice; `bounded` has sequences that must end in time. The
//! samplers know nothing but the mask. Vocabularies are the first ranks of o200k, which have the same
//! structure as the whole.

mod bounded;
mod choices;
mod draw;
mod hostile;
mod hostile_cases;
mod random_schema;
mod schemas;
mod walks;
