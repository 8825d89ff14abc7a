//! A short way to the end of a text that a grammar holds.
//!
//! [`way_out`] walks from a state of a grammar to one where the text may end. It takes what closes something
//! wherever that is allowed, and otherwise what leads on: names and literals in as few tokens as there are,
//! numbers by a digit. It is short for JSON, and none for grammars that this does not lead out of.
//!
//! [`Scout`] goes along with a body and keeps a way out of it. A token that leads on inside a string or a
//! number leaves the way as it is, and one that goes part of the way leaves the rest, which costs no mask;
//! only one that opens something has a new way looked for. What looking costs is counted, and it ends where
//! its budget does.

use llguidance::Matcher;

use crate::{bitmask, limits::CLOSING_TOKENS_MAX, table::TokenTable};

/// Up to so many allowed tokens are names and literals, of which the longest leads on the fastest; more are
/// free text or numbers. Units: tokens.
const NAMES_MAX: usize = 256;

/// What a look for a way out needs besides a state: the tokens, the one that says that the text may end, and
/// how much work it may take.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) table: &'a TokenTable,
    pub(crate) end_of_grammar: u32,
    /// Units: fuel and items.
    pub(crate) work_max: u64,
}

/// A way out, and what it took to find it or to find none. Units: fuel and items.
pub(crate) type Found = (Option<Vec<u32>>, u64);

/// The tokens from a state to the end, the control token not among them; `None` when there is no way of
/// [`CLOSING_TOKENS_MAX`], or finding one takes too much. The matcher is walked and of no use afterwards.
pub(crate) fn way_out(look: Look<'_>, mut matcher: Matcher) -> Found {
    let (mut way, mut work) = (Vec::new(), 0);
    while !is_at_end(&mut matcher) {
        let step = if way.len() == CLOSING_TOKENS_MAX { None } else { next(look, &mut matcher) };
        work += work_of(&matcher);
        match step.filter(|_| work <= look.work_max) {
            Some(token) if matcher.try_consume_tokens(&[token]).is_ok_and(|taken| taken == 1) => {
                way.push(token)
            }
            _ => return (None, work),
        }
    }
    (Some(way), work)
}

fn is_at_end(matcher: &mut Matcher) -> bool {
    matcher.is_stopped() && matcher.stop_reason().is_ok() || matcher.is_accepting().unwrap_or(false)
}

/// What the last mask cost. A forced token costs nothing.
pub(crate) fn work_of(matcher: &Matcher) -> u64 {
    matcher.last_step_stats().map_or(0, |stats| stats.lexer_cost + stats.all_items as u64)
}

