//! What comes: requests with a time, lengths and a beginning, drawn or from a file.
//!
//! Entry point: [`traffic`]. Arrivals and lengths are those of `gptoss load` with the same seed and rate, the
//! first turns of conversations included. A later turn comes when the one before it has been answered and
//! somebody has thought; it holds all that was said before, of which the engine knows the prompts and reads
//! the answers again, as harmony leaves their reasoning out.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand_distr::{Distribution, Exp, Gamma};
use serde::Deserialize;

use crate::args::{LENGTH_TOKENS_MAX, Lengths, TrafficArgs};
use crate::input::{Source, for_each_line};
use crate::load::draw::{self, Purpose};

/// Nanoseconds of a second.
pub const NANOS: f64 = 1e9;
/// Tokens below this are beginnings' own.
const OWN_TOKENS: u32 = 1 << 30;
/// What nobody says otherwise.
const RATE: f64 = 1.0;
const REQUESTS: u32 = 2000;
const PROMPT_TOKENS: Lengths = Lengths::Fixed(512);
const OUTPUT_TOKENS: Lengths = Lengths::Fixed(128);
const THINK_SECONDS: f64 = 20.0;
/// Most requests of a plan, those of all turns.
const ASKS_MAX: usize = 10_000_000;
/// Most tokens of all answers: the time of each is kept, which takes 8 bytes.
const TOKENS_MAX: u64 = 200_000_000;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// When it comes; of a later turn, how long after the answer before it. Units: nanoseconds.
    pub at: u64,
    /// Tokens of the prompt, all that was said before included.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Which beginning it has, and of how many tokens.
    pub prefix: Option<(u32, u32)>,
    /// Which conversation it is of: the prompts of one begin with each other.
    pub conversation: u32,
    /// Whether it comes after the request before it in the list has ended.
    pub is_later_turn: bool,
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
    pub fn prompt(&self) -> Vec<u32> {
        let (prefix, shared) = self.prefix.unwrap_or((0, 0));
        let shared = shared.min(self.prompt_tokens);
        let own = self.prompt_tokens - shared;
        let tokens = |of: u32, count: u32| (0..count).map(move |place| scrambled(of).wrapping_add(place));
        let beginning = tokens(prefix, shared).map(|token| token % OWN_TOKENS);
        let own = tokens(self.conversation, own).map(|token| OWN_TOKENS | (token % OWN_TOKENS));
        beginning.chain(own).collect()
    }

    /// The end of its beginning, which is kept as the end of a message is. Its own end, from which a later
    /// turn goes on, is kept by the engine itself.
    pub fn cache_points(&self) -> Vec<usize> {
        self.prefix.map(|(_, tokens)| tokens.min(self.prompt_tokens) as usize).into_iter().collect()
    }
}

/// A number that looks nothing like the one before.
fn scrambled(number: u32) -> u32 {
    let mixed = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35)
}

/// Requests a second; None where all come at once.
pub fn rate(asks: &[Ask]) -> Option<f64> {
    let firsts = || asks.iter().filter(|ask| !ask.is_later_turn);
    let last = firsts().map(|ask| ask.at).max().filter(|last| *last > 0)?;
    Some(firsts().count() as f64 * NANOS / last as f64)
}

/// All requests, in the order of their times, those of a conversation one after the other.
///
/// Errors: what does not go together; the file cannot be read, or holds something else; more than a
/// simulation keeps.
pub fn traffic(args: &TrafficArgs) -> Result<Vec<Ask>> {
    let asks = match &args.trace {
        Some(file) => {
            ensure!(!args.is_drawn(), "`trace` has the requests: leave out what draws them, such as `rate`");
            trace(file)?
        }
        None => drawn(args)?,
    };
    let tokens: u64 = asks.iter().map(|ask| u64::from(ask.output_tokens)).sum();
    ensure!(
        tokens <= TOKENS_MAX,
        "the answers have {tokens} tokens, and the times of at most {TOKENS_MAX} are kept: fewer requests, or shorter answers"
    );
    Ok(asks)
}

