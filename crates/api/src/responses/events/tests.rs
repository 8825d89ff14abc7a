//! However the model's text is cut, the object at the end is the same, and the events are what it was made
//! of.

use gptoss_harmony::Call;
use serde_json::{Value, json};

use super::*;
use crate::generation::tools::Tools;
use crate::usage::TokenUsage;
use crate::wire::responses::ResponseObject;

fn new_id(prefix: &str) -> String {
    format!("{prefix}_1")
}

fn end(end: TurnEnd) -> ChoiceEnd {
    ChoiceEnd { end, usage: TokenUsage::default(), rest: Vec::new(), at: 2, stop: None }
}

/// What a machine is pushed.
enum Said {
    Delta(Delta),
    Summary(String),
}

fn call() -> Call {
    Call { name: "look".into(), recipient: "functions.look".into(), channel: None, arguments: String::new() }
}

pub(super) fn object() -> ResponseObject {
    let object = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "completed_at": null, "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null, "instructions": null,
        "max_output_tokens": null, "max_tool_calls": null, "model": "m", "output": [], "parallel_tool_calls": true,
        "previous_response_id": null, "conversation": null, "prompt_cache_key": null,
        "reasoning": {"effort": "medium", "summary": null}, "safety_identifier": null, "service_tier": "default",
        "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "truncation": "disabled", "usage": null, "user": null, "metadata": {},
    });
    serde_json::from_value(object).unwrap()
}

fn machine(visibility: Visibility) -> ResponseMachine {
    ResponseMachine::new(
        object(),
        EventOptions { tools: Tools::default(), visibility, tells_logprobs: false, new_id },
    )
}

fn push(machine: &mut ResponseMachine, part: Said) -> Vec<Numbered> {
    match part {
        Said::Delta(delta) => machine.push(delta),
        Said::Summary(text) => machine.push_summary(text),
    }
}

fn events(visibility: Visibility, said: Vec<Said>, end: TurnEnd) -> Vec<Value> {
    let mut machine = machine(visibility);
    let mut events = machine.begin();
    for part in said {
        events.extend(push(&mut machine, part));
    }
    events.extend(machine.finish(self::end(end)));
    events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

fn text(channel: Channel, text: &str) -> Said {
    Said::Delta(Delta::Text { channel, text: text.to_owned(), logprobs: Vec::new() })
}

fn cut(at: usize) -> Vec<Said> {
    let halves = |make: &dyn Fn(&str) -> Said, whole: &str| {
        let border = whole.char_indices().nth(at).map_or(whole.len(), |(index, _)| index);
        [make(&whole[..border]), make(&whole[border..])]
    };
    let mut said = Vec::new();
    said.extend(halves(&|part| text(Channel::Analysis, part), "Look ü up"));
    said.extend(halves(&|part| Said::Summary(part.to_owned()), "It looked"));
    said.extend(halves(&|part| text(Channel::Commentary, part), "One moment"));
    said.push(Said::Delta(Delta::CallStarted { name: "look".into() }));
    said.extend(halves(
        &|part| Said::Delta(Delta::CallArguments { text: part.to_owned(), logprobs: Vec::new() }),
        "{\"key\": \"é\"}",
    ));
    said.push(Said::Delta(Delta::Called(call())));
    said
}

/// The last object, without ids.
fn last(events: &[Value]) -> Value {
    let mut response = events.last().unwrap()["response"].clone();
    for item in response["output"].as_array_mut().unwrap() {
        item["id"] = Value::Null;
        item["call_id"] = Value::Null;
    }
    response
}

#[test]
fn every_cut_adds_up_to_the_same() {
    for visibility in [Visibility::Raw, Visibility::Summary, Visibility::Hidden] {
        let whole = last(&events(visibility, cut(0), TurnEnd::Call));
        for at in 0..14 {
            let events = events(visibility, cut(at), TurnEnd::Call);
            assert_eq!(last(&events), whole, "{visibility:?} cut at {at}");
            for name in ["output_text", "reasoning_text", "reasoning_summary_text", "function_call_arguments"]
            {
                let joined = |kind: &str, field: &str| -> String {
                    let name = format!("response.{name}.{kind}");
                    let named = events.iter().filter(|event| event["type"] == name);
                    named.filter_map(|event| event[field].as_str()).collect()
                };
                let done = joined("done", "text") + &joined("done", "arguments");
                assert_eq!(joined("delta", "delta"), done, "{name} cut at {at}");
            }
        }
    }
}

#[test]
fn every_item_that_is_added_is_done_in_order() {
    let events = events(Visibility::Raw, cut(3), TurnEnd::Call);
    let mut open = None;
    for event in &events {
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => assert_eq!(open.replace(event["output_index"].clone()), None),
            "response.output_item.done" => assert_eq!(open.take(), Some(event["output_index"].clone())),
            _ => {}
        }
    }
    assert_eq!(open, None);
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_is_cut_short_is_incomplete() {
    let events = events(Visibility::Raw, vec![text(Channel::Final, "The ans")], TurnEnd::Length);
    let response = last(&events);
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    // A client that gave no limit was told that its limit was reached.
    for (end, reason) in
        [(TurnEnd::Context, "context_length_exceeded"), (TurnEnd::Deadline, "deadline_exceeded")]
    {
        let cut = self::events(Visibility::Raw, vec![text(Channel::Final, "The ans")], end);
        let response = &cut.last().unwrap()["response"];
        assert_eq!(
            (&response["status"], &response["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!(reason))
        );
    }
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn a_failure_closes_what_is_open() {
    let mut machine = machine(Visibility::Raw);
    machine.begin();
    push(&mut machine, text(Channel::Final, "The ans"));
    let events = machine.fail(&ApiError::Engine { problem: "it broke".into() });
    let names: Vec<&str> = events.iter().map(|event| event.event.name()).collect();
    let expect = [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.failed",
    ];
    assert_eq!(names, expect);
    assert_eq!(machine.response().error.as_ref().unwrap().code, "server_error");
}

#[test]
fn whoever_asked_gets_a_message() {
    let events = events(Visibility::Raw, vec![text(Channel::Analysis, "Hm")], TurnEnd::NoAnswer);
    assert_eq!(last(&events)["output"][1]["content"][0]["text"], "");
}

#[test]
fn events_are_read_again_as_they_were_written() {
    for event in events(Visibility::Raw, cut(2), TurnEnd::Call) {
        let read: Numbered = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), event);
        assert_eq!(read.event.name(), event["type"]);
    }
}
