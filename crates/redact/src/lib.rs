//! Personal data: which words of a text are some, by OpenAI's privacy filter?
//!
//! Entry points: [`Filter::open`] takes a folder as published, [`Filter::spans`] gives the spans of a text,
//! and [`redact`] puts a [`Form`] in their place. The model is a classifier of tokens made of the blocks of
//! gpt-oss, with four differences: a row sees keys on both sides (a band, the same in every layer), rotations
//! pair neighbors, gates and ups lie one after the other, and a head of 33 classes stands where the
//! unembedding was. Its classes are the tags of spans (begin, inside, end, single) of eight kinds, and
//! outside; the most probable path among those that make whole spans is decoded (`viterbi.rs`).
//!
//! A long text is computed in windows, each with what its rows see on both sides through all layers, so where
//! a text is cut changes no bit of any number.
//!
//! Shape letters: `T` tokens · `H` query heads · `K` kv heads · `D` head_dim · `C` hidden_size · `F`
//! intermediate_size · `E` experts · `A` active experts · `N` classes.
//!
//! What it does not know: requests, terminals, who asked, and what a label means to a policy.

mod attention;
mod calibration;
mod config;
mod error;
mod experts;
mod filter;
mod forward;
mod labels;
mod redaction;
mod rotation;
mod rows;
mod spans;
mod viterbi;
mod weights;

pub use error::Error;
pub use filter::{Filter, FilterOptions, WINDOW_TOKENS};
pub use redaction::{Form, FormError, Redaction, Replaced, redact};
pub use spans::Span;