/// Requests by their rate, lengths and beginnings.
fn drawn(args: &TrafficArgs) -> Result<Vec<Ask>> {
    let (count, turns) = (args.requests.unwrap_or(REQUESTS), args.turns.unwrap_or(1));
    let prefixes = args.prefixes.unwrap_or(0);
    ensure!(args.think.is_none() || turns > 1, "`think` needs `turns`: a single request has no later turn");
    ensure!(
        args.arrivals.is_none() || args.burstiness.is_none(),
        "`arrivals` and `burstiness` exclude each other: bursts are neither poisson nor constant"
    );
    ensure!(
        (prefixes > 0) == args.prefix_tokens.is_some(),
        "`prefixes` and `prefix_tokens` need each other: how many beginnings, and how long"
    );
    ensure!(
        args.prefix_share.is_none() || prefixes > 0,
        "`prefix_share` needs `prefixes`: of which, the share"
    );
    let asks = count as usize * turns as usize;
    ensure!(
        asks <= ASKS_MAX,
        "{count} conversations of {turns} turns are {asks} requests: at most {ASKS_MAX}"
    );
    let seed = args.seed.unwrap_or(0);
    let mut arrivals = arrivals(args, seed)?;
    let mut all = Vec::with_capacity(asks);
    for conversation in 0..count {
        let mut random = draw::random(seed, Purpose::Request, 0, u64::from(conversation));
        let output_tokens = draw::tokens(args.output_tokens.unwrap_or(OUTPUT_TOKENS), &mut random);
        let prompt_tokens = draw::tokens(args.prompt_tokens.unwrap_or(PROMPT_TOKENS), &mut random);
        let lengths = args.prefix_tokens.filter(|_| {
            let share = args.prefix_share.unwrap_or(1.0);
            share == 1.0 || random.random::<f64>() < share
        });
        let prefix = lengths.map(|lengths| {
            let which = random.random_range(0..prefixes);
            let mut of_prefix = draw::random(seed, Purpose::SharedPrefix, 0, u64::from(which));
            (which, draw::tokens(lengths, &mut of_prefix))
        });
        let at = (arrivals.next().unwrap_or(f64::MAX) * NANOS) as u64;
        let is_later_turn = false;
        all.push(Ask { at, prompt_tokens, output_tokens, prefix, conversation, is_later_turn });
        (1..turns).for_each(|turn| all.push(later(args, &all[all.len() - 1], seed, turn)));
    }
    Ok(all)
}

/// The turn after another.
fn later(args: &TrafficArgs, before: &Ask, seed: u64, turn: u32) -> Ask {
    let mut random = draw::random(seed, Purpose::Request, u64::from(turn), u64::from(before.conversation));
    let output_tokens = draw::tokens(args.output_tokens.unwrap_or(OUTPUT_TOKENS), &mut random);
    let new = draw::tokens(args.prompt_tokens.unwrap_or(PROMPT_TOKENS), &mut random);
    let think = args.think.map_or(THINK_SECONDS, |think| think.as_secs_f64());
    // A mean of at least a millisecond is a rate that the distribution takes.
    let think = Exp::new(1.0 / think).map_or(think, |gaps| gaps.sample(&mut random));
    // What is longer than any context is refused by the engine, whatever more is said.
    let said = before.prompt_tokens.saturating_add(before.output_tokens);
    let prompt_tokens = said.saturating_add(new).min(2 * LENGTH_TOKENS_MAX);
    Ask { at: (think * NANOS) as u64, prompt_tokens, output_tokens, is_later_turn: true, ..before.clone() }
}

/// When requests, or conversations, come.
fn arrivals(args: &TrafficArgs, seed: u64) -> Result<Box<dyn Iterator<Item = f64>>> {
    let (rate, random) = (args.rate.unwrap_or(RATE), draw::random(seed, Purpose::Arrivals, 0, 0));
    let Some(burstiness) = args.burstiness else {
        let arrivals = draw::arrivals(rate, args.arrivals.unwrap_or_default(), random);
        return Ok(Box::new(arrivals.map(|at| at.as_secs_f64())));
    };
    // Gaps that deviate by more, or less, than their mean.
    let shape = burstiness.powi(-2);
    let gaps = Gamma::new(shape, 1.0 / (rate * shape)).context("`burstiness` gives no distribution")?;
    let (mut random, mut at) = (random, 0.0);
    Ok(Box::new(std::iter::from_fn(move || {
        at += gaps.sample(&mut random);
        Some(at)
    })))
}

