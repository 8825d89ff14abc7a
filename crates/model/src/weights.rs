//! The weights of a loaded model: one field per tensor, its shape on the line.
//!
//! Entry point: [`Weights`], filled by `load.rs`. Big matrices stay where the checkpoint has them, which for a folder
//! is the mapped file: [`Matrix`] and [`Mxfp4Matrices`] hold bytes and hand out typed views. Small vectors (norms,
//! biases, sinks) are converted to f32 once, because every op adds them to f32 numbers.
//!
//! A dense layer is one expert without a router. The module does not know tensor names nor how anything is computed.

use gptoss_checkpoint::{Bytes, Tensor};
use gptoss_kernels::Mxfp4;
use half::bf16;

/// All weights of a model.
pub(crate) struct Weights {
    pub(crate) embedding: Matrix,         // [V, C]
    pub(crate) layers: Vec<LayerWeights>, // L
    pub(crate) final_norm: Vec<f32>,      // [C]
    pub(crate) unembedding: Matrix,       // [V, C]
}

/// One layer.
pub(crate) struct LayerWeights {
    pub(crate) attention: AttentionWeights,
    pub(crate) mlp: MlpWeights,
}

/// The attention block of a layer.
pub(crate) struct AttentionWeights {
    pub(crate) norm: Vec<f32>,  // [C]
    pub(crate) query: Linear,   // [H*D, C], [H*D]
    pub(crate) key: Linear,     // [K*D, C], [K*D]
    pub(crate) value: Linear,   // [K*D, C], [K*D]
    pub(crate) out: Linear,     // [C, H*D], [C]
    pub(crate) sinks: Vec<f32>, // [H]
}

/// The MLP block of a layer.
pub(crate) struct MlpWeights {
    pub(crate) norm: Vec<f32>,         // [C]
    pub(crate) router: Option<Linear>, // [E, C], [E]; None in a dense layer
    pub(crate) experts: ExpertMatrices,
    pub(crate) gate_up_bias: Vec<f32>, // [E, 2F], rows interleaved gate, up
    pub(crate) down_bias: Vec<f32>,    // [E, C]
}

/// The matrices of a layer's experts, in the checkpoint's format.
pub(crate) enum ExpertMatrices {
    /// As published.
    Mxfp4 {
        gate_up: Mxfp4Matrices, // [E, 2F, C]
        down: Mxfp4Matrices,    // [E, C, F]
    },
    /// As fine-tunes store them: input first.
    Bf16 {
        gate_up: Matrix, // [E, C, 2F]
        down: Matrix,    // [E, F, C]
    },
}

/// A product with a bias.
pub(crate) struct Linear {
    pub(crate) weight: Matrix, // [N, K]
    pub(crate) bias: Vec<f32>, // [N]
}

/// A bf16 matrix where the checkpoint has it.
pub(crate) struct Matrix {
    /// Invariant: bf16 numbers, aligned.
    bytes: Bytes,
}

/// The MXFP4 matrices of a layer's experts, one after another.
pub(crate) struct Mxfp4Matrices {
    pub(crate) blocks: Bytes,      // [E, N, K/32, 16]
    pub(crate) scales: Bytes,      // [E, N, K/32]
    pub(crate) num_experts: usize, // E, 1 in a dense layer
}

impl Matrix {
    /// Takes a tensor's bytes.
    ///
    /// Errors: the checkpoint's, when the tensor is not bf16.
    pub(crate) fn new(tensor: Tensor) -> Result<Matrix, gptoss_checkpoint::Error> {
        tensor.bf16()?;
        Ok(Matrix { bytes: tensor.bytes })
    }

    /// All numbers of the matrix.
    pub(crate) fn numbers(&self) -> &[bf16] {
        bytemuck::cast_slice(&self.bytes)
    }

    /// Row `index` of rows `width` long; of a stack of matrices, matrix `index`.
    pub(crate) fn row(&self, index: usize, width: usize) -> &[bf16] {
        &self.numbers()[index * width..][..width]
    }
}

impl Mxfp4Matrices {
    /// The matrix of one expert.
    pub(crate) fn expert(&self, expert: usize) -> Mxfp4<'_> {
        Mxfp4 {
            blocks: part(&self.blocks, expert, self.num_experts),
            scales: part(&self.scales, expert, self.num_experts),
        }
    }
}

/// Part `index` of `bytes` cut into `num_parts` equal ones.
fn part(bytes: &[u8], index: usize, num_parts: usize) -> &[u8] {
    let width = bytes.len() / num_parts;
    &bytes[index * width..][..width]
}
