//! From token ids to logits: embed, then the blocks, then the last norm and the unembedding.
//!
//! Entry points: [`Model::load`]; for one sequence [`Model::new_cache`], [`Model::forward`] and, for texts whose logits
//! would not fit in memory at once, [`Model::forward_rows`], which shows one row after the other; for many sequences
//! [`Model::new_store`] and [`Model::forward_segments`]. Tokens are appended to a cache at `cache.len()`; a long batch is
//! cut into chunks so that the workspace has a bound. A token's numbers depend neither on where the cuts fall nor on
//! what else is in the step: every sum runs in an order given by the row alone, in prefill and decode, for any number
//! of threads. All rows of a step go through each weight matrix together, so it is read once for all sequences.
//!
//! What can be wrong with the input is asked before the first op. If a row's logits are not finite, the cache still
//! holds the tokens that went in, and the other sequences of the step have theirs.
//!
//! It does not know text or sampling.

use std::sync::Arc;

use gptoss_checkpoint::Checkpoint;
use gptoss_formats::round_to_q8_0;
use gptoss_kernels::{Pool, Q8Order, Q8Rows, Rope, YarnParams};

use crate::Error;
use crate::batch::{Batch, Segment};
use crate::config::{DenseMode, KvFormat, LoadOptions, ModelConfig, Precision};
use crate::cost::{TokenCost, token_cost};
use crate::cpu::activations::{Activations, product};
use crate::cpu::block::{Rows, Step, Workspace, attention_block, normalize};
use crate::cpu::expert_cache::{ExpertCache, ExpertTraffic};
use crate::cpu::experts::mlp_block;
use crate::cpu::kv_cache::KvCache;
use crate::cpu::kv_store::{BLOCK_TOKENS, KvStore, StoreShape, StoreSizes};
use crate::cpu::load::load;
use crate::cpu::tile_probe::TileProbe;
use crate::cpu::weights::{EmbeddingRows, Weights};
use crate::logits::Logits;

/// Most tokens that go through the layers together. Units: tokens. More make the experts' products more efficient and
/// cost workspace, which the memory plan names.
pub const CHUNK_TOKENS_MAX: usize = 512;
/// Most rows of logits made at once. Units: rows of `V` f32 (0.8 MB for the published vocabulary). As many sequences
/// decode while the unembedding is read once.
pub const LOGIT_ROWS_MAX: usize = 32;

/// A gpt-oss that is ready to run.
pub struct Model {
    config: ModelConfig,
    precision: Precision,
    kv_format: KvFormat,
    weights: Weights,
    /// The experts that are on disk, which the layers share.
    experts: Option<Arc<ExpertCache>>,
    rope: Rope,
    pool: Pool,
    chunk_tokens: usize,
}

impl Model {
    /// Takes a checkpoint's weights into use, as [`Model::load_with`] does with everything where the checkpoint has it.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor.
    pub fn load(
        checkpoint: &Checkpoint,
        precision: Precision,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        let options = LoadOptions { precision, dense: DenseMode::AsStored, expert_slots: None };
        Model::load_with(checkpoint, &options, pool, progress)
    }

    /// Takes a checkpoint's weights into use. Matrices stay where the checkpoint has them, unless `options` wants others;
    /// `progress` is told `(bytes done, bytes in all)`, of the checkpoint's.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor; `RoundedExact`; `NotOnDisk` and `NoThread` when experts shall
    /// stay on disk.
    pub fn load_with(
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        let LoadOptions { precision, dense, expert_slots } = *options;
        if (precision, dense) == (Precision::Exact, DenseMode::Q8) {
            return Err(Error::RoundedExact);
        }
        let config = ModelConfig::from_checkpoint(checkpoint.config())?;
        let experts = match expert_slots {
            None => None,
            Some(slots) => {
                let needed = checkpoint.tensor_bytes();
                let reader = checkpoint.expert_reader()?.ok_or(Error::NotOnDisk { needed })?;
                Some(Arc::new(ExpertCache::new(reader, &config, slots)?))
            }
        };
        let weights = load(checkpoint, &config, options, experts.as_ref(), &pool, progress)?;
        let yarn = YarnParams {
            factor: config.yarn.factor,
            beta_fast: config.yarn.beta_fast,
            beta_slow: config.yarn.beta_slow,
            original_max_position_embeddings: config.yarn.original_max_position_embeddings,
            truncate: config.yarn.truncate,
        };
        let rope = Rope::yarn(config.head_dim, config.rope_theta, &yarn);
        let kv_format = precision.kv_format();
        Ok(Model {
            config,
            precision,
            kv_format,
            weights,
            experts,
            rope,
            pool,
            chunk_tokens: CHUNK_TOKENS_MAX,
        })
    }

