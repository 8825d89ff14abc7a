//! Products of rows in the order of their experts, a tile of one expert's at a time.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{
    MiddleRows, SortExperts, TILE_OUTPUTS, TILE_ROWS, WORD_BYTES, assert_bytes, assert_experts, num_blocks,
    product,
};
use crate::recording::Recording;

/// `out [R, N]`: slot r is its tile's expert of MXFP4 matrices `[E, N, K]` times the slot's input, plus the
/// expert's bias: `gptoss_kernels::linear` with `Mxfp4`. The tiles and how many there are come from
/// [`SortExperts`] with tiles of [`TILE_ROWS`] and [`ExpertTiles::groups`]. The numbers of a row are those of
/// [`ExpertLinear`](crate::ops::ExpertLinear).
pub struct ExpertTiles<'a> {
    /// `[R, N]`
    pub out: &'a Slice,
    /// As many rows as `num_inputs` says.
    pub x: &'a MiddleRows,
    /// Rows of `x`.
    pub num_inputs: u32,
    /// `[R]` u32, each below `num_inputs`: the input of a slot; without it slots are inputs.
    pub sources: Option<&'a Slice>,
    /// `[E, N, K / 32, 16]`, as published.
    pub codes: &'a Slice,
    /// `[E, N, K / 32]`, as published; no byte is 255.
    pub code_scales: &'a Slice,
    /// `[E, N]`
    pub bias: &'a Slice,
    /// The tiles of all slots.
    pub tiles: &'a Slice,
    /// The workgroups of this product: three u32.
    pub dispatch: &'a Slice,
    /// E
    pub num_experts: u32,
    /// R
    pub rows: u32,
    /// N
    pub n: u32,
    /// K, a multiple of 32.
    pub k: u32,
}

impl ExpertTiles<'_> {
    /// Workgroups of a tile with N outputs.
    pub fn groups(n: u32) -> u32 {
        n.div_ceil(TILE_OUTPUTS)
    }

    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernel.
    /// Panics: when a slice is too short, or K is not whole blocks.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let op = "expert_tiles";
        let ExpertTiles { num_inputs, num_experts, rows, n, k, .. } = *self;
        let blocks = num_blocks(op, k);
        assert!(self.sources.is_some() || num_inputs == rows, "{op}: {num_inputs} inputs of {rows} rows");
        self.x.assert_room(op, num_inputs, k);
        assert_bytes(op, "out", self.out, product([rows, n]) * WORD_BYTES);
        assert_experts(op, [self.codes, self.code_scales, self.bias], [num_experts, n, blocks]);
        assert_bytes(op, "tiles", self.tiles, SortExperts::tiles_bytes(rows, num_experts, TILE_ROWS));
        if let Some(sources) = self.sources {
            assert_bytes(op, "sources", sources, u64::from(rows) * WORD_BYTES);
        }
        let sources = self.sources.unwrap_or(self.tiles);
        let (x, tiles) = (self.x, self.tiles);
        let slices =
            [self.out, self.codes, self.code_scales, &x.values, &x.beside, sources, tiles, self.bias];
        let constants = [n, blocks, u32::from(self.sources.is_some())];
        let most = [ExpertTiles::groups(n), SortExperts::tiles_max(rows, num_experts, TILE_ROWS), 1];
        let kernel = kernels.get("tile_mxfp4_int8")?;
        recording.dispatch_indirect(&kernel, &slices, &constants, (self.dispatch, most));
        Ok(())
    }
}
