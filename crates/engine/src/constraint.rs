//! The tokens that may come next: the seam between the engine and whoever restricts a sequence.
//!
//! Entry point: [`Constraint`], one value per sequence. The engine asks for a [`Mask`] before it chooses a
//! token, tells what was chosen, and ends the sequence when the constraint says that nothing can follow. It
//! owns the trait and no implementation, because grammars, channels and JSON live above it; `turn` implements
//! it over the room `constrain`, and a test writes a few lines of its own.
//!
//! A constraint is a function of the tokens committed to it: the same tokens give the same mask. That is what
//! lets a sequence be preempted and resumed (its constraint stays with it and is not asked again) and drafted
//! tokens be tried.

/// The tokens that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask<'a> {
    /// Every token.
    Any,
    /// Those whose bit is set: token `t` is bit `t % 32` of word `t / 32`. Tokens beyond the last word are
    /// forbidden.
    Only(&'a [u32]),
}

impl Mask<'_> {
    /// Whether `token` may come.
    pub fn allows(&self, token: u32) -> bool {
        match self {
            Mask::Any => true,
            Mask::Only(words) => {
                words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
            }
        }
    }
}

/// What one sequence may say. It is used on the engine's thread, so a mask must be made quickly.
pub trait Constraint: Send {
    /// The tokens that may follow those committed so far. Asking twice gives the same answer.
    ///
    /// Errors: in words, when there is no answer (a work limit was hit, or nothing can follow); the request
    /// then fails with `Failure::Constraint`, which is its caller's fault, and its neighbors go on.
    fn mask(&mut self) -> Result<Mask<'_>, String>;

    /// The tokens that must follow, at most `max`: each is the only one that its mask allows. They are
    /// computed in one step. Asking commits nothing and changes no answer; a shorter list, or none, costs
    /// time and nothing else.
    fn forced(&mut self, _max: usize) -> Vec<u32> {
        Vec::new()
    }

    /// Takes a token that was chosen. It is one of those that the last mask allowed.
    ///
    /// Errors: in words; the request then fails with `Failure::Constraint`.
    fn commit(&mut self, token: u32) -> Result<(), String>;

    /// Whether nothing can follow: the sequence then ends with `FinishReason::Stop`.
    fn is_over(&self) -> bool;
}
