//! The order in which a long sum is taken: eight lanes and one tree, the same on every tier.
//!
//! Entry points: [`dot`] and [`tree`]. Element `k` of a sum goes to lane `k % 8`; a lane adds its elements in
//! ascending order with fused multiply-add; the lanes are joined by `((l0 + l4) + (l2 + l6)) + ((l1 + l5) +
//! (l3 + l7))`. Eight lanes are one AVX2 register, and the tree is the cheapest way to fold it: halves, then
//! pairs, then neighbors. A sum so ordered depends on its own elements alone, never on the tile, the number
//! of tokens or the thread that took it.

/// Lanes of every f32 sum.
pub const LANES: usize = 8;

/// Folds eight lanes in the fixed order.
#[inline(always)]
pub fn tree(l: &[f32; LANES]) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// The sum of `x[k] * y[k]` in the fixed order.
///
/// Shapes: `x [k]`, `y [k]`.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    tree(&dot_lanes(x, y))
}

/// The eight lanes of [`dot`] before they are folded.
#[inline(always)]
pub fn dot_lanes(x: &[f32], y: &[f32]) -> [f32; LANES] {
    debug_assert_eq!(x.len(), y.len());
    let mut lanes = [0.0; LANES];
    let (x_body, x_tail) = x.as_chunks::<LANES>();
    let (y_body, y_tail) = y.as_chunks::<LANES>();
    for (x, y) in x_body.iter().zip(y_body) {
        for j in 0..LANES {
            lanes[j] = x[j].mul_add(y[j], lanes[j]);
        }
    }
    for (j, (x, y)) in x_tail.iter().zip(y_tail).enumerate() {
        lanes[j] = x.mul_add(*y, lanes[j]);
    }
    lanes
}

/// The sum of `x[k]` in the fixed order, where `x[0]` belongs to lane `first % 8`.
#[inline(always)]
pub fn sum_from(first: usize, x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (head, body) = x.split_at(((LANES - first % LANES) % LANES).min(x.len()));
    for (j, x) in head.iter().enumerate() {
        lanes[first % LANES + j] += x;
    }
    let (body, tail) = body.as_chunks::<LANES>();
    for x in body {
        for j in 0..LANES {
            lanes[j] += x[j];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += x;
    }
    tree(&lanes)
}

#[cfg(test)]
mod tests {
    use super::{dot, sum_from, tree};

    #[test]
    fn tree_has_the_documented_shape() {
        // 2^24 absorbs a single one but not a pair, so each pairing of the tree shows in the result.
        let big = 16_777_216.0;
        assert_eq!(tree(&[big, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), big + 2.0);
        assert_eq!(tree(&[big, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]), big);
        assert_eq!(tree(&[big, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), big + 2.0);
    }

    #[test]
    fn dot_goes_on_in_the_first_lanes_for_a_tail() {
        let x: Vec<f32> = (0..13).map(|k| k as f32).collect();
        let expected: f32 = x.iter().map(|v| v * v).sum();
        assert_eq!(dot(&x, &x), expected);
    }

    #[test]
    fn sum_depends_on_absolute_lanes_only() {
        let x: Vec<f32> = (0..37).map(|k| (k as f32 * 0.37).sin()).collect();
        let mut padded = vec![0.0; 5];
        padded.extend(&x);
        assert_eq!(sum_from(5, &x).to_bits(), sum_from(0, &padded).to_bits());
        assert_eq!(sum_from(13, &x).to_bits(), sum_from(0, &padded).to_bits());
    }
}
