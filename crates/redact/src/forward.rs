//! The forward pass over a window of a text.
//!
//! Entry point: [`logits`]. A row of the last layer sees a band of the layer below, that one a band of the
//! next, and so on down: [`rows_seen`]. So the pass begins with all tokens that the window's rows see through
//! all layers, and every layer drops the rows that no later one needs. No row is computed without a key that
//! it sees.

use std::ops::Range;

use gptoss_kernels::Pool;

use crate::attention::{KeyRows, banded};
use crate::config::FilterConfig;
use crate::experts::add_mlp;
use crate::rotation::Angles;
use crate::rows::{add, normalized, product};
use crate::weights::{Layer, Weights};

/// What the rows `window` see of a text of `num_tokens` through `num_layers`, their own included.
fn rows_seen(
    config: &FilterConfig,
    window: &Range<usize>,
    num_layers: usize,
    num_tokens: usize,
) -> Range<usize> {
    let first = window.start.saturating_sub(config.left_context * num_layers);
    first..(window.end + config.right_context * num_layers).min(num_tokens)
}

/// The logits of the rows `window` of a text: `[R, N]`.
///
/// Panics: when a token is beyond the embedding.
pub(crate) fn logits(
    pool: &Pool,
    config: &FilterConfig,
    weights: &Weights,
    tokens: &[u32],
    window: Range<usize>,
) -> Vec<f32> {
    let c = config.hidden_size;
    let mut rows = rows_seen(config, &window, config.num_layers, tokens.len());
    let pass = Pass { pool, config, angles: Angles::of(config, rows.clone()), num_tokens: tokens.len() };
    let mut hidden = vec![0.0; rows.len() * c];
    let embedding = weights.embedding.view();
    pool.for_each_row(&mut hidden, c, |index, out| {
        embedding.unpack_row(out, tokens[rows.start + index] as usize);
    });
    for (index, layer) in weights.layers.iter().enumerate() {
        let kept = rows_seen(config, &window, config.num_layers - 1 - index, tokens.len());
        let update = pass.attention(layer, &hidden, &rows, &kept);
        hidden.truncate((kept.end - rows.start) * c);
        hidden.drain(..(kept.start - rows.start) * c);
        add(pool, &mut hidden, &update, c);
        add_mlp(pool, config, layer, &mut hidden);
        rows = kept;
    }
    let normed = normalized(pool, config, &hidden, &weights.norm);
    product(pool, &weights.head, &normed, c)
}

/// What the layers of a pass share.
struct Pass<'a> {
    pool: &'a Pool,
    config: &'a FilterConfig,
    /// At all rows that the pass begins with.
    angles: Angles,
    num_tokens: usize,
}

impl Pass<'_> {
    /// What the rows `kept` take from `rows`, whose hidden states are given.
    fn attention(&self, layer: &Layer, hidden: &[f32], rows: &Range<usize>, kept: &Range<usize>) -> Vec<f32> {
        let (c, config) = (self.config.hidden_size, self.config);
        let normed = normalized(self.pool, config, hidden, &layer.attention_norm);
        let of_kept = (kept.start - rows.start) * c..(kept.end - rows.start) * c;
        let mut query = product(self.pool, &layer.query, &normed[of_kept], c);
        let mut keys = product(self.pool, &layer.key, &normed, c);
        let values = product(self.pool, &layer.value, &normed, c);
        let (query_width, kv_width) =
            (config.num_query_heads * config.head_dim, config.num_kv_heads * config.head_dim);
        let angles = &self.angles;
        self.pool.for_each_row(&mut keys, kv_width, |index, x| angles.apply(x, rows.start + index));
        self.pool.for_each_row(&mut query, query_width, |index, x| angles.apply(x, kept.start + index));
        let mut attended = vec![0.0; query.len()];
        let kv = KeyRows { keys: &keys, values: &values, rows: rows.clone() };
        let out = (&mut attended[..], &query[..]);
        banded(self.pool, config, &layer.sinks, out, kept.clone(), &kv, self.num_tokens);
        product(self.pool, &layer.out, &attended, query_width)
    }
}
