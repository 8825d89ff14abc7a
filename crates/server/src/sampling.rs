//! Which sampling parameters does a request ask for?
//!
//! The APIs share these fields; [`Wishes`] is what any of them said, [`sampling`] what it means on top of the
//! model's own defaults. Only the kinds of numbers are looked at here (an id that is no number, a seed, -1
//! for "all"): the ranges are the engine's, whose refusal names the parameter and becomes a 400.
//!
//! It does not know the rest of a request.

use std::collections::BTreeMap;

use gptoss_turn::SamplingParams;

use crate::ids;
use crate::limits::{STOP_BYTES_MAX, STOPS_MAX, TOP_LOGPROBS_MAX};
use crate::wire::chat::{ChatRequest, Stops};
use crate::wire::completions::CompletionRequest;
use crate::wire::errors::ApiError;
use crate::wire::ollama::OllamaOptions;
use crate::wire::responses::ResponsesRequest;

/// What a request says about sampling.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes<'a> {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    logit_bias: Option<&'a BTreeMap<String, f64>>,
    seed: Option<i64>,
}

macro_rules! wishes_of {
    ($request:ty) => {
        impl<'a> From<&'a $request> for Wishes<'a> {
            fn from(request: &'a $request) -> Wishes<'a> {
                Wishes {
                    temperature: request.temperature,
                    top_p: request.top_p,
                    top_k: request.top_k,
                    min_p: request.min_p,
                    presence_penalty: request.presence_penalty,
                    frequency_penalty: request.frequency_penalty,
                    repetition_penalty: request.repetition_penalty,
                    logit_bias: request.logit_bias.as_ref(),
                    seed: request.seed,
                }
            }
        }
    };
}

wishes_of!(ChatRequest);
wishes_of!(CompletionRequest);
wishes_of!(ResponsesRequest);

impl<'a> From<&'a OllamaOptions> for Wishes<'a> {
    fn from(options: &'a OllamaOptions) -> Wishes<'a> {
        Wishes {
            temperature: options.temperature,
            top_p: options.top_p,
            top_k: options.top_k,
            min_p: options.min_p,
            presence_penalty: options.presence_penalty,
            frequency_penalty: options.frequency_penalty,
            repetition_penalty: options.repeat_penalty,
            logit_bias: None,
            seed: options.seed,
        }
    }
}

/// The parameters: what was said, over `defaults`; a seed that nobody said is drawn.
///
/// Errors: a token id that is no number, a `top_k` below -1.
pub(crate) fn sampling(wishes: Wishes<'_>, defaults: &SamplingParams) -> Result<SamplingParams, ApiError> {
    let or = |wish: Option<f64>, default: f32| wish.map_or(default, |number| number as f32);
    Ok(SamplingParams {
        temperature: or(wishes.temperature, defaults.temperature),
        top_p: or(wishes.top_p, defaults.top_p),
        top_k: match wishes.top_k {
            None => defaults.top_k,
            Some(-1) => 0,
            Some(k) => u32::try_from(k).map_err(|_| {
                ApiError::invalid("top_k", format!("top_k is {k}, but must be from -1 to {}", u32::MAX))
            })?,
        },
        min_p: or(wishes.min_p, defaults.min_p),
        presence_penalty: or(wishes.presence_penalty, defaults.presence_penalty),
        frequency_penalty: or(wishes.frequency_penalty, defaults.frequency_penalty),
        repetition_penalty: or(wishes.repetition_penalty, defaults.repetition_penalty),
        logit_bias: match wishes.logit_bias {
            None => defaults.logit_bias.clone(),
            Some(map) => map.iter().map(bias).collect::<Result<_, _>>()?,
        },
        seed: wishes.seed.map_or_else(ids::seed, |seed| seed as u64),
    })
}

fn bias((token, bias): (&String, &f64)) -> Result<(u32, f32), ApiError> {
    let id = token.parse().map_err(|_| {
        ApiError::invalid("logit_bias", format!("logit_bias: {token:?} is no token id; see /v1/tokenize"))
    })?;
    Ok((id, *bias as f32))
}

