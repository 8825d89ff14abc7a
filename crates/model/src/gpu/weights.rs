//! The weights of a model on a card: one field per tensor, its shape on the line.
//!
//! Entry point: [`Weights`], filled by `load.rs`. Matrices lie as the checkpoint has them, or as int8 with
//! their scales apart; vectors are f32. The embedding stays on the host, which looks up a row a token.

use gptoss_gpu::Slice;
use gptoss_gpu::ops::DenseMatrix;

use crate::cost::WeightBytes;
use crate::cpu::weights::DenseMatrix as HostMatrix;

/// All weights of a model.
pub(crate) struct Weights {
    pub(crate) embedding: HostMatrix, // [V, C]
    /// Whether its rows are rounded to Q8_0 when they are looked up, as the other matrices were.
    pub(crate) embedding_rounded: bool,
    pub(crate) layers: Vec<LayerWeights>, // L
    pub(crate) final_norm: Slice,         // [C]
    pub(crate) unembedding: Matrix,       // [V, C]
}

/// One layer.
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Slice,  // [C]
    pub(crate) query: Linear,          // [H*D, C], [H*D]
    pub(crate) key: Linear,            // [K*D, C], [K*D]
    pub(crate) value: Linear,          // [K*D, C], [K*D]
    pub(crate) out: Linear,            // [C, H*D], [C]
    pub(crate) sinks: Slice,           // [H]
    pub(crate) mlp_norm: Slice,        // [C]
    pub(crate) router: Option<Linear>, // [E, C], [E]; None in a dense layer
    pub(crate) gate_up: Experts,       // [S, 2F, C], [S, 2F], rows interleaved gate, up
    pub(crate) down: Experts,          // [S, C, F], [S, C]
    /// `S`: all experts, or as many as the card has room for.
    pub(crate) num_slots: usize,
}

/// A product with a bias.
pub(crate) struct Linear {
    pub(crate) weight: Matrix, // [N, K]
    pub(crate) bias: Slice,    // [N]
}

/// One matrix of the experts of a layer that are on the card, in MXFP4 as published, with its biases.
pub(crate) struct Experts {
    pub(crate) codes: Slice,  // [S, N, K/32, 16]
    pub(crate) scales: Slice, // [S, N, K/32]
    pub(crate) bias: Slice,   // [S, N]
}

/// A dense matrix.
pub(crate) enum Matrix {
    F32(Slice),
    Bf16(Slice),
    Int8 { values: Slice, scales: Slice },
}

impl Matrix {
    /// The matrix as ops take it.
    pub(crate) fn view(&self) -> DenseMatrix<'_> {
        match self {
            Matrix::F32(values) => DenseMatrix::F32(values),
            Matrix::Bf16(values) => DenseMatrix::Bf16(values),
            Matrix::Int8 { values, scales } => DenseMatrix::Int8 { values, scales },
        }
    }

    pub(crate) fn is_int8(&self) -> bool {
        matches!(self, Matrix::Int8 { .. })
    }

    fn num_bytes(&self) -> u64 {
        match self {
            Matrix::F32(values) | Matrix::Bf16(values) => values.len(),
            Matrix::Int8 { values, scales } => values.len() + scales.len(),
        }
    }
}

impl Weights {
    /// Bytes of the matrices, as they are on the card; of `num_experts` experts a layer wherever they are.
    pub(crate) fn num_bytes(&self, num_experts: usize) -> WeightBytes {
        let dense = |layer: &LayerWeights| {
            let linears = [&layer.query, &layer.key, &layer.value, &layer.out];
            linears.into_iter().chain(&layer.router).map(|linear| linear.weight.num_bytes()).sum::<u64>()
        };
        let experts = |layer: &LayerWeights| {
            let stacks = [&layer.gate_up, &layer.down];
            let bytes = stacks.iter().map(|stack| stack.codes.len() + stack.scales.len()).sum::<u64>();
            bytes * num_experts as u64 / layer.num_slots as u64
        };
        WeightBytes {
            dense: self.layers.iter().map(dense).sum::<u64>() + self.unembedding.num_bytes(),
            experts: self.layers.iter().map(experts).sum(),
        }
    }

    /// Whether matrices of attention are int8.
    pub(crate) fn has_int8(&self) -> bool {
        let is_int8 = |layer: &LayerWeights| {
            [&layer.query, &layer.key, &layer.value, &layer.out].iter().any(|l| l.weight.is_int8())
        };
        self.layers.iter().any(is_int8)
    }
}
