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
//!
//! Within [`Bounds`], reasoning is ended and an owed body closed in time; what was cut is told
//! ([`Constraint::cut`]).

use std::sync::Arc;

use gptoss_harmony::Control;
use llguidance::Matcher;

use crate::{
    bitmask::{self, Bitmask},
    bounds::{Bounds, Cut},
    closing::{Look, Scout, work_of},
    compile::{BodyPlan, Compiled, Roots},
    error::Error,
    grammar::explain,
    header::{BodyIndex, Step},
    limits::{
        CLOSING_MARGIN_TOKENS, CLOSING_TOKENS_MAX, LOOP_STRIDE_TOKENS, MASK_WORK_BURST, MASK_WORK_PER_TOKEN,
        REASONING_TOKENS_MIN,
    },
    repetition::is_loop,
    spec::Part,
    utf8::Utf8,
};

/// The constraint of one sequence.
pub struct Constraint {
    compiled: Arc<Compiled>,
    bounds: Bounds,
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
    /// Knows the way out of this body, once the room comes to its end.
    scout: Option<Scout>,
    /// What scouts before it have spent in this body. Units: work.
    scouted: u64,
    /// The mask of `now`, when it is not one of the table's.
    mask: Bitmask,
    /// Whether `mask` is the mask of `now`.
    is_computed: bool,
    /// Whether `mask` is the way out alone, where the grammar would allow more.
    is_leaving: bool,
    /// The mask of a token ahead.
    single: Bitmask,
}

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: At,
    /// Tokens of reasoning so far.
    num_reasoning: u32,
    /// Whether the open reasoning ends at the next border, and no other begins.
    is_closed: bool,
    /// What was last ended before the model had ended it.
    cut: Option<Cut>,
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
            bounds: self.bounds,
            now: self.now,
            past: self.past.clone(),
            num_ahead: self.num_ahead,
            matcher: self.matcher.as_ref().map(Matcher::deep_clone),
            spent: self.spent,
            scout: self.scout.clone(),
            scouted: self.scouted,
            mask: self.mask.clone(),
            is_computed: self.is_computed,
            is_leaving: self.is_leaving,
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
    /// A sequence that stands after `<|start|>assistant` and has room without end.
    pub fn new(compiled: &Arc<Compiled>) -> Self {
        Self::within(compiled, Bounds::default())
    }

    /// A sequence that stands after `<|start|>assistant` and goes no further than its bounds.
    pub fn within(compiled: &Arc<Compiled>, bounds: Bounds) -> Self {
        let mask = Bitmask::empty(compiled.table.vocab().len());
        let now = Place { at: At::Over, num_reasoning: 0, is_closed: false, cut: None };
        let mut made = Self {
            compiled: Arc::clone(compiled),
            bounds,
            now,
            past: Vec::new(),
            num_ahead: 0,
            matcher: None,
            spent: 0,
            scout: None,
            scouted: 0,
            single: mask.clone(),
            mask,
            is_computed: false,
            is_leaving: false,
        };
        let is_over_budget = made.is_over_budget(0);
        let is_kept_back = !is_over_budget && !made.has_room_for_reasoning(0);
        made.now.is_closed = is_over_budget || is_kept_back;
        made.now.cut = (is_kept_back && compiled.has_reasoning()).then_some(Cut::KeptBack);
        made.now.at = made.root(compiled.begin, made.now);
        made
    }

    /// What was last ended, after the committed tokens, before the model had ended it.
    pub fn cut(&self) -> Option<Cut> {
        self.place().cut
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

    /// What the masks of this body and looking for the way out of it have cost. Units: fuel and items.
    pub fn work(&self) -> u64 {
        self.spent + self.scout.as_ref().map_or(self.scouted, |scout| scout.work)
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
            return Ok(match plan.is_reasoning && self.now.is_closed {
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
        if let Some(scout) = self.scout.take() {
            self.scouted = scout.work;
        }
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
        (self.spent, self.scout, self.scouted) = (0, None, 0);
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
            next.at = At::Over;
            if plan.end == Control::End {
                next = self.end_reasoning(next, token);
                next.at = self.root(compiled.after_end, next);
            }
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
            if let Some(scout) = self.scout.as_mut().filter(|_| taken == 1) {
                scout.follow(&compiled.table, token);
            }
            next.cut = if self.is_computed && self.is_leaving { Some(Cut::Closed) } else { next.cut };
            return Ok((taken == 1).then_some(next));
        }
        let is_late = plan.is_reasoning
            && self.now.is_closed
            && !bitmask::is_allowed(compiled.table.closing(utf8, plan.end), token);
        let Some(after) = utf8.bytes(bytes).filter(|_| !is_late) else { return Ok(None) };
        next.at = At::Body(body, after);
        next.num_reasoning += u32::from(plan.is_reasoning);
        Ok(Some(if plan.is_reasoning { self.go_on_reasoning(next, token) } else { next }))
    }

    /// A place in reasoning after `token`: whether it is to end.
    fn go_on_reasoning(&self, mut next: Place, token: u32) -> Place {
        if next.is_closed {
            return next;
        }
        let cut = if self.is_over_budget(next.num_reasoning) {
            Some(Cut::Budget)
        } else if self.bounds.left(self.past.len() + 1).is_some_and(|left| self.needs(left)) {
            Some(Cut::KeptBack)
        } else {
            self.is_in_loop(next, token).then_some(Cut::Loop)
        };
        if cut.is_some() {
            (next.is_closed, next.cut) = (true, cut);
        }
        next
    }

    /// A place after the end of reasoning: whether more of it may follow. Where a call is demanded it may
    /// not: a model that would rather answer would reason for ever.
    fn end_reasoning(&self, mut next: Place, token: u32) -> Place {
        if next.is_closed {
            return next;
        }
        if self.is_in_loop(next, token) {
            next.cut = Some(Cut::Loop);
            next.is_closed = true;
        }
        next.is_closed |= self.compiled.must_call
            || self.is_over_budget(next.num_reasoning)
            || !self.has_room_for_reasoning(self.past.len() + 1);
        next
    }

    /// The headers that may begin a message.
    fn root(&self, roots: Roots, place: Place) -> At {
        At::Header(if place.is_closed { roots.closed } else { roots.open })
    }

    fn is_over_budget(&self, num_reasoning: u32) -> bool {
        let budgets = [self.compiled.budget, self.bounds.reasoning_budget];
        budgets.into_iter().flatten().any(|budget| num_reasoning >= budget)
    }

    /// Whether reasoning that begins after `num_tokens` has room.
    fn has_room_for_reasoning(&self, num_tokens: usize) -> bool {
        let left = self.bounds.left(num_tokens);
        left.is_none_or(|left| !self.needs(left.saturating_sub(REASONING_TOKENS_MIN)))
    }

    /// Whether so many tokens are needed for what comes after reasoning.
    fn needs(&self, left: usize) -> bool {
        let (leave, kept) = (self.compiled.leave_tokens, self.bounds.kept_back());
        let owed_max = CLOSING_TOKENS_MAX + CLOSING_MARGIN_TOKENS + 1;
        left <= leave + kept
            // Looking for the shortest text costs work, so only where it can matter.
            || left <= leave + owed_max && left <= leave + self.compiled.owed_tokens() + CLOSING_MARGIN_TOKENS + 1
    }

    /// Whether the tokens up to `token`, the next one, repeat themselves.
    fn is_in_loop(&self, next: Place, token: u32) -> bool {
        self.bounds.breaks_loops
            && next.num_reasoning.is_multiple_of(LOOP_STRIDE_TOKENS)
            && is_loop(std::iter::once(token).chain(self.past.iter().rev().map(|&(_, token)| token)))
    }

    /// The next token on the way out of an owed body, where so little room is left that it must be taken now;
    /// `Some(None)` is its end.
    fn way_to_take(&mut self, plan: BodyPlan) -> Option<Option<u32>> {
        let num_tokens = self.past.len();
        let margin = CLOSING_MARGIN_TOKENS.min(self.bounds.tokens_max.unwrap_or(usize::MAX) / 8);
        // No way is longer, so before that none need be looked for.
        let left_max = CLOSING_TOKENS_MAX + 1 + margin;
        let left = self.bounds.left(num_tokens).filter(|&left| plan.is_owed && left <= left_max)?;
        // Looking may take what masks have left of the body's work.
        let work_max = self.work_max().saturating_sub(self.spent);
        let look =
            Look { table: &self.compiled.table, end_of_grammar: self.compiled.end_of_grammar(), work_max };
        let body = self.matcher.as_ref()?;
        let scout = self.scout.get_or_insert_with(|| Scout::new(body, self.scouted));
        let is_leaving = self.now.cut == Some(Cut::Closed);
        // With its end. A way that does not fit any more is of no use.
        let is_near = |way: &[u32]| is_leaving || left <= way.len() + 1 + margin;
        if !is_near(scout.way(look)?) {
            return None;
        }
        let way = scout.best_way(look)?;
        (way.len() < left && is_near(way)).then(|| way.first().copied())
    }

    /// Most work of this body's masks by now.
    fn work_max(&self) -> u64 {
        MASK_WORK_BURST + MASK_WORK_PER_TOKEN * self.past.len() as u64
    }

    /// The mask of a body with a grammar.
    fn compute(&mut self, body: BodyIndex) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        let (plan, vocab) = (compiled.bodies[body as usize], compiled.table.vocab());
        self.is_leaving = false;
        let is_on_way = self.now.cut == Some(Cut::Closed);
        if let Some(step) = is_on_way.then(|| self.way_to_take(plan)).flatten() {
            // No mask is needed where one token may come.
            self.mask.clear();
            self.mask.insert(step.unwrap_or(vocab.control(plan.end)));
            return Ok(());
        }
        let Some(matcher) = &mut self.matcher else { return Err(self.exhausted(body, "it has no state")) };
        if matcher.is_stopped() && matcher.stop_reason().is_ok() {
            self.mask.clear();
            self.mask.insert(vocab.control(plan.end));
            return Ok(());
        }
        let computed = matcher.compute_mask();
        self.spent += work_of(matcher);
        let mask = computed.map_err(|error| self.exhausted(body, &error.to_string()))?;
        if self.spent > self.work_max() {
            return Err(self.exhausted(body, "its masks take more work than the limits allow"));
        }
        if let Some(step) = self.way_to_take(plan) {
            self.is_leaving = step.is_some() && bitmask::only(mask.as_slice()).is_none();
            self.mask.clear();
            self.mask.insert(step.unwrap_or(vocab.control(plan.end)));
            return Ok(());
        }
        self.mask.copy_from(mask.as_slice());
        // llguidance allows its own end token where the text may end; ours depends on the message.
        let end_of_grammar = compiled.end_of_grammar();
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