    /// What has been read from disk since the model was loaded; `None` when all its weights are in memory.
    pub fn expert_traffic(&self) -> Option<ExpertTraffic> {
        self.experts.as_ref().map(|experts| experts.traffic())
    }

    /// The same model with another chunk, at least 1: results are the same bits, workspace and speed differ.
    /// Caches made before are not its own.
    pub fn with_chunk_tokens(mut self, chunk_tokens: usize) -> Model {
        self.chunk_tokens = chunk_tokens.max(1);
        self
    }

    /// The same model with keys and values kept in another format; `Q8` changes numbers and halves the memory.
    /// Caches made before are not its own.
    pub fn with_kv_format(mut self, kv_format: KvFormat) -> Model {
        self.kv_format = kv_format;
        self
    }

    /// How keys and values are kept.
    pub fn kv_format(&self) -> KvFormat {
        self.kv_format
    }

    /// The model's numbers.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The arithmetic chosen at load.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Tokens that go through the layers together. Units: tokens.
    pub fn chunk_tokens(&self) -> usize {
        self.chunk_tokens
    }

    /// The threads that all products run on.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The bytes and multiply-adds of one token that sees `context` positions, its own included.
    pub fn token_cost(&self, context: usize) -> TokenCost {
        let kv_row = self.kv_format.row_bytes(self.config.num_kv_heads, self.config.head_dim);
        token_cost(&self.config, &self.weights, context, kv_row as u64)
    }

