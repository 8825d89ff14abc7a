//! A policy judged by a model at another address, that speaks Chat Completions.
//!
//! The body that asks and the reader of the answer; who sends it is the caller.

use gptoss_harmony::{Logprob, TopLogprob};
use serde_json::{Value, json};

use crate::address::Address;
use crate::error::Error;
use crate::policy::Policy;
use crate::verdict::{ALTERNATIVES, Verdict};

/// The body that asks about `text`.
pub fn judge_body(address: &Address, policy: &Policy, text: &str) -> Value {
    let mut body = json!({
        "model": address.model,
        "messages": [
            {"role": "system", "content": policy.instructions()},
            {"role": "user", "content": text},
        ],
        "reasoning_effort": policy.effort.as_str(),
        "temperature": 0,
        "logprobs": true,
        "top_logprobs": ALTERNATIVES,
    });
    if let Some(schema) = policy.form.schema(&policy.rule_ids) {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": true, "schema": schema},
        });
    }
    if let Some(pattern) = policy.form.pattern(&policy.rule_ids) {
        // vLLM's word, and this program's; a server that does not know it has the instruction alone.
        body["structured_outputs"] = json!({"regex": pattern});
    }
    body
}

/// Reads what came back.
///
/// Errors: it is no answer, or none of the form.
pub fn judge_answer(address: &Address, policy: &Policy, answer: &Value) -> Result<Verdict, Error> {
    let choice = &answer["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().map_or(&[][..], Vec::as_slice);
    let tokens: Vec<Logprob> = tokens
        .iter()
        .map(|token| Logprob { bytes: bytes(token), logprob: logprob(token), top: alternatives(token) })
        .collect();
    let said = choice["message"]["content"].as_str();
    said.and_then(|said| Verdict::read(policy.form, said, &tokens)).ok_or_else(|| Error::NoVerdict {
        policy: policy.name.clone(),
        problem: format!("{} gave no answer of the form", address.url),
    })
}

fn alternatives(token: &Value) -> Vec<TopLogprob> {
    let list = token["top_logprobs"].as_array().into_iter().flatten();
    list.map(|other| TopLogprob { bytes: bytes(other), logprob: logprob(other) }).collect()
}

fn bytes(token: &Value) -> Vec<u8> {
    match token["bytes"].as_array() {
        Some(bytes) => bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect(),
        None => token["token"].as_str().unwrap_or_default().into(),
    }
}

fn logprob(token: &Value) -> f64 {
    token["logprob"].as_f64().unwrap_or(f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Form;

    #[test]
    fn an_answer_from_elsewhere_is_read_with_its_probability() {
        let address =
            Address { url: "http://there/v1".into(), model: "m".into(), key: Some("secret".into()) };
        assert!(!format!("{address:?}").contains("secret"));
        let policy = Policy { form: Form::Label, ..Policy::new("p", "No cats.") };
        let body = judge_body(&address, &policy, "a cat");
        assert_eq!(body["messages"][1]["content"], "a cat");
        assert!(body.get("response_format").is_none());
        assert_eq!(body["structured_outputs"]["regex"], "[01]");
        let top = json!([{"token": "1", "bytes": [49], "logprob": -0.1}, {"token": "0", "logprob": -0.1}]);
        let answer = json!({"choices": [{
            "message": {"content": "1"},
            "logprobs": {"content": [{"token": "1", "logprob": -0.1, "top_logprobs": top}]},
        }]});
        let verdict = judge_answer(&address, &policy, &answer).unwrap();
        assert!(verdict.is_violation && (verdict.probability - 0.5).abs() < 1e-9, "{verdict:?}");
        let error =
            judge_answer(&address, &policy, &json!({"error": {"message": "no"}})).unwrap_err().to_string();
        assert!(error.contains("http://there/v1"), "{error}");
    }
}
