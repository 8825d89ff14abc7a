//! A row of any kind becomes samples.

use gptoss_harmony::{Control, Vocab};
use serde_json::{Map, Value, json};

use crate::chat::{Chat, effort_of};
use crate::columns::{messages, side, string};
use crate::example::{Example, Sample};
use crate::kind::Kind;
use crate::options::Options;
use crate::preference;
use crate::reason::Reason;

/// The samples of a row.
///
/// Errors: why nothing can be learned of it.
pub(crate) fn samples(
    kind: Kind,
    row: &Map<String, Value>,
    vocab: &Vocab,
    options: &Options,
) -> Result<Vec<Sample>, Reason> {
    if matches!(kind, Kind::Chat | Kind::Completion) && row.get("label") == Some(&Value::Bool(false)) {
        return Err(Reason::MarkedBad);
    }
    let of_chat = |chat: Chat| -> Result<Vec<Sample>, Reason> {
        Ok(chat.examples(vocab, options)?.into_iter().map(Sample::Text).collect())
    };
    match kind {
        Kind::Tokens => Ok(vec![Sample::Text(tokens(row, vocab, options)?)]),
        Kind::Text => Ok(vec![Sample::Text(text(row, vocab, options)?)]),
        Kind::Chat => of_chat(Chat::new(messages(row, "messages")?, row)?),
        Kind::ShareGpt => of_chat(share_gpt(row)?),
        Kind::Columns => {
            let mut messages: Vec<Value> = string(row, "developer")?
                .map(|text| json!({"role": "developer", "content": text}))
                .into_iter()
                .collect();
            messages.push(json!({"role": "user", "content": row["user"]}));
            messages
                .push(json!({"role": "assistant", "reasoning": row["analysis"], "content": row["final"]}));
            of_chat(Chat::new(messages, row)?)
        }
        Kind::Instruction => {
            let instruction = string(row, "instruction")?.unwrap_or_default();
            let asked = match string(row, "input")?.filter(|input| !input.is_empty()) {
                Some(input) => format!("{instruction}\n\n{input}"),
                None => instruction.to_owned(),
            };
            let mut messages: Vec<Value> = string(row, "system")?
                .map(|text| json!({"role": "system", "content": text}))
                .into_iter()
                .collect();
            messages.push(json!({"role": "user", "content": asked}));
            messages.push(json!({"role": "assistant", "content": row["output"]}));
            of_chat(Chat::new(messages, row)?)
        }
        Kind::Completion => {
            let mut all = side(row, "prompt", "user")?;
            let asked = all.len();
            all.extend(side(row, "completion", "assistant")?);
            of_chat(Chat::new(all, row)?.learn_from(asked))
        }
        Kind::OpenAiPair | Kind::Pair | Kind::SwiftPair => {
            let [prompt, chosen, rejected] = preference::sides(kind, row)?;
            let columns = row.get("input").and_then(Value::as_object).unwrap_or(row);
            let chat = |answer: Vec<Value>| -> Result<Chat, Reason> {
                let all: Vec<Value> = prompt.iter().cloned().chain(answer).collect();
                Ok(Chat::new(all, columns)?.learn_from(prompt.len()))
            };
            let (chosen, rejected) = (chat(chosen)?, chat(rejected)?);
            // One prompt for both, also where only one of them reasons.
            let effort = options.effort.unwrap_or(effort_of(chosen.reasons() || rejected.reasons()));
            let options = Options { effort: Some(effort), ..options.clone() };
            let last = |chat: Chat| -> Result<(Example, usize), Reason> {
                chat.turns(vocab, &options)?.into_iter().next_back().ok_or(Reason::NoTurn)
            };
            let ((chosen, start), (rejected, other)) = (last(chosen)?, last(rejected)?);
            if start != other {
                Err(Reason::CutApart)
            } else if chosen == rejected {
                Err(Reason::SamePair)
            } else {
                Ok(vec![Sample::Pair { chosen, rejected }])
            }
        }
    }
}

/// Messages by who speaks, in the words of ShareGPT.
fn share_gpt(row: &Map<String, Value>) -> Result<Chat, Reason> {
    let mut plain = Vec::new();
    for (index, message) in messages(row, "conversations")?.iter().enumerate() {
        let from = message.get("from").and_then(Value::as_str).unwrap_or_default();
        let role = match from {
            "human" | "user" => "user",
            "gpt" | "assistant" | "chatgpt" | "model" => "assistant",
            "system" => "system",
            _ => return Err(Reason::Role { message: index, role: from.to_owned() }),
        };
        let mut told = json!({"role": role, "content": message.get("value")});
        for name in ["train", "weight"] {
            if let Some(value) = message.get(name) {
                told[name] = value.clone();
            }
        }
        plain.push(told);
    }
    if let Some(system) = string(row, "system")?.filter(|text| !text.is_empty()) {
        plain.insert(0, json!({"role": "system", "content": system}));
    }
    Chat::new(plain, row)
}

/// A text, all of which is learned, and that it ends.
fn text(row: &Map<String, Value>, vocab: &Vocab, options: &Options) -> Result<Example, Reason> {
    let wrong = Reason::Column { column: "text".to_owned(), expected: "a text" };
    let mut tokens = vocab.encode_ids(string(row, "text")?.ok_or(wrong)?);
    tokens.push(vocab.control(Control::EndOfText));
    let mut weights = vec![1.0; tokens.len()];
    weights[0] = 0.0;
    fits(Example { tokens, weights }, options)
}

/// Tokens that another program has rendered.
fn tokens(row: &Map<String, Value>, vocab: &Vocab, options: &Options) -> Result<Example, Reason> {
    let wrong = |column: &str, expected| Reason::Column { column: column.to_owned(), expected };
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens: Option<Vec<u32>> =
        row.get("tokens").and_then(Value::as_array).and_then(|ids| ids.iter().map(id).collect());
    let tokens = tokens.filter(|ids| ids.iter().all(|&id| vocab.token(id).is_some()));
    let tokens = tokens.ok_or_else(|| wrong("tokens", "a list of ids of the model's vocabulary"))?;
    let number =
        |value: &Value| value.as_f64().map(|weight| weight as f32).filter(|weight| weight.is_finite());
    let mut weights = match row.get("weights").filter(|weights| !weights.is_null()) {
        None => vec![1.0; tokens.len()],
        Some(weights) => {
            let weights: Option<Vec<f32>> =
                weights.as_array().and_then(|weights| weights.iter().map(number).collect());
            let weights = weights.filter(|weights| weights.len() == tokens.len());
            weights.ok_or_else(|| wrong("weights", "a list of as many numbers as there are tokens"))?
        }
    };
    if let Some(first) = weights.first_mut() {
        *first = 0.0;
    }
    fits(Example { tokens, weights }, options)
}

fn fits(example: Example, options: &Options) -> Result<Example, Reason> {
    let (tokens, max) = (example.tokens.len(), options.tokens_max);
    match example.num_targets() {
        _ if tokens > max => Err(Reason::TooLong { tokens, max }),
        0 => Err(Reason::NoTarget),
        _ => Ok(example),
    }
}
