//! Reading a checkpoint's tensors into [`Weights`], without copying what is big.
//!
//! Entry point: [`load`]. The checkpoint has already compared names, dtypes and shapes with the config, and
//! hands out aligned bytes: the map itself, or a copy of the one tensor that a file left on an odd address.
//! Here remains the question that needs the bytes: does an MXFP4 tensor contain the scale NaN? Its scales,
//! one byte in seventeen, are read once, by all threads, so that the answer is a message with tensor and
//! expert and not a conversation full of NaN. Experts that stay on disk are looked at when they are read.
//!
//! The exception to not copying is `DenseMode::Q8`: dense matrices are then quantized into memory of our own,
//! a piece at a time, and the pages of each piece go back to the system before the next is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gptoss_checkpoint::{Bytes, Checkpoint, ExpertFormat, GgufExperts, LayerPart, Part, Tensor};
use gptoss_formats::{BLOCK_VALUES, Mxfp4Block, NAN_SCALE, Q8_0_BLOCK_BYTES};
use gptoss_kernels::{HugePages, Pool, Q8_PANEL_ROWS, Q8Panels, pack_q8_panels, quantize_q8_0};

use crate::Error;
use crate::config::{DenseMode, LoadOptions, ModelConfig, Precision};
use crate::cpu::expert_cache::ExpertCache;
use crate::cpu::weights::{
    AttentionWeights, DenseMatrix, EmbeddingRows, ExpertMatrices, ExpertStack, LayerWeights, Linear,
    MlpWeights, Weights,
};
use crate::nan_scale::refuse_nan_scales;
use crate::parameters::is_expert_matrix;

/// Numbers that are quantized before the source's pages are given back.
const QUANTIZE_PIECE: usize = 1 << 24;

/// Reads all weights, the experts' matrices only if they are not in the care of `experts`; `progress` is told
/// `(bytes done, bytes in all)` after every tensor.
///
/// Errors: `Checkpoint` when a tensor cannot be read; `NanScale`.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    experts: Option<&Arc<ExpertCache>>,
    pool: &Pool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Weights, Error> {
    let is_read = |part| experts.is_none() || !is_expert_matrix(part);
    let parts = checkpoint.part_bytes().into_iter().filter(|(part, _)| is_read(*part));
    let bytes_total = parts.map(|(_, bytes)| bytes).sum();
    let mut loader =
        Loader { checkpoint, config, options, experts, pool, progress, bytes_done: 0, bytes_total };
    loader.weights()
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    options: &'a LoadOptions,
    experts: Option<&'a Arc<ExpertCache>>,
    pool: &'a Pool,
    progress: &'a mut dyn FnMut(u64, u64),
    bytes_done: u64,
    bytes_total: u64,
}

