//! How tokens are to be chosen, as far as a request says.
//!
//! The APIs share these fields; [`SamplingFields`] is what any of them said, [`sampling`] reads it. Only the
//! kinds of numbers are looked at here (an id that is not a number, a seed, -1 for "all"): the ranges are the
//! engine's, whose refusal names the parameter and becomes a 400.

use std::collections::BTreeMap;

use crate::errors::ApiError;
use crate::limits::{STOP_BYTES_MAX, STOPS_MAX, TOP_LOGPROBS_MAX};
use crate::wire::chat::{ChatRequest, Stops};
use crate::wire::completions::CompletionRequest;
use crate::wire::messages::MessagesRequest;
use crate::wire::responses::ResponsesRequest;

/// How tokens are to be chosen: None where the request leaves it to the model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the best token without a draw.
    pub temperature: Option<f32>,
    /// The smallest set of best tokens with this probability is kept.
    pub top_p: Option<f32>,
    /// The number of best tokens that are kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// Tokens less probable than this part of the best one's probability are cut.
    pub min_p: Option<f32>,
    /// Subtracted once from the logit of every token that was generated before.
    pub presence_penalty: Option<f32>,
    /// Subtracted from a token's logit for every time it was generated before.
    pub frequency_penalty: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens that have appeared.
    pub repetition_penalty: Option<f32>,
    /// Added to the logits of these tokens.
    pub logit_bias: Option<Vec<(u32, f32)>>,
    /// Decides every draw.
    pub seed: Option<u64>,
}

/// What a request says about sampling.
#[derive(Debug, Clone, Copy, Default)]
pub struct SamplingFields<'a> {
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

macro_rules! sampling_fields_of {
    ($request:ty) => {
        impl<'a> From<&'a $request> for SamplingFields<'a> {
            fn from(request: &'a $request) -> SamplingFields<'a> {
                SamplingFields {
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

sampling_fields_of!(ChatRequest);
sampling_fields_of!(CompletionRequest);
sampling_fields_of!(ResponsesRequest);

impl<'a> From<&'a MessagesRequest> for SamplingFields<'a> {
    fn from(request: &'a MessagesRequest) -> SamplingFields<'a> {
        SamplingFields {
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            seed: request.seed,
            ..SamplingFields::default()
        }
    }
}

/// What was said.
///
/// Errors: a token id that is not a number, a `top_k` below -1.
pub fn sampling(fields: SamplingFields<'_>) -> Result<Sampling, ApiError> {
    let single = |wish: Option<f64>| wish.map(|number| number as f32);
    Ok(Sampling {
        temperature: single(fields.temperature),
        top_p: single(fields.top_p),
        top_k: match fields.top_k {
            None => None,
            Some(-1) => Some(0),
            Some(k) => Some(u32::try_from(k).map_err(|_| {
                ApiError::invalid("top_k", format!("top_k is {k}, but must be from -1 to {}", u32::MAX))
            })?),
        },
        min_p: single(fields.min_p),
        presence_penalty: single(fields.presence_penalty),
        frequency_penalty: single(fields.frequency_penalty),
        repetition_penalty: single(fields.repetition_penalty),
        logit_bias: match fields.logit_bias {
            None => None,
            Some(map) => Some(map.iter().map(bias).collect::<Result<_, _>>()?),
        },
        seed: fields.seed.map(|seed| seed as u64),
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
pub fn max_tokens(param: &'static str, wish: Option<i64>) -> Result<Option<usize>, ApiError> {
    match wish {
        None => Ok(None),
        Some(tokens) => match usize::try_from(tokens) {
            Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
            _ => Err(ApiError::invalid(param, format!("{param} is {tokens}, but must be at least 1"))),
        },
    }
}

/// The stop strings, which came in `param`.
///
/// Errors: too many, too long, or an empty one.
pub fn stops(wish: Option<&Stops>, param: &str) -> Result<Vec<String>, ApiError> {
    let stops = match wish {
        None => return Ok(Vec::new()),
        Some(Stops::One(stop)) => std::slice::from_ref(stop),
        Some(Stops::Several(stops)) => stops.as_slice(),
    };
    if stops.len() > STOPS_MAX {
        let message = format!("{param} has {} strings, but at most {STOPS_MAX} are looked for", stops.len());
        return Err(ApiError::invalid(param, message));
    }
    match stops.iter().find(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        Some(stop) => {
            let message =
                format!("a stop string has {} bytes, but must have 1 to {STOP_BYTES_MAX}", stop.len());
            Err(ApiError::invalid(param, message))
        }
        None => Ok(stops.to_vec()),
    }
}

/// How many likeliest tokens are told with each; None when log-probabilities are not asked for.
///
/// Errors: more than can be told, or alternatives without log-probabilities.
pub fn top_logprobs(wanted: bool, top: Option<u32>) -> Result<Option<usize>, ApiError> {
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
pub fn choices(wish: Option<i64>, max: usize) -> Result<usize, ApiError> {
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
    fn what_is_said_is_read_and_the_rest_is_left_open() {
        let bias = BTreeMap::from([("12".to_owned(), -1.5)]);
        let fields = SamplingFields {
            top_p: Some(0.5),
            top_k: Some(-1),
            logit_bias: Some(&bias),
            seed: Some(-1),
            ..SamplingFields::default()
        };
        let expect = Sampling {
            top_p: Some(0.5),
            top_k: Some(0),
            logit_bias: Some(vec![(12, -1.5)]),
            seed: Some(u64::MAX),
            ..Sampling::default()
        };
        assert_eq!(sampling(fields), Ok(expect));
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        let check = |result: Result<(), ApiError>, expect: &str| {
            assert!(result.unwrap_err().to_string().contains(expect), "{expect}");
        };
        let bias = BTreeMap::from([("a".to_owned(), 1.0)]);
        let fields = SamplingFields { logit_bias: Some(&bias), ..SamplingFields::default() };
        check(sampling(fields).map(drop), "\"a\" is no token id");
        let fields = SamplingFields { top_k: Some(-2), ..SamplingFields::default() };
        check(sampling(fields).map(drop), "top_k is -2");
        check(max_tokens("max_tokens", Some(0)).map(drop), "max_tokens is 0");
        check(stops(Some(&Stops::One(String::new())), "stop").map(drop), "0 bytes");
        check(top_logprobs(true, Some(21)).map(drop), "top_logprobs is 21");
        check(top_logprobs(false, Some(1)).map(drop), "needs logprobs");
        check(choices(Some(9), 8).map(drop), "n is 9");
    }
}
