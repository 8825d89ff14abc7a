//! The weights of a loaded model: one field per tensor, its shape on the line.
//!
//! Entry point: [`Weights`], filled by `load.rs`. Big matrices stay where the checkpoint has them, which for
//! a folder is the mapped file: [`DenseMatrix`] and [`ExpertStack`] hold bytes and hand out a [`Matrix`].
//! Dense matrices may instead have been made anew, in Q8_0. Small vectors (norms, biases, sinks) are
//! converted to f32 once, because every op adds them to f32 numbers. Experts may also be on disk, in the care
//! of `expert_cache.rs`; a product takes an [`Expert`] and does not ask where it is. A dense layer is one
//! expert without a router.

use std::sync::Arc;

use gptoss_checkpoint::{Bytes, Dtype, ExpertFormat, GgufExperts, LayerPart, Tensor};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES};
use gptoss_kernels::{Bf16Transposed, Matrix, Mxfp4, Mxfp4Blocks, Q8Order, Q8Panels};

use crate::Error;
use crate::cpu::expert_buffer::ExpertBuffer;
use crate::cpu::expert_cache::ExpertCache;

/// All weights of a model.
pub(crate) struct Weights {
    pub(crate) embedding: DenseMatrix, // [V, C]
    pub(crate) embedding_rows: EmbeddingRows,
    pub(crate) layers: Vec<LayerWeights>, // L
    pub(crate) final_norm: Vec<f32>,      // [C]
    pub(crate) unembedding: DenseMatrix,  // [V, C]
}

/// Where the rows of the embedding are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmbeddingRows {
    /// In memory, or mapped for the system to keep.
    Kept,
    /// On disk: read when a token needs them, and not kept. If the others are in Q8_0, a row is rounded as it
    /// would have been there, so that no number depends on the place.
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

/// The matrices of a layer's experts.
pub(crate) enum ExpertMatrices {
    /// On disk, and in memory as far as its budget goes.
    Streamed {
        cache: Arc<ExpertCache>,
        layer: usize,
        format: ExpertFormat,
        /// Rows of `gate_up` (2F) and of `down` (C).
        num_rows: [usize; 2],
    },
    /// Where the checkpoint has them.
    InMemory {
        gate_up: ExpertStack, // [E, 2F, C]
        down: ExpertStack,    // [E, C, F]
    },
}

/// One matrix of every expert of a layer, in the checkpoint's format.
pub(crate) enum ExpertStack {
    /// MXFP4 as published.
    Mxfp4 {
        blocks: Bytes, // [E, N, K/32, 16]
        scales: Bytes, // [E, N, K/32]
        num_experts: usize,
    },
    /// MXFP4 in a GGUF file.
    Mxfp4Blocks(GgufExperts),
    /// As fine-tunes store them: input first.
    Bf16Transposed {
        values: Bytes, // [E, K, N]
        num_experts: usize,
        num_rows: usize, // N
    },
}

/// The matrices of one expert, wherever they are.
#[derive(Clone, Copy)]
pub(crate) struct Expert<'a> {
    pub(crate) gate_up: Matrix<'a>, // [2F, C]
    pub(crate) down: Matrix<'a>,    // [C, F]
}

/// A product with a bias.
pub(crate) struct Linear {
    pub(crate) weight: DenseMatrix, // [N, K]
    pub(crate) bias: Vec<f32>,      // [N]
}

/// A dense matrix: where the checkpoint has it and in its format, or Q8_0 in memory. Clones share the bytes.
#[derive(Clone)]
pub(crate) struct DenseMatrix {
    /// Invariant: whole elements of `format`, aligned.
    bytes: Bytes,
    format: DenseFormat,
}

/// The formats of dense matrices.
#[derive(Clone, Copy)]
enum DenseFormat {
    Bf16,
    F16,
    F32,
    Q8_0,
    /// Q8_0 in panels: all values, then the scales of all blocks.
    Q8Panels,
}

impl DenseMatrix {
    /// Takes the bytes of a dense matrix, in any format that products exist for.
    ///
    /// Errors: the checkpoint's, when the tensor is in another.
    pub(crate) fn new(tensor: Tensor) -> Result<DenseMatrix, gptoss_checkpoint::Error> {
        let format = match tensor.dtype {
            Dtype::F16 => tensor.f16().map(|_| DenseFormat::F16)?,
            Dtype::F32 => tensor.f32().map(|_| DenseFormat::F32)?,
            Dtype::Q8_0 => DenseFormat::Q8_0,
            _ => tensor.bf16().map(|_| DenseFormat::Bf16)?,
        };
        Ok(DenseMatrix { bytes: tensor.bytes, format })
    }

    /// Takes blocks of Q8_0.
    pub(crate) fn q8_0(bytes: Bytes) -> DenseMatrix {
        DenseMatrix { bytes, format: DenseFormat::Q8_0 }
    }

    /// Takes panels of Q8_0: the values of all, then their scales.
    pub(crate) fn q8_panels(bytes: Bytes) -> DenseMatrix {
        DenseMatrix { bytes, format: DenseFormat::Q8Panels }
    }

