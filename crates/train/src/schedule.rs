//! The learning rate of each step, and the order in which texts come.

use std::f64::consts::PI;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// A linear rise, then half a wave down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps until it is reached.
    pub warmup_steps: u64,
    /// Steps of the run.
    pub steps: u64,
    /// What is left of the highest at the last step.
    pub floor: f64,
}

impl Schedule {
    /// A rise of 3 % of the steps, one at least, and down to a tenth: what published recipes for gpt-oss
    /// have.
    pub fn new(peak: f64, steps: u64) -> Schedule {
        Schedule { peak, warmup_steps: (steps * 3).div_ceil(100).max(1), steps, floor: 0.1 }
    }

    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let left = self.steps.saturating_sub(self.warmup_steps + 1).max(1);
        let gone = ((step - self.warmup_steps) as f64 / left as f64).min(1.0);
        self.peak * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + (PI * gone).cos()))
    }
}

/// The order of `count` texts in an epoch: every text once, another order in each epoch, the same ones for
/// the same seed.
pub fn order(count: usize, epoch: u64, seed: u64) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    let mut texts: Vec<usize> = (0..count).collect();
    texts.shuffle(&mut StdRng::from_seed(key));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_its_floor() {
        let schedule = Schedule::new(1e-3, 200);
        assert_eq!(schedule.warmup_steps, 6);
        assert!((schedule.rate(0) - 1e-3 / 6.0).abs() < 1e-12);
        assert_eq!((schedule.rate(5), schedule.rate(6)), (1e-3, 1e-3));
        assert!((schedule.rate(199) - 1e-4).abs() < 1e-12 && (schedule.rate(500) - 1e-4).abs() < 1e-12);
        assert!((6..199).all(|step| schedule.rate(step) >= schedule.rate(step + 1)));
        // Between both the mean of peak and floor.
        assert!((schedule.rate(102) - 5.5e-4).abs() < 1e-5, "{}", schedule.rate(102));
        assert_eq!(Schedule::new(1.0, 1).rate(0), 1.0);
    }

    #[test]
    fn an_epoch_has_every_text_once_in_an_order_of_its_own() {
        let first = order(100, 0, 1);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(first, order(100, 0, 1));
        assert!(first != order(100, 1, 1) && first != order(100, 0, 2));
    }
}
