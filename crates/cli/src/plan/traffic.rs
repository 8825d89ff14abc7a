//! What comes: requests with a time, lengths and a beginning, drawn or from a file.
//!
//! Entry point: [`traffic`]. Arrivals and lengths are those of `gptoss load` with the same seed and rate.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand_distr::{Distribution, Gamma};
use serde::Deserialize;

use crate::args::{LENGTH_TOKENS_MAX, TrafficArgs};
use crate::input::{Source, for_each_line};
use crate::load::draw::{self, Purpose};

/// Nanoseconds of a second.
pub const NANOS: f64 = 1e9;
/// Tokens below this are beginnings' own.
const OWN_TOKENS: u32 = 1 << 30;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// When it comes. Units: nanoseconds.
    pub at: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Which beginning it has, and of how many tokens.
    pub prefix: Option<(u32, u32)>,
}

/// A line of a file of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: f64,
    prompt_tokens: u32,
    output_tokens: u32,
    prefix: Option<String>,
    prefix_tokens: Option<u32>,
}

impl Ask {
    /// Its tokens: those of its beginning, and its own.
    pub fn prompt(&self, number: u32) -> Vec<u32> {
        let (prefix, shared) = self.prefix.unwrap_or((0, 0));
        let shared = shared.min(self.prompt_tokens);
        let own = self.prompt_tokens - shared;
        let tokens = |of: u32, count: u32| (0..count).map(move |place| scrambled(of).wrapping_add(place));
        let beginning = tokens(prefix, shared).map(|token| token % OWN_TOKENS);
        beginning.chain(tokens(number, own).map(|token| OWN_TOKENS | (token % OWN_TOKENS))).collect()
    }

    /// The end of its beginning, which is kept as the end of a message is.
    pub fn cache_points(&self) -> Vec<usize> {
        self.prefix.map(|(_, tokens)| tokens.min(self.prompt_tokens) as usize).into_iter().collect()
    }
}

/// A number that looks nothing like the one before.
fn scrambled(number: u32) -> u32 {
    let mixed = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35)
}

/// All requests, in the order of their times.
///
/// Errors: the file cannot be read, or holds something else.
pub fn traffic(args: &TrafficArgs) -> Result<Vec<Ask>> {
    if let Some(file) = &args.trace {
        return trace(file);
    }
    let mut arrivals: Box<dyn Iterator<Item = f64>> = match args.burstiness {
        None => {
            let random = draw::random(args.seed, Purpose::Arrivals, 0, 0);
            Box::new(draw::arrivals(args.rate, args.arrivals, random).map(|at| at.as_secs_f64()))
        }
        Some(burstiness) => Box::new(bursts(args.rate, burstiness, args.seed)?),
    };
    let ask = |index: u32| {
        let mut random = draw::random(args.seed, Purpose::Request, 0, u64::from(index));
        let output_tokens = draw::tokens(args.output_tokens, &mut random);
        let prompt_tokens = draw::tokens(args.prompt_tokens, &mut random);
        let prefix = args.prefix_tokens.filter(|_| args.prefixes > 0).map(|lengths| {
            let which = random.random_range(0..args.prefixes);
            let mut of_prefix = draw::random(args.seed, Purpose::SharedPrefix, 0, u64::from(which));
            (which, draw::tokens(lengths, &mut of_prefix))
        });
        let at = arrivals.next().unwrap_or(f64::MAX);
        Ask { at: (at * NANOS) as u64, prompt_tokens, output_tokens, prefix }
    };
    Ok((0..args.requests).map(ask).collect())
}

/// Times of arrival whose gaps deviate by more, or less, than their mean.
fn bursts(rate: f64, burstiness: f64, seed: u64) -> Result<impl Iterator<Item = f64>> {
    let shape = burstiness.powi(-2);
    let gaps = Gamma::new(shape, 1.0 / (rate * shape)).context("--burstiness gives no distribution")?;
    let mut random = draw::random(seed, Purpose::Arrivals, 0, 0);
    let mut at = 0.0;
    Ok(std::iter::from_fn(move || {
        at += gaps.sample(&mut random);
        Some(at)
    }))
}

fn trace(file: &Path) -> Result<Vec<Ask>> {
    let (mut asks, mut names) = (Vec::new(), HashMap::new());
    for_each_line(Source::from_argument(Some(file)), |line, _| {
        let line: Line = serde_json::from_str(line).context("it is not a request")?;
        let lengths = [line.prompt_tokens, line.output_tokens];
        ensure!(
            lengths.iter().all(|tokens| (1..=LENGTH_TOKENS_MAX).contains(tokens)),
            "lengths are from 1 to {LENGTH_TOKENS_MAX} tokens"
        );
        ensure!((0.0..1e9).contains(&line.at), "`at` is seconds from the first on");
        let prefix = line.prefix.map(|name| {
            let next = names.len() as u32;
            (*names.entry(name).or_insert(next), line.prefix_tokens.unwrap_or(line.prompt_tokens))
        });
        let at = (line.at * NANOS) as u64;
        asks.push(Ask { at, prompt_tokens: line.prompt_tokens, output_tokens: line.output_tokens, prefix });
        Ok(())
    })?;
    ensure!(!asks.is_empty(), "{}: there is no request", file.display());
    asks.sort_by_key(|ask| ask.at);
    Ok(asks)
}
