//! The ceiling of prefill: how fast this model's products are when nothing has to come from memory.
//!
//! Entry point: [`TileProbe`], from `Model::tile_probe`. It multiplies many tokens with one matrix of each
//! kind, again and again, so that the matrix stays in the processor's caches: the first layer's key
//! projection for the dense ones and the second product of its first expert for the experts. Both go through
//! the very functions of the forward pass, in the formats that the loaded model has; the dense one in one
//! part and in two as often as the dense matrices of a layer are (decision 0009). Who times the calls knows
//! multiply-adds per second, and with `TokenCost` how long a prompt's products must take at least.
//!
//! What the forward pass does beside these products (attention over the cache, norms, routing, SwiGLU) is no
//! part of this ceiling.

use gptoss_kernels::{LinearDims, Pool, Q8Order, Q8Rows, Rows, linear, quantize_q8, quantize_q8_parts};

use crate::config::{ModelConfig, Precision};
use crate::cpu::activations::{self, Activations, Parts, int8_order};
use crate::cpu::weights::{LayerWeights, Weights};

/// Tokens of one product. Units: tokens. As many as an expert of the 20b sees in a chunk, four times over:
/// unpacking a row of weights costs next to nothing then.
const PROBE_TOKENS: usize = 256;

/// Inputs and outputs for repeated products with two of a model's matrices.
pub struct TileProbe<'a> {
    config: &'a ModelConfig,
    precision: Precision,
    pool: &'a Pool,
    layer: &'a LayerWeights,
    hidden: Vec<f32>, // [T, C]
    hidden_q8: Q8Rows,
    hidden_parts: Q8Rows, // [2T, C]
    activated: Vec<f32>,  // [T, F]
    activated_q8: Q8Rows,
    keys: Vec<f32>, // [T, K*D]
    out: Vec<f32>,  // [T, C]
}

impl<'a> TileProbe<'a> {
    pub(crate) fn new(
        config: &'a ModelConfig,
        precision: Precision,
        pool: &'a Pool,
        weights: &'a Weights,
    ) -> TileProbe<'a> {
        // Numbers of both signs and no pattern that a kernel could profit from.
        let inputs = |width: usize| -> Vec<f32> {
            (0..PROBE_TOKENS * width).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
        };
        let activated = inputs(config.intermediate_size);
        let hidden = inputs(config.hidden_size);
        let mut hidden_q8 = Q8Rows::for_weights(Q8Order::Q8_0);
        quantize_q8(pool, &mut hidden_q8, &hidden, PROBE_TOKENS, config.hidden_size);
        let mut hidden_parts = Q8Rows::for_weights(Q8Order::Q8_0);
        quantize_q8_parts(pool, &mut hidden_parts, &hidden, PROBE_TOKENS, config.hidden_size);
        let mut activated_q8 = Q8Rows::new();
        quantize_q8(pool, &mut activated_q8, &activated, PROBE_TOKENS, config.intermediate_size);
        TileProbe {
            config,
            precision,
            pool,
            layer: &weights.layers[0],
            hidden,
            hidden_q8,
            hidden_parts,
            activated,
            activated_q8,
            keys: vec![0.0; PROBE_TOKENS * config.num_kv_heads * config.head_dim],
            out: vec![0.0; PROBE_TOKENS * config.hidden_size],
        }
    }

    /// Products of many tokens with a dense matrix; gives their multiply-adds.
    pub fn dense(&mut self) -> u64 {
        // Queries and the output are in one part, keys and values in two.
        let times = one_part_products(self.config);
        for _ in 0..times {
            self.keys(Parts::One);
        }
        self.keys(Parts::Two);
        (times + 1) * (self.keys.len() * self.config.hidden_size) as u64
    }

    fn keys(&mut self, parts: Parts) {
        let q8 = if parts == Parts::One { &self.hidden_q8 } else { &self.hidden_parts };
        let x = Activations::quantized(self.precision, &self.hidden, q8, parts);
        activations::linear(self.pool, &mut self.keys, &x, &self.layer.attention.key);
    }

    /// One product of many tokens with an expert's matrix; gives its multiply-adds, none if the expert cannot
    /// be read from disk.
    pub fn expert(&mut self) -> u64 {
        let [n, k] = [self.config.hidden_size, self.config.intermediate_size];
        let dims = LinearDims { t: PROBE_TOKENS, n, k };
        let (pool, precision, x) = (self.pool, self.precision, &self.activated[..]);
        let (out, q8) = (&mut self.out[..], &mut self.activated_q8);
        let done = self.layer.mlp.experts.for_each(&[(0, 1)], 0, |_, expert| {
            let rows = match int8_order(precision, expert.down) {
                Some(order) => {
                    if q8.order() != order {
                        q8.reset_for(order);
                        quantize_q8(pool, q8, x, PROBE_TOKENS, k);
                    }
                    Rows::Q8(&*q8)
                }
                None => Rows::F32(x),
            };
            linear(pool, out, rows, expert.down, None, dims);
        });
        match done {
            Ok(()) => (dims.t * dims.n * dims.k) as u64,
            Err(_) => 0,
        }
    }
}

/// Dense multiply-adds of a layer that are in one part, for each in two parts.
fn one_part_products(config: &ModelConfig) -> u64 {
    (config.num_query_heads / config.num_kv_heads).max(1) as u64
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Checkpoint, Preset};

    use super::*;
    use crate::config::{DenseMode, LoadOptions};
    use crate::model::Model;

    /// Keys were measured in one part alone, so that the ceiling of a prompt was higher than its products can
    /// come.
    #[test]
    fn dense_products_are_measured_as_they_are_computed() {
        let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).expect("makes");
        let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::Q8, expert_slots: None };
        let model = Model::load_with(&checkpoint, &options, Pool::new(1), &mut |_, _| {}).expect("loads");
        let mut probe = model.tile_probe().expect("a model on the processor");
        let macs = probe.dense();
        assert_eq!((probe.hidden_q8.t(), probe.hidden_parts.t()), (PROBE_TOKENS, 2 * PROBE_TOKENS));
        // The last product of a measurement is in two parts, and nearer to exact than one in one part.
        let distance = |probe: &mut TileProbe<'_>, parts: Option<Parts>| -> f64 {
            if let Some(parts) = parts {
                probe.keys(parts);
            }
            let found = probe.keys.clone();
            let x = Activations::exact(&probe.hidden);
            activations::linear(probe.pool, &mut probe.keys, &x, &probe.layer.attention.key);
            found.iter().zip(&probe.keys).map(|(a, b)| f64::from((a - b).abs())).sum()
        };
        let measured = distance(&mut probe, None);
        let one = distance(&mut probe, Some(Parts::One));
        assert!(measured * 10.0 < one, "{measured} and {one}");
        let config = model.config();
        let times = (config.num_query_heads / config.num_kv_heads + 1) as u64;
        let keys = (config.num_kv_heads * config.head_dim * config.hidden_size * PROBE_TOKENS) as u64;
        assert_eq!(macs, times * keys);
    }
}
