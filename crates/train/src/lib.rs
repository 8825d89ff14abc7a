//! Which numbers a gpt-oss should have instead, given tokens that it should have said.
//!
//! Entry points: [`Weights::open`] reads a checkpoint where it lies, and [`Weights::network`] makes of it
//! what a [`Tuning`] trains; a [`Trainer`] takes steps, from texts or from [`Pair`]s of answers, and saves
//! and restores its state. Below it, [`Network`] is a model as training sees it, every tensor frozen where it
//! lies or one of the [`Trained`]; [`add_gradients`] is the loss of a batch and its slopes,
//! [`Optimizer::step`] what follows from them; [`pack`], [`Course`] and [`Schedule`] say which texts come
//! together, when, and how fast the step is. Low-rank additions beside frozen matrices and training in full
//! are one graph. [`memory()`] says before what it takes, [`Network::adapter`] and [`write_folder`] what came
//! of it.
//!
//! Between forward and backward a layer keeps its input, its rows after attention and the router's choice;
//! everything else is made again, bit for bit. Gradients are added in an order that neither threads nor
//! micro-batches change, so a step's numbers are a function of its tokens alone. Only texts that begin alike
//! round their sum by which of them go together, and so does the balance of experts.
//!
//! Shape letters of this room: `T` tokens · `H` query heads · `K` kv heads · `D` head_dim · `C` hidden_size ·
//! `F` intermediate_size · `E` experts · `A` active experts · `V` vocabulary · `r` rank.
//!
//! What it does not know: text, requests, clocks, schedules of the engine.

mod attention;
mod balance;
mod checksum;
mod course;
mod error;
mod experts;
mod export;
mod graph;
mod linear;
mod memory;
mod network;
mod optimizer;
mod packing;
mod preference;
mod same;
mod schedule;
mod seen;
mod state;
mod trained;
mod trainer;
mod tuned;
mod tuning;
mod weights;

pub use checksum::{base_checksum, data_checksum};
pub use course::Course;
pub use error::Error;
pub use export::{Rounding, write_folder};
pub use graph::{Batch, Loss, add_gradients, loss};
pub use memory::{Term, memory, num_trained};
pub use network::{Attention, Expert, Layer, Linear, LowRankPair, Network, Shape, TokenRows, Vector, Weight};
pub use optimizer::{Optimizer, OptimizerSettings};
pub use packing::{PackedTexts, Placed, Text, num_rows, pack};
pub use preference::{Pair, PairLogProbs, Preference};
pub use schedule::{Schedule, order};
pub use state::{RunIdentity, has_state};
pub use trained::{Gradients, Span, Trained, TrainedTensor};
pub use trainer::{StepReport, Trainer};
pub use tuned::{Divergence, Tuned};
pub use tuning::{LowRankTuning, Tuning};
pub use weights::Weights;
