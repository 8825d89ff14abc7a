//! What was used, from a file: JSON lines of requests.
//!
//! A line has `input_tokens` and `output_tokens`, or `prompt_tokens` and `completion_tokens`, and may have
//! `cached_tokens` (also where OpenAI's usage has them), `effort`, and the usage may be under `usage`: what
//! clients and servers keep.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// What the lines come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// Lines.
    pub requests: f64,
    /// Tokens of prompts.
    pub input_tokens: f64,
    /// Of these, those that were read before.
    pub cached_tokens: f64,
    /// Tokens of answers.
    pub output_tokens: f64,
    /// Requests and tokens of answers by effort, where lines say it.
    pub efforts: BTreeMap<String, (f64, f64)>,
}

/// Adds the lines up.
///
/// Errors: a line, by its number, is no request; there is none.
pub fn read(text: &str) -> Result<Recorded> {
    let mut sum = Recorded::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("line {}", index + 1);
        let row: Value = serde_json::from_str(line).with_context(at)?;
        let usage = if row["usage"].is_object() { &row["usage"] } else { &row };
        let number = |names: &[&str]| names.iter().find_map(|name| usage[*name].as_f64());
        let tokens =
            |names: &[&str]| number(names).with_context(|| format!("{}: no {}", at(), names.join(" or ")));
        let output = tokens(&["output_tokens", "completion_tokens"])?;
        let cached = ["input_tokens_details", "prompt_tokens_details"]
            .iter()
            .find_map(|name| usage[*name]["cached_tokens"].as_f64());
        sum.requests += 1.0;
        sum.input_tokens += tokens(&["input_tokens", "prompt_tokens"])?;
        sum.cached_tokens += cached.or_else(|| number(&["cached_tokens"])).unwrap_or(0.0);
        sum.output_tokens += output;
        if let Some(effort) = row["effort"].as_str() {
            let (count, tokens) = sum.efforts.entry(effort.to_owned()).or_default();
            *count += 1.0;
            *tokens += output;
        }
    }
    if sum.requests == 0.0 {
        return Err(anyhow!("no request in it"));
    }
    if sum.cached_tokens > sum.input_tokens {
        bail!("more tokens were read before than there are");
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_clients_and_servers_are_added_up() {
        let text = r#"{"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "effort": "low"}

{"usage": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}}
"#;
        let found = read(text).unwrap();
        assert_eq!(
            (found.requests, found.input_tokens, found.cached_tokens, found.output_tokens),
            (2.0, 30.0, 10.0, 6.0)
        );
        assert_eq!(found.efforts["low"], (1.0, 5.0));
        let fails = |text: &str, words: &str| {
            assert!(format!("{:#}", read(text).unwrap_err()).contains(words), "{text}")
        };
        fails("", "no request");
        fails("{\"input_tokens\": 1}", "line 1: no output_tokens or completion_tokens");
        fails("\n{", "line 2");
        fails("{\"input_tokens\": 1, \"cached_tokens\": 2, \"output_tokens\": 1}", "more tokens");
    }
}
