//! From token ids to logits on the CPU: embed, then the blocks, then the last norm and the unembedding.
//!
//! Entry points: [`Runner::load`]; a step is [`Runner::layers`], which leaves the residual stream in the
//! workspace, and then [`Runner::unembed`] for the rows whose logits are wanted. All rows of a step go
//! through each weight matrix together, so it is read once for all sequences. A token's numbers do not depend
//! on what else is in the step: every sum runs in an order given by the row alone, for any number of threads.
//! What can be wrong with the input has been asked before.

use std::path::Path;
use std::sync::Arc;

use gptoss_checkpoint::{Adapter, Checkpoint, Config};
use gptoss_formats::round_to_q8_0;
use gptoss_kernels::{Pool, Rope, RopeAngles};

use crate::Error;
use crate::adapter::AdapterId;
use crate::config::{LoadOptions, ModelConfig, Precision};
use crate::cost::WeightBytes;
use crate::cpu::activations::{Activations, Parts, product};
use crate::cpu::adapters::{AdaptedRows, Adapters, LoadedAdapter, ranges};
use crate::cpu::block::{StepInputs, attention_block, normalize};
use crate::cpu::expert_cache::{ExpertCache, ExpertTraffic};
use crate::cpu::experts::mlp_block;
use crate::cpu::kv_rows::KvRows;
use crate::cpu::load::load;
use crate::cpu::tile_probe::TileProbe;
use crate::cpu::weights::{EmbeddingRows, LayerWeights, Weights};
use crate::cpu::workspace::Workspace;
use crate::logit_buffer::make_room;
use crate::step::Segment;

/// A gpt-oss on the CPU.
pub(crate) struct Runner {
    config: ModelConfig,
    precision: Precision,
    weights: Weights,
    /// The experts that are on disk, which the layers share.
    experts: Option<Arc<ExpertCache>>,
    rope: Rope,
    pool: Pool,
    /// Whether the inputs of some experts are f32.
    takes_f32: bool,
    adapters: Adapters,
    /// What adapters are held against.
    base: Config,
}

impl Runner {
    /// Takes a checkpoint's weights into use.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor; `NotOnDisk` and `NoThread` when experts shall
    /// stay on disk.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        config: ModelConfig,
        options: &LoadOptions,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Runner, Error> {
        let experts = match options.expert_slots {
            None => None,
            Some(slots) => {
                let needed = checkpoint.tensor_bytes();
                let reader = checkpoint.expert_reader()?.ok_or(Error::NotOnDisk { needed })?;
                Some(Arc::new(ExpertCache::new(reader, &config, slots)?))
            }
        };
        let weights = load(checkpoint, &config, options, experts.as_ref(), &pool, progress)?;
        let rope = config.rope();
        let precision = options.precision;
        let takes_f32 = precision == Precision::Exact
            || weights.layers.iter().any(|layer| layer.mlp.experts.activation_order().is_none());
        let (adapters, base) = (Adapters::default(), checkpoint.config().clone());
        Ok(Runner { config, precision, weights, experts, rope, pool, takes_f32, adapters, base })
    }

    /// Puts an adapter beside the weights, for sequences that name it.
    ///
    /// Errors: `Checkpoint` for one that is damaged or of another model; `AdapterPart`.
    pub(crate) fn load_adapter(&self, adapter: Adapter) -> Result<AdapterId, Error> {
        adapter.check(&self.base, Path::new("the adapter"))?;
        let id = AdapterId::of(&adapter);
        self.adapters.insert(id, LoadedAdapter::new(adapter, &self.config, &self.weights)?);
        Ok(id)
    }

    /// Forgets an adapter. Whether it was there.
    pub(crate) fn unload_adapter(&self, id: AdapterId) -> bool {
        self.adapters.remove(id)
    }

    /// What has been read from disk since the model was loaded; `None` when all its weights are in memory.
    pub(crate) fn expert_traffic(&self) -> Option<ExpertTraffic> {
        self.experts.as_ref().map(|experts| experts.traffic())
    }

    /// The threads that all products run on.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Bytes of the matrices as they are in memory.
    pub(crate) fn weight_bytes(&self) -> WeightBytes {
        let weights = &self.weights;
        WeightBytes {
            dense: weights.layers.iter().map(dense_bytes).sum::<u64>() + weights.unembedding.num_bytes(),
            experts: weights.layers.iter().map(|layer| layer.mlp.experts.num_bytes()).sum(),
        }
    }

