//! Adapters beside the weights: what they add to products, which rows they change.
//!
//! Entry points: [`Adapters`], those that are loaded; [`Adapters::of_step`] says which rows of a step are
//! whose, and [`ranges`] which of some of its rows. What a [`LoadedAdapter`] adds, `y += s (x A^T) B^T`,
//! comes after the product with the base's matrix and its bias, in f32 and in the order of
//! `kernels/low_rank.rs`, of each row for itself: so a row's numbers are those that it has alone, and a row
//! without an adapter is not touched.
//!
//! The rule of both precisions: an adapter's products take f32 rows, as they are before anything is
//! quantized, and replaced rows and routers are f32 too.
//!
//! A B of zeros adds zeros, which can turn a -0.0 into 0.0 and changes no other number; every later sum
//! begins with 0.0 or with a bias, so that no logit tells the two apart.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterSite, LayerPart, Part};
use gptoss_kernels::{LinearDims, LowRank, Matrix, Pool, Rows, linear, low_rank_expand, low_rank_shrink};

use crate::Error;
use crate::adapter::AdapterId;
use crate::config::ModelConfig;
use crate::cpu::weights::{Linear, Weights};
use crate::logit_buffer::make_room;
use crate::step::Segment;

/// The adapters that are loaded.
#[derive(Default)]
pub(crate) struct Adapters {
    loaded: RwLock<BTreeMap<AdapterId, Arc<LoadedAdapter>>>,
}

/// An adapter that fits the model, laid out for its products.
pub(crate) struct LoadedAdapter {
    pairs: BTreeMap<AdapterSite, Pair>,
    /// A pair `[r, C]`, `[V, r]`, of which a token takes one row of B.
    embedding: Option<AdapterPair>,
    embedding_rows: ReplacedRows,
    unembedding_rows: ReplacedRows,
    /// By layer: weight `[E, C]` and bias `[E]`.
    routers: BTreeMap<usize, (Vec<f32>, Vec<f32>)>,
}

/// What is added to a matrix `[N, K]`.
pub(crate) struct Pair {
    rank: usize,
    scale: f32,
    a: Vec<f32>,       // [r, K]
    columns: Vec<f32>, // [r, N]: B column by column
}

/// Rows of the embedding or of the head that stand in place of the base's; none without numbers.
struct ReplacedRows {
    tokens: Vec<u32>,  // ascending
    numbers: Vec<f32>, // [tokens, C]
}

/// Adjacent rows of a step that are one adapter's.
pub(crate) struct AdaptedRows {
    pub(crate) rows: Range<usize>,
    pub(crate) adapter: Arc<LoadedAdapter>,
}

impl Adapters {
    /// Takes an adapter in; one that is there already is the same.
    pub(crate) fn insert(&self, id: AdapterId, adapter: LoadedAdapter) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.entry(id).or_insert_with(|| Arc::new(adapter));
    }

    /// Forgets an adapter. Whether it was there.
    pub(crate) fn remove(&self, id: AdapterId) -> bool {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some()
    }

    /// Which rows of a step are changed by which adapter, ascending, into `adapted`.
    ///
    /// Errors: `UnknownAdapter`.
    pub(crate) fn of_step(
        &self,
        segments: &[Segment<'_>],
        adapted: &mut Vec<AdaptedRows>,
    ) -> Result<(), Error> {
        adapted.clear();
        if segments.iter().all(|segment| segment.adapter.is_none()) {
            return Ok(());
        }
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let mut first_row = 0;
        for segment in segments {
            let rows = first_row..first_row + segment.tokens.len();
            first_row = rows.end;
            let Some(id) = segment.adapter else { continue };
            let adapter = loaded.get(&id).ok_or(Error::UnknownAdapter(id))?;
            match adapted.last_mut() {
                Some(last) if last.rows.end == rows.start && Arc::ptr_eq(&last.adapter, adapter) => {
                    last.rows.end = rows.end;
                }
                _ => adapted.push(AdaptedRows { rows, adapter: Arc::clone(adapter) }),
            }
        }
        Ok(())
    }
}

/// Of some `rows` of a step, ascending, those of each adapter, as ranges of `rows`.
pub(crate) fn ranges<'a>(
    adapted: &'a [AdaptedRows],
    rows: &'a [usize],
) -> impl Iterator<Item = (Range<usize>, &'a LoadedAdapter)> {
    adapted.iter().filter_map(move |run| {
        let first = rows.partition_point(|row| *row < run.rows.start);
        let end = rows.partition_point(|row| *row < run.rows.end);
        (first < end).then_some((first..end, &*run.adapter))
    })
}

