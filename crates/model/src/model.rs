//! A gpt-oss that is ready to run, on whichever device.
//!
//! Entry points: [`Model::load`]; for one sequence [`Model::new_cache`], [`Model::forward`] and, for texts
//! whose logits would not fit in memory at once, [`Model::forward_rows`], which shows one row after the
//! other; for many sequences [`Model::new_store`], [`Model::new_workspace`] and [`Model::forward_segments`].
//! Each device is a twin behind [`Twin`], a closed enum: what follows from the config alone (checks, plans,
//! layouts, chunks) is here and in the files beside, and happens once. Tokens are appended to a cache at
//! `cache.len()`; a long batch is cut into chunks so that the workspace has a bound. A token's numbers depend
//! neither on where the cuts fall nor on what else is in the step.
//!
//! What can be wrong with the input is asked before the first op. If a row's logits are not finite, the cache
//! still holds the tokens that went in, and the other sequences of the step have theirs.

use gptoss_checkpoint::{Adapter, Checkpoint};
use gptoss_gpu::Device;
use gptoss_kernels::Pool;

use crate::Error;
use crate::adapter::AdapterId;
use crate::config::{DenseMode, KvFormat, LoadOptions, ModelConfig, Precision};
use crate::cost::{TokenCost, token_cost};
use crate::cpu::expert_cache::ExpertTraffic;
use crate::cpu::forward::Runner as CpuRunner;
use crate::cpu::tile_probe::TileProbe;
use crate::gpu::forward::Runner as GpuRunner;
use crate::kv_cache::KvCache;
use crate::kv_store::{KvMemory, KvStore};
use crate::layout::{BLOCK_TOKENS, StoreShape, StoreSizes};
use crate::logits::Logits;
use crate::step::{Batch, CHUNK_TOKENS_MAX, LOGIT_ROWS_MAX, Segment};
use crate::workspace::{WorkMemory, Workspace};

/// A gpt-oss that is ready to run.
pub struct Model {
    config: ModelConfig,
    precision: Precision,
    kv_format: KvFormat,
    chunk_tokens: usize,
    twin: Twin,
}

/// The forward pass on a device: its weights, and everything that is made for it.
enum Twin {
    Cpu(CpuRunner),
    Gpu(GpuRunner),
}

impl Model {
    /// Takes a checkpoint's weights into use, as [`Model::load_with`] does with everything where the
    /// checkpoint has it.
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

    /// Takes a checkpoint's weights into use. Matrices stay where the checkpoint has them, unless `options`
    /// wants others; `progress` is told `(bytes done, bytes in all)`, of the checkpoint's.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor; `RoundedExact`; `NotOnDisk` and `NoThread` when
    /// experts shall stay on disk.
    pub fn load_with(
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        refuse_rounded_exact(options)?;
        let precision = options.precision;
        let config = ModelConfig::from_checkpoint(checkpoint.config())?;
        let runner = CpuRunner::load(checkpoint, config.clone(), options, pool, progress)?;
        Ok(Model {
            config,
            precision,
            kv_format: precision.kv_format(),
            chunk_tokens: CHUNK_TOKENS_MAX,
            twin: Twin::Cpu(runner),
        })
    }

    /// Brings a checkpoint's weights to a card, the embedding excepted, and of its experts as many as
    /// `options` says, where [`plan_card`](crate::plan_card) found that not all fit. `progress` is told
    /// `(bytes done, bytes in all)`, of the checkpoint's.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor; `RoundedExact`; `NotOnCard` what no kernel takes;
    /// `Card`.
    pub fn load_on(
        device: &Device,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        refuse_rounded_exact(options)?;
        let config = ModelConfig::from_checkpoint(checkpoint.config())?;
        let runner = GpuRunner::load(device, checkpoint, config.clone(), options, pool, progress)?;
        Ok(Model {
            config,
            precision: options.precision,
            kv_format: options.precision.kv_format(),
            chunk_tokens: CHUNK_TOKENS_MAX,
            twin: Twin::Gpu(runner),
        })
    }

    /// Puts an adapter beside the weights: a sequence that names what this gives is computed with it, and
    /// every other as before. It may be called while the model runs.
    ///
    /// Errors: `Checkpoint` for one that is damaged or of another model; `AdapterPart`; `NotOnCard`.
    pub fn load_adapter(&self, adapter: Adapter) -> Result<AdapterId, Error> {
        match &self.twin {
            Twin::Cpu(runner) => runner.load_adapter(adapter),
            Twin::Gpu(_) => Err(Error::NotOnCard {
                what: "adapters".to_owned(),
                instead: "adapters run on the CPU for now: --device cpu",
            }),
        }
    }