    /// Products with this model's own matrices, for finding out how fast they are.
    pub(crate) fn tile_probe(&self) -> TileProbe<'_> {
        TileProbe::new(&self.config, self.precision, &self.pool, &self.weights)
    }

    /// Computes the residual stream `[T, C]` of a step after all layers, segment after segment, into
    /// `work.hidden`; its keys and values are then in `kv`.
    ///
    /// Errors: `UnknownAdapter`; what reading an expert from disk met; the rows are not in `kv` then.
    pub(crate) fn layers(
        &self,
        segments: &[Segment<'_>],
        kv: &mut KvRows,
        work: &mut Workspace,
    ) -> Result<(), Error> {
        let num_tokens = segments.iter().map(|segment| segment.tokens.len()).sum();
        self.adapters.of_step(segments, &mut work.adapted)?;
        let adapted = std::mem::take(&mut work.adapted);
        work.fit(&self.config, self.takes_f32 || !adapted.is_empty(), num_tokens);
        let mut hidden = std::mem::take(&mut work.hidden);
        let mut angles = std::mem::take(&mut work.angles);
        let rows = &mut hidden[..num_tokens * self.config.hidden_size];
        self.embed(segments, rows);
        self.adapt_embedding(segments, &adapted, rows, &mut work.shrunk);
        angles.resize_with(segments.len().max(angles.len()), RopeAngles::default);
        for (segment, angles) in segments.iter().zip(&mut angles) {
            self.rope.fill_angles(angles, segment.first_position, segment.tokens.len());
        }
        let step = StepInputs {
            config: &self.config,
            precision: self.precision,
            pool: &self.pool,
            segments,
            angles: &angles,
            num_tokens,
            adapted: &adapted,
        };
        let outcome = self.weights.layers.iter().enumerate().try_for_each(|(layer, weights)| {
            attention_block(&step, layer, &weights.attention, kv, rows, work);
            mlp_block(&step, layer, &weights.mlp, rows, work)
        });
        (work.hidden, work.angles, work.adapted) = (hidden, angles, adapted);
        outcome
    }

    /// The embedding's rows of all tokens: `hidden [T, C]`.
    fn embed(&self, segments: &[Segment<'_>], hidden: &mut [f32]) {
        let embedding = &self.weights.embedding;
        let tokens = segments.iter().flat_map(|segment| segment.tokens);
        for (row, &token) in hidden.chunks_exact_mut(self.config.hidden_size).zip(tokens) {
            embedding.view().unpack_row(row, token as usize);
        }
        if let EmbeddingRows::OnDisk { rounded } = self.weights.embedding_rows {
            if rounded {
                round_to_q8_0(hidden);
            }
            embedding.release();
        }
    }

    /// Makes the rows of the embedding those of each token's adapter.
    fn adapt_embedding(
        &self,
        segments: &[Segment<'_>],
        adapted: &[AdaptedRows],
        hidden: &mut [f32],
        shrunk: &mut Vec<f32>,
    ) {
        let width = self.config.hidden_size;
        for AdaptedRows { rows, adapter } in adapted {
            let tokens = segments.iter().flat_map(|segment| segment.tokens).skip(rows.start);
            let hidden = &mut hidden[rows.start * width..rows.end * width];
            for (row, &token) in hidden.chunks_exact_mut(width).zip(tokens) {
                adapter.embed(&self.pool, row, token, shrunk);
            }
        }
    }

    /// Appends to `work.logits` those of the wanted `rows` of the last step, of a few rows at a time.
    pub(crate) fn unembed(&self, rows: &[usize], work: &mut Workspace) {
        let [width, vocab_size] = [self.config.hidden_size, self.config.vocab_size];
        let weight = &self.weights.unembedding;
        make_room(&mut work.last_hidden, rows.len() * width);
        make_room(&mut work.last_normed, rows.len() * width);
        for (gathered, row) in work.last_hidden.chunks_exact_mut(width).zip(rows) {
            gathered.copy_from_slice(&work.hidden[row * width..][..width]);
        }
        let normed = &mut work.last_normed[..rows.len() * width];
        normalize(&self.pool, normed, &work.last_hidden, &self.weights.final_norm, self.config.rms_norm_eps);
        let inputs = (&*normed, width);
        let x =
            Activations::new(&self.pool, self.precision, inputs, Parts::Two, &mut work.dense_q8, &[weight]);
        let logits = work.logits.add(rows.len(), vocab_size);
        product(&self.pool, logits, &x, weight, None, vocab_size);
        for (range, adapter) in ranges(&work.adapted, rows) {
            let logits = &mut logits[range.start * vocab_size..range.end * vocab_size];
            let x = (&normed[range.start * width..range.end * width], range.len());
            adapter.unembed(&self.pool, logits, x, &mut work.shrunk);
        }
    }
}

fn dense_bytes(layer: &LayerWeights) -> u64 {
    let attention = &layer.attention;
    let linears = [&attention.query, &attention.key, &attention.value, &attention.out];
    linears.into_iter().chain(&layer.mlp.router).map(|linear| linear.weight.num_bytes()).sum()
}
