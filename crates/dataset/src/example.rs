//! Tokens with what each weighs in the loss.

use gptoss_harmony::Vocab;

/// One text to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The tokens, those of the prompt first.
    pub tokens: Vec<u32>,
    /// What predicting each token from those before it weighs; 0 is no target. The first weighs nothing.
    pub weights: Vec<f32>,
}

/// What a row gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A text that becomes likelier.
    Text(Example),
    /// Two answers to one prompt; the chosen one becomes likelier than the rejected one.
    Pair {
        /// The better one.
        chosen: Example,
        /// The worse one.
        rejected: Example,
    },
}

/// Neighboring tokens that are all targets or all not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Whether they are learned.
    pub is_target: bool,
    /// Their text, control tokens by their literal names.
    pub text: String,
}

impl Example {
    /// Tokens that are learned.
    pub fn num_targets(&self) -> usize {
        self.weights.iter().filter(|&&weight| weight != 0.0).count()
    }

    /// The text in spans, for a person who looks which of it is learned.
    pub fn spans(&self, vocab: &Vocab) -> Vec<Span> {
        let is_target = |index: usize| self.weights[index] != 0.0;
        let mut spans: Vec<Span> = Vec::new();
        let mut first = 0;
        for end in 1..=self.tokens.len() {
            if end == self.tokens.len() || is_target(end) != is_target(first) {
                let bytes = vocab.decode(&self.tokens[first..end]).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                spans.push(Span { is_target: is_target(first), text });
                first = end;
            }
        }
        spans
    }
}

impl Sample {
    /// Its texts: one, or the chosen and the rejected.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        let (first, second) = match self {
            Sample::Text(example) => (example, None),
            Sample::Pair { chosen, rejected } => (chosen, Some(rejected)),
        };
        std::iter::once(first).chain(second)
    }
}
