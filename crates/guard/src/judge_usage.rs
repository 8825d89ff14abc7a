//! What a judgment took.

use serde_json::Value;

/// Tokens of a judgment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JudgeUsage {
    /// That the judge read, with those that were kept from before.
    pub input: u64,
    /// Those that were kept from before.
    pub cached: u64,
    /// That it said, reasoning too.
    pub output: u64,
}

impl JudgeUsage {
    /// Of an answer of Chat Completions; what it does not say counts as none.
    pub fn of_answer(answer: &Value) -> JudgeUsage {
        let usage = &answer["usage"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        JudgeUsage {
            input: number(&usage["prompt_tokens"]),
            cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
            output: number(&usage["completion_tokens"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_answer_says_of_its_tokens_is_read() {
        let details = json!({"cached_tokens": 3});
        let usage = json!({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": details});
        let read = JudgeUsage::of_answer(&json!({"usage": usage}));
        assert_eq!(read, JudgeUsage { input: 7, cached: 3, output: 2 });
        assert_eq!(JudgeUsage::of_answer(&json!({"usage": null})), JudgeUsage::default());
    }
}