/// The allowed token that leads out the fastest; of equals the one with the lowest id.
fn next(look: Look<'_>, matcher: &mut Matcher) -> Option<u32> {
    let mask = matcher.compute_mask().ok()?;
    let allowed: Vec<u32> =
        bitmask::ids(mask.as_slice()).filter(|&token| token != look.end_of_grammar).collect();
    let is_free = allowed.len() > NAMES_MAX;
    allowed.into_iter().min_by_key(|&token| {
        let bytes = look.table.bytes(token).unwrap_or_default();
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

/// What is left of a way after a text that may end with the beginning of it.
fn rest_of(table: &TokenTable, way: &[u32], written: &[u8]) -> Vec<u32> {
    let bytes_of = |token: &u32| table.bytes(*token).unwrap_or_default().iter().copied();
    let begin: Vec<u8> = way.iter().flat_map(bytes_of).take(written.len()).collect();
    let num_gone = (0..=begin.len()).rev().find(|&count| written.ends_with(&begin[..count])).unwrap_or(0);
    let (mut at, mut num_bytes) = (0, 0);
    while num_bytes < num_gone {
        num_bytes += bytes_of(&way[at]).len();
        at += 1;
    }
    let begun = match at {
        0 => Vec::new(),
        at => table
            .bytes(way[at - 1])
            .map_or_else(Vec::new, |bytes| table.spell(&bytes[bytes.len() - (num_bytes - num_gone)..])),
    };
    begun.into_iter().chain(way[at..].iter().copied()).collect()
}

/// Goes along with a body and knows a way out of it.
pub(crate) struct Scout {
    /// A copy of the body's own: what is looked for here changes nothing there.
    matcher: Matcher,
    way: Option<Vec<u32>>,
    /// Whether `way` was found from this very place, and not from an earlier one.
    is_fresh: bool,
    /// What looking has cost. Units: fuel and items.
    pub(crate) work: u64,
}

/// A copy goes its own way.
impl Clone for Scout {
    fn clone(&self) -> Self {
        Self { matcher: self.matcher.deep_clone(), way: self.way.clone(), ..*self }
    }
}

impl Scout {
    /// One that stands where the body does; `work` is what was spent on looking in it before.
    pub(crate) fn new(body: &Matcher, work: u64) -> Self {
        Self { matcher: body.deep_clone(), way: None, is_fresh: false, work }
    }

    /// Goes on by a token of the body.
    pub(crate) fn follow(&mut self, table: &TokenTable, token: u32) {
        // A copy that has met a limit leads nowhere, and says so when it is asked.
        let _ = self.matcher.try_consume_tokens(&[token]);
        match &mut self.way {
            Some(way) if way.first() == Some(&token) => drop(way.remove(0)),
            Some(way) => {
                *way = rest_of(table, way, table.bytes(token).unwrap_or_default());
                self.is_fresh = false;
            }
            None => self.is_fresh = false,
        }
    }

    /// A way out from here, if one is known or can be found.
    pub(crate) fn way(&mut self, look: Look<'_>) -> Option<&[u32]> {
        if !self.is_fresh && !self.still_leads_out(look.end_of_grammar) {
            self.look(look);
        }
        self.way.as_deref()
    }

    /// The shortest way that is known, after a look from this very place.
    pub(crate) fn best_way(&mut self, look: Look<'_>) -> Option<&[u32]> {
        if !self.is_fresh {
            let known = self.way.take();
            self.look(look);
            let is_better = |known: &Vec<u32>| self.way.as_ref().is_none_or(|way| known.len() < way.len());
            if let Some(known) = known.filter(is_better) {
                self.way = Some(known);
            }
        }
        self.way.as_deref()
    }

    fn look(&mut self, look: Look<'_>) {
        let left = look.work_max.saturating_sub(self.work);
        let (way, work) = match left {
            0 => (None, 0),
            // The copy shares what was discovered of the automaton.
            _ => way_out(Look { work_max: left, ..look }, self.matcher.clone()),
        };
        self.work += work;
        self.way = way;
        self.is_fresh = true;
    }

    /// Whether the way from an earlier place is one from here.
    fn still_leads_out(&mut self, end_of_grammar: u32) -> bool {
        let Some(way) = &self.way else { return false };
        let all: Vec<u32> = way.iter().copied().chain([end_of_grammar]).collect();
        self.matcher.validate_tokens(&all).is_ok_and(|num_valid| num_valid == all.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gptoss_harmony::{Control, MultiDigit, Vocab};
    use serde_json::json;

    use super::*;
    use crate::{
        grammar,
        limits::Limits,
        spec::{Body, Part},
    };

    fn table() -> Arc<TokenTable> {
        TokenTable::new(Arc::new(Vocab::truncated(2020, MultiDigit::Keep))).expect("it has all bytes")
    }

    fn text(table: &TokenTable, tokens: &[u32]) -> String {
        String::from_utf8(table.vocab().decode(tokens).expect("all mean something")).expect("UTF-8")
    }

    #[test]
    fn what_is_left_of_a_way_begins_where_the_text_ends() {
        let (table, schema) = (table(), json!({"type": "object"}));
        // Spelling needs what the first grammar makes.
        let body = Body::JsonSchema { schema, fidelity: Default::default() };
        grammar::build(&table, &Part::Answer, &body, &Limits::default(), &mut Vec::new()).expect("a schema");
        let way = table.vocab().encode_ids("\",\"größe\":\"\"}");
        let check = |written: &str, expected: &str| {
            assert_eq!(text(&table, &rest_of(&table, &way, written.as_bytes())), expected, "{written:?}");
        };
        check("abc", "\",\"größe\":\"\"}");
        check("abc\"", ",\"größe\":\"\"}");
        check("\",\"gr", "öße\":\"\"}");
        check("\",\"größe\":\"\"}", "");
        check("x\",\"größe\":\"\"}", "");
        check("größe", "\",\"größe\":\"\"}");
        check("", "\",\"größe\":\"\"}");
    }

    /// A scout after a text.
    fn scout(table: &TokenTable, written: &str) -> Scout {
        let lists = json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}});
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": lists},
            "required": ["a", "b"],
            "additionalProperties": false
        });
        let body = Body::JsonSchema { schema, fidelity: Default::default() };
        let built = grammar::build(table, &Part::Answer, &body, &Limits::default(), &mut Vec::new());
        let mut scout = Scout::new(&built.expect("a schema").expect("a grammar").start(), 0);
        follow(&mut scout, table, written);
        scout
    }

    fn follow(scout: &mut Scout, table: &TokenTable, written: &str) {
        table.vocab().encode_ids(written).into_iter().for_each(|token| scout.follow(table, token));
    }

    #[test]
    fn looking_is_counted_and_ends_with_its_budget() {
        let table = table();
        let end_of_grammar = table.vocab().control(Control::Return);
        let look = |work_max| Look { table: &table, end_of_grammar, work_max };
        let check = |written: &str, way: Option<&[u32]>| {
            let whole = format!("{written}{}", text(&table, way.expect("a way")));
            let value: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
            assert!(value["a"].is_string() && value["b"].is_array(), "{whole}");
        };
        let mut written = "{\"a\":\"x".to_owned();
        let mut scout = scout(&table, &written);
        check(&written, scout.way(look(u64::MAX)));
        let after_one = scout.work;
        assert!(after_one > 0);
        // More of the string, its end, and some of the way: nothing is looked for.
        for more in ["yz", "\"", ",\"b\":"] {
            written += more;
            follow(&mut scout, &table, more);
            check(&written, scout.way(look(u64::MAX)));
            assert_eq!(scout.work, after_one, "{written}");
        }
        // What opens something has another way, for which there is no work left.
        let more = "[[1],[2,";
        written += more;
        follow(&mut scout, &table, more);
        assert_eq!(scout.way(look(after_one)), None);
        assert_eq!(scout.work, after_one);
        scout.is_fresh = false;
        check(&written, scout.way(look(u64::MAX)));
        assert!(scout.work > after_one);
    }

    #[test]
    fn a_look_that_takes_too_much_finds_nothing() {
        let table = table();
        let end_of_grammar = table.vocab().control(Control::Return);
        let scout = scout(&table, "{\"a\":");
        let (way, work) = way_out(Look { table: &table, end_of_grammar, work_max: 1 }, scout.matcher);
        assert!(way.is_none() && work > 1, "{way:?} {work}");
    }
}
