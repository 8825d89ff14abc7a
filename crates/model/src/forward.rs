//! From token ids to logits: embed, then the blocks, then the last norm and the unembedding.
//!
//! Entry points: [`Model::load`], [`Model::new_cache`], [`Model::forward`] and, for texts whose logits would not fit
//! in memory at once, [`Model::forward_rows`], which shows one row after the other. Tokens are appended to a cache at
//! `cache.len()`; a long batch is cut into chunks so that the workspace has a bound, and a token's numbers do not
//! depend on where the cuts fall: every sum runs in an order given by the row alone, in prefill and decode, for any
//! number of threads.
//!
//! What can be wrong with the input is asked before the first op. If a chunk fails later (logits that are not
//! finite), the cache still holds the tokens that went in.
//!
//! It does not know text, sampling or other sequences.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::{Pool, Rope, YarnParams};

use crate::Error;
use crate::batch::{Batch, LogitRows};
use crate::block::{Step, Workspace, attention_block, normalize, product};
use crate::config::{ModelConfig, Precision};
use crate::cost::{TokenCost, token_cost};
use crate::experts::mlp_block;
use crate::kv_cache::{CacheShape, KvCache};
use crate::load::load;
use crate::logits::Logits;
use crate::tile_probe::TileProbe;
use crate::weights::Weights;

/// Most tokens that go through the layers together. Units: tokens. More make the experts' products more efficient and
/// cost workspace, which the memory plan names.
pub const CHUNK_TOKENS_MAX: usize = 512;
/// Most rows of logits held at once by `forward_rows`. Units: rows of `V` f32 (0.8 MB for the published vocabulary).
pub const LOGIT_ROWS_MAX: usize = 16;

/// A gpt-oss that is ready to run.
pub struct Model {
    config: ModelConfig,
    precision: Precision,
    weights: Weights,
    rope: Rope,
    pool: Pool,
    chunk_tokens: usize,
}

impl Model {
    /// Takes a checkpoint's weights into use. Matrices stay where the checkpoint has them; `progress` is told
    /// `(bytes done, bytes in all)` after each tensor.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor.
    pub fn load(
        checkpoint: &Checkpoint,
        precision: Precision,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        let config = ModelConfig::from_checkpoint(checkpoint.config())?;
        let weights = load(checkpoint, &config, &pool, progress)?;
        let yarn = YarnParams {
            factor: config.yarn.factor,
            beta_fast: config.yarn.beta_fast,
            beta_slow: config.yarn.beta_slow,
            original_max_position_embeddings: config.yarn.original_max_position_embeddings,
            truncate: config.yarn.truncate,
        };
        let rope = Rope::yarn(config.head_dim, config.rope_theta, &yarn);
        Ok(Model { config, precision, weights, rope, pool, chunk_tokens: CHUNK_TOKENS_MAX })
    }

    /// The same model with another chunk, at least 1: results are the same bits, workspace and speed differ.
    /// Caches made before are not its own.
    pub fn with_chunk_tokens(mut self, chunk_tokens: usize) -> Model {
        self.chunk_tokens = chunk_tokens.max(1);
        self
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
        let kv_row = self.config.num_kv_heads * self.config.head_dim * self.precision.kv_bytes();
        token_cost(&self.config, &self.weights, context, kv_row as u64)
    }

