//! Which tokens are worth trying before they are chosen?
//!
//! Entry point: [`Guesser::guess`]. The guess is a look-up: the last few tokens of the sequence stood somewhere before,
//! and what followed there is tried again. Text that quotes, edits or lists its prompt is full of such places. The engine
//! computes the guesses in the same step as the token before them and chooses, one after the other, what it would have
//! chosen anyway; so only the time depends on them.
//!
//! A row more costs time, and more so in a mixture of experts, where it reads experts that nobody else needs. So the
//! guesser measures: tokens per second of steps with guesses and of steps without, each as a running mean. It takes the
//! better way, and tries the other now and then, because texts change.
//!
//! It does not know logits, and its clock is given to it.

use std::time::Duration;

use crate::kv_plan::Speculation;
use crate::sequence::Sequence;

/// Tokens that have to repeat before what followed them is a guess.
const REPEATED: usize = 3;
/// Tokens guessed at once.
const GUESSES: usize = 4;
/// How far back is looked. Units: tokens.
const LOOK_BACK: usize = 16_384;
/// Steps with an opportunity, after which the way that seems worse is tried once.
const TRY_AGAIN: u64 = 64;
/// Steps of each way before they are compared.
const MEASURED_MIN: u64 = 8;
/// Weight of the newest step in a running mean.
const NEWEST: f64 = 1.0 / 16.0;

/// Guesses, and what they were worth.
#[derive(Debug)]
pub(crate) struct Guesser {
    mode: Speculation,
    with: Rate,
    without: Rate,
    opportunities: u64,
    /// Whether this step has guesses; decided by its first opportunity.
    tries: Option<bool>,
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

impl Guesser {
    pub(crate) fn new(mode: Speculation) -> Guesser {
        Guesser { mode, with: Rate::default(), without: Rate::default(), opportunities: 0, tries: None }
    }

    /// The tokens that may follow, empty when there is no guess or guessing does not pay.
    pub(crate) fn guess(&mut self, sequence: &Sequence) -> Vec<u32> {
        if self.mode == Speculation::Off {
            return Vec::new();
        }
        let guesses = look_up(&sequence.tokens);
        if guesses.is_empty() || !self.tries_now() {
            return Vec::new();
        }
        guesses.to_vec()
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
        let had_opportunity = self.tries.take().is_some();
        if had_guesses {
            self.with.learn(tokens, time);
        } else if had_opportunity || self.without.steps < MEASURED_MIN {
            self.without.learn(tokens, time);
        }
    }

    /// A step whose time says nothing is over.
    pub(crate) fn skip(&mut self) {
        self.tries = None;
    }
}

/// What followed the last place where the text ended as it does now.
fn look_up(tokens: &[u32]) -> &[u32] {
    let Some(before) = tokens.len().checked_sub(REPEATED).filter(|&before| before > 0) else { return &[] };
    let last = &tokens[before..];
    let from = tokens.len().saturating_sub(LOOK_BACK);
    // The last place itself does not count.
    let place = tokens[from..tokens.len() - 1].windows(REPEATED).rposition(|window| window == last);
    let Some(place) = place else { return &[] };
    let followed = from + place + REPEATED;
    &tokens[followed..tokens.len().min(followed + GUESSES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_time_is_guessed() {
        assert_eq!(look_up(&[1, 2, 3, 4, 5, 9, 1, 2, 3]), [4, 5, 9, 1]);
        assert_eq!(look_up(&[1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3]), [8, 1, 2, 3]);
        assert_eq!(look_up(&[6, 6, 6, 6]), [6]);
        assert_eq!(look_up(&[1, 2, 3, 4]), [0_u32; 0]);
        assert_eq!(look_up(&[1, 2]), [0_u32; 0]);
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_again() {
        let mut guesser = Guesser::new(Speculation::WhenItPays);
        let mut tried = 0;
        for _ in 0..640 {
            let tries = guesser.tries_now();
            tried += u64::from(tries);
            // Guesses make the step three times as long and bring half a token more.
            let (tokens, millis) = if tries { (2, 30) } else { (1, 10) };
            guesser.learn(tries, tokens, Duration::from_millis(millis));
        }
        assert!((10..30).contains(&tried), "{tried} of 640");
    }
}
