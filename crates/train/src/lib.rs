//! Which numbers a gpt-oss should have instead, given tokens that it should have said.
//!
//! Entry points: [`Network`] is a model as training sees it, every tensor frozen where it lies or one of the
//! [`Trained`]; [`add_gradients`] is the loss of a batch and its slopes, [`Optimizer::step`] what follows
//! from them; [`pack`], [`order`] and [`Schedule`] say which texts come together, when, and how fast the step
//! is. Low-rank additions beside frozen matrices and training in full are one graph.
//!
//! Between forward and backward a layer keeps its input, its rows after attention and the router's choice;
//! everything else is made again, bit for bit. Gradients are added in an order that neither threads nor
//! micro-batches change, so a step's numbers are a function of its tokens alone.
//!
//! Shape letters of this room: `T` tokens · `H` query heads · `K` kv heads · `D` head_dim · `C` hidden_size ·
//! `F` intermediate_size · `E` experts · `A` active experts · `V` vocabulary · `r` rank.
//!
//! What it does not know: text, files, requests, schedules of the engine.

mod attention;
mod error;
mod experts;
mod graph;
mod linear;
mod network;
mod optimizer;
mod packing;
mod schedule;
mod trained;

pub use error::Error;
pub use graph::{Batch, add_gradients};
pub use network::{Attention, Expert, Layer, Linear, LowRankPair, Network, Shape, Vector, Weight};
pub use optimizer::{Optimizer, OptimizerSettings};
pub use packing::{PackedTexts, Text, pack};
pub use schedule::{Schedule, order};
pub use trained::{Gradients, Span, Trained, TrainedTensor};
