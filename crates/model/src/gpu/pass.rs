//! The rows of a step, cut into passes that a recording serves.
//!
//! Entry points: [`each_pass`] cuts, [`Pass`] says of its rows what the kernels ask: which token, which place
//! in the store, and the blocks of each sequence one after another. A pass holds rows of several sequences,
//! and a long chunk goes over several passes: a row's numbers depend on neither.

use gptoss_gpu::ops::{ATTENTION_SPAN, KvPlace};

use crate::Error;
use crate::layout::BLOCK_TOKENS;
use crate::step::{CHUNK_TOKENS_MAX, Segment};

/// Most rows that go through the layers together: a chunk of a prompt, so that each expert is read once for
/// as many of its tokens as there can be.
pub(crate) const PASS_ROWS_MAX: usize = CHUNK_TOKENS_MAX;
/// What the rows of a longer pass are a multiple of.
const PASS_ROWS_UNIT: u32 = 64;
/// Blocks that a span of attention covers.
const SPAN_BLOCKS: usize = ATTENTION_SPAN as usize / BLOCK_TOKENS;

/// Consecutive rows of a step.
#[derive(Default)]
pub(crate) struct Pass {
    /// Index of the first in the step.
    pub(crate) first_row: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) places: Vec<KvPlace>,
    /// Blocks of the sequences.
    pub(crate) table: Vec<u32>,
}

/// What a recording is made for: few numbers of rows and of spans, so that there are few recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassShape {
    /// Rows, those that are nobody's among them: a power of two, or beyond 64 a multiple of that.
    pub(crate) rows: u32,
    /// Spans of [`ATTENTION_SPAN`] positions, at least as many as any row sees: a power of two.
    pub(crate) spans: u32,
}

impl Pass {
    /// The recording that serves the pass.
    pub(crate) fn shape(&self) -> PassShape {
        let last = self.places.iter().map(|place| place.position).max().unwrap_or(0);
        let rows = self.tokens.len() as u32;
        PassShape {
            rows: rows.next_power_of_two().min(rows.next_multiple_of(PASS_ROWS_UNIT)),
            spans: (last / ATTENTION_SPAN + 1).next_power_of_two(),
        }
    }

    fn push(&mut self, segment: &Segment<'_>, first: usize, count: usize) {
        let first_block = self.table.len() as u32;
        self.tokens.extend(&segment.tokens[first..first + count]);
        let first_position = segment.first_position + first;
        let positions = first_position..first_position + count;
        self.places.extend(positions.map(|position| KvPlace {
            position: position as u32,
            first_block,
            ring: segment.kv.ring,
        }));
        self.table.extend(&segment.kv.blocks[..(first_position + count).div_ceil(BLOCK_TOKENS)]);
    }

    /// Goes to the rows behind these.
    fn advance(&mut self) {
        self.first_row += self.tokens.len();
        self.tokens.clear();
        self.places.clear();
        self.table.clear();
    }
}

impl PassShape {
    /// Most blocks of all sequences of such a pass.
    pub(crate) fn table_blocks(self) -> usize {
        self.rows as usize * self.spans as usize * SPAN_BLOCKS
    }
}

/// Hands the rows of a step to `run` in passes whose blocks fit a table of `table_blocks`. `pass` lends its
/// memory.
///
/// Errors: those of `run`.
///
/// Panics: when one sequence has more blocks than the table; its blocks are distinct, and the store has
/// fewer.
pub(crate) fn each_pass(
    segments: &[Segment<'_>],
    table_blocks: usize,
    pass: &mut Pass,
    mut run: impl FnMut(&Pass) -> Result<(), Error>,
) -> Result<(), Error> {
    pass.advance();
    pass.first_row = 0;
    for segment in segments {
        let mut first = 0;
        while first < segment.tokens.len() {
            let count = (PASS_ROWS_MAX - pass.tokens.len()).min(segment.tokens.len() - first);
            let blocks = (segment.first_position + first + count).div_ceil(BLOCK_TOKENS);
            let fits = count > 0 && pass.table.len() + blocks <= table_blocks;
            if fits || pass.tokens.is_empty() {
                assert!(
                    blocks <= table_blocks,
                    "{blocks} blocks of one sequence, {table_blocks} in the table"
                );
                pass.push(segment, first, count);
                first += count;
            } else {
                run(pass)?;
                pass.advance();
            }
        }
    }
    if pass.tokens.is_empty() { Ok(()) } else { run(pass) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{LogitRows, SequenceKv};

    /// First row, rows and blocks of each pass.
    fn passes(segments: &[(usize, usize)], table_blocks: usize) -> Vec<(usize, usize, usize)> {
        let (tokens, blocks) = ([7; 700], (0..100).collect::<Vec<u32>>());
        let segments: Vec<Segment<'_>> = segments
            .iter()
            .map(|&(first_position, count)| Segment {
                tokens: &tokens[..count],
                first_position,
                kv: SequenceKv { blocks: &blocks, ring: 3 },
                logits: LogitRows::None,
                adapter: None,
            })
            .collect();
        let mut found = Vec::new();
        let run = |pass: &Pass| {
            assert_eq!(pass.tokens.len(), pass.places.len());
            assert!(pass.table.len() <= pass.shape().table_blocks());
            found.push((pass.first_row, pass.tokens.len(), pass.table.len()));
            Ok(())
        };
        each_pass(&segments, table_blocks, &mut Pass::default(), run).expect("nothing fails");
        found
    }

    #[test]
    fn rows_of_many_sequences_share_passes_and_long_chunks_are_cut() {
        assert_eq!(passes(&[], 10), []);
        assert_eq!(passes(&[(0, 1), (31, 1), (32, 1)], 10), [(0, 3, 4)]);
        assert_eq!(passes(&[(40, 1), (0, 600), (5, 2)], 100), [(0, 512, 18), (512, 91, 20)]);
    }

    #[test]
    fn a_full_table_ends_a_pass() {
        assert_eq!(passes(&[(100, 1), (100, 1), (100, 1)], 9), [(0, 2, 8), (2, 1, 4)]);
    }

    #[test]
    fn recordings_are_for_few_numbers_of_rows() {
        let places = [5, 1024].map(|position| KvPlace { position, ..KvPlace::default() });
        for (count, rows) in [(1, 1), (3, 4), (33, 64), (65, 128), (129, 192), (470, 512)] {
            let pass = Pass { tokens: vec![1; count], places: places.to_vec(), ..Pass::default() };
            assert_eq!(pass.shape(), PassShape { rows, spans: 4 });
        }
    }
}
