//! gpt-oss on the CPU, the first twin: weights, forward pass, keys and values, and experts on disk.
//!
//! Entry points: `Runner` in `forward.rs`, which `load.rs` gives its `weights.rs`, `KvRows`, and `Workspace`;
//! the blocks of a layer are in `block.rs` and `experts.rs`, what adapters add in `adapters.rs`. What follows
//! from the config alone is outside, shared by all devices.

pub(crate) mod activations;
pub(crate) mod adapters;
pub(crate) mod block;
pub(crate) mod expert_buffer;
pub(crate) mod expert_cache;
pub(crate) mod experts;
pub(crate) mod forward;
pub(crate) mod kv_rows;
pub(crate) mod load;
pub(crate) mod reuse_predictor;
pub(crate) mod routing;
pub(crate) mod tile_probe;
pub(crate) mod weights;
pub(crate) mod workspace;
