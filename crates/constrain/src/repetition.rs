//! The rule for reasoning that repeats itself.
//!
//! [`is_loop`] looks at the last tokens: whether they are one passage, over and over. After [`LOOP_REPEATS`]
//! times in a row the next one follows again with more than seven chances in eight (the rule of succession),
//! and short passages have to fill [`LOOP_TOKENS_MIN`] tokens, because rows of zeros or dashes are no loop.
//! Only exact repetition counts: what a model says in other words may lead somewhere.

use crate::limits::{LOOP_REPEATS, LOOP_TOKENS_MIN, LOOP_WINDOW_TOKENS};

/// Whether a text, given backwards, ends in a loop. Linear in the window.
pub(crate) fn is_loop(backwards: impl Iterator<Item = u32>) -> bool {
    let tokens: Vec<u32> = backwards.take(LOOP_WINDOW_TOKENS).collect();
    if tokens.len() < LOOP_TOKENS_MIN {
        return false;
    }
    // The prefix function of Knuth, Morris and Pratt: how much of the first `len` tokens both begins and ends
    // them. What is left is their smallest period.
    let mut border = vec![0; tokens.len()];
    for end in 1..tokens.len() {
        let mut same = border[end - 1];
        while same > 0 && tokens[same] != tokens[end] {
            same = border[same - 1];
        }
        same += usize::from(tokens[same] == tokens[end]);
        border[end] = same;
        let len = end + 1;
        if len >= LOOP_TOKENS_MIN && len >= LOOP_REPEATS * (len - same) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[u32], expected: bool) {
        assert_eq!(is_loop(tokens.iter().rev().copied()), expected, "{} tokens", tokens.len());
    }

    /// `count` tokens of a passage of `period`, after others.
    fn looped(before: u32, period: u32, count: u32) -> Vec<u32> {
        (0..before).map(|i| 10_000 + i * i).chain((0..count).map(|i| i % period)).collect()
    }

    #[test]
    fn loops_are_found_and_nothing_else() {
        check(&[], false);
        check(&looped(0, 1, 255), false);
        check(&looped(0, 1, 256), true);
        check(&looped(900, 1, 256), true);
        check(&looped(900, 30, 255), false);
        check(&looped(900, 30, 256), true);
        check(&looped(900, 100, 599), false);
        check(&looped(900, 100, 600), true);
        check(&looped(0, 682, 682 * 6), true);
        check(&looped(0, 5_000, 6_000), false);
        // A number that counts up is no loop, nor is one that has ended.
        let counting: Vec<u32> = (0..3_000).flat_map(|i| [7, 8, i, 9]).collect();
        check(&counting, false);
        let ended: Vec<u32> = looped(0, 10, 2_000).into_iter().chain([77]).collect();
        check(&ended, false);
    }
}
