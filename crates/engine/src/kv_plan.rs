//! How much memory the engine's sequences get, decided once at the start.
//!
//! Entry point: [`KvPlan::new`], from [`EngineOptions`]: how long a context may be, how many sequences run at
//! a time, and how many bytes there are. Rings and snapshots are counted first, because their number follows
//! from the options; what is left are blocks, shared by all. [`KvPlan::terms`] is the sum that the operator
//! is shown. Nothing grows after that: when blocks run out, kept prefixes go and sequences wait.
//!
//! Without a number of bytes the pool holds one sequence of the whole context and a few thousand tokens for
//! each of the others. The system hands memory out as it is touched, so a plan that is never filled costs
//! little.

use gptoss_model::{BLOCK_TOKENS, KvFormat, KvStore, ModelConfig, StoreSizes, Term};

use crate::Error;

/// Sequences that run at a time, unless the options say otherwise.
pub const SEQUENCES_DEFAULT: usize = 32;
/// Tokens that the pool holds for each sequence but the first, when no number of bytes is given.
const TOKENS_PER_SEQUENCE: usize = 4096;
/// Blocks beyond the longest context: for copies of shared blocks while a context is full.
const BLOCKS_SPARE: usize = 2;
/// Kept places of prompts for each sequence, and at least and at most in all. Each costs a snapshot of the
/// windowed layers: 3 MB for gpt-oss-20b in fast precision.
const SNAPSHOTS_PER_SEQUENCE: usize = 4;
const SNAPSHOTS_MIN: usize = 12;
const SNAPSHOTS_MAX: usize = 128;
/// Prompt tokens of a step in which other sequences decode.
const PREFILL_BESIDE_DECODE: usize = 128;

/// What an engine is to hold and how it shares its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Tokens that a prompt and its completion can have together.
    pub max_context: usize,
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Bytes for keys and values: blocks, rings and snapshots. None: as many as the other options suggest.
    pub kv_bytes: Option<u64>,
    /// Places of prompts that are kept; None: as many as the number of sequences suggests, 0: none.
    pub prefix_snapshots: Option<usize>,
    /// Prompt tokens of a step in which other sequences decode: what a long prompt adds to the time between
    /// their tokens. At least 1.
    pub prefill_beside_decode: usize,
    /// Whether tokens are guessed from the text so far and tried together. The tokens that come out are the
    /// same.
    pub speculation: Speculation,
    /// Whether tokens that a constraint leaves no choice about are computed together. The tokens that come
    /// out are the same; off is for comparing.
    pub forced_drafts: bool,
}

/// When guesses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// Never.
    Off,
    /// As long as the engine's own measurements say that it is faster.
    #[default]
    WhenItPays,
    /// Whenever there is a guess: for tests.
    Always,
}

impl EngineOptions {
    /// Defaults for a context of so many tokens.
    pub fn new(max_context: usize) -> EngineOptions {
        EngineOptions {
            max_context: max_context.max(1),
            max_sequences: SEQUENCES_DEFAULT,
            kv_bytes: None,
            prefix_snapshots: None,
            prefill_beside_decode: PREFILL_BESIDE_DECODE,
            speculation: Speculation::default(),
            forced_drafts: true,
        }
    }
}

/// The slots of a KV store and what they cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvPlan {
    /// How many slots there are.
    pub sizes: StoreSizes,
    /// The cost, by what it is for.
    pub terms: Vec<Term>,
}

impl KvPlan {
    /// Plans the store of an engine.
    ///
    /// Errors: `KvMemory` when the bytes do not hold one sequence of the whole context.
    pub fn new(
        config: &ModelConfig,
        kv_format: KvFormat,
        chunk_tokens: usize,
        options: &EngineOptions,
    ) -> Result<KvPlan, Error> {
        let rings = options.max_sequences.max(1);
        let context_blocks = options.max_context.div_ceil(BLOCK_TOKENS) + BLOCKS_SPARE;
        let suggested = (rings * SNAPSHOTS_PER_SEQUENCE).clamp(SNAPSHOTS_MIN, SNAPSHOTS_MAX);
        let snapshots = options.prefix_snapshots.unwrap_or(suggested);
        let bytes = |sizes| KvStore::bytes(config, kv_format, chunk_tokens, options.max_context, sizes);
        let blocks = match options.kv_bytes {
            None => {
                let others = (rings - 1) * options.max_context.min(TOKENS_PER_SEQUENCE);
                context_blocks + others.div_ceil(BLOCK_TOKENS)
            }
            Some(kv_bytes) => {
                let fixed = bytes(StoreSizes { blocks: 0, rings, snapshots });
                let left = kv_bytes.saturating_sub(fixed.windowed_layers + fixed.snapshots);
                let block = bytes(StoreSizes { blocks: 1, rings: 0, snapshots: 0 }).full_layers;
                let blocks = left.checked_div(block).map_or(usize::MAX, |blocks| blocks as usize);
                // More than all sequences can fill is not worth reserving.
                blocks.min(context_blocks * (rings + 1))
            }
        };
        if blocks < context_blocks {
            return Err(Error::KvMemory { blocks, block_tokens: BLOCK_TOKENS });
        }
        let sizes = StoreSizes { blocks, rings, snapshots };
        let cost = bytes(sizes);
        let term = |name: String, bytes| Term { name, bytes };
        let terms = vec![
            term(
                format!("KV cache: {} tokens in blocks of {BLOCK_TOKENS}", blocks * BLOCK_TOKENS),
                cost.full_layers,
            ),
            term(format!("KV cache: windows of {rings} sequences"), cost.windowed_layers),
            term(format!("KV cache: {snapshots} kept places of prompts"), cost.snapshots),
        ];
        Ok(KvPlan { sizes, terms })
    }
}
