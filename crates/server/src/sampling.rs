//! The engine's sampling parameters of a request: what it says, over the model's own defaults.

use gptoss_api::generation::sampling::Sampling;
use gptoss_turn::SamplingParams;

use crate::ids;

/// What was said, over `defaults`; a seed that nobody said is drawn.
pub(crate) fn params(said: &Sampling, defaults: &SamplingParams) -> SamplingParams {
    SamplingParams {
        temperature: said.temperature.unwrap_or(defaults.temperature),
        top_p: said.top_p.unwrap_or(defaults.top_p),
        top_k: said.top_k.unwrap_or(defaults.top_k),
        min_p: said.min_p.unwrap_or(defaults.min_p),
        presence_penalty: said.presence_penalty.unwrap_or(defaults.presence_penalty),
        frequency_penalty: said.frequency_penalty.unwrap_or(defaults.frequency_penalty),
        repetition_penalty: said.repetition_penalty.unwrap_or(defaults.repetition_penalty),
        logit_bias: said.logit_bias.clone().unwrap_or_else(|| defaults.logit_bias.clone()),
        seed: said.seed.unwrap_or_else(ids::seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_wins_over_the_defaults() {
        let defaults = SamplingParams { temperature: 0.0, top_k: 7, ..SamplingParams::default() };
        let said = Sampling {
            top_p: Some(0.5),
            top_k: Some(0),
            logit_bias: Some(vec![(12, -1.5)]),
            seed: Some(u64::MAX),
            ..Sampling::default()
        };
        let params = params(&said, &defaults);
        assert_eq!((params.temperature, params.top_p, params.top_k), (0.0, 0.5, 0));
        assert_eq!((params.logit_bias, params.seed), (vec![(12, -1.5)], u64::MAX));
    }
}
