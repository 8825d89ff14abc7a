//! The cut of an attention call into units of work for the threads.
//!
//! Entry point: [`Plan::fill`]. Query rows go by tiles of tokens, so that a prompt reads each key once for
//! [`CHAINS_MAX`] tokens; a single token takes several kv heads instead, whose keys lie side by side in
//! memory. Where that leaves fewer units than keep the threads busy, as in decode, a unit is one span of
//! context, and the spans are joined afterwards, in order. How a call is cut changes no bit: spans are the
//! same, and joined in the same order.

use std::ops::Range;

use super::inputs::{AttentionJob, AttentionParams};
use super::shape::{SPAN, WorkUnit, partial_lanes};

/// Pairs of a token and a kv head in a unit: scores of 8 x 512 x 8 heads are 128 KB, which stay in the second
/// cache.
const CHAINS_MAX: usize = 8;
/// Units a thread should have, so that a late one does not keep the others waiting.
const UNITS_PER_THREAD: usize = 4;

/// The units of a call.
#[derive(Default)]
pub(super) struct Plan {
    /// Those of one span each have a place for their result, the others finish their rows.
    pub(super) units: Vec<WorkUnit>,
    /// What is left to do with the partial results.
    pub(super) merges: Vec<SpanMerge>,
    /// Room for the partial results. Units: lanes.
    pub(super) partial_lanes: usize,
    tiles: Vec<Tile>,
}

/// The rows of one kv head whose spans were reduced apart.
pub(super) struct SpanMerge {
    pub(super) job: usize,
    pub(super) first_token: usize,
    pub(super) num_tokens: usize,
    pub(super) head: usize,
    pub(super) spans: Range<usize>,
    /// Where the partial results of the tile begin: `[spans, K, tokens, lane groups, 2 + D]`. Units: lanes.
    pub(super) first_partial: usize,
}

/// Rows of one job.
struct Tile {
    job: usize,
    first_token: usize,
    num_tokens: usize,
    spans: Range<usize>,
}

impl Plan {
    /// Plans a call in the memory of an earlier one's plan.
    pub(super) fn fill(&mut self, jobs: &[AttentionJob<'_>], params: &AttentionParams<'_>, threads: usize) {
        self.units.clear();
        self.merges.clear();
        self.partial_lanes = 0;
        let mut all = std::mem::take(&mut self.tiles);
        all.clear();
        all.extend(jobs.iter().enumerate().flat_map(|(j, job)| tiles(j, job, params)));
        let wanted = if threads > 1 { threads * UNITS_PER_THREAD } else { 1 };
        let kv_heads = params.num_kv_heads;
        // A long tile leaves room for few heads.
        let widest = all.iter().map(|tile| tile.num_tokens).max().unwrap_or(1);
        let mut heads = (CHAINS_MAX / widest).clamp(1, kv_heads);
        let spans: usize = all.iter().map(|tile| tile.spans.len()).sum();
        while heads > 1 && spans * kv_heads.div_ceil(heads) < wanted {
            heads /= 2;
        }
        // The last rows of a prompt see the most and are begun first.
        for tile in all.iter().rev() {
            let more_than_its_share = tile.spans.len() * heads * wanted > spans * kv_heads;
            match tile.spans.len() > 1 && more_than_its_share {
                true => self.add_split(tile, params, heads),
                false => self.add_whole(tile, params, heads),
            }
        }
        self.tiles = all;
    }

    fn add_whole(&mut self, tile: &Tile, params: &AttentionParams<'_>, heads: usize) {
        for first_head in (0..params.num_kv_heads).step_by(heads) {
            let heads = first_head..params.num_kv_heads.min(first_head + heads);
            self.units.push(tile.unit(heads, tile.spans.clone(), None));
        }
    }

    fn add_split(&mut self, tile: &Tile, params: &AttentionParams<'_>, heads: usize) {
        let first_partial = self.partial_lanes;
        for span in tile.spans.clone() {
            for first_head in (0..params.num_kv_heads).step_by(heads) {
                let heads = first_head..params.num_kv_heads.min(first_head + heads);
                let unit = tile.unit(heads, span..span + 1, Some(self.partial_lanes));
                self.partial_lanes += partial_lanes(&unit, params);
                self.units.push(unit);
            }
        }
        self.merges.extend((0..params.num_kv_heads).map(|head| SpanMerge {
            job: tile.job,
            first_token: tile.first_token,
            num_tokens: tile.num_tokens,
            head,
            spans: tile.spans.clone(),
            first_partial,
        }));
    }
}

impl Tile {
    fn unit(&self, heads: Range<usize>, spans: Range<usize>, partial: Option<usize>) -> WorkUnit {
        WorkUnit {
            job: self.job,
            first_token: self.first_token,
            num_tokens: self.num_tokens,
            first_head: heads.start,
            num_heads: heads.len(),
            spans,
            partial,
        }
    }
}

fn tiles<'a>(
    job: usize,
    rows: &AttentionJob<'_>,
    params: &'a AttentionParams<'a>,
) -> impl Iterator<Item = Tile> + use<'a> {
    let (first_position, t) = (rows.first_position, rows.q.len() / params.row().max(1));
    (0..t).step_by(CHAINS_MAX).map(move |first_token| {
        let num_tokens = CHAINS_MAX.min(t - first_token);
        let first = params.visible(first_position + first_token).start;
        let last = first_position + first_token + num_tokens - 1;
        Tile { job, first_token, num_tokens, spans: first / SPAN..last / SPAN + 1 }
    })
}
