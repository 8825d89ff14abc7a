//! The weights of a loaded model: one field per tensor, its shape on the line.
//!
//! Entry point: [`Weights`], filled by `load.rs`. Big matrices stay where the checkpoint has them, which for a folder
//! is the mapped file: [`Matrix`] and [`Mxfp4Matrices`] hold bytes and hand out typed views. Dense matrices may instead
//! have been made anew, in Q8_0. Small vectors (norms, biases, sinks) are converted to f32 once, because every op adds
//! them to f32 numbers. Experts of a GGUF file are
//! multiplied in its blocks. Experts may also be on disk, in the care of `expert_cache.rs`; a product takes an [`Expert`] and
//! does not ask where it is.
//!
//! A dense layer is one expert without a router. The module does not know tensor names nor how anything is computed.

use std::sync::Arc;

use gptoss_checkpoint::{Bytes, Dtype, ExpertBuffer, ExpertFormat, GgufExperts, LayerPart, Tensor};
use gptoss_formats::{BLOCK_VALUES, NibbleOrder, Q8_0_BLOCK_BYTES};
use gptoss_kernels::{Dense, Mxfp4, Mxfp4Blocks, Q8Order, Q8Panels};
use half::bf16;

use crate::cpu::expert_cache::ExpertCache;

/// All weights of a model.
pub(crate) struct Weights {
    pub(crate) embedding: Matrix, // [V, C]
    pub(crate) embedding_rows: EmbeddingRows,
    pub(crate) layers: Vec<LayerWeights>, // L
    pub(crate) final_norm: Vec<f32>,      // [C]
    pub(crate) unembedding: Matrix,       // [V, C]
}

/// Where the rows of the embedding are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmbeddingRows {
    /// In memory, or mapped for the system to keep.
    Kept,
    /// On disk: read when a token needs them, and not kept. If the others are in Q8_0, a row is rounded as it would have
    /// been there, so that no number depends on the place.
    OnDisk { rounded: bool },
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
    /// On disk, and in memory as far as its budget goes.
    Streamed { cache: Arc<ExpertCache>, layer: usize, format: ExpertFormat },
    /// As published.
    Mxfp4 {
        gate_up: Mxfp4Matrices, // [E, 2F, C]
        down: Mxfp4Matrices,    // [E, C, F]
    },
    /// In a GGUF file, where they lie.
    Gguf {
        gate_up: GgufExperts, // [E, 2F, C]
        down: GgufExperts,    // [E, C, F]
    },
    /// As fine-tunes store them: input first.
    Bf16 {
        gate_up: Matrix, // [E, C, 2F]
        down: Matrix,    // [E, F, C]
    },
}

/// The matrices of one expert, wherever they are.
#[derive(Clone, Copy)]
pub(crate) enum Expert<'a> {
    /// As published.
    Mxfp4 {
        gate_up: Mxfp4<'a>, // [2F, C]
        down: Mxfp4<'a>,    // [C, F]
    },
    /// As GGUF files have them.
    Blocks {
        gate_up: Mxfp4Blocks<'a>, // [2F, C]
        down: Mxfp4Blocks<'a>,    // [C, F]
    },
    /// Input first.
    Bf16 {
        gate_up: &'a [bf16], // [C, 2F]
        down: &'a [bf16],    // [F, C]
    },
}

/// A product with a bias.
pub(crate) struct Linear {
    pub(crate) weight: Matrix, // [N, K]
    pub(crate) bias: Vec<f32>, // [N]
}

/// A dense matrix: where the checkpoint has it and in its format, or Q8_0 in memory.
pub(crate) struct Matrix {
    /// Invariant: whole elements of `format`, aligned.
    bytes: Bytes,
    format: DenseFormat,
}

/// The formats of dense matrices.
enum DenseFormat {
    Bf16,
    F16,
    F32,
    Q8_0,
    /// Q8_0 in panels: all values, then the scales of all blocks.
    Q8Panels,
}

/// The MXFP4 matrices of a layer's experts, one after another.
pub(crate) struct Mxfp4Matrices {
    pub(crate) blocks: Bytes,      // [E, N, K/32, 16]
    pub(crate) scales: Bytes,      // [E, N, K/32]
    pub(crate) num_experts: usize, // E, 1 in a dense layer
}

