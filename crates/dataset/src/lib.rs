//! Training data: which tokens shall be learned of the rows of a file, and what is wrong with them?
//!
//! Entry point: [`Dataset::read`], which takes rows of any of the kinds of [`Kind`] (told apart by their
//! columns), makes [`Sample`]s of them and leaves out, each with its line and its reason, those that nothing
//! good can be learned of. A chat is rendered as the server renders it, by the same functions, so that the
//! prompt of an example is the prompt that the model will be given. Each turn of the assistant is an example
//! of its own, because reasoning of ended turns is not in a prompt; examples of one row share their history,
//! and who packs them may compute it once.
//!
//! Not here: tensors, what a loss is, which file a name means.

mod chat;
mod columns;
mod dataset;
mod example;
mod kind;
mod options;
mod preference;
mod reason;
mod row;

pub use dataset::{Dataset, ROW_BYTES_MAX, Report};
pub use example::{Example, Sample, Span};
pub use kind::Kind;
pub use options::{Options, TooLong};
pub use reason::Reason;
