//! gpt-oss on the CPU: weights, forward pass, keys and values, and experts on disk.
//!
//! Entry points: `Model::load` in `forward.rs`, whose path leads through `load.rs` to `weights.rs`; the blocks of a layer
//! are in `block.rs` and `experts.rs`. It does not know how large a model is or whether it fits: that is asked outside.

pub(crate) mod activations;
pub(crate) mod block;
pub(crate) mod expert_cache;
pub(crate) mod expert_demand;
pub(crate) mod experts;
pub(crate) mod forward;
pub(crate) mod kv_cache;
mod kv_random;
pub(crate) mod kv_store;
pub(crate) mod load;
pub(crate) mod tile_probe;
pub(crate) mod weights;