impl LoadedAdapter {
    /// Lays an adapter out that was found to fit the model.
    ///
    /// Errors: `AdapterPart`.
    pub(crate) fn new(
        adapter: Adapter,
        config: &ModelConfig,
        weights: &Weights,
    ) -> Result<LoadedAdapter, Error> {
        let Adapter { mut pairs, rows, replaced, trained_for: _ } = adapter;
        let embedding = pairs.remove(&AdapterSite::Embedding);
        let pairs = pairs.into_iter().map(|(site, pair)| (site, Pair::new(pair))).collect();
        let some = |numbers| ReplacedRows { tokens: rows.tokens.clone(), numbers };
        let mut loaded = LoadedAdapter {
            pairs,
            embedding,
            embedding_rows: some(rows.embedding),
            unembedding_rows: some(rows.unembedding),
            routers: BTreeMap::new(),
        };
        for (part, numbers) in replaced {
            let all = |numbers| ReplacedRows { tokens: (0..config.vocab_size as u32).collect(), numbers };
            match part {
                Part::Embedding => loaded.embedding_rows = all(numbers),
                Part::Unembedding => loaded.unembedding_rows = all(numbers),
                Part::Layer(layer, LayerPart::RouterWeight) => {
                    loaded.router(layer, config, weights, part)?.0 = numbers;
                }
                Part::Layer(layer, LayerPart::RouterBias) => {
                    loaded.router(layer, config, weights, part)?.1 = numbers;
                }
                _ => return Err(Error::AdapterPart(part)),
            }
        }
        Ok(loaded)
    }

    /// A layer's router, of which one part is about to be replaced; the other one is the base's until it is
    /// replaced too.
    fn router(
        &mut self,
        layer: usize,
        config: &ModelConfig,
        weights: &Weights,
        part: Part,
    ) -> Result<&mut (Vec<f32>, Vec<f32>), Error> {
        let base = weights.layers.get(layer).and_then(|layer| layer.mlp.router.as_ref());
        let base = base.ok_or(Error::AdapterPart(part))?;
        let router = self.routers.entry(layer);
        Ok(router.or_insert_with(|| (unpacked(base, config.hidden_size), base.bias.clone())))
    }

    /// What is added to a matrix.
    pub(crate) fn pair(&self, site: AdapterSite) -> Option<&Pair> {
        self.pairs.get(&site)
    }

    /// The router's logits `[T, E]` of rows `x [T, C]` of a layer, if its router is replaced.
    pub(crate) fn route(&self, pool: &Pool, layer: usize, logits: &mut [f32], x: &[f32]) {
        if let Some((weight, bias)) = self.routers.get(&layer) {
            let t = logits.len() / bias.len();
            let dims = LinearDims { t, n: bias.len(), k: x.len() / t.max(1) };
            linear(pool, logits, Rows::F32(x), Matrix::F32(weight), Some(bias), dims);
        }
    }

    /// Makes the embedding's `row [C]` of a token the adapter's.
    pub(crate) fn embed(&self, pool: &Pool, row: &mut [f32], token: u32, shrunk: &mut Vec<f32>) {
        let width = row.len();
        let ReplacedRows { tokens, numbers } = &self.embedding_rows;
        if !numbers.is_empty()
            && let Ok(place) = tokens.binary_search(&token)
        {
            row.copy_from_slice(&numbers[place * width..][..width]);
        }
        if let Some(AdapterPair { rank, scale, a, b }) = &self.embedding {
            shrunk.clear();
            shrunk.extend(b[token as usize * rank..][..*rank].iter().map(|b| b * scale));
            low_rank_expand(pool, row, shrunk, a, LinearDims { t: 1, n: width, k: *rank });
        }
    }

    /// Makes the logits `[T, V]` of normed rows `x [T, C]` the adapter's.
    pub(crate) fn unembed(
        &self,
        pool: &Pool,
        logits: &mut [f32],
        (x, t): (&[f32], usize),
        shrunk: &mut Vec<f32>,
    ) {
        let ReplacedRows { tokens, numbers } = &self.unembedding_rows;
        let (vocab_size, count) = (logits.len() / t, tokens.len());
        if !numbers.is_empty() {
            make_room(shrunk, t * count);
            let replaced = &mut shrunk[..t * count];
            let dims = LinearDims { t, n: count, k: x.len() / t };
            linear(pool, replaced, Rows::F32(x), Matrix::F32(numbers), None, dims);
            for (logits, replaced) in logits.chunks_exact_mut(vocab_size).zip(replaced.chunks_exact(count)) {
                for (&token, logit) in tokens.iter().zip(replaced) {
                    logits[token as usize] = *logit;
                }
            }
        }
        if let Some(pair) = self.pair(AdapterSite::Unembedding) {
            pair.add(pool, logits, x, shrunk);
        }
    }
}

impl Pair {
    fn new(pair: AdapterPair) -> Pair {
        let AdapterPair { rank, scale, a, b } = pair;
        let n = b.len() / rank;
        let columns = (0..b.len()).map(|i| b[i % n * rank + i / n]).collect();
        Pair { rank, scale, a, columns }
    }

    /// `y [T, N] += s (x A^T) B^T` with `x [T, K]`.
    pub(crate) fn add(&self, pool: &Pool, y: &mut [f32], x: &[f32], shrunk: &mut Vec<f32>) {
        let (rank, n, k) = (self.rank, self.columns.len() / self.rank, self.a.len() / self.rank);
        let t = x.len() / k;
        make_room(shrunk, t * rank);
        let shrunk = &mut shrunk[..t * rank];
        let factors = LowRank { a: &self.a, b: &[], rank, scale: self.scale };
        low_rank_shrink(pool, shrunk, x, factors, LinearDims { t, n: rank, k });
        low_rank_expand(pool, y, shrunk, &self.columns, LinearDims { t, n, k: rank });
    }
}

fn unpacked(linear: &Linear, k: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; linear.bias.len() * k];
    let rows = numbers.chunks_exact_mut(k).enumerate();
    rows.for_each(|(index, row)| linear.weight.view().unpack_row(row, index));
    numbers
}
