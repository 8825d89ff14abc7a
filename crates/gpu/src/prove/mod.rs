//! Whether a device computes the ops as they are specified: cases on plain data with stored answers.
//!
//! Entry points: [`class_of`] runs the short cases when a device is opened for a model, and refuses it if one
//! fails; [`prove`] runs any cases, all of [`TABLE`] for `gptoss doctor --prove`. A case is a line of
//! `table.rs`: a kernel, what of it, and an op with sizes. Its inputs come from a seeded generator, and its
//! answers lie in `answers.txt`, one for fused and one for split multiply-add. They never come from a device:
//! `cargo run -p gptoss-gpu --example answers` computes them on the processor, and `tests/prove` compares.
//!
//! A new kernel needs a line of the table, a new op a variant of [`Op`] and its inputs, outputs and (in
//! `tests/prove/answer.rs`) answers.

mod cache;
mod products;
mod proof;
mod random;
mod routing;
mod rows;
mod sheet;
mod table;
mod tiles;

pub use cache::{Attending, AttendingNumbers, KvForm, Layer, Placement, Rotation, RotationNumbers, Stored};
pub use products::{
    Dense, DenseNumbers, ExpertNumbers, ExpertWeights, Experts, MiddleNumbers, NUM_EXPERTS, Rows, WeightForm,
    Weights,
};
pub use proof::{Failure, Proof, class_by, class_of, prove};
pub use random::Random;
pub use routing::{Best, Choice, Collection, CollectionNumbers, Order, SORT_GROUPS};
pub use rows::{Activation, EPS, Floats, Norm, Quantization, RowForm};
pub use sheet::Bench;
pub use table::TABLE;
pub use tiles::{TileNumbers, Tiles};

use std::fmt;

use crate::Error;
use crate::digest::{DIGEST_START, digest_bytes};

/// Where SwiGLU cuts.
pub const SWIGLU_LIMIT: f32 = 7.0;
/// The factor of its sigmoid.
pub const SWIGLU_ALPHA: f32 = 1.702;

/// One computation whose answer is known.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The kernel that it is about.
    pub kernel: &'static str,
    /// What of it, in a word: with the kernel its name.
    pub what: &'static str,
    /// Whether it is run whenever a device is opened for a model.
    pub at_start: bool,
    /// What is computed.
    pub op: Op,
}

/// An op with its sizes.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each says what it is in its own file")]
pub enum Op {
    Floats(Floats),
    Norm(Norm),
    Quantization(Quantization),
    Activation(Activation),
    Dense(Dense),
    Experts(Experts),
    Tiles(Tiles),
    Rotation(Rotation),
    Attending(Attending),
    Choice(Choice),
    Order(Order),
    Collection(Collection),
    Best(Best),
}

/// Numbers that come out.
#[derive(Clone, Debug)]
pub enum Output {
    /// Any NaN is as good as another.
    Floats(Vec<f32>),
    /// By their bits.
    Words(Vec<u32>),
}

impl Case {
    /// The generator of its inputs: a case keeps them wherever it stands in the table.
    pub fn random(&self) -> Random {
        let digest = digest_bytes(DIGEST_START, self.kernel.as_bytes());
        Random(digest_bytes(digest, self.what.as_bytes()))
    }

    /// What the kernels of a bench make of it.
    ///
    /// Errors: the driver's.
    pub fn outputs(&self, bench: &Bench<'_>) -> Result<Vec<Output>, Error> {
        let random = &mut self.random();
        match &self.op {
            Op::Floats(op) => op.outputs(bench, random),
            Op::Norm(op) => op.outputs(bench, random),
            Op::Quantization(op) => op.outputs(bench, random),
            Op::Activation(op) => op.outputs(bench, random),
            Op::Dense(op) => op.outputs(bench, random),
            Op::Experts(op) => op.outputs(bench, random),
            Op::Tiles(op) => op.outputs(bench, random),
            Op::Rotation(op) => op.outputs(bench, random),
            Op::Attending(op) => op.outputs(bench, random),
            Op::Choice(op) => op.outputs(bench, random),
            Op::Order(op) => op.outputs(bench, random),
            Op::Collection(op) => op.outputs(bench, random),
            Op::Best(op) => op.outputs(bench, random),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kernel, self.what)
    }
}

/// The digest of outputs, by which an answer is stored.
pub fn digest(outputs: &[Output]) -> u64 {
    let of = |digest: u64, output: &Output| match output {
        Output::Words(words) => digest_bytes(digest, bytemuck::cast_slice(words)),
        Output::Floats(floats) => floats.iter().fold(digest, |digest, float| {
            let float = if float.is_nan() { f32::NAN } else { *float };
            digest_bytes(digest, &float.to_bits().to_le_bytes())
        }),
    };
    outputs.iter().fold(DIGEST_START, of)
}
