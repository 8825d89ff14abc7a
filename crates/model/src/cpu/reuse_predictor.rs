//! The use of experts that are in memory, predicted: which will be missed least.
//!
//! Entry points: [`ReusePredictor::visit`], told what the router of a layer chose, and
//! [`ReusePredictor::layers_until_use`], the answer for one expert. Layers come round in a fixed order, so
//! the wait for an expert has two parts: the layers until its own layer is next, and the rounds until that
//! layer's router takes it again, which a running mean of how many tokens took it estimates. The expert with
//! the longest expected wait is dropped.
//!
//! Why not the least recently used: a forward pass is a cycle, the order in which that rule fails. Of a dense
//! model, whose one expert a layer is used in every round, it would never find one in memory; this one keeps
//! all but the layer just left. Where the router has favourites it keeps those, and where it has none any
//! rule finds as much as fits.

/// Share of a new token in the running means: the last hundred tokens or so count.
const NEW_TOKEN_SHARE: f32 = 1.0 / 64.0;
/// Least probability, so that a wait is finite: once in a thousand rounds.
const PROBABILITY_MIN: f32 = 1e-3;

/// What is known about the use of the experts of all layers. An expert's key is `layer * E + expert`.
pub(crate) struct ReusePredictor {
    num_layers: usize,
    num_experts: usize,
    /// `[L * E]`: how likely a token is to take the expert.
    probabilities: Vec<f32>,
    /// The layer visited last.
    layer: usize,
}

impl ReusePredictor {
    /// Nothing seen yet: all experts alike, `active` of them taken by a token.
    pub(crate) fn new(num_layers: usize, num_experts: usize, active: usize) -> ReusePredictor {
        let probability = active as f32 / num_experts as f32;
        let probabilities = vec![probability; num_layers * num_experts];
        ReusePredictor { num_layers, num_experts, probabilities, layer: num_layers - 1 }
    }

    /// Notes a layer's turn: how many of `num_tokens` tokens took each expert, for those that any took.
    pub(crate) fn visit(&mut self, layer: usize, active_experts: &[(usize, usize)], num_tokens: usize) {
        self.layer = layer;
        let share = 1.0 - (1.0 - NEW_TOKEN_SHARE).powi(num_tokens as i32);
        let probabilities = &mut self.probabilities[layer * self.num_experts..][..self.num_experts];
        for probability in probabilities.iter_mut() {
            *probability *= 1.0 - share;
        }
        for &(expert, tokens) in active_experts {
            probabilities[expert] += share * tokens as f32 / num_tokens as f32;
        }
    }

    /// How many layers will be computed, by expectation, before the expert is used; its own layer's present
    /// turn, if it has one, is taken for over.
    pub(crate) fn layers_until_use(&self, key: usize) -> f32 {
        let ahead = (key / self.num_experts + self.num_layers - self.layer - 1) % self.num_layers;
        let rounds = 1.0 / self.probabilities[key].max(PROBABILITY_MIN) - 1.0;
        ahead as f32 + self.num_layers as f32 * rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_dense_model_the_layer_just_left_waits_longest() {
        let mut predictor = ReusePredictor::new(4, 1, 1);
        predictor.visit(2, &[(0, 1)], 1);
        let waits: Vec<f32> = (0..4).map(|key| predictor.layers_until_use(key)).collect();
        assert_eq!(waits, [1.0, 2.0, 3.0, 0.0]);
    }

    #[test]
    fn favourites_wait_less_than_strangers_and_forgotten_ones_become_strangers() {
        let mut predictor = ReusePredictor::new(2, 4, 1);
        for _ in 0..100 {
            predictor.visit(0, &[(3, 1)], 1);
            predictor.visit(1, &[(0, 1)], 1);
        }
        assert!((0..3).all(|expert| predictor.layers_until_use(3) < predictor.layers_until_use(expert)));
        // Many tokens at once move the means as far as one after the other.
        predictor.visit(0, &[(1, 300), (2, 100)], 400);
        assert!(predictor.layers_until_use(1) < predictor.layers_until_use(2));
        assert!(predictor.layers_until_use(2) < predictor.layers_until_use(3));
    }
}
