//! The experts of many rows of int8: sorted by expert on the card, and each matrix read once for a tile of
//! them.
//!
//! The numbers of a row are those of the products of few rows: what an expert makes of it depends on nothing
//! beside it, and what its experts made comes back in the order of their ranks.

use gptoss_gpu::Error;
use gptoss_gpu::ops::{ExpertTiles, SortExperts, TILE_ROWS};

use super::PassRecorder;
use crate::gpu::weights::LayerWeights;

impl PassRecorder<'_> {
    /// Adds what the chosen experts make of the normed rows to the residual stream.
    pub(super) fn experts_by_tiles(&mut self, weights: &LayerWeights) -> Result<(), Error> {
        let (work, config, kernels) = (self.all.work, self.all.config, self.all.kernels);
        let t = self.shape.rows;
        let [c, f, num_experts, active] =
            [config.hidden_size, config.intermediate_size, config.expert_slots(), config.active_experts()]
                .map(|size| size as u32);
        let [gate_up_dispatch, down_dispatch] = [0..12, 12..24].map(|part| work.order.dispatches.part(part));
        let order = SortExperts {
            slots: &work.order.slots,
            tokens: &work.order.tokens,
            tiles: &work.order.tiles,
            dispatches: &work.order.dispatches,
            experts: &work.experts,
            t,
            active,
            num_experts,
            tile_rows: TILE_ROWS,
            groups: [2 * f, c].map(ExpertTiles::groups),
        };
        order.record(kernels, &mut self.recording)?;
        let product = ExpertTiles {
            out: &work.gate_up,
            x: &work.middles,
            num_inputs: t,
            sources: Some(&work.order.tokens),
            codes: &weights.gate_up.codes,
            code_scales: &weights.gate_up.scales,
            bias: &weights.gate_up.bias,
            tiles: &work.order.tiles,
            dispatch: &gate_up_dispatch,
            num_experts,
            rows: t * active,
            n: 2 * f,
            k: c,
        };
        product.record(kernels, &mut self.recording)?;
        self.activate(t * active, f)?;
        let product = ExpertTiles {
            out: &work.outputs,
            x: &work.activated,
            num_inputs: t * active,
            sources: None,
            codes: &weights.down.codes,
            code_scales: &weights.down.scales,
            bias: &weights.down.bias,
            dispatch: &down_dispatch,
            n: c,
            k: f,
            ..product
        };
        product.record(kernels, &mut self.recording)?;
        self.collect(Some(&work.order.slots))
    }
}
