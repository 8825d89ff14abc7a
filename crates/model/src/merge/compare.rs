//! How far what was written is from what it was made of.
//!
//! Matrices are compared by what they do to one row of inputs that is always the same: it meets every number
//! of them, and a wrong order of experts, ranks, rows or columns is as far off as the addition itself.

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterSite, Checkpoint};
use gptoss_kernels::Pool;

use crate::Error;
use crate::merge::sites::SiteReader;

/// Sizes of a matrix and of what is added to it, as roots of sums of squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteNorms {
    /// The matrix.
    pub site: AdapterSite,
    /// Of the base.
    pub base: f64,
    /// Of the addition.
    pub change: f64,
}

/// The sizes of everything that an adapter adds, in the order of its sites; `progress` hears sites done and
/// in all.
///
/// Errors: a matrix cannot be read.
pub fn site_norms(
    base: &Checkpoint,
    adapter: &Adapter,
    pool: &Pool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<SiteNorms>, Error> {
    let mut reader = SiteReader::new(base);
    let mut norms = Vec::with_capacity(adapter.pairs.len());
    for (&site, pair) in &adapter.pairs {
        let Some((matrix, [rows, _])) = reader.matrix(site)? else { continue };
        let mut squares = vec![0.0; rows];
        pool.for_each_row(&mut squares, 1, |row, out| out[0] = square(&matrix.row(row)));
        norms.push(SiteNorms { site, base: squares.iter().sum::<f64>().sqrt(), change: size_of(pair) });
        progress(norms.len() as u64, adapter.pairs.len() as u64);
    }
    Ok(norms)
}

/// How far a merged model's matrices are from `W x + s B A x`, beside the size of that; the farthest of all
/// additions.
///
/// Errors: a matrix cannot be read.
pub fn merged_distance(
    base: &Checkpoint,
    merged: &Checkpoint,
    adapter: &Adapter,
    pool: &Pool,
) -> Result<f64, Error> {
    let (mut base, mut merged) = (SiteReader::new(base), SiteReader::new(merged));
    let mut farthest = 0.0_f64;
    for (&site, pair) in &adapter.pairs {
        let Some((before, [rows, columns])) = base.matrix(site)? else { continue };
        let Some((after, _)) = merged.matrix(site)? else { continue };
        let x = inputs(columns);
        let added = product(pair, &x);
        let mut off = vec![[0.0; 2]; rows];
        pool.for_each_row(&mut off, 1, |row, out| {
            let wanted = dot(&before.row(row), &x) + added[row];
            out[0] = [(dot(&after.row(row), &x) - wanted).powi(2), wanted * wanted];
        });
        let sum = |which: usize| off.iter().map(|pair| pair[which]).sum::<f64>();
        farthest = farthest.max(relative(sum(0), sum(1)));
    }
    Ok(farthest)
}

/// How far the additions of one adapter are from another's, to one input, beside the size that they have for
/// inputs of its size: the farthest of all sites. To this one alone they may be next to nothing. A site that
/// one of them lacks is nothing there.
pub fn adapter_distance(found: &Adapter, expected: &Adapter) -> f64 {
    let sites = found.pairs.keys().chain(expected.pairs.keys());
    let distance = |site: &AdapterSite| {
        let [found, expected] = [found, expected].map(|adapter| adapter.pairs.get(site));
        let Some(columns) = found.or(expected).map(|pair| pair.a.len() / pair.rank) else { return 0.0 };
        let x = inputs(columns);
        let added = |pair: Option<&AdapterPair>| pair.map(|pair| product(pair, &x)).unwrap_or_default();
        let (found, wanted) = (added(found), added(expected));
        let at = |of: &[f64], row: usize| of.get(row).copied().unwrap_or(0.0);
        let off = |row| (at(&found, row) - at(&wanted, row)).powi(2);
        let mean_square = x.iter().map(|value| value * value).sum::<f64>() / x.len() as f64;
        let size = expected.map_or(0.0, |pair| size_of(pair).powi(2) * mean_square);
        relative((0..found.len().max(wanted.len())).map(off).sum(), size)
    };
    sites.map(distance).fold(0.0, f64::max)
}

/// The root of a share of squares; of nothing, whether there is anything.
fn relative(off: f64, of: f64) -> f64 {
    match (off, of) {
        (0.0, _) => 0.0,
        (_, 0.0) => f64::INFINITY,
        _ => (off / of).sqrt(),
    }
}

/// A row of inputs without a pattern: the fractions of multiples of the golden ratio.
fn inputs(columns: usize) -> Vec<f64> {
    (0..columns).map(|column| ((column + 1) as f64 * 0.618_033_988_749_894_9).fract() - 0.5).collect()
}

/// `s B A x`
fn product(pair: &AdapterPair, x: &[f64]) -> Vec<f64> {
    let u: Vec<f64> = pair.a.chunks_exact(x.len()).map(|a| dot(a, x)).collect();
    pair.b.chunks_exact(pair.rank).map(|b| f64::from(pair.scale) * dot(b, &u)).collect()
}

fn dot(row: &[f32], x: &[f64]) -> f64 {
    row.iter().zip(x).map(|(value, x)| f64::from(*value) * x).sum()
}

fn square(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value).powi(2)).sum()
}

/// The size of `s B A`, by the products of its rows and columns with each other.
fn size_of(pair: &AdapterPair) -> f64 {
    let rank = pair.rank;
    let (mut a, mut b) = (vec![0.0; rank * rank], vec![0.0; rank * rank]);
    let rows: Vec<&[f32]> = pair.a.chunks_exact(pair.a.len() / rank).collect();
    for (i, left) in rows.iter().enumerate() {
        for (j, right) in rows.iter().enumerate() {
            a[i * rank + j] = left.iter().zip(*right).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        }
    }
    for row in pair.b.chunks_exact(rank) {
        for (i, left) in row.iter().enumerate() {
            for (j, right) in row.iter().enumerate() {
                b[i * rank + j] += f64::from(*left) * f64::from(*right);
            }
        }
    }
    let squares: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    f64::from(pair.scale).abs() * squares.max(0.0).sqrt()
}
