//! An answer of which no word is told, in the client's API: as many choices as were asked for, and the usage.

use futures_util::stream::{self, StreamExt};
use gptoss_api::chat::chunks::{ChatChoice, ChunkHeader};
use gptoss_api::generation::tools::Tools;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::usage::TokenUsage;
use gptoss_api::{ApiError, ChoiceEnd, EventOptions, Machine};
use gptoss_harmony::TurnEnd;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::raw_object::RawObject;
use crate::reply::{Reply, ReplyBody};
use crate::sse::{event, framed};
use crate::writer::{Told, Whole, Writer, chunks};

/// An answer to `body` that was filtered before a word of it was told.
///
/// Errors: a body that cannot be read.
pub fn filtered(dialect: Dialect, body: &RawObject, told: Told) -> Result<Reply, ApiError> {
    let is_stream = body.read("stream")? == Some(Value::Bool(true));
    let bytes = match dialect {
        Dialect::Chat => chat(body, told, is_stream),
        Dialect::Completions => completions(body, told, is_stream),
        Dialect::Responses | Dialect::Messages => written(dialect, body, told, is_stream)?,
    };
    let body = match is_stream {
        true => ReplyBody::Stream(stream::iter([Bytes::from(bytes)]).boxed()),
        false => ReplyBody::Whole(bytes.into()),
    };
    Ok(Reply { status: 200, body })
}

/// How many choices a request has, and whether its stream ends with a usage.
fn asked(body: &RawObject) -> (u32, bool) {
    let num = body.value("n").and_then(|value| value.as_u64()).unwrap_or(1);
    let max = RequestLimits::default().choices_max as u64;
    let options = body.value("stream_options").unwrap_or_default();
    (num.clamp(1, max) as u32, options["include_usage"] == true)
}

fn chat(body: &RawObject, told: Told, is_stream: bool) -> Vec<u8> {
    let (num, wants_usage) = asked(body);
    let Told { model, reasoning_field, new_id, now, .. } = told;
    let id = new_id("chatcmpl").replacen('_', "-", 1);
    let header = ChunkHeader { id, created: now, model, fingerprint: "upstream".to_owned() };
    let options = EventOptions {
        tools: Tools::default(),
        visibility: Visibility::Hidden,
        tells_logprobs: false,
        new_id,
    };
    let usage = TokenUsage::default();
    let (mut bytes, mut choices) = (Vec::new(), Vec::new());
    for index in 0..num {
        let mut machine = ChatChoice::new(index, options.clone()).with_reasoning_field(reasoning_field);
        let mut whole = if is_stream { Whole::None } else { Whole::Chat(Box::default()) };
        let end = ChoiceEnd { end: TurnEnd::Filtered, usage, rest: Vec::new(), at: now, stop: None };
        let mut events = machine.begin();
        events.extend(machine.finish(end));
        bytes.extend(chunks(events, (&header, wants_usage), &mut whole));
        if let Whole::Chat(choice) = whole {
            choices.push(*choice);
        }
    }
    if !is_stream {
        let whole = header.completion(choices, usage.chat_usage(), (Vec::new(), None));
        return serde_json::to_vec(&whole).unwrap_or_default();
    }
    if wants_usage {
        let last = header.chunk(Vec::new(), Some(Some(usage.chat_usage())), (Vec::new(), None));
        event(&mut bytes, None, &last);
    }
    bytes.extend_from_slice(b"data: [DONE]\n\n");
    bytes
}

fn completions(body: &RawObject, told: Told, is_stream: bool) -> Vec<u8> {
    let (num, wants_usage) = asked(body);
    let id = (told.new_id)("cmpl").replacen('_', "-", 1);
    let choices: Vec<Value> = (0..num)
        .map(|index| json!({"index": index, "text": "", "logprobs": null, "finish_reason": "content_filter"}))
        .collect();
    let usage = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    let object = |choices: &[Value]| {
        json!({"id": id, "object": "text_completion", "created": told.now, "model": told.model,
            "choices": choices})
    };
    if !is_stream {
        let mut whole = object(&choices);
        whole["usage"] = usage;
        return whole.to_string().into_bytes();
    }
    let mut bytes = framed(None, &object(&choices));
    if wants_usage {
        let mut last = object(&[]);
        last["usage"] = usage;
        bytes.extend(framed(None, &last));
    }
    bytes.extend_from_slice(b"data: [DONE]\n\n");
    bytes
}

fn written(dialect: Dialect, body: &RawObject, told: Told, is_stream: bool) -> Result<Vec<u8>, ApiError> {
    let form = (is_stream, false);
    let mut writer = match Writer::new(dialect, body, told.clone(), form) {
        Ok(writer) => writer,
        // Tools of the upstream's own, of which it called none.
        Err(_) => {
            let mut plain = body.clone();
            plain.remove("tools");
            Writer::new(dialect, &plain, told, form)?
        }
    };
    let first = writer.begin();
    let last = writer.finish(TurnEnd::Filtered, TokenUsage::default(), None);
    Ok(if is_stream { [first, last].concat() } else { writer.whole(TokenUsage::default()) })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use gptoss_api::chat::chunks::ReasoningField;
    use gptoss_api::messages::signature::Signer;

    use super::*;

    fn text(dialect: Dialect, body: &Value) -> String {
        let told = Told {
            model: "big".to_owned(),
            visibility: Visibility::Raw,
            reasoning_field: ReasoningField::default(),
            signer: Signer::new(&[0; _], "one"),
            new_id: |kind| format!("{kind}_1"),
            now: 1,
        };
        let body = RawObject::parse(body.to_string().as_bytes()).unwrap();
        let bytes = match filtered(dialect, &body, told).unwrap().body {
            ReplyBody::Whole(bytes) => bytes,
            ReplyBody::Stream(stream) => stream.collect::<Vec<_>>().now_or_never().unwrap().concat().into(),
        };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn each_choice_is_told_and_the_usage_where_it_is_asked_for() {
        for dialect in [Dialect::Chat, Dialect::Completions] {
            for num in [1, 3] {
                let mut body = json!({"model": "big", "n": num});
                let whole: Value = serde_json::from_str(&text(dialect, &body)).unwrap();
                let choices = whole["choices"].as_array().unwrap();
                assert_eq!(choices.len(), num, "{whole}");
                for (index, choice) in choices.iter().enumerate() {
                    assert_eq!(
                        (&choice["index"], &choice["finish_reason"]),
                        (&json!(index), &json!("content_filter"))
                    );
                }
                assert_eq!(whole["usage"]["total_tokens"], 0);
                body["stream"] = json!(true);
                let plain = text(dialect, &body);
                assert!(plain.ends_with("data: [DONE]\n\n") && !plain.contains("total_tokens"), "{plain}");
                assert_eq!(plain.matches("\"content_filter\"").count(), num, "{plain}");
                body["stream_options"] = json!({"include_usage": true});
                let last = text(dialect, &body);
                let last = last.rsplit("data: ").nth(1).unwrap();
                let last: Value = serde_json::from_str(last).unwrap();
                assert_eq!(
                    (&last["choices"], &last["usage"]["total_tokens"]),
                    (&json!([]), &json!(0)),
                    "{last}"
                );
            }
        }
    }
}