    /// Products with this model's own matrices, for finding out how fast they are.
    pub fn tile_probe(&self) -> TileProbe<'_> {
        TileProbe::new(&self.config, self.precision, &self.pool, &self.weights)
    }

    /// An empty cache for up to `max_context` tokens (at least 1). Memory is reserved, not touched.
    pub fn new_cache(&self, max_context: usize) -> KvCache {
        let max_context = max_context.max(1);
        KvCache::new(self.store_shape(max_context), max_context)
    }

    /// An empty store for sequences of up to `max_context` tokens. Memory is reserved, not touched.
    pub fn new_store(&self, sizes: StoreSizes, max_context: usize) -> KvStore {
        KvStore::new(self.store_shape(max_context), sizes)
    }

    /// Appends the batch's tokens to `cache` and gives the logits that it asks for.
    ///
    /// Errors: `TokenOutsideVocabulary`, `ContextExceeded`, `ForeignCache` before anything is computed;
    /// `NonFiniteLogits`; with experts on disk, `Checkpoint` and `NanScale`.
    pub fn forward(&self, batch: &Batch<'_>, cache: &mut KvCache) -> Result<Logits, Error> {
        let mut rows = Vec::with_capacity(batch.num_logit_rows() * self.config.vocab_size);
        self.forward_rows(batch, cache, &mut |_, row| rows.extend_from_slice(row))?;
        Ok(Logits { vocab_size: self.config.vocab_size, rows })
    }

    /// As [`forward`](Model::forward), showing each row of logits `[V]` with its token's index in the batch, in
    /// order. No more than [`LOGIT_ROWS_MAX`] rows are in memory at a time.
    ///
    /// Errors: as `forward`.
    pub fn forward_rows(
        &self,
        batch: &Batch<'_>,
        cache: &mut KvCache,
        on_row: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(batch, cache)?;
        let chunk_tokens = self.chunk_tokens.min(batch.tokens.len()).max(1);
        let mut work = Workspace::new(&self.config, chunk_tokens);
        let all_wanted = batch.logits.of(batch.tokens.len());
        let mut first_row = 0;
        for tokens in batch.tokens.chunks(chunk_tokens) {
            let first_position = cache.len();
            cache.begin_chunk(tokens.len());
            let (store, place) = cache.place();
            let segment = Segment { tokens, first_position, place, logits: batch.logits };
            let hidden = self.layers(&[segment], store, &mut work)?;
            cache.end_chunk(tokens.len());
            let wanted: Vec<usize> =
                (0..tokens.len()).filter(|row| all_wanted.contains(&(first_row + row))).collect();
            let mut failure = None;
            self.unembed(
                &hidden,
                &wanted,
                &mut |row, logits| match not_finite(logits, first_position + row) {
                    None if failure.is_none() => on_row(first_row + row, logits),
                    None => {}
                    Some(error) => failure = failure.take().or(Some(error)),
                },
            );
            if let Some(error) = failure {
                return Err(error);
            }
            first_row += tokens.len();
        }
        Ok(())
    }

    /// Computes the next tokens of many sequences in one step; the logits that each asks for, in their order.
    ///
    /// A sequence's numbers are those it would have alone. One whose logits are not finite fails alone.
    ///
    /// Errors: `TokenOutsideVocabulary`, `SegmentLength`, `SegmentPlace`, `ForeignCache` before anything is computed; of one segment
    /// `NonFiniteLogits`; of all, with experts on disk, `Checkpoint` and `NanScale`.
    pub fn forward_segments(
        &self,
        segments: &[Segment<'_>],
        store: &mut KvStore,
    ) -> Result<Vec<Result<Logits, Error>>, Error> {
        self.check_segments(segments, store)?;
        let num_tokens = segments.iter().map(|segment| segment.tokens.len()).sum::<usize>();
        let mut work = Workspace::new(&self.config, num_tokens.max(1));
        let hidden = self.layers(segments, store, &mut work)?;
        let vocab_size = self.config.vocab_size;
        let mut answers: Vec<Result<Logits, Error>> =
            segments.iter().map(|_| Ok(Logits { vocab_size, rows: Vec::new() })).collect();
        let mut wanted = Vec::new();
        // Of each row, its segment and its position.
        let mut origins = vec![(0, 0); num_tokens];
        let mut first_row = 0;
        for (index, segment) in segments.iter().enumerate() {
            let rows = segment.logits.of(segment.tokens.len());
            for row in rows {
                wanted.push(first_row + row);
                origins[first_row + row] = (index, segment.first_position + row);
            }
            first_row += segment.tokens.len();
        }
        self.unembed(&hidden, &wanted, &mut |row, logits| {
            let (index, position) = origins[row];
            match (not_finite(logits, position), &mut answers[index]) {
                (Some(error), answer @ Ok(_)) => *answer = Err(error),
                (None, Ok(answer)) => answer.rows.extend_from_slice(logits),
                (_, Err(_)) => {}
            }
        });
        Ok(answers)
    }

    fn store_shape(&self, max_context: usize) -> StoreShape {
        StoreShape::new(&self.config, self.kv_format, self.chunk_tokens, max_context)
    }

    fn check(&self, batch: &Batch<'_>, cache: &KvCache) -> Result<(), Error> {
        if *cache.shape() != self.store_shape(cache.max_context()) {
            return Err(Error::ForeignCache);
        }
        self.check_tokens(batch.tokens)?;
        let needed = cache.len() + batch.tokens.len();
        if needed > cache.max_context() {
            return Err(Error::ContextExceeded { needed, max_context: cache.max_context() });
        }
        Ok(())
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab_size = self.config.vocab_size;
        match tokens.iter().position(|&token| token as usize >= vocab_size) {
            Some(index) => Err(Error::TokenOutsideVocabulary { index, token: tokens[index], vocab_size }),
            None => Ok(()),
        }
    }

    fn check_segments(&self, segments: &[Segment<'_>], store: &KvStore) -> Result<(), Error> {
        if *store.shape() != self.store_shape(store.shape().ring_rows()) {
            return Err(Error::ForeignCache);
        }
        let sizes = store.sizes();
        for (index, segment) in segments.iter().enumerate() {
            self.check_tokens(segment.tokens)?;
            let num_tokens = segment.tokens.len();
            if num_tokens == 0 || num_tokens > self.chunk_tokens {
                return Err(Error::SegmentLength { index, num_tokens, chunk_tokens: self.chunk_tokens });
            }
            let needed = (segment.first_position + num_tokens).div_ceil(BLOCK_TOKENS);
            let place = segment.place;
            let are_there = place.blocks.iter().all(|&block| (block as usize) < sizes.blocks);
            if place.blocks.len() < needed || !are_there || place.ring as usize >= sizes.rings {
                return Err(Error::SegmentPlace { index, blocks: place.blocks.len(), needed });
            }
        }
        Ok(())
    }

    /// The residual stream `[T, C]` of a step after all layers, segment after segment; its rows are then in the store.
    ///
    /// Errors: what reading an expert from disk met; the rows are not in the store then.
    fn layers(
        &self,
        segments: &[Segment<'_>],
        store: &mut KvStore,
        work: &mut Workspace,
    ) -> Result<Vec<f32>, Error> {
        let width = self.config.hidden_size;
        let tokens = || segments.iter().flat_map(|segment| segment.tokens);
        let num_tokens = tokens().count();
        let mut hidden = vec![0.0; num_tokens * width];
        for (row, &token) in hidden.chunks_exact_mut(width).zip(tokens()) {
            self.weights.embedding.view().unpack_row(row, token as usize);
        }
        if let EmbeddingRows::OnDisk { rounded } = self.weights.embedding_rows {
            if rounded {
                round_to_q8_0(&mut hidden);
            }
            self.weights.embedding.release();
        }
        let mut first_row = 0;
        let rows: Vec<Rows<'_>> = segments
            .iter()
            .map(|segment| {
                let rows = first_row..first_row + segment.tokens.len();
                first_row = rows.end;
                let angles = self.rope.angles(segment.first_position, rows.len());
                Rows { rows, angles, first_position: segment.first_position, place: segment.place }
            })
            .collect();
        let step = Step {
            config: &self.config,
            precision: self.precision,
            pool: &self.pool,
            sequences: &rows,
            num_tokens,
        };
        for (layer, weights) in self.weights.layers.iter().enumerate() {
            attention_block(&step, layer, &weights.attention, store, &mut hidden, work);
            mlp_block(&step, &weights.mlp, &mut hidden, work)?;
        }
        Ok(hidden)
    }

    /// Shows the logits `[V]` of the wanted `rows` of `hidden [T, C]` in order, making `LOGIT_ROWS_MAX` at a time.
    fn unembed(&self, hidden: &[f32], rows: &[usize], on_row: &mut dyn FnMut(usize, &[f32])) {
        let [width, vocab_size] = [self.config.hidden_size, self.config.vocab_size];
        let weight = &self.weights.unembedding;
        let mut q8 = Q8Rows::for_weights(Q8Order::Q8_0);
        for rows in rows.chunks(LOGIT_ROWS_MAX) {
            let gathered: Vec<f32> =
                rows.iter().flat_map(|row| &hidden[row * width..(row + 1) * width]).copied().collect();
            let mut normed = vec![0.0; rows.len() * width];
            normalize(&self.pool, &mut normed, &gathered, &self.weights.final_norm, self.config.rms_norm_eps);
            let mut logits = vec![0.0; rows.len() * vocab_size];
            let x = Activations::new(&self.pool, self.precision, &normed, width, &mut q8, &[weight]);
            product(&self.pool, &mut logits, &x, weight, None, vocab_size);
            for (&row, logits) in rows.iter().zip(logits.chunks_exact(vocab_size)) {
                on_row(row, logits);
            }
        }
    }
}

/// The error for a row `[V]` that holds an infinity or a NaN.
fn not_finite(row: &[f32], position: usize) -> Option<Error> {
    let token = row.iter().position(|logit| !logit.is_finite())?;
    Some(Error::NonFiniteLogits { position, token, value: row[token] })
}
