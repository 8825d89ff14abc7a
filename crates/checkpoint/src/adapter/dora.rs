//! DoRA, folded into whole matrices.
//!
//! A row of the tuned matrix is `m (w + s b A) / |w + s b A|`: no low-rank addition to `w`, so the matrix
//! takes the base's place.

use crate::adapter::AdapterPair;
use crate::bytes::Tensor;
use crate::error::Error;

/// The tuned matrix `[N, K]`. Rows of length 0 become NaN, which a check of the adapter finds.
///
/// Errors: [`Error::WrongDtype`].
pub(super) fn folded(base: &Tensor, pair: &AdapterPair, magnitude: &[f32]) -> Result<Vec<f32>, Error> {
    let mut rows = base.to_f32()?;
    let columns = pair.a.len() / pair.rank;
    for ((row, b), length) in rows.chunks_mut(columns).zip(pair.b.chunks(pair.rank)).zip(magnitude) {
        for (b, a) in b.iter().zip(pair.a.chunks(columns)) {
            for (out, a) in row.iter_mut().zip(a) {
                *out += pair.scale * b * a;
            }
        }
        let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        let factor = (f64::from(*length) / squares.sqrt()) as f32;
        row.iter_mut().for_each(|value| *value *= factor);
    }
    Ok(rows)
}
