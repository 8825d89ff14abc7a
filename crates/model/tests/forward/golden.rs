//! Logits of the official implementation, on checkpoints it was run on.
//!
//! Provenance and commands are in `testdata/README.md`. Measured here: 1.1e-5, 3.8e-5 and 8.5e-5. Our sums
//! have one order on every machine, so these figures do not move, and the tolerance is a little over twice
//! the largest. With angles of the rotary positions in f64, which the official implementations round to f32,
//! the differences were up to five times larger.

use std::path::{Path, PathBuf};

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{Batch, LogitRows, Model, Precision};

/// Largest difference of a logit in exact precision.
pub const TOLERANCE: f32 = 2e-4;

/// What the official implementation was asked, and its answer.
pub struct Golden {
    /// `[T]`
    pub tokens: Vec<u32>,
    /// `[T, V]`
    pub logits: Vec<f32>,
}

pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

pub fn golden(name: &str) -> Golden {
    let bytes = std::fs::read(testdata(&format!("{name}-logits.safetensors"))).expect("golden logits");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let ids = file.tensor("input_ids").expect("input_ids");
    let logits = file.tensor("logits").expect("logits");
    Golden {
        tokens: ids.data().as_chunks().0.iter().map(|id| i64::from_le_bytes(*id) as u32).collect(),
        logits: logits.data().as_chunks().0.iter().map(|logit| f32::from_le_bytes(*logit)).collect(),
    }
}

/// Largest difference of a logit.
fn difference(name: &str, precision: Precision) -> f32 {
    let golden = golden(name);
    let checkpoint = Checkpoint::open(&testdata(name)).expect("golden checkpoint");
    let model = Model::load(&checkpoint, precision, Pool::new(2), &mut |_, _| {}).expect("loads");
    let mut cache = model.new_cache(golden.tokens.len());
    let batch = Batch { tokens: &golden.tokens, logits: LogitRows::All };
    let logits = model.forward(&batch, &mut cache).expect("runs");
    assert_eq!(logits.rows.len(), golden.logits.len());
    let largest = logits.rows.iter().zip(&golden.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name} {precision:?}: largest difference {largest:e}");
    largest
}

#[test]
fn exact_logits_are_the_official_ones() {
    for name in ["tiny", "tiny-yarn", "tiny-steep"] {
        let largest = difference(name, Precision::Exact);
        assert!(largest <= TOLERANCE, "{name}: largest difference {largest}");
    }
}