    /// Forgets an adapter, after the step that runs; sequences that still name it fail. Whether it was there.
    pub fn unload_adapter(&self, id: AdapterId) -> bool {
        match &self.twin {
            Twin::Cpu(runner) => runner.unload_adapter(id),
            Twin::Gpu(_) => false,
        }
    }

    /// The same model with another chunk, at least 1: results are the same bits, workspace and speed differ.
    /// Caches made before are not its own.
    pub fn with_chunk_tokens(mut self, chunk_tokens: usize) -> Model {
        self.chunk_tokens = chunk_tokens.max(1);
        self
    }

    /// The same model with keys and values kept in another format; `Q8` changes numbers and halves the
    /// memory. Caches made before are not its own.
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

    /// The card that the model runs on, if it runs on one.
    pub fn device(&self) -> Option<&Device> {
        match &self.twin {
            Twin::Cpu(_) => None,
            Twin::Gpu(runner) => Some(runner.device()),
        }
    }

    /// The processor's threads that the model works with.
    pub fn pool(&self) -> &Pool {
        match &self.twin {
            Twin::Cpu(runner) => runner.pool(),
            Twin::Gpu(runner) => runner.pool(),
        }
    }

    /// What has been read from disk, or sent to the card, since the model was loaded; `None` when all its
    /// weights are where they are used.
    pub fn expert_traffic(&self) -> Option<ExpertTraffic> {
        match &self.twin {
            Twin::Cpu(runner) => runner.expert_traffic(),
            Twin::Gpu(runner) => runner.expert_traffic(),
        }
    }

    /// The bytes and multiply-adds of one token that sees `context` positions, its own included.
    pub fn token_cost(&self, context: usize) -> TokenCost {
        let kv_row = self.kv_format.row_bytes(self.config.num_kv_heads, self.config.head_dim);
        let weights = match &self.twin {
            Twin::Cpu(runner) => runner.weight_bytes(),
            Twin::Gpu(runner) => runner.weight_bytes(),
        };
        token_cost(&self.config, weights, context, kv_row as u64)
    }

