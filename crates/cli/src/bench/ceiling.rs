//! What the machine itself allows, in these very seconds.
//!
//! For a model on a card, [`Ceiling::measure`] copies within the card's memory and times small dispatches
//! ([`DeviceSpeed`]); a card's products have no ceiling here. For one on the processor it reads memory with
//! the model's own threads, far more of it than any cache holds, and multiplies with the model's own matrices
//! while they are in the caches ([`gptoss_model::TileProbe`]). It is called before every run of a case,
//! because what a shared machine gives changes by the minute; each call takes about a second and keeps the
//! best of its passes, since a disturbance can only slow a pass down.
//!
//! The buffer is part of the process's memory; whoever reports the peak takes [`Ceiling::num_bytes`] off.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use gptoss_gpu::DeviceSpeed;
use gptoss_kernels::{HugePages, Pool};
use gptoss_model::Model;
use serde::Serialize;

/// Bytes read in a pass: eight times the last cache of the test machine. A build without optimization reads
/// as slowly as it computes, and its figures are no measurement.
const READ_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 256 << 20 };
/// Bytes of one task of a pass: 2 MB, some 100 us.
const TASK_BYTES: usize = 2 << 20;
/// Passes over the buffer in one measurement.
const READ_PASSES: usize = 8;
/// How long each kind of product is repeated in one measurement, at least.
const TILE_TIME: Duration = Duration::from_millis(200);

/// What one measurement found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Plain reads by all threads; on a card, what copies read and write. Units: bytes a second.
    pub read_bandwidth: f64,
    /// The processor's own.
    pub tiles: Option<TileRates>,
    /// A small dispatch on a card, behind a barrier. Units: seconds.
    pub dispatch_seconds: Option<f64>,
}

/// Products of many tokens with matrices in the caches. Units: multiply-adds a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TileRates {
    /// With a dense matrix.
    pub dense: f64,
    /// With an expert's.
    pub expert: f64,
}

/// The buffer that is read, on large pages as the weights are.
pub struct Ceiling {
    words: HugePages<u64>,
}

impl Ceiling {
    /// A touched buffer.
    pub fn new() -> Ceiling {
        let mut words = HugePages::zeroed(READ_BYTES / 8);
        (0..).zip(words.iter_mut()).for_each(|(number, word)| *word = number);
        Ceiling { words }
    }

    /// Bytes of the buffer.
    pub fn num_bytes(&self) -> u64 {
        READ_BYTES as u64
    }

    /// Measures what there is to measure.
    ///
    /// Errors: the card's.
    pub fn measure(&mut self, model: &Model) -> Result<Rates> {
        if let Some(device) = model.device() {
            let DeviceSpeed { copy_bandwidth, dispatch_seconds } = DeviceSpeed::measure(device)?;
            let dispatch_seconds = Some(dispatch_seconds);
            return Ok(Rates { read_bandwidth: copy_bandwidth, tiles: None, dispatch_seconds });
        }
        let tiles = model.tile_probe().map(|mut probe| TileRates {
            dense: best_rate(|| probe.dense()),
            expert: best_rate(|| probe.expert()),
        });
        Ok(Rates { read_bandwidth: self.read_bandwidth(model.pool()), tiles, dispatch_seconds: None })
    }

    fn read_bandwidth(&self, pool: &Pool) -> f64 {
        let parts: Vec<&[u64]> = self.words.chunks(TASK_BYTES / 8).collect();
        let pass = || {
            let start = Instant::now();
            pool.run(parts.len(), |part| {
                black_box(sum(parts[part]));
            });
            READ_BYTES as f64 / start.elapsed().as_secs_f64()
        };
        (0..READ_PASSES).map(|_| pass()).fold(0.0, f64::max)
    }
}

/// Sixteen sums side by side: the compiler keeps them in wide registers, and memory is what is waited for.
fn sum(words: &[u64]) -> [u64; 16] {
    let mut sums = [0_u64; 16];
    for words in words.as_chunks::<16>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums
}

/// The best multiply-adds per second of some calls, the first of which only fills the caches.
fn best_rate(mut product: impl FnMut() -> u64) -> f64 {
    product();
    let (start, mut best) = (Instant::now(), 0.0_f64);
    loop {
        let call = Instant::now();
        let macs = product();
        best = best.max(macs as f64 / call.elapsed().as_secs_f64());
        if start.elapsed() >= TILE_TIME {
            return best;
        }
    }
}