/// Requests as they were recorded; the first one's time is the first moment.
fn trace(file: &Path) -> Result<Vec<Ask>> {
    let (mut lines, mut names) = (Vec::new(), HashMap::new());
    for_each_line(Source::from_argument(Some(file)), |line, _| {
        let line: Line = serde_json::from_str(line).context("it is not a request")?;
        let lengths = [line.prompt_tokens, line.output_tokens];
        ensure!(
            lengths.iter().all(|tokens| (1..=LENGTH_TOKENS_MAX).contains(tokens)),
            "lengths are from 1 to {LENGTH_TOKENS_MAX} tokens"
        );
        ensure!((0.0..1e10).contains(&line.at), "`at` is {}: it has to be seconds from 0 to 1e10", line.at);
        ensure!(
            line.prefix.is_some() || line.prefix_tokens.is_none(),
            "`prefix_tokens` needs `prefix`, the name of the beginning"
        );
        ensure!(lines.len() < ASKS_MAX, "more than {ASKS_MAX} requests");
        let prefix = line.prefix.map(|name| {
            let next = names.len() as u32;
            (*names.entry(name).or_insert(next), line.prefix_tokens.unwrap_or(line.prompt_tokens))
        });
        lines.push((line.at, lengths, prefix));
        Ok(())
    })?;
    ensure!(!lines.is_empty(), "{}: there is no request", file.display());
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let first = lines[0].0;
    let ask = |(conversation, (at, [prompt_tokens, output_tokens], prefix)): (u32, (f64, [u32; 2], _))| {
        let at = ((at - first) * NANOS) as u64;
        Ask { at, prompt_tokens, output_tokens, prefix, conversation, is_later_turn: false }
    };
    Ok((0..).zip(lines).map(ask).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::args::ArrivalsArg;

    fn args(requests: u32) -> TrafficArgs {
        TrafficArgs { requests: Some(requests), rate: Some(4.0), ..TrafficArgs::default() }
    }

    #[test]
    fn later_turns_hold_what_was_said() {
        let think = Some(Duration::from_secs(2));
        let asks = traffic(&TrafficArgs { turns: Some(3), think, ..args(50) }).unwrap();
        assert_eq!(asks.len(), 150);
        for turns in asks.chunks(3) {
            assert_eq!(turns.iter().map(|ask| ask.prompt_tokens).collect::<Vec<_>>(), [512, 1152, 1792]);
            assert_eq!(turns.iter().map(|ask| ask.is_later_turn).collect::<Vec<_>>(), [false, true, true]);
            let prompts: Vec<_> = turns.iter().map(Ask::prompt).collect();
            assert!(prompts[2].starts_with(&prompts[1]) && prompts[1].starts_with(&prompts[0]));
        }
        assert_ne!(asks[0].prompt(), asks[3].prompt());
        let thought: u64 = asks.iter().filter(|ask| ask.is_later_turn).map(|ask| ask.at).sum();
        let mean = thought as f64 / NANOS / 100.0;
        // The mean of a hundred that deviate by their mean; the seed is fixed.
        assert!((1.4..2.6).contains(&mean), "{mean}");
        // The first turns are what comes without later ones.
        let alone = traffic(&args(50)).unwrap();
        assert!(asks.iter().filter(|ask| !ask.is_later_turn).eq(&alone));
        assert_eq!(rate(&asks), rate(&alone));
    }

    #[test]
    fn a_share_has_a_beginning_and_bursts_deviate() {
        let asks = |prefix_share| {
            let prefix_tokens = Some(Lengths::Fixed(40));
            traffic(&TrafficArgs { prefixes: Some(3), prefix_tokens, prefix_share, ..args(1000) }).unwrap()
        };
        let shared = |asks: &[Ask]| asks.iter().filter(|ask| ask.prefix.is_some()).count();
        assert_eq!(shared(&asks(None)), 1000);
        assert!((150..250).contains(&shared(&asks(Some(0.2)))));
        assert_eq!(shared(&asks(Some(0.0))), 0);
        let deviation = |burstiness| {
            let asks = traffic(&TrafficArgs { burstiness, ..args(2000) }).unwrap();
            let gaps = asks.windows(2).map(|pair| (pair[1].at - pair[0].at) as f64 / NANOS * 4.0);
            (gaps.map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / 1999.0).sqrt()
        };
        let (bursts, even) = (deviation(Some(3.0)), deviation(Some(0.1)));
        assert!((2.0..4.0).contains(&bursts) && (0.05..0.2).contains(&even), "{bursts} {even}");
    }

    #[test]
    fn what_comes_at_once_has_no_rate() {
        let at_once: Vec<Ask> =
            traffic(&args(3)).unwrap().into_iter().map(|ask| Ask { at: 0, ..ask }).collect();
        assert_eq!(rate(&at_once), None);
        let even = TrafficArgs { arrivals: Some(ArrivalsArg::Constant), ..args(5) };
        // Five requests in the second from the first to the last.
        assert_eq!(rate(&traffic(&even).unwrap()), Some(5.0));
        assert_eq!(rate(&[]), None);
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let check = |args: TrafficArgs, facts: &[&str]| {
            let error = format!("{:#}", traffic(&args).unwrap_err());
            assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
        };
        check(TrafficArgs { prefixes: Some(3), ..args(1) }, &["`prefix_tokens`"]);
        check(TrafficArgs { prefix_tokens: Some(Lengths::Fixed(4)), ..args(1) }, &["`prefixes`"]);
        check(TrafficArgs { prefix_share: Some(0.5), ..args(1) }, &["`prefix_share`"]);
        check(TrafficArgs { think: Some(Duration::from_secs(1)), ..args(1) }, &["`turns`"]);
        check(TrafficArgs { turns: Some(100), ..args(1_000_000) }, &["100000000 requests", "10000000"]);
        let long = Some(Lengths::Fixed(100_000));
        check(TrafficArgs { output_tokens: long, ..args(1_000_000) }, &["100000000000", "200000000"]);
        check(TrafficArgs { trace: Some("x.jsonl".into()), ..args(1) }, &["`trace`", "`rate`"]);
        check(TrafficArgs { trace: Some("/no/x".into()), ..TrafficArgs::default() }, &["/no/x"]);
    }
}