impl Loader<'_> {
    fn weights(&mut self) -> Result<Weights, Error> {
        let width = self.config.hidden_size;
        // Both large ones before the layers: what they need beside their own size is then no part of the
        // peak.
        let embedding = match self.experts {
            _ if self.config.is_tied => None,
            None => Some(self.dense(Part::Embedding, width)?),
            Some(_) => Some(self.matrix(Part::Embedding)?),
        };
        let unembedding = self.dense(Part::Unembedding, width)?;
        let layers = (0..self.config.num_layers)
            .map(|layer| Ok(LayerWeights { attention: self.attention(layer)?, mlp: self.mlp(layer)? }))
            .collect::<Result<_, Error>>()?;
        let final_norm = self.vector(Part::FinalNorm)?;
        let (embedding, embedding_rows) = match (embedding, self.experts) {
            (None, _) => (unembedding.clone(), EmbeddingRows::Kept),
            (Some(embedding), None) => (embedding, EmbeddingRows::Kept),
            (Some(embedding), Some(_)) => {
                embedding.read_at_random();
                unembedding.will_need();
                let is_int8 = embedding.view().activation_order().is_some();
                let rounded =
                    self.options.dense == DenseMode::Q8 && width.is_multiple_of(BLOCK_VALUES) && !is_int8;
                (embedding, EmbeddingRows::OnDisk { rounded })
            }
        };
        Ok(Weights { embedding, embedding_rows, layers, final_norm, unembedding })
    }

    fn attention(&mut self, layer: usize) -> Result<AttentionWeights, Error> {
        let (width, query) = (self.config.hidden_size, self.config.num_query_heads * self.config.head_dim);
        Ok(AttentionWeights {
            norm: self.vector(Part::Layer(layer, LayerPart::AttentionNorm))?,
            query: self.projection(layer, LayerPart::QWeight, LayerPart::QBias, width)?,
            key: self.projection(layer, LayerPart::KWeight, LayerPart::KBias, width)?,
            value: self.projection(layer, LayerPart::VWeight, LayerPart::VBias, width)?,
            out: self.projection(layer, LayerPart::OutWeight, LayerPart::OutBias, query)?,
            sinks: self.vector(Part::Layer(layer, LayerPart::Sinks))?,
        })
    }

    fn mlp(&mut self, layer: usize) -> Result<MlpWeights, Error> {
        let norm = self.vector(Part::Layer(layer, LayerPart::MlpNorm))?;
        let router = match self.config.num_experts {
            0 => None,
            _ => Some(self.linear(layer, LayerPart::RouterWeight, LayerPart::RouterBias)?),
        };
        let num_rows = [2 * self.config.intermediate_size, self.config.hidden_size];
        let experts = match (self.experts, self.checkpoint.expert_format()) {
            (Some(cache), format) => {
                ExpertMatrices::Streamed { cache: Arc::clone(cache), layer, format, num_rows }
            }
            (None, ExpertFormat::Mxfp4) => match self.in_blocks(layer)? {
                Some(experts) => experts,
                None => ExpertMatrices::InMemory {
                    gate_up: self.mxfp4(layer, LayerPart::GateUpBlocks, LayerPart::GateUpScales)?,
                    down: self.mxfp4(layer, LayerPart::DownBlocks, LayerPart::DownScales)?,
                },
            },
            (None, ExpertFormat::Bf16) => ExpertMatrices::InMemory {
                gate_up: self.bf16_transposed(layer, LayerPart::GateUpBf16, num_rows[0])?,
                down: self.bf16_transposed(layer, LayerPart::DownBf16, num_rows[1])?,
            },
        };
        let gate_up_bias = self.vector(Part::Layer(layer, LayerPart::GateUpBias))?;
        let down_bias = self.vector(Part::Layer(layer, LayerPart::DownBias))?;
        Ok(MlpWeights { norm, router, experts, gate_up_bias, down_bias })
    }

    fn projection(
        &mut self,
        layer: usize,
        weight: LayerPart,
        bias: LayerPart,
        k: usize,
    ) -> Result<Linear, Error> {
        let weight = self.dense(Part::Layer(layer, weight), k)?;
        Ok(Linear { weight, bias: self.vector(Part::Layer(layer, bias))? })
    }

    /// A dense matrix of `k` columns, in the format that is wanted. One whose rows are not whole blocks stays
    /// as it is.
    fn dense(&mut self, part: Part, k: usize) -> Result<DenseMatrix, Error> {
        if self.options.dense == DenseMode::AsStored || !k.is_multiple_of(BLOCK_VALUES) {
            let matrix = self.matrix(part)?;
            if self.experts.is_some() {
                matrix.will_need();
            }
            return Ok(matrix);
        }
        let tensor = self.checkpoint.tensor(part)?;
        let (source, num_rows) = (tensor.bytes.clone(), tensor.shape.first().copied().unwrap_or_default());
        let matrix = DenseMatrix::new(tensor)?;
        if matrix.view().activation_order().is_some() {
            self.advance(source.len());
            return Ok(matrix);
        }
        let (source_row, row_blocks) = (source.len() / num_rows, k / BLOCK_VALUES);
        let num_bytes = num_rows * row_blocks * Q8_0_BLOCK_BYTES;
        let mut memory = HugePages::<u8>::zeroed(num_bytes);
        let bytes = &mut memory[..];
        let takes_panels = Q8Panels::serve(self.pool.tier(), num_rows);
        let piece_rows = (QUANTIZE_PIECE / k).max(1).next_multiple_of(Q8_PANEL_ROWS);
        let mut piece = vec![[0; Q8_0_BLOCK_BYTES]; if takes_panels { piece_rows * row_blocks } else { 0 }];
        for first in (0..num_rows).step_by(piece_rows) {
            let rows = piece_rows.min(num_rows - first);
            let numbers = matrix.view().rows(first, rows, k);
            let (start, len) = (first * row_blocks, rows * row_blocks);
            if takes_panels {
                let piece = &mut piece[..len];
                quantize_q8_0(self.pool, piece, numbers, k);
                let (values, scales) = bytes.split_at_mut(num_rows * k);
                let (values, scales) =
                    (&mut values[first * k..][..rows * k], bytemuck::cast_slice_mut(scales));
                pack_q8_panels(self.pool, values, &mut scales[start..][..len], piece, k);
            } else {
                quantize_q8_0(self.pool, &mut bytes.as_chunks_mut().0[start..][..len], numbers, k);
            }
            let range = first * source_row..(first + rows) * source_row;
            if let Some(piece) = source.slice(range.clone()) {
                piece.release();
            }
            self.advance(range.len());
        }
        let bytes = Bytes::lent(memory);
        Ok(if takes_panels { DenseMatrix::q8_panels(bytes) } else { DenseMatrix::q8_0(bytes) })
    }

    fn linear(&mut self, layer: usize, weight: LayerPart, bias: LayerPart) -> Result<Linear, Error> {
        let weight = self.matrix(Part::Layer(layer, weight))?;
        if self.experts.is_some() {
            weight.will_need();
        }
        Ok(Linear { weight, bias: self.vector(Part::Layer(layer, bias))? })
    }

    /// The experts of a layer where a GGUF file has them, if that is what the checkpoint is; exact products
    /// want the published layout.
    fn in_blocks(&mut self, layer: usize) -> Result<Option<ExpertMatrices>, Error> {
        if self.options.precision == Precision::Exact {
            return Ok(None);
        }
        let experts = |part| self.checkpoint.gguf_experts(Part::Layer(layer, part));
        let (Some(gate_up), Some(down)) = (experts(LayerPart::GateUpBlocks), experts(LayerPart::DownBlocks))
        else {
            return Ok(None);
        };
        let columns = [self.config.hidden_size, self.config.intermediate_size];
        for (experts, columns) in [&gate_up, &down].into_iter().zip(columns) {
            refuse_nan_blocks(experts, self.config.expert_slots(), columns / BLOCK_VALUES, self.pool)?;
            self.advance(experts.num_bytes() as usize);
        }
        let [gate_up, down] = [gate_up, down].map(ExpertStack::Mxfp4Blocks);
        Ok(Some(ExpertMatrices::InMemory { gate_up, down }))
    }

    fn mxfp4(&mut self, layer: usize, blocks: LayerPart, scales: LayerPart) -> Result<ExpertStack, Error> {
        let blocks = self.tensor(Part::Layer(layer, blocks))?.bytes;
        let scales = self.tensor(Part::Layer(layer, scales))?;
        let num_experts = self.config.expert_slots();
        refuse_nan_scales(&scales, num_experts, self.pool)?;
        Ok(ExpertStack::Mxfp4 { blocks, scales: scales.bytes, num_experts })
    }

    fn bf16_transposed(
        &mut self,
        layer: usize,
        part: LayerPart,
        num_rows: usize,
    ) -> Result<ExpertStack, Error> {
        let tensor = self.tensor(Part::Layer(layer, part))?;
        tensor.bf16()?;
        Ok(ExpertStack::Bf16Transposed {
            values: tensor.bytes,
            num_experts: self.config.expert_slots(),
            num_rows,
        })
    }

    fn matrix(&mut self, part: Part) -> Result<DenseMatrix, Error> {
        Ok(DenseMatrix::new(self.tensor(part)?)?)
    }

    fn vector(&mut self, part: Part) -> Result<Vec<f32>, Error> {
        Ok(self.tensor(part)?.to_f32()?)
    }

    fn tensor(&mut self, part: Part) -> Result<Tensor, Error> {
        let tensor = self.checkpoint.tensor(part)?;
        self.advance(tensor.bytes.len());
        Ok(tensor)
    }

    fn advance(&mut self, num_bytes: usize) {
        self.bytes_done += num_bytes as u64;
        (self.progress)(self.bytes_done, self.bytes_total);
    }
}

