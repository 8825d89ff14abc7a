//! A short way to the end of a text that a grammar holds.
//!
//! [`way_out`] walks from a state of a grammar to one where the text may end. It takes what closes something
//! wherever that is allowed, and otherwise what leads on: names and literals in as few tokens as there are,
//! numbers by a digit. It remembers nothing, so that from any place on the way the rest of it is the way: the
//! tokens are a function of the state. It is short for JSON, and none for grammars that this does not lead
//! out of.

use llguidance::Matcher;

use crate::{bitmask, limits::CLOSING_TOKENS_MAX, table::TokenTable};

/// Up to so many allowed tokens are names and literals, of which the longest leads on the fastest; more are
/// free text or numbers. Units: tokens.
const NAMES_MAX: usize = 256;

/// The tokens from a state to the end, the control token not among them; `None` when there is no way of
/// [`CLOSING_TOKENS_MAX`]. The matcher is walked and of no use afterwards.
pub(crate) fn way_out(table: &TokenTable, end_of_grammar: u32, mut matcher: Matcher) -> Option<Vec<u32>> {
    let mut way = Vec::new();
    loop {
        let is_done = matcher.is_stopped() && matcher.stop_reason().is_ok();
        if is_done || matcher.is_accepting().ok()? {
            return Some(way);
        }
        if way.len() == CLOSING_TOKENS_MAX {
            return None;
        }
        let mask = matcher.compute_mask().ok()?;
        let token = next(table, end_of_grammar, mask.as_slice())?;
        if matcher.try_consume_tokens(&[token]).ok()? != 1 {
            return None;
        }
        way.push(token);
    }
}

/// The allowed token that leads out the fastest; of equals the one with the lowest id.
fn next(table: &TokenTable, end_of_grammar: u32, mask: &[u32]) -> Option<u32> {
    let allowed: Vec<u32> = bitmask::ids(mask).filter(|&token| token != end_of_grammar).collect();
    let is_free = allowed.len() > NAMES_MAX;
    allowed.into_iter().min_by_key(|&token| {
        let bytes = table.bytes(token).unwrap_or_default();
        let closes = bytes.iter().all(|byte| matches!(byte, b'"' | b'}' | b']')) && !bytes.is_empty();
        let is_digit = matches!(bytes, [b'0'..=b'9']);
        let len = bytes.len();
        match (closes, is_free) {
            (true, _) => (0, usize::MAX - len, token),
            (false, true) if is_digit => (1, 0, token),
            (false, true) => (2, len, token),
            (false, false) => (1, usize::MAX - len, token),
        }
    })
}
