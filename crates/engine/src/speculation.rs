//! Tokens that are worth computing before they are chosen.
//!
//! Entry point: [`Drafter::draft`]. What a constraint leaves no choice about comes first and is always right.
//! After it comes a look-up: the last few tokens stood somewhere before, and what followed there is tried
//! again. Text that quotes, edits or lists its prompt is full of such places. The engine computes a draft in
//! the same step as the token before it and chooses, one after the other, what it would have chosen anyway;
//! so only the time depends on it.
//!
//! A row more costs time, and more so in a mixture of experts, where it reads experts that nobody else needs.
//! A forced token would cost its row anyway. For look-ups the drafter measures: tokens per second of steps
//! with guesses and of steps without, each as a running mean. It takes the better way, and tries the other
//! now and then, because texts change. Its clock is given to it.

use std::time::Duration;

use crate::kv_plan::Speculation;
use crate::sequence::Sequence;

/// Tokens that have to repeat before what followed them is a guess.
const REPEATED: usize = 3;
/// Tokens guessed at once.
const GUESSES: usize = 4;
/// Tokens drafted in a step for all sequences together: each asks for a row of logits, 0.8 MB for the
/// published vocabulary.
const DRAFTED_MAX: usize = 96;
/// How far back is looked. Units: tokens.
const LOOK_BACK: usize = 16_384;
/// Steps with an opportunity, after which the way that seems worse is tried once.
const TRY_AGAIN: u64 = 64;
/// Steps of each way before they are compared.
const MEASURED_MIN: u64 = 8;
/// Weight of the newest step in a running mean.
const NEWEST: f64 = 1.0 / 16.0;

/// Drafts, and what look-ups were worth.
#[derive(Debug)]
pub(crate) struct Drafter {
    mode: Speculation,
    with: Rate,
    without: Rate,
    opportunities: u64,
    /// Whether this step has guesses; decided by its first opportunity.
    tries: Option<bool>,
    /// Whether this step has forced tokens, so that its time says nothing of guesses.
    has_forced: bool,
    /// How many more tokens this step may draft.
    left: usize,
}

/// Tokens per second.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    mean: f64,
    steps: u64,
}

impl Rate {
    fn learn(&mut self, tokens: usize, time: Duration) {
        let rate = tokens as f64 / time.as_secs_f64().max(1e-9);
        let weight = NEWEST.max(1.0 / (self.steps + 1) as f64);
        self.mean += (rate - self.mean) * weight;
        self.steps += 1;
    }
}

impl Drafter {
    pub(crate) fn new(mode: Speculation) -> Drafter {
        Drafter {
            mode,
            with: Rate::default(),
            without: Rate::default(),
            opportunities: 0,
            tries: None,
            has_forced: false,
            left: DRAFTED_MAX,
        }
    }

    /// The tokens that follow: those that are `forced`, and then what may follow them, if guessing pays.
    pub(crate) fn draft(&mut self, sequence: &Sequence, forced: &[u32]) -> Vec<u32> {
        let mut draft = forced.to_vec();
        self.has_forced |= !forced.is_empty();
        if self.mode != Speculation::Off {
            let guesses = look_up(&sequence.tokens, forced);
            if !guesses.is_empty() && self.tries_now() {
                draft.extend(guesses);
            }
        }
        draft.truncate(self.left);
        self.left -= draft.len();
        draft
    }

    fn tries_now(&mut self) -> bool {
        if self.mode == Speculation::Always {
            return true;
        }
        *self.tries.get_or_insert_with(|| {
            self.opportunities += 1;
            let is_measured = self.with.steps >= MEASURED_MIN && self.without.steps >= MEASURED_MIN;
            let better = match is_measured {
                true => self.with.mean > self.without.mean,
                false => self.with.steps <= self.without.steps,
            };
            if self.opportunities.is_multiple_of(TRY_AGAIN) { !better } else { better }
        })
    }

    /// A step of decoding alone is over: whether it had guesses, and what came of it.
    pub(crate) fn learn(&mut self, had_guesses: bool, tokens: usize, time: Duration) {
        let (had_opportunity, had_forced) = (self.tries.is_some(), self.has_forced);
        self.skip();
        if had_forced {
            return;
        }
        if had_guesses {
            self.with.learn(tokens, time);
        } else if had_opportunity || self.without.steps < MEASURED_MIN {
            self.without.learn(tokens, time);
        }
    }

    /// A step whose time says nothing is over.
    pub(crate) fn skip(&mut self) {
        (self.tries, self.has_forced, self.left) = (None, false, DRAFTED_MAX);
    }
}

/// What followed the last place where the text ended as it does after `forced`.
fn look_up<'a>(tokens: &'a [u32], forced: &[u32]) -> &'a [u32] {
    let from_tokens = REPEATED.saturating_sub(forced.len()).min(tokens.len());
    let last =
        [&tokens[tokens.len() - from_tokens..], &forced[forced.len().saturating_sub(REPEATED)..]].concat();
    let from = tokens.len().saturating_sub(LOOK_BACK);
    // The last place itself does not count.
    let end = if forced.is_empty() { tokens.len().saturating_sub(1) } else { tokens.len() };
    if last.len() < REPEATED || from >= end {
        return &[];
    }
    let place = tokens[from..end].windows(REPEATED).rposition(|window| window == last);
    let Some(place) = place else { return &[] };
    let followed = from + place + REPEATED;
    &tokens[followed..tokens.len().min(followed + GUESSES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_time_is_guessed() {
        assert_eq!(look_up(&[1, 2, 3, 4, 5, 9, 1, 2, 3], &[]), [4, 5, 9, 1]);
        assert_eq!(look_up(&[1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3], &[]), [8, 1, 2, 3]);
        assert_eq!(look_up(&[6, 6, 6, 6], &[]), [6]);
        for tokens in [&[1, 2, 3, 4][..], &[1, 2], &[]] {
            assert_eq!(look_up(tokens, &[]), [0_u32; 0]);
        }
    }

    #[test]
    fn what_followed_the_forced_tokens_is_guessed() {
        assert_eq!(look_up(&[1, 2, 3, 4, 5, 9, 1], &[2, 3]), [4, 5, 9, 1]);
        assert_eq!(look_up(&[1, 2, 3, 4, 5, 9], &[7, 1, 2, 3]), [4, 5, 9]);
        assert_eq!(look_up(&[1, 2, 3], &[1, 2, 3]), [0_u32; 0]);
        assert_eq!(look_up(&[1], &[2]), [0_u32; 0]);
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_again() {
        let mut drafter = Drafter::new(Speculation::WhenItPays);
        let mut tried = 0;
        for _ in 0..640 {
            let tries = drafter.tries_now();
            tried += u64::from(tries);
            // Guesses make the step three times as long and bring half a token more.
            let (tokens, millis) = if tries { (2, 30) } else { (1, 10) };
            drafter.learn(tries, tokens, Duration::from_millis(millis));
        }
        assert!((10..30).contains(&tried), "{tried} of 640");
    }
}
