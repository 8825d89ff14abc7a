//! Two models on the same items, each of which goes well or does not, and how sure the difference of the
//! shares is. Scores in between, such as means of repeats, are for `paired.rs`.

/// The quantile of the normal distribution that leaves 95 % between it and its negative.
const Z: f64 = 1.96;

/// How many items went well with both models, with one and with neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pairs {
    /// With both.
    pub both: usize,
    /// With the first alone.
    pub first: usize,
    /// With the second alone.
    pub second: usize,
    /// With neither.
    pub neither: usize,
}

impl Pairs {
    /// Counts one item.
    pub fn push(&mut self, first: bool, second: bool) {
        *match (first, second) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.first,
            (false, true) => &mut self.second,
            (false, false) => &mut self.neither,
        } += 1;
    }

    /// All items.
    pub fn count(self) -> usize {
        self.both + self.first + self.second + self.neither
    }

    /// The first model's share and the second's; 0 of none.
    pub fn shares(self) -> [f64; 2] {
        let count = self.count().max(1) as f64;
        [self.first, self.second].map(|alone| (self.both + alone) as f64 / count)
    }

    /// What the second has more than the first, from -1 to 1.
    pub fn change(self) -> f64 {
        let [first, second] = self.shares();
        second - first
    }

    /// Where the change over endless items is, in 95 of 100 cases. Wilson's intervals of both shares are
    /// joined by how much the two models agree, so that it has a width where none or all went well too.
    ///
    /// Source: Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10.
    pub fn interval(self) -> [f64; 2] {
        if self.count() == 0 {
            return [-1.0, 1.0];
        }
        let count = self.count() as f64;
        let [first, second] = self.shares();
        let [[first_low, first_high], [second_low, second_high]] =
            [first, second].map(|share| wilson(share, count));
        let agreement = self.agreement();
        let reach = |one: f64, other: f64| {
            (one * one - 2.0 * agreement * one * other + other * other).max(0.0).sqrt()
        };
        let change = second - first;
        [
            (change - reach(second - second_low, first_high - first)).max(-1.0),
            (change + reach(second_high - second, first - first_low)).min(1.0),
        ]
    }

    /// The correlation of both, with Newcombe's correction.
    fn agreement(self) -> f64 {
        let [both, first, second, neither] =
            [self.both, self.first, self.second, self.neither].map(|count| count as f64);
        let margins = (both + first) * (second + neither) * (both + second) * (first + neither);
        if margins == 0.0 {
            return 0.0;
        }
        let product = both * neither - first * second;
        let half = self.count() as f64 / 2.0;
        let corrected = if product > 0.0 { (product - half).max(0.0) } else { product };
        corrected / margins.sqrt()
    }
}

/// Wilson's interval of a share.
fn wilson(share: f64, count: f64) -> [f64; 2] {
    let square = Z * Z;
    let middle = share + square / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
    [middle - half, middle + half].map(|end| (end / (1.0 + square / count)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Newcombe's formulas, computed in Python.
    #[test]
    fn intervals_are_newcombes() {
        let check = |counts: [usize; 4], change: f64, [low, high]: [f64; 2]| {
            let [both, first, second, neither] = counts;
            let pairs = Pairs { both, first, second, neither };
            let [found_low, found_high] = pairs.interval();
            let found = [pairs.change(), found_low, found_high];
            for (found, expected) in found.into_iter().zip([change, low, high]) {
                assert!((found - expected).abs() < 5e-5, "{counts:?}: {found}, not {expected}");
            }
        };
        check([20, 12, 2, 16], -0.2000, [-0.3292, -0.0562]);
        check([0, 20, 0, 0], -1.0000, [-1.0000, -0.7721]);
        check([40, 0, 0, 0], -0.0000, [-0.0876, 0.0876]);
        check([50, 10, 10, 30], -0.0000, [-0.0885, 0.0885]);
        check([3, 30, 1, 6], -0.7250, [-0.8346, -0.5240]);
    }

    #[test]
    fn what_is_the_same_does_not_change() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.interval(), [-1.0, 1.0], "of nothing nothing is known");
        for item in 0..40 {
            pairs.push(item % 3 == 0, item % 3 == 0);
        }
        let [low, high] = pairs.interval();
        assert_eq!((pairs.count(), pairs.change()), (40, 0.0));
        assert!(low < 0.0 && high > 0.0, "{low} to {high}");
    }
}