    /// Products with this model's own matrices, for finding out how fast they are; `None` on a card.
    pub fn tile_probe(&self) -> Option<TileProbe<'_>> {
        match &self.twin {
            Twin::Cpu(runner) => Some(runner.tile_probe()),
            Twin::Gpu(_) => None,
        }
    }

    /// An empty cache for up to `max_context` tokens (at least 1). Memory is reserved, not touched.
    pub fn new_cache(&self, max_context: usize) -> KvCache {
        let max_context = max_context.max(1);
        KvCache::new(self.new_store(KvCache::sizes(max_context), max_context), max_context)
    }

    /// An empty store for sequences of up to `max_context` tokens. Memory is reserved, not touched. If a card
    /// has none, the first step says so.
    pub fn new_store(&self, sizes: StoreSizes, max_context: usize) -> KvStore {
        match &self.twin {
            Twin::Cpu(_) => KvStore::on_cpu(self.store_shape(max_context), sizes),
            Twin::Gpu(runner) => KvStore::on_gpu(runner.device(), self.store_shape(max_context), sizes),
        }
    }

    /// Working memory for steps, empty until the first.
    pub fn new_workspace(&self) -> Workspace {
        match &self.twin {
            Twin::Cpu(_) => Workspace::on_cpu(self.config.vocab_size),
            Twin::Gpu(_) => Workspace::on_gpu(self.config.vocab_size),
        }
    }

    /// Appends the batch's tokens to `cache` and gives the logits that it asks for.
    ///
    /// Errors: `TokenOutsideVocabulary`, `ContextExceeded`, `ForeignCache`, `UnknownAdapter` before anything
    /// is computed; `NonFiniteLogits`; with experts on disk, `Checkpoint` and `NanScale`.
    pub fn forward(&self, batch: &Batch<'_>, cache: &mut KvCache) -> Result<Logits, Error> {
        let mut rows = Vec::with_capacity(batch.num_logit_rows() * self.config.vocab_size);
        self.forward_rows(batch, cache, &mut |_, row| rows.extend_from_slice(row))?;
        Ok(Logits { vocab_size: self.config.vocab_size, rows })
    }

    /// As [`forward`](Model::forward), showing each row of logits `[V]` with its token's index in the batch,
    /// in order. No more than [`LOGIT_ROWS_MAX`] rows are in memory at a time.
    ///
    /// Errors: as `forward`.
    pub fn forward_rows(
        &self,
        batch: &Batch<'_>,
        cache: &mut KvCache,
        on_row: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(batch, cache)?;
        let mut work = self.new_workspace();
        let all_wanted = batch.logits.of(batch.tokens.len());
        let (mut first_row, adapter) = (0, cache.adapter());
        for tokens in batch.tokens.chunks(self.shown_tokens()) {
            let first_position = cache.len();
            cache.begin_chunk(tokens.len());
            let wanted: Vec<usize> =
                (0..tokens.len()).filter(|row| all_wanted.contains(&(first_row + row))).collect();
            let (store, kv) = cache.parts();
            work.clear();
            let segments = [Segment { tokens, first_position, kv, logits: batch.logits, adapter }];
            self.layers(&segments, &wanted, store, &mut work)?;
            cache.end_chunk(tokens.len());
            for rows in wanted.chunks(LOGIT_ROWS_MAX) {
                self.unembed(rows, &mut work);
                for (index, row) in rows.iter().enumerate() {
                    work.check_finite(index, first_position + row)?;
                    on_row(first_row + row, &work.row(index));
                }
                work.clear();
            }
            first_row += tokens.len();
        }
        Ok(())
    }

    /// Computes the next tokens of many sequences in one step, and appends to `work` the logits that each
    /// asks for.
    ///
    /// A sequence's numbers are those it would have alone. One whose logits are not finite fails alone.
    ///
    /// Errors: `TokenOutsideVocabulary`, `SegmentLength`, `SegmentPlace`, `ForeignCache`, `UnknownAdapter`
    /// before anything is computed; with experts on disk, `Checkpoint` and `NanScale`; on a card, `Card`, and
    /// `LostRows`, which every step with this store gives from then on. No segment has logits then.
    pub fn forward_segments(
        &self,
        segments: &[Segment<'_>],
        store: &mut KvStore,
        work: &mut Workspace,
    ) -> Result<(), Error> {
        self.check_segments(segments, store)?;
        work.begin(self.config.vocab_size)?;
        let mut wanted = work.wanted_rows(segments);
        let outcome = self.layers(segments, &wanted, store, work);
        if outcome.is_ok() {
            wanted.chunks(LOGIT_ROWS_MAX).for_each(|rows| self.unembed(rows, work));
        }
        wanted.clear();
        work.wanted = wanted;
        outcome?;
        segments.iter().for_each(|segment| work.push_segment(segment));
        Ok(())
    }

    /// One step through all layers; their result stays in `work`. On a card the logits of the `wanted` rows
    /// are appended at once.
    fn layers(
        &self,
        segments: &[Segment<'_>],
        wanted: &[usize],
        store: &mut KvStore,
        work: &mut Workspace,
    ) -> Result<(), Error> {
        match (&self.twin, &mut store.memory, &mut work.memory) {
            (Twin::Cpu(runner), KvMemory::Cpu(kv), WorkMemory::Cpu(work)) => {
                runner.layers(segments, kv, work)
            }
            (Twin::Gpu(runner), KvMemory::Gpu(kv), WorkMemory::Gpu(work)) => {
                if let Some(id) = segments.iter().find_map(|segment| segment.adapter) {
                    return Err(Error::UnknownAdapter(id));
                }
                runner.step(segments, wanted, kv, work)
            }
            _ => Err(Error::ForeignCache),
        }
    }

    /// Appends the logits of some `rows` of the last step to `work`, if they are not there.
    fn unembed(&self, rows: &[usize], work: &mut Workspace) {
        if let (Twin::Cpu(runner), WorkMemory::Cpu(work)) = (&self.twin, &mut work.memory) {
            runner.unembed(rows, work);
        }
    }

    /// Tokens whose logits may be in memory at once, when one sequence is fed.
    fn shown_tokens(&self) -> usize {
        match &self.twin {
            Twin::Cpu(_) => self.chunk_tokens,
            Twin::Gpu(_) => self.chunk_tokens.min(LOGIT_ROWS_MAX),
        }
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
        if !store.shape().is_of(&self.config, self.kv_format, self.chunk_tokens) {
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
            let kv = segment.kv;
            let are_there = kv.blocks.iter().all(|&block| (block as usize) < sizes.blocks);
            if kv.blocks.len() < needed || !are_there || kv.ring as usize >= sizes.rings {
                return Err(Error::SegmentPlace { index, blocks: kv.blocks.len(), needed });
            }
        }
        Ok(())
    }
}

fn refuse_rounded_exact(options: &LoadOptions) -> Result<(), Error> {
    match (options.precision, options.dense) {
        (Precision::Exact, DenseMode::Q8) => Err(Error::RoundedExact),
        _ => Ok(()),
    }
}
