//! What of something stored the key of its reader may see.
//!
//! The keys of a tenant share what it has stored, and one may see less of the reasoning than another. A
//! response is written as the key of its request may see it; whoever reads it later sees it as the key of the
//! reading may. Raw reasoning is in the items of the type `reasoning` and in the events that write them, and
//! nowhere else. Events that are left out leave a gap in the sequence numbers, so that a number means the
//! same event to every reader.

use gptoss_api::generation::visibility::Visibility;
use serde_json::{Value, json};

/// An item: the reasoning in it is emptied and the item stays.
pub(crate) fn narrow_item(item: &mut Value, visibility: Visibility) {
    if text(item, "type") != Some("reasoning") {
        return;
    }
    let seen_from = [("content", Visibility::Raw), ("summary", Visibility::Summary)];
    for (field, least) in seen_from {
        if visibility < least
            && let Some(parts) = item.get_mut(field)
        {
            *parts = json!([]);
        }
    }
}

/// Items.
pub(crate) fn narrow_items(items: &mut [Value], visibility: Visibility) {
    items.iter_mut().for_each(|item| narrow_item(item, visibility));
}

/// The object of a response.
pub(crate) fn narrow_response(response: &mut Value, visibility: Visibility) {
    if let Some(output) = response.get_mut("output").and_then(Value::as_array_mut) {
        narrow_items(output, visibility);
    }
}

/// An event; None when all of it is reasoning that is not to be seen.
pub(crate) fn narrowed_event(mut event: Value, visibility: Visibility) -> Option<Value> {
    let kind = text(&event, "type").unwrap_or_default();
    let is_raw_part = event.get("part").is_some_and(|part| text(part, "type") == Some("reasoning_text"));
    let least = if kind.starts_with("response.reasoning_summary") {
        Visibility::Summary
    } else if kind.starts_with("response.reasoning") || is_raw_part {
        Visibility::Raw
    } else {
        Visibility::Hidden
    };
    if visibility < least {
        return None;
    }
    if let Some(response) = event.get_mut("response") {
        narrow_response(response, visibility);
    }
    if let Some(item) = event.get_mut("item") {
        narrow_item(item, visibility);
    }
    Some(event)
}

/// A text field of an object.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(content: &Value, summary: &Value) -> Value {
        json!({"type": "reasoning", "id": "rs_1", "content": content, "summary": summary})
    }

    #[test]
    fn reasoning_is_seen_as_the_reader_may() {
        let (none, content, summary) =
            (json!([]), json!([{"type": "reasoning_text", "text": "a"}]), json!([{"text": "b"}]));
        let message = json!({"type": "message", "content": [{"type": "output_text", "text": "c"}]});
        for (visibility, expect) in [
            (Visibility::Raw, item(&content, &summary)),
            (Visibility::Summary, item(&none, &summary)),
            (Visibility::Hidden, item(&none, &none)),
        ] {
            let check = |event: Value, expect: Option<Value>| {
                assert_eq!(narrowed_event(event, visibility), expect, "{visibility:?}");
            };
            let whole =
                |item: &Value| json!({"type": "response.completed", "response": {"output": [item, message]}});
            check(whole(&item(&content, &summary)), Some(whole(&expect)));
            let done = |item: &Value| json!({"type": "response.output_item.done", "item": item});
            check(done(&item(&content, &summary)), Some(done(&expect)));
            check(done(&message), Some(done(&message)));
            for (event, least) in [
                (json!({"type": "response.reasoning_text.delta", "delta": "a"}), Visibility::Raw),
                (json!({"type": "response.reasoning_text.done", "text": "a"}), Visibility::Raw),
                (json!({"type": "response.content_part.done", "part": content[0]}), Visibility::Raw),
                (json!({"type": "response.reasoning_summary_text.delta", "delta": "b"}), Visibility::Summary),
                (json!({"type": "response.reasoning_summary_part.done", "part": {}}), Visibility::Summary),
                (json!({"type": "response.output_text.delta", "delta": "c"}), Visibility::Hidden),
                (
                    json!({"type": "response.content_part.done", "part": message["content"][0]}),
                    Visibility::Hidden,
                ),
            ] {
                check(event.clone(), Some(event).filter(|_| visibility >= least));
            }
        }
    }
}
