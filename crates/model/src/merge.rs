//! An adapter merged into the weights beside which it was trained, tensor by tensor.
//!
//! [`Merger::write`] makes the bytes of one part at a time, so that a model larger than memory can be merged.
//! Sums are in f32, what is added before the base; dense matrices are rounded to bf16 once. Experts become
//! bf16, which has room for what was learned, or stay MXFP4, where the base's numbers sit on grid points and
//! an addition of less than half a step rounds away: what came of it is counted in a [`MergedTensor`].
//! Parts in the format that is written, and blocks, to which nothing is added keep their bytes.

mod compare;
mod row;
mod sites;
mod tally;

use std::collections::HashMap;
use std::io::{self, Write};

use gptoss_checkpoint::{
    Adapter, AdapterPair, AdapterSite, Checkpoint, Config, Dtype, ExpertFormat, LayerPart, Part, Tensor,
};
use gptoss_kernels::{LowRank, Pool, low_rank_row};
use half::bf16;

use crate::merge::row::{BaseRows, MergedRow, merged_bf16, merged_mxfp4, rows_of};

pub use compare::{SiteNorms, adapter_distance, merged_distance, site_norms};
pub use tally::{MergedTensor, Tally};

/// Rows that are made before they are written: 47 MB of bf16 with the published width.
const ROWS_AT_ONCE: usize = 8192;

/// Writes the parts of a merged model.
pub struct Merger<'a> {
    base: &'a Checkpoint,
    adapter: &'a Adapter,
    experts: ExpertFormat,
    pool: &'a Pool,
    /// Scales of blocks that have been written.
    scales: HashMap<Part, Vec<u8>>,
    changes: Vec<MergedTensor>,
}

/// A layer's experts of one kind.
#[derive(Clone, Copy)]
struct Stack {
    layer: usize,
    is_down: bool,
}

impl<'a> Merger<'a> {
    /// A merge into experts of this format.
    ///
    /// Panics: for MXFP4 when the base has none, as there are no scales to go by.
    pub fn new(
        base: &'a Checkpoint,
        adapter: &'a Adapter,
        experts: ExpertFormat,
        pool: &'a Pool,
    ) -> Merger<'a> {
        let has_scales = base.expert_format() == ExpertFormat::Mxfp4;
        assert!(has_scales || experts == ExpertFormat::Bf16, "merge: MXFP4 out of bf16");
        Merger { base, adapter, experts, pool, scales: HashMap::new(), changes: Vec::new() }
    }

    /// What the merge did to each tensor that it changed, so far.
    pub fn changes(&self) -> &[MergedTensor] {
        &self.changes
    }

    /// Writes the bytes of a part; codes come before their scales.
    ///
    /// Errors: those of reading the base and of `sink`.
    pub fn write(&mut self, part: Part, sink: &mut dyn Write) -> io::Result<()> {
        let Part::Layer(layer, layer_part) = part else { return self.write_dense(part, sink) };
        match layer_part {
            LayerPart::GateUpBlocks | LayerPart::GateUpBf16 => {
                self.write_stack(part, Stack { layer, is_down: false }, sink)
            }
            LayerPart::DownBlocks | LayerPart::DownBf16 => {
                self.write_stack(part, Stack { layer, is_down: true }, sink)
            }
            LayerPart::GateUpScales | LayerPart::DownScales => match self.scales.remove(&part) {
                Some(scales) => sink.write_all(&scales),
                None => sink.write_all(&self.tensor(part)?.bytes),
            },
            _ => self.write_dense(part, sink),
        }
    }

    fn tensor(&self, part: Part) -> io::Result<Tensor> {
        self.base.tensor(part).map_err(io::Error::other)
    }

    /// Vectors, and matrices that lie alone.
    fn write_dense(&mut self, part: Part, sink: &mut dyn Write) -> io::Result<()> {
        let (tensor, change) = (self.tensor(part)?, Change::of(self.adapter, part));
        let columns = gptoss_checkpoint::shape(self.base.config(), part).last().copied().unwrap_or(1);
        let num_rows = numbers_of(self.base.config(), part) / columns;
        if change.is_none() && tensor.dtype == Dtype::Bf16 {
            return sink.write_all(&tensor.bytes);
        }
        let mut total = Tally::default();
        for first in (0..num_rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(num_rows - first);
            let base = rows_of(&tensor, first, count, num_rows)?;
            let rows = self.rows(count, |row| {
                let values = &base[row * columns..][..columns];
                merged_bf16(values, &change.row(first + row, values))
            });
            for row in rows {
                total.add(&row.tally);
                sink.write_all(&row.bytes)?;
            }
        }
        if !change.is_none() {
            self.changes.push(MergedTensor { name: tensor.name.clone(), tally: total });
        }
        Ok(())
    }

    fn rows(&self, count: usize, make: impl Fn(usize) -> MergedRow + Sync) -> Vec<MergedRow> {
        let mut rows: Vec<MergedRow> = (0..count).map(|_| MergedRow::default()).collect();
        self.pool.for_each_row(&mut rows, 1, |row, out| out[0] = make(row));
        rows
    }

    fn pair(&self, Stack { layer, is_down }: Stack, expert: usize) -> Option<&'a AdapterPair> {
        self.adapter.pairs.get(&match is_down {
            true => AdapterSite::Down { layer, expert },
            false => AdapterSite::GateUp { layer, expert },
        })
    }

    /// The matrices of all experts, in the format that is wanted; scales are kept for their own part.
    fn write_stack(&mut self, part: Part, stack: Stack, sink: &mut dyn Write) -> io::Result<()> {
        let config = self.base.config();
        let experts = config.num_local_experts.max(1);
        let (blocks, scales, floats) = match stack.is_down {
            false => (LayerPart::GateUpBlocks, LayerPart::GateUpScales, LayerPart::GateUpBf16),
            true => (LayerPart::DownBlocks, LayerPart::DownScales, LayerPart::DownBf16),
        };
        let [blocks, scales, floats] = [blocks, scales, floats].map(|part| Part::Layer(stack.layer, part));
        let [rows, columns] = match stack.is_down {
            false => [2 * config.intermediate_size, config.hidden_size],
            true => [config.hidden_size, config.intermediate_size],
        };
        let is_mxfp4 = self.base.expert_format() == ExpertFormat::Mxfp4;
        let tensors = match is_mxfp4 {
            true => [self.tensor(blocks)?, self.tensor(scales)?],
            false => {
                let floats = self.tensor(floats)?;
                [floats.clone(), floats]
            }
        };
        let mut new_scales = Vec::new();
        let mut total = Tally::default();
        for expert in 0..experts {
            let [first, second] = tensors.each_ref().map(|tensor| {
                let size = tensor.bytes.len() / experts;
                &tensor.bytes[expert * size..][..size]
            });
            let base = match is_mxfp4 {
                true => BaseRows::Mxfp4 { blocks: first, scales: second, columns },
                false => BaseRows::Transposed {
                    values: tensors[0].bf16().map_err(io::Error::other)?,
                    rows,
                    columns,
                    expert,
                },
            };
            let pair = self.pair(stack, expert);
            match (self.experts, pair) {
                (ExpertFormat::Mxfp4, None) => {
                    sink.write_all(first)?;
                    new_scales.extend_from_slice(second);
                }
                (ExpertFormat::Mxfp4, Some(pair)) => {
                    for row in self.rows(rows, |row| merged_mxfp4(&base, row, &added(pair, row, columns))) {
                        total.add(&row.tally);
                        sink.write_all(&row.bytes)?;
                        new_scales.extend_from_slice(&row.scales);
                    }
                }
                (ExpertFormat::Bf16, None) if !is_mxfp4 => sink.write_all(first)?,
                (ExpertFormat::Bf16, _) => {
                    let merged = self.rows(rows, |row| {
                        let values = base.row(row);
                        let delta = pair.map(|pair| added(pair, row, columns));
                        let wanted =
                            delta.map(|delta| sum(&values, &delta)).unwrap_or_else(|| values.clone());
                        merged_bf16(&values, &wanted)
                    });
                    merged.iter().for_each(|row| total.add(&row.tally));
                    self.write_transposed(&merged, columns, sink)?;
                }
            }
        }
        if self.experts == ExpertFormat::Mxfp4 {
            self.scales.insert(scales, new_scales);
        }
        if (0..experts).any(|expert| self.pair(stack, expert).is_some()) {
            let name = gptoss_checkpoint::hugging_face_name(config, part);
            self.changes.push(MergedTensor { name, tally: total });
        }
        Ok(())
    }

    /// Rows of bf16 as columns.
    fn write_transposed(&self, rows: &[MergedRow], columns: usize, sink: &mut dyn Write) -> io::Result<()> {
        let mut turned = vec![bf16::ZERO; rows.len() * columns];
        self.pool.for_each_row(&mut turned, rows.len(), |column, out| {
            for (out, row) in out.iter_mut().zip(rows) {
                *out = bf16::from_le_bytes([row.bytes[2 * column], row.bytes[2 * column + 1]]);
            }
        });
        sink.write_all(bytemuck::cast_slice(&turned))
    }
}