impl<'a> Expert<'a> {
    /// The expert that was read into a buffer.
    pub(crate) fn in_buffer(buffer: &'a ExpertBuffer, format: ExpertFormat) -> Expert<'a> {
        let part = |part| buffer.part(part);
        match format {
            ExpertFormat::Mxfp4 => Expert::Mxfp4 {
                gate_up: Mxfp4 {
                    blocks: part(LayerPart::GateUpBlocks),
                    scales: part(LayerPart::GateUpScales),
                },
                down: Mxfp4 { blocks: part(LayerPart::DownBlocks), scales: part(LayerPart::DownScales) },
            },
            ExpertFormat::Bf16 => Expert::Bf16 {
                gate_up: bytemuck::cast_slice(part(LayerPart::GateUpBf16)),
                down: bytemuck::cast_slice(part(LayerPart::DownBf16)),
            },
        }
    }
}

impl Matrix {
    /// Takes the bytes of a dense matrix, in any format that products exist for.
    ///
    /// Errors: the checkpoint's, when the tensor is in another.
    pub(crate) fn new(tensor: Tensor) -> Result<Matrix, gptoss_checkpoint::Error> {
        let format = match tensor.dtype {
            Dtype::F16 => tensor.f16().map(|_| DenseFormat::F16)?,
            Dtype::F32 => tensor.f32().map(|_| DenseFormat::F32)?,
            Dtype::Q8_0 => DenseFormat::Q8_0,
            _ => return Matrix::bf16(tensor),
        };
        Ok(Matrix { bytes: tensor.bytes, format })
    }

    /// Takes the bytes of a bf16 matrix.
    ///
    /// Errors: the checkpoint's, when the tensor is not bf16.
    pub(crate) fn bf16(tensor: Tensor) -> Result<Matrix, gptoss_checkpoint::Error> {
        tensor.bf16()?;
        Ok(Matrix { bytes: tensor.bytes, format: DenseFormat::Bf16 })
    }

    /// Takes blocks of Q8_0.
    pub(crate) fn q8_0(bytes: Bytes) -> Matrix {
        Matrix { bytes, format: DenseFormat::Q8_0 }
    }

    /// Takes panels of Q8_0: the values of all, then their scales.
    pub(crate) fn q8_panels(bytes: Bytes) -> Matrix {
        Matrix { bytes, format: DenseFormat::Q8Panels }
    }

    /// The numbers of the matrix, in its format.
    pub(crate) fn dense(&self) -> Dense<'_> {
        match self.format {
            DenseFormat::Bf16 => Dense::Bf16(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::F16 => Dense::F16(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::F32 => Dense::F32(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::Q8_0 => Dense::Q8_0(self.bytes.as_chunks().0),
            DenseFormat::Q8Panels => {
                let num_values = self.bytes.len() / Q8_0_BLOCK_BYTES * BLOCK_VALUES;
                let (values, scales) = self.bytes.split_at(num_values);
                Dense::Q8Panels(Q8Panels { values, scales: bytemuck::cast_slice(scales) })
            }
        }
    }

    /// Bytes that a product with the whole matrix reads.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Has the system read the matrix ahead of its use, where it is mapped.
    pub(crate) fn will_need(&self) {
        self.bytes.will_need();
    }

    /// Says that single rows of a mapped matrix will be read, and nothing near them.
    pub(crate) fn read_at_random(&self) {
        self.bytes.read_at_random();
    }

    /// Gives the pages of a mapped matrix back.
    pub(crate) fn release(&self) {
        self.bytes.release();
    }

    /// Matrix `index`, of `width` numbers, of a stack in bf16.
    pub(crate) fn bf16_part(&self, index: usize, width: usize) -> &[bf16] {
        &bytemuck::cast_slice(&self.bytes)[index * width..][..width]
    }
}

impl ExpertMatrices {
    /// Bytes of all experts.
    pub(crate) fn num_bytes(&self) -> u64 {
        match self {
            ExpertMatrices::Streamed { cache, .. } => cache.layer_bytes(),
            ExpertMatrices::Mxfp4 { gate_up, down } => gate_up.num_bytes() + down.num_bytes(),
            ExpertMatrices::Gguf { gate_up, down } => gate_up.num_bytes() + down.num_bytes(),
            ExpertMatrices::Bf16 { gate_up, down } => gate_up.num_bytes() + down.num_bytes(),
        }
    }

    /// The int8 rows that their first products take in fast precision, if they take any.
    pub(crate) fn q8_order(&self) -> Option<Q8Order> {
        match self {
            ExpertMatrices::Streamed { format: ExpertFormat::Mxfp4, .. } | ExpertMatrices::Mxfp4 { .. } => {
                Some(Q8Order::Mxfp4)
            }
            ExpertMatrices::Gguf { gate_up, .. } => Some(order(gate_up)),
            ExpertMatrices::Streamed { format: ExpertFormat::Bf16, .. } | ExpertMatrices::Bf16 { .. } => None,
        }
    }
}

/// The matrix of one expert of a GGUF file.
pub(crate) fn blocks(experts: &GgufExperts, expert: usize) -> Mxfp4Blocks<'_> {
    let [even, odd] = experts.stacks(expert).map(|stack| stack.as_chunks().0);
    Mxfp4Blocks { even, odd, nibbles: experts.nibbles }
}

fn order(experts: &GgufExperts) -> Q8Order {
    match experts.nibbles {
        NibbleOrder::Halves => Q8Order::Mxfp4Halves,
        NibbleOrder::Neighbors => Q8Order::Mxfp4,
    }
}

impl Mxfp4Matrices {
    /// Bytes of all experts, blocks and scales.
    fn num_bytes(&self) -> u64 {
        (self.blocks.len() + self.scales.len()) as u64
    }

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