/// Looks for the scale NaN in blocks of a GGUF file; the first one in the order of experts and stacks is
/// reported.
fn refuse_nan_blocks(
    experts: &GgufExperts,
    num_experts: usize,
    blocks_per_row: usize,
    pool: &Pool,
) -> Result<(), Error> {
    let first = AtomicUsize::new(usize::MAX);
    pool.run(num_experts, |expert| {
        let is_nan = |[scale, ..]: &Mxfp4Block| *scale == NAN_SCALE;
        let stacks = experts.stacks(expert).map(|stack| stack.as_chunks().0);
        if stacks.iter().any(|stack| stack.iter().any(is_nan)) {
            first.fetch_min(expert, Ordering::Relaxed);
        }
    });
    let expert = first.into_inner();
    if expert == usize::MAX {
        return Ok(());
    }
    let stacks = experts.stacks(expert).map(|stack| stack.as_chunks::<{ size_of::<Mxfp4Block>() }>().0);
    let step = if stacks[1].is_empty() { 1 } else { 2 };
    let places = stacks.iter().enumerate().flat_map(|(nth, stack)| {
        let nan = stack.iter().enumerate().filter(|(_, block)| block[0] == NAN_SCALE);
        nan.map(move |(place, _)| (place / blocks_per_row * step + nth, place % blocks_per_row))
    });
    let (row, block) = places.min().unwrap_or_default();
    Err(Error::NanScale { tensor: experts.name.clone(), expert, row, block })
}
