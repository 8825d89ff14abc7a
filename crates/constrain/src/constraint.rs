//! The walk of one completion: the tokens that may come next, and where a chosen one leads.
//!
//! [`Constraint::allowed`] is asked before a token is chosen and [`Constraint::commit`] told after, until
//! [`Constraint::is_over`]. It is a small automaton of its own that owns the control tokens: headers are a
//! trie, free bodies are a table look-up by the state of UTF-8, and llguidance runs only inside bodies that
//! have a grammar, of which a turn has one at most, since such a body ends it. So most tokens of a turn cost
//! nothing, and no grammar can reach a control token.
//!
//! [`Constraint::forced`] walks on over places with one way out, so that whoever computes can take all those
//! tokens in one step. Every mask is made once and in the order of the text, whether it was asked for ahead
//! or not, so the answers are the same. Every token can be taken back ([`Constraint::rollback`]).

use std::sync::Arc;

use gptoss_harmony::Control;
use llguidance::Matcher;

use crate::{
    bitmask::{self, Bitmask},
    compile::{BodyPlan, Compiled},
    error::Error,
    grammar::explain,
    header::{BodyIndex, Step},
    limits::{MASK_WORK_BURST, MASK_WORK_PER_TOKEN},
    spec::Part,
    utf8::Utf8,
};

/// The constraint of one sequence.
pub struct Constraint {
    compiled: Arc<Compiled>,
    /// After the last token of `past`.
    now: Place,
    /// Every token with the place before it, for taking back. The last `num_ahead` are forced and not
    /// committed yet.
    past: Vec<(Place, u32)>,
    num_ahead: usize,
    /// Of the grammar that holds the last body, once it has begun.
    matcher: Option<Matcher>,
    /// What the masks of this body have cost. Units: work.
    spent: u64,
    /// The mask of `now`, when it is not one of the table's.
    mask: Bitmask,
    /// Whether `mask` is the mask of `now`.
    is_computed: bool,
    /// The mask of a token ahead.
    single: Bitmask,
}

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: At,
    /// Tokens of reasoning so far.
    num_reasoning: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header(u32),
    Body(BodyIndex, Utf8),
    Over,
}

/// A copy goes its own way: it shares no cache and no fuel.
impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self {
            compiled: Arc::clone(&self.compiled),
            now: self.now,
            past: self.past.clone(),
            num_ahead: self.num_ahead,
            matcher: self.matcher.as_ref().map(Matcher::deep_clone),
            spent: self.spent,
            mask: self.mask.clone(),
            is_computed: self.is_computed,
            single: self.single.clone(),
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = formatter.debug_struct("Constraint");
        out.field("at", &self.place()).field("num_committed", &self.num_committed()).finish_non_exhaustive()
    }
}

// The engine's thread starts sequences of what another thread compiled.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    const fn is_moved<T: Send>() {}
    is_shared::<Compiled>();
    is_moved::<Constraint>();
};

impl Constraint {
    /// A sequence that stands after `<|start|>assistant`.
    pub fn new(compiled: &Arc<Compiled>) -> Self {
        let now = Place { at: At::Header(compiled.root(compiled.begin, 0)), num_reasoning: 0 };
        let mask = Bitmask::empty(compiled.table.vocab().len());
        Self {
            compiled: Arc::clone(compiled),
            now,
            past: Vec::new(),
            num_ahead: 0,
            matcher: None,
            spent: 0,
            single: mask.clone(),
            mask,
            is_computed: false,
        }
    }

    /// The tokens that may come next.
    ///
    /// Shapes: one bit per token id, bit `id % 32` of word `id / 32`, as many words as the vocabulary needs;
    /// ids beyond it are not allowed. Before the end at least one bit is set, after it none. The second call
    /// at one place costs nothing.
    ///
    /// Errors: [`Error::Exhausted`], when the grammar of the body meets a limit. It stays so: end the
    /// request.
    pub fn allowed(&mut self) -> Result<&[u32], Error> {
        if let Some(token) = self.ahead() {
            self.single.clear();
            self.single.insert(token);
            return Ok(self.single.words());
        }
        self.mask_of_now()
    }

    /// The tokens that must come next, at most `max`: each is the only one that its mask allows. They are not
    /// committed.
    ///
    /// A limit that is met on the way ends the list; [`Constraint::allowed`] tells of it when the tokens
    /// before have been committed.
    pub fn forced(&mut self, max: usize) -> Vec<u32> {
        while self.num_ahead < max {
            let Ok(Some(token)) = self.mask_of_now().map(bitmask::only) else { break };
            if self.advance(token).is_err() {
                break;
            }
            self.num_ahead += 1;
        }
        let ahead = &self.past[self.num_committed()..];
        ahead.iter().take(max).map(|&(_, token)| token).collect()
    }

