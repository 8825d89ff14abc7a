//! gpt-oss on a card, the twin of `cpu/`: weights, forward pass, keys and values in the card's memory.
//!
//! Entry points: `Runner` in `forward.rs`, which `load.rs` gives its `weights.rs`; `KvRows`, and `Workspace`
//! with the buffers of a pass. `layers.rs` puts a pass together of the ops of the room `gpu`, once for each
//! number of rows; `plan.rs` says to the byte what all of it takes. A card without room for all experts has
//! slots for some (`expert_slots.rs`), which `host_experts.rs` fills; `card_plan.rs` says how many. What
//! follows from the config alone is outside, shared by all devices.

pub(crate) mod card_plan;
pub(crate) mod expert_slots;
pub(crate) mod forward;
pub(crate) mod host_experts;
pub(crate) mod kv_rows;
pub(crate) mod layers;
pub(crate) mod load;
pub(crate) mod pass;
pub(crate) mod plan;
pub(crate) mod weights;
pub(crate) mod workspace;
