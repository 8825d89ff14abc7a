//! Times, counted by how long they were.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets: from a step of a fast machine to the longest request there may be by
/// default. Units: seconds.
pub(super) const BUCKETS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1200.0, 1800.0,
];

/// How many times were at most how long.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (bound, count) in BUCKETS.iter().zip(&self.counts) {
            if seconds <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// Takes in the times of another.
    pub(super) fn add(&self, other: &Histogram) {
        let add = |own: &AtomicU64, other: &AtomicU64| {
            own.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        self.counts.iter().zip(&other.counts).for_each(|(own, other)| add(own, other));
        add(&self.count, &other.count);
        add(&self.micros, &other.micros);
    }

    /// What stands before the lines of all histograms of a name.
    pub(super) fn write_head(page: &mut String, name: &str, help: &str) {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
    }

    /// Its lines; `labels` are empty or end with a comma.
    pub(super) fn write(&self, page: &mut String, name: &str, labels: &str) {
        for (bound, count) in BUCKETS.iter().zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(page, "{name}_bucket{{{labels}le=\"{bound}\"}} {count}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let all = labels.trim_end_matches(',');
        let braces = if all.is_empty() { String::new() } else { format!("{{{all}}}") };
        let _ = writeln!(
            page,
            "{name}_bucket{{{labels}le=\"+Inf\"}} {count}\n{name}_sum{braces} {sum}\n{name}_count{braces} {count}"
        );
    }
}