    /// Takes the token that was chosen. In a grammar any spelling of an allowed text is taken, also one that
    /// the mask leaves out.
    ///
    /// Errors: [`Error::NotAllowed`], and nothing has changed; [`Error::Exhausted`], as
    /// [`Constraint::allowed`].
    pub fn commit(&mut self, token: u32) -> Result<(), Error> {
        match self.ahead() {
            Some(ahead) if ahead == token => {
                self.num_ahead -= 1;
                Ok(())
            }
            Some(_) => {
                self.take_back(self.num_ahead);
                self.advance(token)
            }
            None => self.advance(token),
        }
    }

    /// Whether the turn has ended: its last token was `<|return|>` or `<|call|>`.
    pub fn is_over(&self) -> bool {
        self.place().at == At::Over
    }

    /// Whether the next token belongs to a body that a grammar holds, so that its mask costs work.
    pub fn is_in_grammar(&self) -> bool {
        self.grammar_at(self.place()).is_some()
    }

    /// Number of tokens committed and not taken back.
    pub fn num_committed(&self) -> usize {
        self.past.len() - self.num_ahead
    }

    /// Takes the last `count` tokens back.
    ///
    /// Errors: [`Error::Rollback`], when there are fewer, and nothing has changed.
    pub fn rollback(&mut self, count: usize) -> Result<(), Error> {
        let committed = self.num_committed();
        if count > committed {
            return Err(Error::Rollback { asked: count, committed });
        }
        if count > 0 {
            self.take_back(self.num_ahead + count);
        }
        Ok(())
    }

    /// The first token ahead.
    fn ahead(&self) -> Option<u32> {
        self.past.get(self.num_committed()).map(|&(_, token)| token)
    }

    /// After the last committed token.
    fn place(&self) -> Place {
        self.past.get(self.num_committed()).map_or(self.now, |&(place, _)| place)
    }

    fn mask_of_now(&mut self) -> Result<&[u32], Error> {
        if let At::Body(body, utf8) = self.now.at
            && self.grammar_at(self.now).is_none()
        {
            let plan = self.compiled.bodies[body as usize];
            let table = &self.compiled.table;
            return Ok(match is_used_up(&self.compiled, plan, self.now) {
                true => table.closing(utf8, plan.end),
                false => table.free(utf8, plan.end),
            });
        }
        if !self.is_computed {
            match self.now.at {
                At::Over => self.mask.clear(),
                At::Header(node) => {
                    self.mask.clear();
                    let edges = self.compiled.headers.edges(node);
                    edges.iter().for_each(|&(token, _)| self.mask.insert(token));
                }
                At::Body(body, _) => self.compute(body)?,
            }
        }
        self.is_computed = true;
        Ok(self.mask.words())
    }

    /// Goes on from `now` by a token.
    fn advance(&mut self, token: u32) -> Result<(), Error> {
        let refused = Error::NotAllowed { token, position: self.past.len() };
        let next = match self.now.at {
            At::Over => None,
            At::Header(node) => self.compiled.headers.step(node, token).map(|step| self.enter(step)),
            At::Body(body, utf8) => self.in_body(body, utf8, token)?,
        };
        let next = next.ok_or(refused)?;
        self.past.push((self.now, token));
        self.now = next;
        self.is_computed = false;
        Ok(())
    }

    /// Goes back by so many of the past tokens, those ahead first.
    fn take_back(&mut self, count: usize) {
        let len = self.past.len();
        let kept = len - count;
        let in_grammar = (kept..len).filter(|&index| self.fed(index)).count();
        self.now = self.past[kept].0;
        self.is_computed = false;
        if self.grammar_at(self.now).is_none() {
            self.matcher = None;
        } else if in_grammar > 0
            && self.matcher.as_mut().is_none_or(|matcher| matcher.rollback(in_grammar).is_err())
        {
            self.replay(kept);
        }
        self.past.truncate(kept);
        self.num_ahead = self.num_ahead.saturating_sub(count);
    }

    /// A step of the header trie as a place; the matcher of a grammar begins here.
    fn enter(&mut self, step: Step) -> Place {
        let at = match step {
            Step::Node(node) => At::Header(node),
            Step::Body(body) => At::Body(body, Utf8::Border),
        };
        let place = Place { at, ..self.now };
        self.matcher = self.grammar_at(place).map(|grammar| self.compiled.grammars[grammar].start());
        self.spent = 0;
        place
    }

