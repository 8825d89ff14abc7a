//! Every bound of this room, and the check of sampling parameters against theirs.
//!
//! Entry point: [`Sampling::parse`]. It turns [`SamplingParams`], which can hold anything, into [`Sampling`],
//! which holds nothing illegal and is all that the sampler takes. Ranges are OpenAI's where it has them.
//!
//! | limit | unit | value | answer when hit |
//! |---|---|---|---|
//! | temperature | – | 0 to 2 | refused |
//! | top_p, min_p | probability | 0 to 1 | refused |
//! | presence, frequency penalty | logit | -2 to 2 | refused |
//! | repetition penalty | factor | above 0, at most 10 | refused |
//! | logit bias | logit, entries | -100 to 100, at most 1024 | refused |
//! | log-probabilities told | tokens | 20 | refused |
//! | queue | requests | 256 | refused with `QueueFull` |
//! | cache_points of a prompt | places | 8 | the rest is not kept |
//! | wait for a kept prompt on disk | time | 30 s | it is computed |
//! | forced tokens of a step | tokens | 32 | the rest comes in the next step |
//! | lost devices without a good end between | losses | 3 | every request fails with `Device` |
//! | batches of events of kept blocks that wait | batches | 1,024 | lost, and all is told anew |
//! | events nobody has read | events | 16,384 | the request fails with `SlowReader` |

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::Error;
use crate::request::SamplingParams;

/// Range of the temperature.
pub const TEMPERATURE: RangeInclusive<f32> = 0.0..=2.0;
/// Range of top-p and min-p.
pub const PROBABILITY: RangeInclusive<f32> = 0.0..=1.0;
/// Range of presence and frequency penalty. Units: logit.
pub const PENALTY: RangeInclusive<f32> = -2.0..=2.0;
/// Largest repetition penalty; it must be above 0.
pub const REPETITION_PENALTY_MAX: f32 = 10.0;
/// Range of a token's logit bias. Units: logit.
pub const LOGIT_BIAS: RangeInclusive<f32> = -100.0..=100.0;
/// Most tokens with a logit bias.
pub const LOGIT_BIAS_ENTRIES_MAX: usize = 1024;
/// Most tokens whose log-probabilities are told beside the chosen one's.
pub const LOGPROBS_TOP_MAX: usize = 20;
/// Requests that may wait, unless the caller of `channel` says otherwise.
pub const QUEUE_REQUESTS_MAX: usize = 256;
/// Most places of a prompt that a request may name to be kept; more would push others out of the prefix
/// cache.
pub const CACHE_POINTS_MAX: usize = 8;
/// Longest wait of a request for a kept prompt on disk; then it computes, and while the disk is stuck nobody
/// else waits for it. In this time even a slow disk reads what a processor computes in minutes.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(30);
/// Most tokens that are computed in one step for a sequence because its constraint allows no others. Each is
/// a row that its neighbors wait for.
pub const FORCED_TOKENS_MAX: usize = 32;
/// Batches of events of kept blocks, one or two a step, that wait for whoever sends them on.
pub const KV_EVENT_BATCHES_MAX: usize = 1024;
/// About what a batch of events takes in a message. Units: bytes.
pub(crate) const KV_EVENT_BATCH_BYTES: usize = 1 << 20;
/// How often an idle engine that has lost events looks whether there is room to tell everything anew.
pub const KV_EVENTS_LOOK: Duration = Duration::from_millis(100);
/// Events of one request that are kept for a reader who does not come. Each takes about 100 bytes, and up to
/// 1 KB with twenty log-probabilities on both sides of a mask.
pub const EVENTS_QUEUED_MAX: usize = 16_384;

/// Sampling parameters that were found to be legal. Made by [`Sampling::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    params: SamplingParams,
}

impl Sampling {
    /// Checks every parameter; `vocab_size` bounds the tokens of the logit bias.
    ///
    /// Errors: `Parameter` names the first one that is out of its range, and the range.
    pub fn parse(params: &SamplingParams, vocab_size: usize) -> Result<Sampling, Error> {
        within("temperature", params.temperature, &TEMPERATURE)?;
        within("top_p", params.top_p, &PROBABILITY)?;
        within("min_p", params.min_p, &PROBABILITY)?;
        within("presence_penalty", params.presence_penalty, &PENALTY)?;
        within("frequency_penalty", params.frequency_penalty, &PENALTY)?;
        let repetition = params.repetition_penalty;
        if !(repetition > 0.0 && repetition <= REPETITION_PENALTY_MAX) {
            let expected = format!("above 0 and at most {REPETITION_PENALTY_MAX}");
            return Err(refused("repetition_penalty", repetition, expected));
        }
        if params.logit_bias.len() > LOGIT_BIAS_ENTRIES_MAX {
            let found = format!("a list of {} tokens", params.logit_bias.len());
            return Err(refused(
                "logit_bias",
                found,
                format!("at most {LOGIT_BIAS_ENTRIES_MAX} tokens long"),
            ));
        }
        for &(token, bias) in &params.logit_bias {
            within("logit_bias", bias, &LOGIT_BIAS)?;
            if token as usize >= vocab_size {
                let expected = format!("for tokens below {vocab_size}, the size of the vocabulary");
                return Err(refused("logit_bias", format!("for token {token}"), expected));
            }
        }
        Ok(Sampling { params: params.clone() })
    }

    /// The parameters, all legal.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }
}

/// Refuses NaN too, which no range contains.
fn within(parameter: &'static str, value: f32, range: &RangeInclusive<f32>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(refused(parameter, value, format!("from {} to {}", range.start(), range.end())))
}

fn refused(parameter: &'static str, found: impl ToString, expected: String) -> Error {
    Error::Parameter { parameter, found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut SamplingParams), expect: &str) {
        let mut params = SamplingParams::default();
        change(&mut params);
        let message = Sampling::parse(&params, 100).map_err(|error| error.to_string());
        assert_eq!(message.err().as_deref(), (!expect.is_empty()).then_some(expect));
    }

    #[test]
    fn parameters_are_held_against_their_ranges() {
        check(|_| {}, "");
        check(|p| p.temperature = 0.0, "");
        check(|p| p.temperature = -0.1, "temperature is -0.1, but must be from 0 to 2");
        check(|p| p.temperature = f32::NAN, "temperature is NaN, but must be from 0 to 2");
        check(|p| p.top_p = 1.5, "top_p is 1.5, but must be from 0 to 1");
        check(|p| p.min_p = -1.0, "min_p is -1, but must be from 0 to 1");
        check(|p| p.presence_penalty = 3.0, "presence_penalty is 3, but must be from -2 to 2");
        check(|p| p.frequency_penalty = f32::INFINITY, "frequency_penalty is inf, but must be from -2 to 2");
        check(|p| p.repetition_penalty = 0.0, "repetition_penalty is 0, but must be above 0 and at most 10");
        check(|p| p.logit_bias = vec![(3, 100.0), (99, -100.0)], "");
        check(|p| p.logit_bias = vec![(3, 101.0)], "logit_bias is 101, but must be from -100 to 100");
        check(
            |p| p.logit_bias = vec![(100, 1.0)],
            "logit_bias is for token 100, but must be for tokens below 100, the size of the vocabulary",
        );
        check(
            |p| p.logit_bias = vec![(1, 1.0); 1025],
            "logit_bias is a list of 1025 tokens, but must be at most 1024 tokens long",
        );
    }
}
