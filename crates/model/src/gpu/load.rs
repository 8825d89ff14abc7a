//! Bringing a checkpoint's tensors to a card.
//!
//! Entry point: [`load`]. Each tensor goes from the mapped file through two staging buffers into one buffer
//! of its own, in the layout of the file; the pages behind it go back to the system. Dense matrices in Q8_0,
//! made now or found in a file, are taken apart into values and scales, a piece at a time. What no kernel
//! takes is refused before anything is sent, but for a dense matrix in f16, which is met on the way.

use gptoss_checkpoint::{Checkpoint, Dtype, ExpertFormat, LayerPart, Part, Tensor};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES, Q8_0Block};
use gptoss_gpu::ops::{ACTIVE_MAX, EXPERTS_MAX, HEAD_DIM_MAX};
use gptoss_gpu::{Device, Place, STAGING_BYTES, Slice, Upload};
use gptoss_kernels::{Pool, quantize_q8_0};

use crate::Error;
use crate::config::{DenseMode, LoadOptions, ModelConfig};
use crate::cpu::weights::DenseMatrix as HostMatrix;
use crate::gpu::weights::{Experts, LayerWeights, Linear, Matrix, Weights};
use crate::nan_scale::refuse_nan_scales;

/// Numbers that are quantized or taken apart before they are sent.
const PIECE_NUMBERS: usize = 1 << 24;

/// Brings all weights to `device`; `progress` is told `(bytes done, bytes in all)` after every tensor.
///
/// Errors: `NotOnCard`; `Checkpoint` when a tensor cannot be read; `NanScale`; `Card`.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    device: &Device,
    pool: &Pool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Weights, Error> {
    refuse(checkpoint, config, options)?;
    let bytes_total = checkpoint.tensor_bytes();
    let upload = Upload::new(device, STAGING_BYTES.min(bytes_total))?;
    let dense = options.dense;
    let mut loader =
        Loader { checkpoint, config, dense, device, upload, pool, progress, bytes_done: 0, bytes_total };
    let weights = loader.weights()?;
    loader.upload.finish()?;
    Ok(weights)
}

