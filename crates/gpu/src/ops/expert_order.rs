//! Rows in the order of their experts, and back.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::router::EXPERTS_MAX;
use crate::ops::{WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// Columns of a workgroup.
const COLUMNS_PER_GROUP: u32 = 64;
/// Bytes of a tile: expert, first slot, slots, and a word that is zero.
const TILE_BYTES: u64 = 4 * WORD_BYTES;
/// Bytes of the workgroups of one dispatch.
const DISPATCH_BYTES: u64 = 3 * WORD_BYTES;

/// Sorts assignments (token times A plus place) by expert, those of one expert as they came, and cuts each
/// expert's slots into tiles: the order of `gptoss_model`'s routing. Two dispatches over the tiles are told
/// their workgroups: so many of the caller's in x, the tiles in y, 1 in z.
pub struct SortExperts<'a> {
    /// `[T, A]` u32: the slot of each assignment.
    pub slots: &'a Slice,
    /// `[T * A]` u32: the token of each slot.
    pub tokens: &'a Slice,
    /// [`SortExperts::tiles_max`] of four u32: expert, first slot, slots, 0.
    pub tiles: &'a Slice,
    /// `[2, 3]` u32
    pub dispatches: &'a Slice,
    /// `[T, A]` u32, each below E.
    pub experts: &'a Slice,
    /// T
    pub t: u32,
    /// A
    pub active: u32,
    /// E, at most 256.
    pub num_experts: u32,
    /// Most slots of a tile.
    pub tile_rows: u32,
    /// The two x.
    pub groups: [u32; 2],
}

impl SortExperts<'_> {
    /// Most tiles that there can be.
    pub fn tiles_max(assignments: u32, num_experts: u32, tile_rows: u32) -> u32 {
        // Full tiles, and one in part for each expert that has any slots.
        assignments.min(num_experts) + assignments / tile_rows
    }

    /// Bytes of the tiles.
    pub fn tiles_bytes(assignments: u32, num_experts: u32, tile_rows: u32) -> u64 {
        u64::from(SortExperts::tiles_max(assignments, num_experts, tile_rows)) * TILE_BYTES
    }

    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, or there are too many experts.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let SortExperts { t, active, num_experts, tile_rows, .. } = *self;
        assert!(num_experts <= EXPERTS_MAX && tile_rows > 0, "sort: {num_experts} experts");
        let assignments = t * active;
        for (what, slice) in [("slots", self.slots), ("tokens", self.tokens), ("experts", self.experts)] {
            assert_bytes("sort", what, slice, u64::from(assignments) * WORD_BYTES);
        }
        assert_bytes(
            "sort",
            "tiles",
            self.tiles,
            SortExperts::tiles_bytes(assignments, num_experts, tile_rows),
        );
        assert_bytes("sort", "dispatches", self.dispatches, 2 * DISPATCH_BYTES);
        let slices = [self.experts, self.slots, self.tokens, self.tiles, self.dispatches];
        let constants = [assignments, active, tile_rows, self.groups[0], self.groups[1]];
        recording.dispatch(&kernels.get("experts_sort")?, &slices, &constants, [1, 1, 1]);
        Ok(())
    }
}

/// Adds what the experts made of each token to its row, in the order in which the router ranked them:
/// `hidden += ((0 + w0 r0) + w1 r1) + ...`, every product rounded.
pub struct CollectExperts<'a> {
    /// `[T, C]`
    pub hidden: &'a Slice,
    /// `[T * A, C]`
    pub outputs: &'a Slice,
    /// `[T, A]`
    pub weights: &'a Slice,
    /// `[T, A]` u32: the row of each assignment; without it assignments are rows.
    pub slots: Option<&'a Slice>,
    /// T
    pub t: u32,
    /// A
    pub active: u32,
    /// C
    pub width: u32,
}

impl CollectExperts<'_> {
    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, or T is above the device's workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let CollectExperts { t, active, width, .. } = *self;
        assert_bytes("collect", "hidden", self.hidden, product([t, width]) * WORD_BYTES);
        assert_bytes("collect", "outputs", self.outputs, product([t, active, width]) * WORD_BYTES);
        assert_bytes("collect", "weights", self.weights, product([t, active]) * WORD_BYTES);
        if let Some(slots) = self.slots {
            assert_bytes("collect", "slots", slots, product([t, active]) * WORD_BYTES);
        }
        let slices = [self.outputs, self.weights, self.slots.unwrap_or(self.weights), self.hidden];
        let constants = [width, active, u32::from(self.slots.is_some())];
        let groups = [width.div_ceil(COLUMNS_PER_GROUP), t, 1];
        recording.dispatch(&kernels.get("experts_collect")?, &slices, &constants, groups);
        Ok(())
    }
}
