//! Gradient of the rotation of [`RopeAngles::apply`](crate::RopeAngles::apply): its transpose.
//!
//! Not its inverse: the attention factor in cosine and sine multiplies forward and backward alike.

use crate::rope::RopeAngles;

impl RopeAngles {
    /// Turns the gradient of every rotated head of one token into that of the head, in place; `index` counts
    /// from the first position of the run.
    ///
    /// Shapes: `dx [heads, D]`.
    /// Panics: when the length does not fit or `index` is past the run.
    pub fn apply_transposed(&self, dx: &mut [f32], heads: usize, index: usize) {
        let rotations = self.at(index);
        let half = rotations.len();
        assert_eq!(dx.len(), heads * 2 * half, "rope: dx is [heads, D]");
        for head in dx.chunks_exact_mut((2 * half).max(1)) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(rotations) {
                (*a, *b) = (*a * cosine + *b * sine, *b * cosine - *a * sine);
            }
        }
    }
}
