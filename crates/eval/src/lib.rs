//! Evaluations: how good is this model, and how sure are we?
//!
//! Rows of a benchmark's file become [`Item`]s: what a model is asked, and the key that its answer is held to.
//! [`judge()`] holds one [`Response`] to its item's key by the benchmark's own rule, and [`Scores`] counts the
//! judgements in columns that are never folded into each other, with intervals clustered by item.
//!
//! Not here: which file a name means, connections, the engine, clocks.

pub mod bfcl;
mod error;
pub mod humaneval;
pub mod ifeval;
mod item;
mod judge;
mod judgement;
mod key;
pub mod programs;
mod recipe;
mod response;
mod task;

pub use error::Error;
pub use item::{Ask, AskMessage, AskRole, Item};
pub use judge::{Judges, ProgramEnd, judge};
pub use judgement::{Figure, Judgement, Outcome, Part};
pub use key::{
    CallsKey, GradeMeaning, GradedKey, Instruction, InstructionsKey, IntegerKey, IntegerRule, Key, LetterKey,
    LetterRule, NumberKey, PatternKey, ProgramKey, RefusalKey, RubricItem, RubricKey, TextKey, TextRule,
};
pub use recipe::Recipe;
pub use response::Response;
pub use task::Task;
