//! Adapters of random numbers for the models of tests.

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterSite, Config};

/// An adapter of queries, values and every expert's first matrix.
pub fn adapter(config: &Config, seed: u64) -> Adapter {
    let mut state = seed;
    let mut numbers = |count: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * 0.2
        };
        (0..count).map(|_| next()).collect()
    };
    let [query, kv] =
        [config.num_attention_heads, config.num_key_value_heads].map(|heads| heads * config.head_dim);
    let layers = (0..config.num_hidden_layers).flat_map(|layer| {
        let experts = (0..config.num_local_experts).map(move |expert| AdapterSite::GateUp { layer, expert });
        [(AdapterSite::Query(layer), query), (AdapterSite::Value(layer), kv)]
            .into_iter()
            .chain(experts.map(|site| (site, 2 * config.intermediate_size)))
    });
    let (rank, k) = (3 + seed as usize, config.hidden_size);
    let pairs = layers.map(|(site, n)| {
        (site, AdapterPair { rank, scale: 1.5, a: numbers(rank * k), b: numbers(n * rank) })
    });
    Adapter { pairs: pairs.collect(), ..Adapter::default() }
}
