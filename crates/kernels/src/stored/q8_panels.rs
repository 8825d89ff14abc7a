//! Dense weights as int8 in the order in which a tile takes them.
//!
//! Entry points: [`Q8Panels`] and [`pack_q8_panels`]. Sixteen rows make a panel, of which four neighboring
//! values of each row stand side by side. One instruction of the AVX-512 tier multiplies such 64 bytes with
//! four activations of one token and adds them to sixteen sums, so nothing is folded within a register and
//! nothing unpacked, whether there is one token or hundreds. The numbers are those of Q8_0 with 128 added,
//! which that instruction wants; bytes and bits are as many.

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_scale};
use half::f16;

use crate::pool::Pool;
use crate::products::float::Weights;
#[cfg(target_arch = "x86_64")]
use crate::products::int8::Panel;
use crate::products::int8::{Int8Weights, dot_blocks, int8_sum};
use crate::q8::{Q8Order, Q8Row, lane_major};
#[cfg(target_arch = "x86_64")]
use crate::q8::{Q8Rows, TileBlock};
use crate::rows::SharedRows;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx512_q8::WIDE_TOKENS, panel::Q8Panel};
#[cfg(target_arch = "x86_64")]
use crate::tier::Avx512;
use crate::tier::{Instructions, Tier};

/// Rows of a panel.
pub const Q8_PANEL_ROWS: usize = 16;
/// What is added to a value to make it unsigned, as a flip of its highest bit.
const FLIP: u8 = 0x80;
/// Values of a row that stand side by side.
const FOUR: usize = 4;
/// Bytes of a block of a panel.
const PANEL_BLOCK_BYTES: usize = Q8_PANEL_ROWS * BLOCK_VALUES;
/// Tokens of one tile of panels.
const TOKENS_READ_ONCE: usize = 8;

/// A matrix of N rows of K values, N a multiple of 16 and K of 32. Blocks of a row are in the order of the
/// lanes of a sum: 0, 8, 16, ..., then 1, 9, ...
#[derive(Clone, Copy, Debug)]
pub struct Q8Panels<'a> {
    /// `[N / 16, K / 32, 8, 16, 4]`, each plus 128.
    pub values: &'a [u8],
    /// `[N / 16, K / 32, 16]`
    pub scales: &'a [f16],
}

impl Q8Panels<'_> {
    /// Whether a matrix of `n` rows can be laid out so, and a product on `tier` is the faster for it.
    pub fn serve(tier: Tier, n: usize) -> bool {
        tier >= Tier::Avx512Vnni && n.is_multiple_of(Q8_PANEL_ROWS)
    }

    /// The blocks of row `index` in their natural order: scale and values.
    fn row(self, index: usize, num_blocks: usize) -> Vec<(f32, [i8; BLOCK_VALUES])> {
        let (panel, r) = (index / Q8_PANEL_ROWS, index % Q8_PANEL_ROWS);
        let values = &self.values.as_chunks::<PANEL_BLOCK_BYTES>().0[panel * num_blocks..][..num_blocks];
        let scales = &self.scales.as_chunks::<Q8_PANEL_ROWS>().0[panel * num_blocks..][..num_blocks];
        let mut row = vec![(0.0, [0; BLOCK_VALUES]); num_blocks];
        for ((values, scales), b) in values.iter().zip(scales).zip(lane_major(num_blocks)) {
            let value = |i: usize| values[(i / FOUR * Q8_PANEL_ROWS + r) * FOUR + i % FOUR];
            row[b] = (scales[r].to_f32(), std::array::from_fn(|i| (value(i) ^ FLIP) as i8));
        }
        row
    }
}

impl Weights for Q8Panels<'_> {
    fn assert_shape(self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "q8 panels: K = {k} is not a multiple of 32");
        assert!(n.is_multiple_of(Q8_PANEL_ROWS), "q8 panels: N = {n} is not a multiple of 16");
        assert_eq!(self.values.len(), n * k, "q8 panels: values are [N, K]");
        assert_eq!(self.scales.len() * BLOCK_VALUES, n * k, "q8 panels: scales are [N, K / 32]");
    }

    fn num_bytes(self) -> usize {
        size_of_val(self.values) + size_of_val(self.scales)
    }

    /// Both are multiples of 16.
    fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        assert!(first.is_multiple_of(Q8_PANEL_ROWS) && rows.is_multiple_of(Q8_PANEL_ROWS), "whole panels");
        let num_blocks = k / BLOCK_VALUES;
        Q8Panels {
            values: &self.values[first * k..][..rows * k],
            scales: &self.scales[first * num_blocks..][..rows * num_blocks],
        }
    }

    fn unpack_row(self, out: &mut [f32], row: usize) {
        let (outs, rest) = out.as_chunks_mut::<BLOCK_VALUES>();
        assert!(rest.is_empty(), "q8 panels: K is a multiple of 32");
        let num_blocks = outs.len();
        for (out, (scale, values)) in outs.iter_mut().zip(self.row(row, num_blocks)) {
            for (out, value) in out.iter_mut().zip(values) {
                *out = f32::from(value) * scale;
            }
        }
    }
}

