//! Pairs of answers: the prompt that they share, the chosen and the rejected.

use serde_json::{Map, Value, json};

use crate::columns::{messages, side};
use crate::kind::Kind;
use crate::reason::Reason;

/// Prompt, chosen and rejected answer as messages.
///
/// Errors: a column that is no list of messages.
pub(crate) fn sides(kind: Kind, row: &Map<String, Value>) -> Result<[Vec<Value>; 3], Reason> {
    match kind {
        Kind::OpenAiPair => {
            let wrong = || Reason::Column { column: "input".to_owned(), expected: "an object with messages" };
            let input = row.get("input").and_then(Value::as_object).ok_or_else(wrong)?;
            let answers = [messages(row, "preferred_output")?, messages(row, "non_preferred_output")?];
            let [chosen, rejected] = answers;
            Ok([messages(input, "messages")?, chosen, rejected])
        }
        Kind::SwiftPair => {
            let mut prompt = messages(row, "messages")?;
            let chosen = prompt.pop().ok_or(Reason::NoTurn)?;
            let rejected = match row.get("rejected_response") {
                Some(Value::String(text)) => json!({"role": "assistant", "content": text}),
                other => other.cloned().unwrap_or_default(),
            };
            Ok([prompt, vec![chosen], vec![rejected]])
        }
        _ => {
            let mut chosen = side(row, "chosen", "assistant")?;
            let mut rejected = side(row, "rejected", "assistant")?;
            let mut prompt = match row.get("prompt") {
                None | Some(Value::Null) => Vec::new(),
                Some(_) => side(row, "prompt", "user")?,
            };
            // Without a prompt, or with one that both repeat, what both begin with is the prompt.
            let same = chosen.iter().zip(&rejected).take_while(|(one, other)| one == other).count();
            let same = same.min(chosen.len().min(rejected.len()).saturating_sub(1));
            if chosen[..same].starts_with(&prompt) {
                prompt = chosen[..same].to_vec();
                chosen.drain(..same);
                rejected.drain(..same);
            }
            Ok([prompt, chosen, rejected])
        }
    }
}