/// What an adapter does to a dense part.
struct Change<'a> {
    pair: Option<&'a AdapterPair>,
    whole: Option<&'a [f32]>,
    /// Tokens whose rows are replaced, and the rows.
    rows: Option<(&'a [u32], &'a [f32])>,
}

impl<'a> Change<'a> {
    fn of(adapter: &'a Adapter, part: Part) -> Change<'a> {
        let rows = match part {
            Part::Embedding => &adapter.rows.embedding[..],
            Part::Unembedding => &adapter.rows.unembedding[..],
            _ => &[],
        };
        Change {
            pair: adapter.pairs.iter().find(|(site, _)| site.part() == Some(part)).map(|(_, pair)| pair),
            whole: adapter.replaced.iter().find(|(known, _)| *known == part).map(|(_, values)| &values[..]),
            rows: (!rows.is_empty()).then_some((&adapter.rows.tokens[..], rows)),
        }
    }

    fn is_none(&self) -> bool {
        self.pair.is_none() && self.whole.is_none() && self.rows.is_none()
    }

    /// What a row should be.
    fn row(&self, row: usize, base: &[f32]) -> Vec<f32> {
        let columns = base.len();
        if let Some((tokens, rows)) = self.rows
            && let Ok(index) = tokens.binary_search(&(row as u32))
        {
            return rows[index * columns..][..columns].to_vec();
        }
        match (self.whole, self.pair) {
            (Some(whole), _) => whole[row * columns..][..columns].to_vec(),
            (None, Some(pair)) => sum(base, &added(pair, row, columns)),
            (None, None) => base.to_vec(),
        }
    }
}

/// A row of what a pair adds.
fn added(pair: &AdapterPair, row: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; columns];
    let AdapterPair { rank, scale, a, b } = pair;
    low_rank_row(&mut out, LowRank { a, b, rank: *rank, scale: *scale }, row);
    out
}

fn sum(x: &[f32], y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

fn numbers_of(config: &Config, part: Part) -> usize {
    gptoss_checkpoint::shape(config, part).iter().product()
}
