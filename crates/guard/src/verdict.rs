//! A verdict, and how sure the model was of it.
//!
//! The probability is that of the token that decides: of the tokens that might have stood in its place, those
//! that say "violates" against those that say either. It is read from the model's own distribution, before
//! the form's constraint; what is beyond the told alternatives counts as nothing.

use gptoss_harmony::Logprob;

use crate::form::Form;

/// Alternatives that are told with each token.
pub(crate) const ALTERNATIVES: usize = 20;

/// What a model says of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether it says that the text violates the policy.
    pub is_violation: bool,
    /// How probable that is, 0 to 1.
    pub probability: f64,
    /// The rule that decides.
    pub category: Option<String>,
    /// All rules that apply.
    pub rule_ids: Vec<String>,
    /// low, medium or high, in the model's words.
    pub confidence: Option<String>,
    /// Why, in the model's words.
    pub rationale: Option<String>,
}

impl Verdict {
    /// Of an answer and its tokens; None when it is none of the form. Without tokens the probability is 0 or
    /// 1.
    pub(crate) fn read(form: Form, answer: &str, tokens: &[Logprob]) -> Option<Verdict> {
        let read = form.read(answer)?;
        let label = if read.is_violation { 1.0 } else { 0.0 };
        let probability = form.decisive(answer).and_then(|at| probability(form, at, tokens)).unwrap_or(label);
        Some(Verdict {
            is_violation: read.is_violation,
            probability,
            category: read.category,
            rule_ids: read.rule_ids,
            confidence: read.confidence,
            rationale: read.rationale,
        })
    }
}

/// Of the token over byte `at` of the answer.
fn probability(form: Form, at: usize, tokens: &[Logprob]) -> Option<f64> {
    let mut start = 0;
    let token = tokens.iter().find(|token| {
        let is_it = (start..start + token.bytes.len()).contains(&at);
        start += if is_it { 0 } else { token.bytes.len() };
        is_it
    })?;
    let place = at - start;
    let chosen = (&token.bytes, token.logprob);
    let others = token.top.iter().filter(|other| other.bytes != token.bytes);
    let (mut violates, mut passes) = (0.0, 0.0);
    for (bytes, logprob) in others.map(|other| (&other.bytes, other.logprob)).chain([chosen]) {
        // What parts from the answer before the place says nothing of it.
        let is_alike = bytes.get(..place) == token.bytes.get(..place);
        let Some(byte) = bytes.get(place).filter(|_| is_alike) else { continue };
        match form.means_violation(*byte) {
            Some(true) => violates += logprob.exp(),
            Some(false) => passes += logprob.exp(),
            None => {}
        }
    }
    let both = violates + passes;
    (both > 0.0).then(|| violates / both)
}

#[cfg(test)]
mod tests {
    use gptoss_harmony::TopLogprob;

    use super::*;

    fn token(text: &str, logprob: f64, top: &[(&str, f64)]) -> Logprob {
        let top = top.iter().map(|(text, logprob)| TopLogprob { bytes: (*text).into(), logprob: *logprob });
        Logprob { bytes: text.into(), logprob, top: top.collect() }
    }

    #[test]
    fn the_probability_is_that_of_the_label() {
        let check = |form, answer: &str, tokens: &[Logprob], expect: f64| {
            let verdict = Verdict::read(form, answer, tokens).unwrap();
            assert!((verdict.probability - expect).abs() < 1e-9, "{answer}: {}", verdict.probability);
        };
        let one = token("1", 0.6f64.ln(), &[("1", 0.6f64.ln()), ("0", 0.2f64.ln()), ("The", 0.2f64.ln())]);
        check(Form::Label, "1", std::slice::from_ref(&one), 0.75);
        check(Form::Label, "1", &[], 1.0);
        check(Form::Label, "0", &[], 0.0);
        // The label within a longer token, and tokens that part from it before its place.
        let head = token("{\"violation", -0.1, &[]);
        let label = token(
            "\":0,",
            0.5f64.ln(),
            &[("\":0,", 0.5f64.ln()), ("\":1,", 0.125f64.ln()), ("\": 1", 0.3f64.ln()), ("\":", 0.1f64.ln())],
        );
        let tail = token("\"policy_category\":null}", -0.1, &[]);
        check(Form::Category, "{\"violation\":0,\"policy_category\":null}", &[head, label, tail], 0.2);
        let word = token("unsafe", 0.9f64.ln(), &[("unsafe", 0.9f64.ln()), ("safe", 0.1f64.ln())]);
        check(Form::LlamaGuard, "unsafe\nS1", &[word, token("\nS1", -0.1, &[])], 0.9);
    }
}