    fn in_body(&mut self, body: BodyIndex, utf8: Utf8, token: u32) -> Result<Option<Place>, Error> {
        let compiled = Arc::clone(&self.compiled);
        let plan = compiled.bodies[body as usize];
        let mut next = self.now;
        if token == compiled.table.vocab().control(plan.end) {
            let may_end = match &mut self.matcher {
                Some(matcher) => matcher.is_accepting().unwrap_or(false),
                None => utf8 == Utf8::Border,
            };
            // Its end counts too, or messages without a word could follow each other for ever.
            next.num_reasoning += u32::from(plan.is_reasoning);
            next.at = match plan.end {
                Control::End => At::Header(compiled.root(compiled.after_end, next.num_reasoning)),
                _ => At::Over,
            };
            return Ok(may_end.then_some(next));
        }
        let Some(bytes) = compiled.table.bytes(token) else { return Ok(None) };
        if let Some(matcher) = &mut self.matcher {
            let taken = matcher.try_consume_tokens(&[token]);
            let taken = taken.map_err(|error| self.exhausted(body, &error.to_string()))?;
            if taken == 0 && self.is_computed && bitmask::is_allowed(self.mask.words(), token) {
                // Seen with left-recursive grammars that no finite text matches.
                return Err(self.exhausted(body, "no text ends it"));
            }
            return Ok((taken == 1).then_some(next));
        }
        let is_late = is_used_up(&compiled, plan, self.now)
            && !bitmask::is_allowed(compiled.table.closing(utf8, plan.end), token);
        let Some(after) = utf8.bytes(bytes).filter(|_| !is_late) else { return Ok(None) };
        next.at = At::Body(body, after);
        next.num_reasoning += u32::from(plan.is_reasoning);
        Ok(Some(next))
    }

    /// The mask of a body with a grammar.
    fn compute(&mut self, body: BodyIndex) -> Result<(), Error> {
        let plan = self.compiled.bodies[body as usize];
        let vocab = self.compiled.table.vocab();
        let Some(matcher) = &mut self.matcher else { return Err(self.exhausted(body, "it has no state")) };
        if matcher.is_stopped() && matcher.stop_reason().is_ok() {
            self.mask.clear();
            self.mask.insert(vocab.control(plan.end));
            return Ok(());
        }
        let computed = matcher.compute_mask();
        self.spent += work_of(matcher);
        let mask = computed.map_err(|error| self.exhausted(body, &error.to_string()))?;
        let num_tokens = self.past.len() as u64;
        if self.spent > MASK_WORK_BURST + MASK_WORK_PER_TOKEN * num_tokens {
            return Err(self.exhausted(body, "its masks take more work than the limits allow"));
        }
        self.mask.copy_from(mask.as_slice());
        // llguidance allows its own end token where the text may end; ours depends on the message.
        let end_of_grammar = vocab.control(Control::Return);
        self.mask.remove(end_of_grammar);
        if bitmask::is_allowed(mask.as_slice(), end_of_grammar) {
            self.mask.insert(vocab.control(plan.end));
        }
        Ok(())
    }

    fn exhausted(&self, body: BodyIndex, reason: &str) -> Error {
        let grammar = self.compiled.bodies[body as usize].grammar;
        let part = grammar.map_or(Part::Answer, |index| self.compiled.grammars[index].part.clone());
        Error::Exhausted { part, position: self.past.len(), reason: explain(reason) }
    }

    fn grammar_at(&self, place: Place) -> Option<usize> {
        match place.at {
            At::Body(body, _) => self.compiled.bodies[body as usize].grammar,
            At::Header(_) | At::Over => None,
        }
    }

    /// Whether the matcher consumed the token at this index: it stood in a grammar and did not end it.
    fn fed(&self, index: usize) -> bool {
        let after = self.past.get(index + 1).map_or(self.now, |(place, _)| *place);
        self.grammar_at(self.past[index].0).is_some() && after.at != At::Over
    }

    /// For grammars that cannot go back: the same tokens once more from the start.
    fn replay(&mut self, kept: usize) {
        let Some(grammar) = self.grammar_at(self.now) else { return };
        let mut matcher = self.compiled.grammars[grammar].start();
        let fed: Vec<u32> = (0..kept)
            .filter(|&index| self.grammar_at(self.past[index].0).is_some())
            .map(|index| self.past[index].1)
            .collect();
        // What was consumed once is consumed again; were it not, the next mask says so.
        let _ = matcher.consume_tokens(&fed);
        self.matcher = Some(matcher);
    }
}

/// What the last mask cost. A forced token costs nothing.
fn work_of(matcher: &Matcher) -> u64 {
    matcher.last_step_stats().map_or(0, |stats| stats.lexer_cost + stats.all_items as u64)
}

/// Whether this body may only end now.
fn is_used_up(compiled: &Compiled, plan: BodyPlan, place: Place) -> bool {
    plan.is_reasoning && compiled.budget.is_some_and(|budget| place.num_reasoning >= budget)
}