    /// The matrix as products take it.
    pub(crate) fn view(&self) -> Matrix<'_> {
        match self.format {
            DenseFormat::Bf16 => Matrix::Bf16(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::F16 => Matrix::F16(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::F32 => Matrix::F32(bytemuck::cast_slice(&self.bytes)),
            DenseFormat::Q8_0 => Matrix::Q8_0(self.bytes.as_chunks().0),
            DenseFormat::Q8Panels => {
                let num_values = self.bytes.len() / Q8_0_BLOCK_BYTES * BLOCK_VALUES;
                let (values, scales) = self.bytes.split_at(num_values);
                Matrix::Q8Panels(Q8Panels { values, scales: bytemuck::cast_slice(scales) })
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
}

impl ExpertMatrices {
    /// Bytes of all experts.
    pub(crate) fn num_bytes(&self) -> u64 {
        match self {
            ExpertMatrices::Streamed { cache, .. } => cache.layer_bytes(),
            ExpertMatrices::InMemory { gate_up, down } => gate_up.num_bytes() + down.num_bytes(),
        }
    }

    /// The order of the int8 rows that their first products take in fast precision, if they take any.
    pub(crate) fn activation_order(&self) -> Option<Q8Order> {
        match self {
            ExpertMatrices::Streamed { format: ExpertFormat::Mxfp4, .. } => Some(Q8Order::Mxfp4),
            ExpertMatrices::Streamed { format: ExpertFormat::Bf16, .. } => None,
            ExpertMatrices::InMemory { gate_up, .. } => gate_up.expert(0).activation_order(),
        }
    }

    /// Hands the matrices of `experts`, each with its number of tokens, to `run(expert, matrices)`: those
    /// that are in memory first, while others come from disk.
    ///
    /// Errors: what reading an expert from disk met.
    pub(crate) fn for_each(
        &self,
        experts: &[(usize, usize)],
        num_tokens: usize,
        mut run: impl FnMut(usize, Expert<'_>),
    ) -> Result<(), Error> {
        match self {
            ExpertMatrices::Streamed { cache, layer, format, num_rows } => {
                let mut fetch = cache.fetch(*layer, experts, num_tokens);
                while let Some((expert, buffer)) = fetch.next()? {
                    run(expert, Expert::in_buffer(buffer, *format, *num_rows));
                }
            }
            ExpertMatrices::InMemory { gate_up, down } => {
                for &(expert, _) in experts {
                    run(expert, Expert { gate_up: gate_up.expert(expert), down: down.expert(expert) });
                }
            }
        }
        Ok(())
    }
}

impl ExpertStack {
    /// Bytes of all experts.
    pub(crate) fn num_bytes(&self) -> u64 {
        match self {
            ExpertStack::Mxfp4 { blocks, scales, .. } => (blocks.len() + scales.len()) as u64,
            ExpertStack::Mxfp4Blocks(experts) => experts.num_bytes(),
            ExpertStack::Bf16Transposed { values, .. } => values.len() as u64,
        }
    }

    /// The matrix of one expert.
    fn expert(&self, expert: usize) -> Matrix<'_> {
        match self {
            ExpertStack::Mxfp4 { blocks, scales, num_experts } => Matrix::Mxfp4(Mxfp4 {
                blocks: part(blocks, expert, *num_experts),
                scales: part(scales, expert, *num_experts),
            }),
            ExpertStack::Mxfp4Blocks(experts) => {
                let [even, odd] = experts.stacks(expert).map(|stack| stack.as_chunks().0);
                Matrix::Mxfp4Blocks(Mxfp4Blocks { even, odd, nibbles: experts.nibbles })
            }
            ExpertStack::Bf16Transposed { values, num_experts, num_rows } => {
                bf16_transposed(part(values, expert, *num_experts), *num_rows)
            }
        }
    }
}

impl<'a> Expert<'a> {
    /// The expert that was read into a buffer; `num_rows` are those of `gate_up` and `down`.
    fn in_buffer(buffer: &'a ExpertBuffer, format: ExpertFormat, num_rows: [usize; 2]) -> Expert<'a> {
        let part = |part| buffer.part(part);
        let mxfp4 = |blocks, scales| Matrix::Mxfp4(Mxfp4 { blocks: part(blocks), scales: part(scales) });
        match format {
            ExpertFormat::Mxfp4 => Expert {
                gate_up: mxfp4(LayerPart::GateUpBlocks, LayerPart::GateUpScales),
                down: mxfp4(LayerPart::DownBlocks, LayerPart::DownScales),
            },
            ExpertFormat::Bf16 => Expert {
                gate_up: bf16_transposed(part(LayerPart::GateUpBf16), num_rows[0]),
                down: bf16_transposed(part(LayerPart::DownBf16), num_rows[1]),
            },
        }
    }
}

/// Bytes `[K, N]` of bf16 as a matrix of N rows.
fn bf16_transposed(bytes: &[u8], n: usize) -> Matrix<'_> {
    Matrix::Bf16Transposed(Bf16Transposed::new(bytemuck::cast_slice(bytes), n))
}

/// Part `index` of `bytes` cut into `num_parts` equal ones.
fn part(bytes: &[u8], index: usize, num_parts: usize) -> &[u8] {
    let width = bytes.len() / num_parts;
    &bytes[index * width..][..width]
}
