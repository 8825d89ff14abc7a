//! A row of the embedding matrix as f32.
//!
//! Entry point: [`embedding_row`]. gpt-oss neither scales embeddings nor adds positions to them, so the op is
//! an exact widening of bf16. The row is chosen by the caller, who holds the matrix.
//!
//! This module does not know the vocabulary.

use half::bf16;

/// Widens a bf16 row to f32, exactly.
///
/// Shapes: `out [C]`, `row [C]`.
/// Panics: when the lengths differ.
pub fn embedding_row(out: &mut [f32], row: &[bf16]) {
    assert_eq!(out.len(), row.len(), "embedding_row: out and row");
    for (out, value) in out.iter_mut().zip(row) {
        *out = widen(*value);
    }
}

/// bf16 to f32 by a shift: exact, and keeps NaN bits, which `bf16::to_f32` would make quiet.
#[inline(always)]
pub(crate) fn widen(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}

#[cfg(test)]
mod tests {
    use super::embedding_row;
    use half::bf16;

    #[test]
    fn widening_is_exact_for_every_bf16() {
        let row: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let mut out = vec![0.0; row.len()];
        embedding_row(&mut out, &row);
        for (value, row) in out.iter().zip(&row) {
            assert!(*value == row.to_f32() || value.is_nan() && row.is_nan());
        }
    }
}
