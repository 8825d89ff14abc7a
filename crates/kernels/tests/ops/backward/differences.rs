//! Central differences, and float64 sums that know their rounding.

/// Unit roundoff of f32.
pub const U: f64 = 1.0 / (1 << 24) as f64;
/// What a rounding near zero can cost.
pub const TINY: f64 = 1e-44;

/// How far to each side a difference goes: its error is of the order of the square, that of f64 beside it
/// 1e-11.
const STEP: f64 = 1e-5;

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Each element of `gradient` is the slope of `f` there, but for a millionth of the largest.
#[track_caller]
pub fn assert_slopes(gradient: &[f64], at: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(gradient.len(), at.len());
    let largest = gradient.iter().fold(1e-3_f64, |largest, g| largest.max(g.abs()));
    let mut x = at.to_vec();
    for (i, gradient) in gradient.iter().enumerate() {
        x[i] = at[i] + STEP;
        let above = f(&x);
        x[i] = at[i] - STEP;
        let slope = (above - f(&x)) / (2.0 * STEP);
        x[i] = at[i];
        assert!((slope - gradient).abs() <= 1e-6 * largest, "element {i}: slope {slope}, not {gradient}");
    }
}

/// A sum and the sum of its magnitudes.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    pub value: f64,
    pub size: f64,
}

impl Sum {
    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }

    /// The value, and what `roundings` in its terms can cost.
    pub fn within(self, roundings: usize) -> (f64, f64) {
        (self.value, roundings as f64 * (U * self.size + TINY))
    }
}

/// `a [I, S] * b [S, J]`, added to `start`; elements by closures.
pub fn product(
    start: &[f64],
    (rows, columns, steps): (usize, usize, usize),
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<Sum> {
    assert_eq!(start.len(), rows * columns);
    let element = |index: usize| {
        let mut sum = Sum::default();
        sum.add(start[index]);
        (0..steps).for_each(|s| sum.add(a(index / columns, s) * b(s, index % columns)));
        sum
    };
    (0..rows * columns).map(element).collect()
}

pub fn values(sums: &[Sum]) -> Vec<f64> {
    sums.iter().map(|sum| sum.value).collect()
}

/// `sum of weights * x`: a loss whose gradient is `weights`.
pub fn weighted(weights: &[f64], x: impl IntoIterator<Item = f64>) -> f64 {
    weights.iter().zip(x).map(|(w, x)| w * x).sum()
}
