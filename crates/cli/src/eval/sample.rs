//! One answered item as the journal keeps it: the answer, what became of it, how long it took.

use gptoss_eval::{Judgement, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answered item. As a row of responses it can be scored again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was answered, and why it was not.
    #[serde(flatten)]
    pub response: Response,
    /// What became of it.
    pub judgement: Judgement,
    /// From the question to its judgement. Units: seconds.
    pub seconds: f64,
}

/// Tokens of questions and answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Of prompts.
    pub prompt: u64,
    /// Written, those of reasoning among them.
    pub completion: u64,
    /// Of reasoning, where they are counted.
    pub reasoning: u64,
}

impl Sample {
    /// What the question and its answer cost, as far as it is told.
    pub fn tokens(&self) -> Tokens {
        let usage = self.response.usage.as_ref().unwrap_or(&Value::Null);
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        Tokens {
            prompt: count(&usage["prompt_tokens"]),
            completion: count(&usage["completion_tokens"]),
            reasoning: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
        }
    }
}

impl std::iter::Sum for Tokens {
    fn sum<I: Iterator<Item = Tokens>>(tokens: I) -> Tokens {
        tokens.fold(Tokens::default(), |sum, more| Tokens {
            prompt: sum.prompt + more.prompt,
            completion: sum.completion + more.completion,
            reasoning: sum.reasoning + more.reasoning,
        })
    }
}