/// Whether the kernels of cards take a model as `options` want it.
///
/// Errors: `NotOnCard` with what they do not take; `Checkpoint`.
pub fn check_on_card(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<(), Error> {
    refuse(checkpoint, &ModelConfig::from_checkpoint(checkpoint.config())?, options)
}

/// Errors: `NotOnCard` for a model or a mode that no kernel takes.
fn refuse(checkpoint: &Checkpoint, config: &ModelConfig, options: &LoadOptions) -> Result<(), Error> {
    let refused = |what: String, instead| Err(Error::NotOnCard { what, instead });
    if options.expert_slots.is_some() {
        return refused(
            "experts that stay on disk".to_owned(),
            "leave the budget of memory out, or use the CPU",
        );
    }
    if checkpoint.expert_format() != ExpertFormat::Mxfp4 {
        return refused("experts in bf16".to_owned(), "use the CPU");
    }
    let [heads, active, experts] = [config.head_dim, config.active_experts(), config.num_experts];
    if !heads.is_multiple_of(4) || heads > HEAD_DIM_MAX as usize {
        return refused(format!("heads of {heads} numbers"), "use the CPU");
    }
    if experts > EXPERTS_MAX as usize || active > ACTIVE_MAX as usize {
        return refused(format!("{active} of {experts} experts a token"), "use the CPU");
    }
    Ok(())
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    dense: DenseMode,
    device: &'a Device,
    upload: Upload,
    pool: &'a Pool,
    progress: &'a mut dyn FnMut(u64, u64),
    bytes_done: u64,
    bytes_total: u64,
}

impl Loader<'_> {
    fn weights(&mut self) -> Result<Weights, Error> {
        let width = self.config.hidden_size;
        let embedding = HostMatrix::new(self.tensor(Part::Embedding)?)?;
        embedding.read_at_random();
        let is_q8_0 = embedding.view().activation_order().is_some();
        let embedding_rounded = self.dense == DenseMode::Q8 && width.is_multiple_of(BLOCK_VALUES) && !is_q8_0;
        let unembedding = self.matrix(Part::Unembedding, width, self.dense)?;
        let layers = (0..self.config.num_layers).map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        let final_norm = self.vector(Part::FinalNorm)?;
        Ok(Weights { embedding, embedding_rounded, layers, final_norm, unembedding })
    }

    fn layer(&mut self, layer: usize) -> Result<LayerWeights, Error> {
        use LayerPart as P;
        let (width, query) = (self.config.hidden_size, self.config.num_query_heads * self.config.head_dim);
        let (part, dense) = (|part| Part::Layer(layer, part), self.dense);
        let router = match self.config.num_experts {
            0 => None,
            // Never rounded here: a token near the edge between two experts would go to the other one.
            _ => Some(self.linear(part(P::RouterWeight), part(P::RouterBias), width, DenseMode::AsStored)?),
        };
        Ok(LayerWeights {
            attention_norm: self.vector(part(P::AttentionNorm))?,
            query: self.linear(part(P::QWeight), part(P::QBias), width, dense)?,
            key: self.linear(part(P::KWeight), part(P::KBias), width, dense)?,
            value: self.linear(part(P::VWeight), part(P::VBias), width, dense)?,
            out: self.linear(part(P::OutWeight), part(P::OutBias), query, dense)?,
            sinks: self.vector(part(P::Sinks))?,
            mlp_norm: self.vector(part(P::MlpNorm))?,
            router,
            gate_up: self.experts([P::GateUpBlocks, P::GateUpScales, P::GateUpBias].map(part))?,
            down: self.experts([P::DownBlocks, P::DownScales, P::DownBias].map(part))?,
        })
    }

    fn linear(&mut self, weight: Part, bias: Part, k: usize, dense: DenseMode) -> Result<Linear, Error> {
        Ok(Linear { weight: self.matrix(weight, k, dense)?, bias: self.vector(bias)? })
    }

    fn experts(&mut self, [codes, scales, bias]: [Part; 3]) -> Result<Experts, Error> {
        let codes = self.tensor(codes)?;
        let scales = self.tensor(scales)?;
        refuse_nan_scales(&scales, self.config.expert_slots(), self.pool)?;
        Ok(Experts { codes: self.send(&codes)?, scales: self.send(&scales)?, bias: self.vector(bias)? })
    }

    /// A dense matrix of `k` columns, in the format that is wanted. One whose rows are not whole blocks stays
    /// as it is.
    fn matrix(&mut self, part: Part, k: usize, dense: DenseMode) -> Result<Matrix, Error> {
        let tensor = self.tensor(part)?;
        if tensor.dtype == Dtype::Q8_0 || (dense == DenseMode::Q8 && k.is_multiple_of(BLOCK_VALUES)) {
            return self.int8(tensor, k);
        }
        match tensor.dtype {
            Dtype::F32 => Ok(Matrix::F32(self.send(&tensor)?)),
            Dtype::Bf16 => Ok(Matrix::Bf16(self.send(&tensor)?)),
            _ => Err(Error::NotOnCard {
                what: format!("{} in {}", tensor.name, tensor.dtype),
                instead: "have dense matrices made int8 (--dense q8), or use the CPU",
            }),
        }
    }

    /// A matrix as int8, values and scales apart.
    fn int8(&mut self, tensor: Tensor, k: usize) -> Result<Matrix, Error> {
        let (name, source) = (tensor.name.clone(), tensor.bytes.clone());
        let num_rows = tensor.shape.first().copied().unwrap_or_default();
        let matrix = HostMatrix::new(tensor)?;
        let is_q8_0 = matrix.view().activation_order().is_some();
        let (source_row, row_blocks) = (source.len() / num_rows.max(1), k / BLOCK_VALUES);
        let values = self.device.buffer(&name, (num_rows * k) as u64, Place::Card)?.all();
        let scales = self.device.buffer(&name, (num_rows * row_blocks * 2) as u64, Place::Card)?.all();
        // Even, so that every piece but the last begins and ends on a whole word of scales.
        let piece_rows = (PIECE_NUMBERS / k).max(2).next_multiple_of(2);
        let mut made: Vec<Q8_0Block> = Vec::new();
        for first in (0..num_rows).step_by(piece_rows) {
            let rows = piece_rows.min(num_rows - first);
            let range = first * source_row..(first + rows) * source_row;
            let blocks: &[Q8_0Block] = match is_q8_0 {
                true => source[range.clone()].as_chunks().0,
                false => {
                    made.resize(rows * row_blocks, [0; Q8_0_BLOCK_BYTES]);
                    quantize_q8_0(self.pool, &mut made, matrix.view().rows(first, rows, k), k);
                    &made
                }
            };
            let halves: Vec<u8> = blocks.iter().flat_map(|block| [block[0], block[1]]).collect();
            let numbers: Vec<u8> = blocks.iter().flat_map(|block| &block[2..]).copied().collect();
            let at = [first * k, first * row_blocks * 2].map(|at| at as u64);
            self.upload.write(&values.part(at[0]..values.len()), &numbers)?;
            self.upload.write(&scales.part(at[1]..scales.len()), &halves)?;
            if let Some(piece) = source.slice(range) {
                piece.release();
            }
        }
        Ok(Matrix::Int8 { values, scales })
    }

    fn vector(&mut self, part: Part) -> Result<Slice, Error> {
        let tensor = self.tensor(part)?;
        let numbers = tensor.to_f32()?;
        self.send_bytes(&tensor.name, bytemuck::cast_slice(&numbers))
    }

    /// Sends a tensor's bytes as they are.
    fn send(&mut self, tensor: &Tensor) -> Result<Slice, Error> {
        let slice = self.send_bytes(&tensor.name, &tensor.bytes)?;
        tensor.bytes.release();
        Ok(slice)
    }

    fn send_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Slice, Error> {
        let slice = self.device.buffer(name, bytes.len() as u64, Place::Card)?.all();
        self.upload.write(&slice, bytes)?;
        Ok(slice)
    }

    fn tensor(&mut self, part: Part) -> Result<Tensor, Error> {
        let tensor = self.checkpoint.tensor(part)?;
        self.bytes_done += tensor.bytes.len() as u64;
        (self.progress)(self.bytes_done, self.bytes_total);
        Ok(tensor)
    }
}
