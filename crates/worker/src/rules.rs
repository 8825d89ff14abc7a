//! Everything that forbids tokens to one sequence, as the engine asks it.

use std::collections::VecDeque;

use gptoss_constrain::Constraint as Form;
use gptoss_engine::{Constraint, Mask};

/// What one sequence may not say.
#[derive(Default)]
pub(crate) struct Rules {
    /// What holds the output's form.
    pub(crate) form: Option<Form>,
    /// The tokens that may come at all; empty is all.
    pub(crate) allowed: Vec<u32>,
    /// Sequences of tokens that must not come.
    pub(crate) bad_words: Vec<Vec<u32>>,
    /// Tokens that may not come before `min_tokens` others did.
    pub(crate) stop_ids: Vec<u32>,
    pub(crate) min_tokens: usize,
    pub(crate) vocab_size: usize,
}

impl Rules {
    /// The rules as a constraint, of a sequence that ends in `prompt`; None where nothing is forbidden.
    pub(crate) fn start(self, prompt: &[u32]) -> Option<Box<dyn Constraint>> {
        let is_plain = self.allowed.is_empty() && self.bad_words.is_empty() && self.min_tokens == 0;
        if is_plain && self.form.is_none() {
            return None;
        }
        let words = self.vocab_size.div_ceil(u32::BITS as usize);
        let mut allowed = vec![if self.allowed.is_empty() { u32::MAX } else { 0 }; words];
        for &id in &self.allowed {
            set(&mut allowed, id, true);
        }
        for id in self.vocab_size..words * u32::BITS as usize {
            set(&mut allowed, id as u32, false);
        }
        let longest = self.bad_words.iter().map(Vec::len).max().unwrap_or(0);
        let past = prompt[prompt.len().saturating_sub(longest)..].iter().copied().collect();
        Some(Box::new(Held {
            mask: Vec::new(),
            past,
            longest,
            num_tokens: 0,
            is_plain,
            allowed,
            rules: self,
        }))
    }
}

struct Held {
    rules: Rules,
    /// Nothing is forbidden but by the form.
    is_plain: bool,
    allowed: Vec<u32>,
    mask: Vec<u32>,
    /// The last tokens, as many as the longest bad word has.
    past: VecDeque<u32>,
    longest: usize,
    num_tokens: usize,
}

impl Constraint for Held {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        if self.is_plain {
            return match &mut self.rules.form {
                Some(form) => form.allowed().map(Mask::Only).map_err(|error| error.to_string()),
                None => Ok(Mask::Any),
            };
        }
        self.mask.clone_from(&self.allowed);
        if let Some(form) = &mut self.rules.form {
            let words = form.allowed().map_err(|error| error.to_string())?;
            for (index, word) in self.mask.iter_mut().enumerate() {
                *word &= words.get(index).copied().unwrap_or(0);
            }
        }
        for word in &self.rules.bad_words {
            if let Some((&last, before)) = word.split_last()
                && before.iter().rev().eq(self.past.iter().rev().take(before.len()))
            {
                set(&mut self.mask, last, false);
            }
        }
        if self.num_tokens < self.rules.min_tokens {
            // Where nothing else may come the answer ends: it cannot be longer.
            let has_more = |mask: &[u32], stops: &[u32]| {
                let mut rest = mask.to_vec();
                stops.iter().for_each(|&id| set(&mut rest, id, false));
                rest.iter().any(|&word| word != 0).then_some(rest)
            };
            if let Some(rest) = has_more(&self.mask, &self.rules.stop_ids) {
                self.mask = rest;
            }
        }
        match self.mask.iter().any(|&word| word != 0) {
            true => Ok(Mask::Only(&self.mask)),
            false => Err("allowed_token_ids and bad_words_token_ids leave no token to choose".to_owned()),
        }
    }

    fn forced(&mut self, max: usize) -> Vec<u32> {
        match (&mut self.rules.form, self.is_plain) {
            (Some(form), true) => form.forced(max),
            _ => Vec::new(),
        }
    }

    fn commit(&mut self, token: u32) -> Result<(), String> {
        self.num_tokens += 1;
        self.past.push_back(token);
        if self.past.len() > self.longest {
            self.past.pop_front();
        }
        match &mut self.rules.form {
            Some(form) => form.commit(token).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.rules.form.as_ref().is_some_and(Form::is_over)
    }
}

fn set(words: &mut [u32], id: u32, is_set: bool) {
    if let Some(word) = words.get_mut((id / u32::BITS) as usize) {
        let bit = 1 << (id % u32::BITS);
        *word = if is_set { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(constraint: &mut Box<dyn Constraint>) -> Vec<u32> {
        let mask = constraint.mask().expect("a mask");
        (0..64).filter(|&id| mask.allows(id)).collect()
    }

    #[test]
    fn each_rule_forbids_its_own() {
        let rules = Rules {
            allowed: vec![1, 2, 3, 9, 33],
            bad_words: vec![vec![7, 1, 2], vec![33]],
            stop_ids: vec![9],
            min_tokens: 2,
            vocab_size: 40,
            form: None,
        };
        let mut held = rules.start(&[5, 7]).expect("rules");
        assert_eq!(allowed(&mut held), [1, 2, 3]);
        held.commit(1).unwrap();
        assert_eq!(allowed(&mut held), [1, 3]);
        held.commit(3).unwrap();
        assert_eq!(allowed(&mut held), [1, 2, 3, 9]);
        let mut all =
            Rules { bad_words: vec![vec![0]], vocab_size: 40, ..Rules::default() }.start(&[]).unwrap();
        assert_eq!(allowed(&mut all), (1..40).collect::<Vec<_>>());
        assert!(Rules { vocab_size: 40, ..Rules::default() }.start(&[]).is_none());
        let none = Rules { allowed: vec![1], bad_words: vec![vec![1]], vocab_size: 40, ..Rules::default() };
        assert!(none.start(&[]).unwrap().mask().is_err());
    }

    #[test]
    fn an_answer_that_can_only_end_ends_early() {
        let rules =
            Rules { allowed: vec![9], stop_ids: vec![9], min_tokens: 5, vocab_size: 40, ..Rules::default() };
        assert_eq!(allowed(&mut rules.start(&[1]).unwrap()), [9]);
    }
}
