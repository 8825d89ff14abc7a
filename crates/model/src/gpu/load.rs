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
use crate::gpu::expert_slots::slots_of_layers;
use crate::gpu::host_experts::{HostLayer, HostStack};
use crate::gpu::weights::{Experts, LayerWeights, Linear, Matrix, Weights};
use crate::nan_scale::refuse_nan_scales;

/// Numbers that are quantized or taken apart before they are sent.
const PIECE_NUMBERS: usize = 1 << 24;

/// Brings all weights to `device`, or as many experts of each layer as it shall hold; then all of them are
/// given too, to be brought when they are needed. `progress` is told `(bytes done, bytes in all)` after every
/// tensor.
///
/// Errors: `NotOnCard`; `Checkpoint` when a tensor cannot be read; `NanScale`; `Card`.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    device: &Device,
    pool: &Pool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Weights, Vec<HostLayer>), Error> {
    refuse(checkpoint, config, options)?;
    let bytes_total = checkpoint.tensor_bytes();
    let upload = Upload::new(device, STAGING_BYTES.min(bytes_total))?;
    let (dense, all) = (options.dense, config.num_layers * config.expert_slots());
    let slots = slots_of_layers(config.num_layers, options.expert_slots.unwrap_or(all).min(all));
    let (host, bytes_done) = (Vec::new(), 0);
    let mut loader = Loader {
        checkpoint,
        config,
        dense,
        slots,
        device,
        upload,
        pool,
        progress,
        host,
        bytes_done,
        bytes_total,
    };
    let weights = loader.weights()?;
    loader.upload.finish()?;
    Ok((weights, loader.host))
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
    if let Some(slots) = options.expert_slots.filter(|slots| *slots < config.num_layers) {
        return refused(
            format!("{slots} experts at a time in {} layers", config.num_layers),
            "give it more of the card's memory (--gpu-memory), or use the CPU",
        );
    }
    if options.expert_slots.is_some() && !whole_words(config) {
        return refused("experts of so odd a size that stay on the host".to_owned(), "use the CPU");
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

/// Whether an expert's bytes begin at a word wherever it lies.
pub(crate) fn whole_words(config: &ModelConfig) -> bool {
    let scales = |n: usize, k: usize| n * (k / BLOCK_VALUES);
    let [hidden, inner] = [config.hidden_size, config.intermediate_size];
    [scales(2 * inner, hidden), scales(hidden, inner)].iter().all(|bytes| bytes.is_multiple_of(4))
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    dense: DenseMode,
    /// `[L]`: how many experts the card shall hold.
    slots: Vec<usize>,
    device: &'a Device,
    upload: Upload,
    pool: &'a Pool,
    progress: &'a mut dyn FnMut(u64, u64),
    /// `[L]` where it shall not hold all.
    host: Vec<HostLayer>,
    bytes_done: u64,
    bytes_total: u64,
}

impl Loader<'_> {
    fn weights(&mut self) -> Result<Weights, Error> {
        let width = self.config.hidden_size;
        let embedding = match self.config.is_tied {
            // Counted when it is brought as the unembedding.
            true => self.checkpoint.tensor(Part::Embedding)?,
            false => self.tensor(Part::Embedding)?,
        };
        let embedding = HostMatrix::new(embedding)?;
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
        let num_slots = self.slots[layer];
        let router = match self.config.num_experts {
            0 => None,
            // Never rounded here: a token near the edge between two experts would go to the other one.
            _ => Some(self.linear(part(P::RouterWeight), part(P::RouterBias), width, DenseMode::AsStored)?),
        };
        let (gate_up, host_gate_up) =
            self.experts(num_slots, [P::GateUpBlocks, P::GateUpScales, P::GateUpBias].map(part))?;
        let (down, host_down) =
            self.experts(num_slots, [P::DownBlocks, P::DownScales, P::DownBias].map(part))?;
        if self.stays_on_host() {
            self.host.push(HostLayer { gate_up: host_gate_up, down: host_down });
        }
        Ok(LayerWeights {
            attention_norm: self.vector(part(P::AttentionNorm))?,
            query: self.linear(part(P::QWeight), part(P::QBias), width, dense)?,
            key: self.linear(part(P::KWeight), part(P::KBias), width, dense)?,
            value: self.linear(part(P::VWeight), part(P::VBias), width, dense)?,
            out: self.linear(part(P::OutWeight), part(P::OutBias), query, dense)?,
            sinks: self.vector(part(P::Sinks))?,
            mlp_norm: self.vector(part(P::MlpNorm))?,
            router,
            gate_up,
            down,
            num_slots,
        })
    }

    fn linear(&mut self, weight: Part, bias: Part, k: usize, dense: DenseMode) -> Result<Linear, Error> {
        Ok(Linear { weight: self.matrix(weight, k, dense)?, bias: self.vector(bias)? })
    }

    /// The first `num_slots` experts of a layer for the card, and all of them where they are.
    fn experts(
        &mut self,
        num_slots: usize,
        [codes, scales, bias]: [Part; 3],
    ) -> Result<(Experts, HostStack), Error> {
        let num_experts = self.config.expert_slots();
        let [codes, scales] = [self.tensor(codes)?, self.tensor(scales)?];
        refuse_nan_scales(&scales, num_experts, self.pool)?;
        let bias_tensor = self.tensor(bias)?;
        let bias = bias_tensor.to_f32()?;
        let of_card = |len: usize| len / num_experts * num_slots;
        let card = Experts {
            codes: self.send_bytes(&codes.name, &codes.bytes[..of_card(codes.bytes.len())])?,
            scales: self.send_bytes(&scales.name, &scales.bytes[..of_card(scales.bytes.len())])?,
            bias: self.send_bytes(&bias_tensor.name, bytemuck::cast_slice(&bias[..of_card(bias.len())]))?,
        };
        if !self.stays_on_host() {
            codes.bytes.release();
            scales.bytes.release();
        }
        Ok((card, HostStack { codes: codes.bytes, scales: scales.bytes, bias }))
    }

    /// Whether the card holds only some experts.
    fn stays_on_host(&self) -> bool {
        self.slots.iter().any(|slots| *slots < self.config.expert_slots())
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
                instead: match part {
                    Part::Layer(_, LayerPart::RouterWeight) => {
                        "use the CPU, or a checkpoint whose router is bf16 or f32"
                    }
                    _ => "have dense matrices made int8 (--dense q8), or use the CPU",
                },
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
