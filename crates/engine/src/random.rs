//! Random numbers that are a function of a seed and a position, and of nothing else.
//!
//! Entry point: [`uniform`]. A generator with a state would make a token depend on how many draws came before
//! it: on retries, on preemption, on drafted tokens that were thrown away. A counter does not: the draw at a
//! position is the same however the engine came there, which is what "same request, same tokens" needs.
//!
//! The two numbers go through the 64-bit finaliser of MurmurHash3 in the constants of splitmix64 (variant 13
//! of D. Stafford), the seed first so that neighboring seeds and neighboring positions both end far apart. It
//! is no cryptographic generator; a seed is not a secret.

/// 2^64 divided by the golden ratio: the step of a Weyl sequence.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number in `[0, 1)` with 53 random bits, decided by `seed` and `position`.
pub(crate) fn uniform(seed: u64, position: u64) -> f64 {
    let key = mix(seed.wrapping_add(STEP));
    let bits = mix(key.wrapping_add(position.wrapping_mul(STEP)));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-squared of 64 equal bins over positions of one seed and over seeds at one position.
    #[test]
    fn draws_are_even_along_positions_and_along_seeds() {
        let along_positions = |i| uniform(7, i);
        let along_seeds = |i| uniform(i, 7);
        for draw in [&along_positions as &dyn Fn(u64) -> f64, &along_seeds] {
            let mut bins = [0_u32; 64];
            for i in 0..64_000 {
                let number = draw(i);
                assert!((0.0..1.0).contains(&number));
                bins[(number * 64.0) as usize] += 1;
            }
            let chi2: f64 = bins.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
            // 63 degrees of freedom: 99.99 % lie between 29 and 114.
            assert!((29.0..114.0).contains(&chi2), "{chi2}");
        }
    }

    #[test]
    fn draws_of_neighbors_are_not_correlated() {
        let mut sum = 0.0;
        for i in 0..10_000 {
            sum += (uniform(i, 0) - 0.5) * (uniform(i + 1, 0) - 0.5)
                + (uniform(3, i) - 0.5) * (uniform(4, i) - 0.5);
        }
        // Standard deviation of the sum: sqrt(20000) / 12 = 11.8.
        assert!(f64::abs(sum) < 60.0, "{sum}");
    }
}