/// The most tokens to write; None is as many as the context holds.
///
/// Errors: less than one.
pub(crate) fn max_tokens(param: &'static str, wish: Option<i64>) -> Result<Option<usize>, ApiError> {
    match wish {
        None => Ok(None),
        Some(tokens) => match usize::try_from(tokens) {
            Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
            _ => Err(ApiError::invalid(param, format!("{param} is {tokens}, but must be at least 1"))),
        },
    }
}

/// The stop strings.
///
/// Errors: too many, too long, or an empty one.
pub(crate) fn stops(wish: Option<&Stops>) -> Result<Vec<String>, ApiError> {
    let stops = match wish {
        None => return Ok(Vec::new()),
        Some(Stops::One(stop)) => std::slice::from_ref(stop),
        Some(Stops::Several(stops)) => stops.as_slice(),
    };
    if stops.len() > STOPS_MAX {
        let message = format!("stop has {} strings, but at most {STOPS_MAX} are looked for", stops.len());
        return Err(ApiError::invalid("stop", message));
    }
    match stops.iter().find(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        Some(stop) => {
            let message =
                format!("a stop string has {} bytes, but must have 1 to {STOP_BYTES_MAX}", stop.len());
            Err(ApiError::invalid("stop", message))
        }
        None => Ok(stops.to_vec()),
    }
}

/// How many likeliest tokens are told with each; None when log-probabilities are not asked for.
///
/// Errors: more than can be told, or alternatives without log-probabilities.
pub(crate) fn top_logprobs(wanted: bool, top: Option<u32>) -> Result<Option<usize>, ApiError> {
    match (wanted, top) {
        (_, Some(top)) if top > TOP_LOGPROBS_MAX => {
            let message = format!("top_logprobs is {top}, but must be from 0 to {TOP_LOGPROBS_MAX}");
            Err(ApiError::invalid("top_logprobs", message))
        }
        (false, Some(top)) if top > 0 => {
            Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true"))
        }
        (true, top) => Ok(Some(top.unwrap_or(0) as usize)),
        (false, _) => Ok(None),
    }
}

/// How many choices.
///
/// Errors: none, or more than `max`.
pub(crate) fn choices(wish: Option<i64>, max: usize) -> Result<usize, ApiError> {
    match usize::try_from(wish.unwrap_or(1)) {
        Ok(choices) if (1..=max).contains(&choices) => Ok(choices),
        _ => {
            let message = format!("n is {}, but must be from 1 to {max}", wish.unwrap_or(1));
            Err(ApiError::invalid("n", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_wins_over_the_defaults() {
        let defaults = SamplingParams { temperature: 0.0, top_k: 7, ..SamplingParams::default() };
        let bias = BTreeMap::from([("12".to_owned(), -1.5)]);
        let wishes = Wishes {
            top_p: Some(0.5),
            top_k: Some(-1),
            logit_bias: Some(&bias),
            seed: Some(-1),
            ..Wishes::default()
        };
        let params = sampling(wishes, &defaults).unwrap();
        assert_eq!((params.temperature, params.top_p, params.top_k), (0.0, 0.5, 0));
        assert_eq!((params.logit_bias, params.seed), (vec![(12, -1.5)], u64::MAX));
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        let check = |result: Result<(), ApiError>, expect: &str| {
            assert!(result.unwrap_err().to_string().contains(expect), "{expect}");
        };
        let bias = BTreeMap::from([("a".to_owned(), 1.0)]);
        let wishes = Wishes { logit_bias: Some(&bias), ..Wishes::default() };
        check(sampling(wishes, &SamplingParams::default()).map(drop), "\"a\" is no token id");
        let wishes = Wishes { top_k: Some(-2), ..Wishes::default() };
        check(sampling(wishes, &SamplingParams::default()).map(drop), "top_k is -2");
        check(max_tokens("max_tokens", Some(0)).map(drop), "max_tokens is 0");
        check(stops(Some(&Stops::One(String::new()))).map(drop), "0 bytes");
        check(top_logprobs(true, Some(21)).map(drop), "top_logprobs is 21");
        check(top_logprobs(false, Some(1)).map(drop), "needs logprobs");
        check(choices(Some(9), 8).map(drop), "n is 9");
    }
}
