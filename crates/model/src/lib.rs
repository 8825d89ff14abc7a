//! gpt-oss and nothing else: which numbers come out when tokens go in.
//!
//! Entry points: [`Model::load`] takes a checkpoint's weights into use, [`Model::new_cache`] and
//! [`Model::forward`] turn tokens into logits, [`Model::new_store`] and [`Model::forward_segments`] those of
//! many sequences in one step; [`parameters()`] and [`memory()`] answer how large a model is from its config
//! alone, and [`plan_memory`] how much of it a budget holds, the rest staying on disk.
//! [`Model::load_adapter`] puts an adapter beside the weights, which a sequence then names. Any member of the
//! family runs by its config: mixture-of-experts or dense, any number of heads, layers and windows. Devices
//! are twins behind [`Model`]: `cpu/`, and `gpu/` for cards, whose memory [`card_memory`] plans.
//!
//! One contract above all: a row of logits is a function of the tokens before it, of the precision and of its
//! adapter, to the bit. It does not depend on chunks, on the number of threads, on what else was computed, or
//! on whether the text was read at once or token by token.
//!
//! Shape letters of this room: `T` tokens · `H` query heads · `K` kv heads · `D` head_dim · `C` hidden_size ·
//! `F` intermediate_size · `E` experts · `A` active experts · `V` vocabulary · `L` layers.
//!
//! What it does not know: text, sampling, requests, file formats, instruction sets.

mod adapter;
mod config;
mod cost;
mod cpu;
mod divergence;
mod error;
mod gpu;
mod kv_cache;
mod kv_random;
mod kv_store;
mod layout;
mod logit_buffer;
mod logits;
mod memory;
mod memory_plan;
mod merge;
mod model;
mod nan_scale;
mod parameters;
mod step;
mod workspace;

pub use adapter::AdapterId;
pub use config::{DenseMode, KvFormat, LayerKind, LoadOptions, ModelConfig, Precision};
pub use cost::TokenCost;
pub use cpu::expert_cache::{ExpertHome, ExpertTraffic};
pub use cpu::tile_probe::TileProbe;
pub use divergence::{Comparison, Divergence};
pub use error::Error;
pub use gpu::card_plan::{card_bytes, plan_card};
pub use gpu::load::check_on_card;
pub use gpu::plan::card_memory;
pub use kv_cache::KvCache;
pub use kv_store::KvStore;
pub use layout::{BLOCK_TOKENS, KvBytes, StoreSizes};
pub use logits::{Logits, argmax, log_prob, log_sum_exp, most_probable};
pub use memory::{Term, adapter_bytes, memory};
pub use memory_plan::{MemoryPlan, PROGRAM_BYTES, plan_memory};
pub use merge::{MergedTensor, Merger, SiteNorms, Tally, adapter_distance, merged_distance, site_norms};
pub use model::Model;
pub use parameters::{PartCount, parameters};
pub use step::{Batch, CHUNK_TOKENS_MAX, KvMove, LOGIT_ROWS_MAX, LogitRows, Segment, SequenceKv};
pub use workspace::{SegmentLogits, Workspace};

/// The card that a model can be brought to.
pub use gptoss_gpu::Device;
/// The threads that a model on the processor and its caller work with.
pub use gptoss_kernels::Pool;
