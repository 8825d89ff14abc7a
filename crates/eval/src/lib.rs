//! Evaluations: how good is this model, and how sure are we?
//!
//! Rows of a benchmark's file become [`Item`]s: what a model is asked, and the key that its answer is held
//! to. [`judge()`] holds one [`Response`] to its item's key by the benchmark's own rule, and [`Scores`]
//! counts the judgements in columns that are never folded into each other, with intervals clustered by item.
//! [`paired()`] compares two runs by their scores of the same items, and [`Pairs`] two models by how many of
//! the same items went well. [`hierarchy`] is a suite of the project's own.
//!
//! Not here: which file a name means, connections, the engine, clocks.

pub mod bfcl;
mod boxed;
mod choices;
mod data;
mod error;
mod graded;
pub mod hierarchy;
pub mod humaneval;
pub mod ifeval;
mod interval;
mod item;
mod judge;
mod judgement;
mod judges;
mod key;
mod letter;
mod number;
mod official;
mod paired;
mod pairs;
mod parallel;
mod part;
mod pattern;
pub mod programs;
mod random;
mod recipe;
mod refusal;
mod response;
mod responses;
mod row;
mod scores;
mod spec;
mod splitmix;
mod suite;
pub mod swe_bench;
mod task;
mod text;

pub use data::rows;
pub use error::Error;
pub use interval::Estimate;
pub use item::{Ask, AskMessage, AskRole, Item};
pub use judge::judge;
pub use judgement::{Figure, Judgement, Outcome, Part};
pub use judges::{AskGrader, Judges, ProgramEnd, RunProgram, RunTests, TestStatus, TestsEnd};
pub use key::{
    CallsKey, GradeMeaning, GradedKey, Instruction, InstructionsKey, IntegerKey, IntegerRule, Key, LetterKey,
    LetterRule, NumberKey, PatchKey, PatternKey, ProgramKey, RefusalKey, RubricItem, RubricKey, TextKey,
    TextRule,
};
pub use official::{Conditions, Official, Reference, official};
pub use paired::{Paired, paired};
pub use pairs::Pairs;
pub use parallel::judge_all;
pub use recipe::Recipe;
pub use response::Response;
pub use responses::Recorded;
pub use row::Row;
pub use scores::{Columns, Scores, Tally, item_json};
pub use spec::{Spec, SpecKind};
pub use suite::{Suite, SuiteOptions};
pub use task::Task;