    /// Products with this model's own matrices, for finding out how fast they are.
    pub fn tile_probe(&self) -> TileProbe<'_> {
        TileProbe::new(&self.config, self.precision, &self.pool, &self.weights)
    }

    /// An empty cache for up to `max_context` tokens (at least 1). Memory is reserved, not touched.
    pub fn new_cache(&self, max_context: usize) -> KvCache {
        KvCache::new(self.cache_shape(max_context.max(1)))
    }

    /// Appends the batch's tokens to `cache` and gives the logits that it asks for.
    ///
    /// Errors: `TokenOutsideVocabulary`, `ContextExceeded`, `ForeignCache` before anything is computed;
    /// `NonFiniteLogits`.
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
        let mut first_row = 0;
        for tokens in batch.tokens.chunks(chunk_tokens) {
            let is_last = first_row + tokens.len() == batch.tokens.len();
            let wanted = match batch.logits {
                LogitRows::All => 0..tokens.len(),
                LogitRows::Last if is_last => tokens.len() - 1..tokens.len(),
                LogitRows::Last | LogitRows::None => 0..0,
            };
            let first_position = cache.len();
            let hidden = self.layers(tokens, cache, &mut work);
            for index in wanted.clone().step_by(LOGIT_ROWS_MAX) {
                let rows = index..wanted.end.min(index + LOGIT_ROWS_MAX);
                self.unembed(&hidden, rows, first_position, &mut |row, logits| {
                    on_row(first_row + row, logits)
                })?;
            }
            first_row += tokens.len();
        }
        Ok(())
    }

    fn cache_shape(&self, max_context: usize) -> CacheShape {
        CacheShape::new(&self.config, self.precision, max_context, self.chunk_tokens)
    }

    fn check(&self, batch: &Batch<'_>, cache: &KvCache) -> Result<(), Error> {
        if *cache.shape() != self.cache_shape(cache.max_context()) {
            return Err(Error::ForeignCache);
        }
        let vocab_size = self.config.vocab_size;
        if let Some(index) = batch.tokens.iter().position(|&token| token as usize >= vocab_size) {
            return Err(Error::TokenOutsideVocabulary { index, token: batch.tokens[index], vocab_size });
        }
        let needed = cache.len() + batch.tokens.len();
        if needed > cache.max_context() {
            return Err(Error::ContextExceeded { needed, max_context: cache.max_context() });
        }
        Ok(())
    }

    /// The residual stream `[T, C]` of one chunk after all layers; the chunk is then in the cache.
    fn layers(&self, tokens: &[u32], cache: &mut KvCache, work: &mut Workspace) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut hidden = vec![0.0; tokens.len() * width];
        for (row, &token) in hidden.chunks_exact_mut(width).zip(tokens) {
            self.weights.embedding.dense().row(row, token as usize);
        }
        let step = Step {
            config: &self.config,
            precision: self.precision,
            pool: &self.pool,
            angles: &self.rope.angles(cache.len(), tokens.len()),
            first_position: cache.len(),
            num_tokens: tokens.len(),
        };
        cache.begin_chunk(tokens.len());
        for (layer, weights) in self.weights.layers.iter().enumerate() {
            attention_block(&step, layer, &weights.attention, cache, &mut hidden, work);
            mlp_block(&step, &weights.mlp, &mut hidden, work);
        }
        cache.end_chunk(tokens.len());
        hidden
    }

    /// Shows the logits of the chunk's `rows`, at most `LOGIT_ROWS_MAX`.
    fn unembed(
        &self,
        hidden: &[f32],
        rows: std::ops::Range<usize>,
        first_position: usize,
        on_row: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        let [width, vocab_size] = [self.config.hidden_size, self.config.vocab_size];
        let mut normed = vec![0.0; rows.len() * width];
        let hidden = &hidden[rows.start * width..rows.end * width];
        normalize(&self.pool, &mut normed, hidden, &self.weights.final_norm, self.config.rms_norm_eps);
        let mut logits = vec![0.0; rows.len() * vocab_size];
        product(&self.pool, &mut logits, &normed, &self.weights.unembedding, None, vocab_size);
        for (index, row) in rows.zip(logits.chunks_exact(vocab_size)) {
            if let Some(token) = row.iter().position(|logit| !logit.is_finite()) {
                let position = first_position + index;
                return Err(Error::NonFiniteLogits { position, token, value: row[token] });
            }
            on_row(index, row);
        }
        Ok(())
    }
}
