//! A share of some tries, and how sure it is.

use std::fmt;

use serde_json::{Value, json};

/// The quantile of the normal distribution that leaves 95 % between it and its negative.
pub const Z: f64 = 1.96;

/// How many of some tries went well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that did.
    pub hits: usize,
    /// All.
    pub count: usize,
}

impl Share {
    /// From 0 to 1; 0 of none.
    pub fn value(self) -> f64 {
        self.hits as f64 / self.count.max(1) as f64
    }

    /// Where the share of endless tries is, in 95 of 100 cases: Wilson's interval.
    pub fn interval(self) -> [f64; 2] {
        if self.count == 0 {
            return [0.0, 1.0];
        }
        let (share, count, square) = (self.value(), self.count as f64, Z * Z);
        let middle = share + square / (2.0 * count);
        let half = Z * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
        [middle - half, middle + half].map(|end| (end / (1.0 + square / count)).clamp(0.0, 1.0))
    }

    /// For programs.
    pub fn to_json(self) -> Value {
        json!({"hits": self.hits, "count": self.count, "share": self.value(), "interval": self.interval()})
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.interval();
        write!(formatter, "{:.1} % ({:.1} to {:.1})", 100.0 * self.value(), 100.0 * low, 100.0 * high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Wilson's formula, computed in Python.
    #[test]
    fn intervals_are_wilsons() {
        let check = |hits, count, text: &str| assert_eq!(Share { hits, count }.to_string(), text);
        check(200, 200, "100.0 % (98.1 to 100.0)");
        check(198, 200, "99.0 % (96.4 to 99.7)");
        check(5, 10, "50.0 % (23.7 to 76.3)");
        check(0, 10, "0.0 % (0.0 to 27.8)");
        check(0, 0, "0.0 % (0.0 to 100.0)");
    }
}