impl Int8Weights for Q8Panels<'_> {
    const FACTOR: f32 = 1.0;

    fn order(self) -> Q8Order {
        Q8Order::Q8_0
    }

    fn memory(&self) -> [&[u8]; 2] {
        [self.values, bytemuck::cast_slice(self.scales)]
    }

    fn dot(self, x: Q8Row<'_>, row: usize, num_blocks: usize) -> f32 {
        let blocks = self.row(row, num_blocks).into_iter().enumerate();
        dot_blocks(x, blocks.map(|(b, (scale, values))| (scale, int8_sum(x, b, &values))))
    }

    /// Panels are never unpacked. On other tiers nobody lays them out, and if somebody does, the numbers are
    /// right.
    fn tile_tokens(instructions: Instructions) -> Option<usize> {
        Q8Panels::serve(instructions.tier(), 0).then_some(1)
    }

    fn is_read_once(tokens: usize) -> bool {
        tokens <= TOKENS_READ_ONCE
    }

    #[cfg(target_arch = "x86_64")]
    fn multiply_avx512(_: Avx512, panel: &Panel<'_, Self>, x: &Q8Rows, tiles: &[TileBlock]) {
        // SAFETY: the token is the proof of the features.
        unsafe { multiply_avx512(panel, x, tiles) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn multiply_avx512(panel: &Panel<'_, Q8Panels<'_>>, x: &Q8Rows, tiles: &[TileBlock]) {
    let (w, num_blocks) = (panel.w, panel.num_blocks);
    let panels = w.values.chunks_exact(num_blocks * PANEL_BLOCK_BYTES);
    let panels = panels.zip(w.scales.chunks_exact(num_blocks * Q8_PANEL_ROWS));
    let panels = panels.map(|(weights, scales)| -> Q8Panel<'_, Q8_PANEL_ROWS, f16> {
        Q8Panel { weights, scales: scales.as_chunks().0 }
    });
    panel.by_panel(panels, tiles, x.t(), WIDE_TOKENS, |tile, x, rows, tokens, prefetch| {
        panel.tile_avx512(tile, x, rows, tokens, prefetch);
    });
}

/// Lays a matrix out in panels.
///
/// Shapes: `values [N / 16, K / 32, 8, 16, 4]`, `scales [N / 16, K / 32, 16]`, `blocks [N, K / 32]`.
/// Panics: when the lengths do not fit together, or N is not a multiple of 16.
pub fn pack_q8_panels(pool: &Pool, values: &mut [u8], scales: &mut [f16], blocks: &[Q8_0Block], k: usize) {
    let num_blocks = k / BLOCK_VALUES;
    let panel_blocks = Q8_PANEL_ROWS * num_blocks;
    assert!(k > 0 && k.is_multiple_of(BLOCK_VALUES), "pack_q8_panels: K = {k} is not a multiple of 32");
    assert!(blocks.len().is_multiple_of(panel_blocks), "pack_q8_panels: N is a multiple of 16");
    assert_eq!(values.len(), blocks.len() * BLOCK_VALUES, "pack_q8_panels: values are [N, K]");
    assert_eq!(scales.len(), blocks.len(), "pack_q8_panels: scales are [N, K / 32]");
    let (values, scales) =
        (SharedRows::new(values, Q8_PANEL_ROWS * k), SharedRows::new(scales, panel_blocks));
    pool.run(blocks.len() / panel_blocks, |panel| {
        // SAFETY: task `panel` alone touches its panel.
        let (values, scales) = unsafe { (values.row(panel), scales.row(panel)) };
        let places = values.as_chunks_mut::<PANEL_BLOCK_BYTES>().0.iter_mut();
        let places = places.zip(scales.as_chunks_mut::<Q8_PANEL_ROWS>().0);
        for ((values, scales), b) in places.zip(lane_major(num_blocks)) {
            for (r, scale) in scales.iter_mut().enumerate() {
                let block = &blocks[panel * panel_blocks + r * num_blocks + b];
                let [_, _, row @ ..] = block;
                *scale = q8_0_scale(block);
                for (c, four) in row.as_chunks::<FOUR>().0.iter().enumerate() {
                    let out = &mut values[(c * Q8_PANEL_ROWS + r) * FOUR..][..FOUR];
                    out.copy_from_slice(&four.map(|value| value ^ FLIP));
                }
            }
        }
    });
}
