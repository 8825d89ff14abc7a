//! Responses: the order of events, what they add up to, what is kept and taken up again.

use serde_json::{Value, json};

use crate::chat::{ANSWER, CALL};
use crate::http::{get, post, request};
use crate::server::Server;
use crate::shutdown::eventually;

fn question(more: Value) -> Value {
    let mut body = json!({"model": "scripted", "input": "What is 27 + 58?"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn tools() -> Value {
    json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}])
}

/// The object without what differs from one request to the next.
fn plain(mut value: Value) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(object) => {
                for field in ["id", "call_id", "item_id", "created_at", "completed_at"] {
                    object.remove(field);
                }
                object.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    clean(&mut value);
    value
}

/// The output that a client puts together from the events alone.
fn added_up(events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap();
        let index = event["output_index"].as_u64().unwrap_or(0) as usize;
        let append = |place: &mut Value, more: &Value| {
            *place = json!(format!("{}{}", place.as_str().unwrap_or_default(), more.as_str().unwrap()));
        };
        match kind {
            "response.output_item.added" => items.push(event["item"].clone()),
            "response.content_part.added" => {
                items[index]["content"].as_array_mut().unwrap().push(event["part"].clone());
            }
            "response.output_text.delta" | "response.reasoning_text.delta" => {
                append(&mut items[index]["content"][0]["text"], &event["delta"]);
                if let Some(logprobs) = event["logprobs"].as_array() {
                    items[index]["content"][0]["logprobs"]
                        .as_array_mut()
                        .unwrap()
                        .extend(logprobs.iter().cloned());
                }
            }
            "response.reasoning_summary_part.added" => {
                items[index]["summary"].as_array_mut().unwrap().push(event["part"].clone());
            }
            "response.reasoning_summary_text.delta" => {
                append(&mut items[index]["summary"][0]["text"], &event["delta"])
            }
            "response.function_call_arguments.delta" => {
                append(&mut items[index]["arguments"], &event["delta"])
            }
            "response.custom_tool_call_input.delta" => append(&mut items[index]["input"], &event["delta"]),
            "response.output_item.done" => {
                items[index]["status"] = event["item"]["status"].clone();
                assert_eq!(items[index], event["item"], "the deltas are not the item");
            }
            _ => {}
        }
    }
    items
}

#[test]
fn events_add_up_to_the_body_for_every_kind_of_output() {
    let custom = "<|channel|>commentary to=functions.patch<|message|>*** Begin\nfree text<|call|>";
    let cut = "<|channel|>final<|message|>one two three four five six<|return|>";
    let cases = [
        (ANSWER, json!({})),
        (CALL, json!({"tools": tools()})),
        (custom, json!({"tools": [{"type": "custom", "name": "patch"}]})),
        (cut, json!({"max_output_tokens": 6})),
        ("Only this.<|return|>", json!({})),
        ("<|channel|>analysis<|message|>Only thought.<|end|><|return|>", json!({})),
        (ANSWER, json!({"reasoning_visibility": "hidden"})),
        (ANSWER, json!({"reasoning": {"summary": "auto"}})),
        (ANSWER, json!({"include": ["message.output_text.logprobs"], "top_logprobs": 1})),
    ];
    for (text, more) in cases {
        // The second text of a script is the summary's, where there is one.
        let texts = match more.get("reasoning") {
            Some(_) => vec![text, "<|channel|>final<|message|>It added.<|return|>"],
            None => vec![text],
        };
        let server = Server::start(&texts);
        let body = post(server.address, "/v1/responses", &question(more.clone()));
        assert_eq!(body.status, 200, "{}", body.body);
        let mut streaming = question(more.clone());
        streaming["stream"] = json!(true);
        let events = post(server.address, "/v1/responses", &streaming).events();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"].as_u64().unwrap() as usize, number);
        }
        let last = events.last().unwrap();
        assert_eq!(plain(last["response"].clone()), plain(body.json()), "{more}");
        assert_eq!(added_up(&events), *last["response"]["output"].as_array().unwrap(), "{more}");
    }
}

#[test]
fn the_order_of_events_is_the_documented_one() {
    let server = Server::start(&[CALL]);
    let events =
        post(server.address, "/v1/responses", &question(json!({"tools": tools(), "stream": true}))).events();
    let mut names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let call = &events.last().unwrap()["response"]["output"][2];
    assert_eq!(
        (call["name"].as_str(), call["arguments"].as_str()),
        (Some("look"), Some("{\"key\": \"a b\"}"))
    );
}

#[test]
fn a_response_is_kept_listed_and_deleted() {
    let server = Server::start(&[ANSWER]);
    let made = post(server.address, "/v1/responses", &question(json!({"metadata": {"a": "b"}}))).json();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(get(server.address, &path).json(), made);
    let items = get(server.address, &format!("{path}/input_items")).json();
    assert_eq!(items["data"][0]["content"][0]["text"], "What is 27 + 58?");
    let gone = request(server.address, "DELETE", &path, &[], "");
    assert_eq!((gone.status, gone.json()["deleted"].as_bool()), (200, Some(true)));
    assert_eq!(get(server.address, &path).status, 404);
    let made = post(server.address, "/v1/responses", &question(json!({"store": false}))).json();
    assert_eq!(get(server.address, &format!("/v1/responses/{}", made["id"].as_str().unwrap())).status, 404);
}

#[test]
fn a_stream_is_taken_up_where_it_was_cut_off() {
    let server = Server::start(&[ANSWER]);
    let stream = post(server.address, "/v1/responses", &question(json!({"stream": true}))).events();
    let id = stream[0]["response"]["id"].as_str().unwrap();
    let again = get(server.address, &format!("/v1/responses/{id}?stream=true&starting_after=4"));
    assert_eq!(again.events(), stream[5..]);
}

#[test]
fn what_runs_in_the_background_can_be_asked_for_and_cancelled() {
    let mut script = crate::scripted::Script::new(&[ANSWER]);
    script.pause = std::time::Duration::from_millis(30);
    let server = Server::with(script, gptoss_server::Limits::default(), gptoss_server::Keys::default());
    let made = post(server.address, "/v1/responses", &question(json!({"background": true}))).json();
    assert!(["queued", "in_progress"].contains(&made["status"].as_str().unwrap()), "{made}");
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    let cancelled = request(server.address, "POST", &format!("{path}/cancel"), &[], "").json();
    assert_eq!(cancelled["status"], "cancelled");
    let made = post(server.address, "/v1/responses", &question(json!({"background": true}))).json();
    let path = format!("/v1/responses/{}?stream=true", made["id"].as_str().unwrap());
    let events = get(server.address, &path).events();
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    assert_eq!(events[1]["type"], "response.queued");
}

/// A summary of the reasoning began when the turn was cancelled, and the cancel waited for it.
#[test]
fn no_summary_begins_after_a_cancel() {
    let mut script = crate::scripted::Script::new(&["<|channel|>final<|message|>It added.<|return|>"]);
    let thought = format!("<|channel|>analysis<|message|>{}<|end|>", "word ".repeat(5_000));
    script.texts.insert(0, thought);
    script.pause = std::time::Duration::from_millis(5);
    let server = Server::with(script, gptoss_server::Limits::default(), gptoss_server::Keys::default());
    let more = json!({"background": true, "reasoning": {"summary": "auto"}});
    let made = post(server.address, "/v1/responses", &question(more)).json();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    eventually("it thinks", || !get(server.address, &path).json()["output"][0].is_null());
    let cancelled = request(server.address, "POST", &format!("{path}/cancel"), &[], "").json();
    assert_eq!((&cancelled["status"], &cancelled["output"][0]["summary"]), (&json!("cancelled"), &json!([])));
    assert_eq!(server.prompts.lock().unwrap().len(), 1, "a summary was begun");
}

/// The prompt of a summary is as long as the reasoning; a long one is tokenized where that keeps nobody
/// waiting, and is told all the same.
#[test]
fn long_reasoning_is_summarised() {
    let long = "word ".repeat(10_000);
    let thought = format!("<|channel|>analysis<|message|>{long}<|end|><|start|>assistant");
    let answer = format!("{thought}<|channel|>final<|message|>It is 85.<|return|>");
    let server = Server::start(&[&answer, "<|channel|>final<|message|>It added.<|return|>"]);
    let more = json!({"reasoning": {"summary": "auto"}});
    let made = post(server.address, "/v1/responses", &question(more)).json();
    assert_eq!(made["output"][0]["summary"][0]["text"], "It added.", "{}", made["warnings"]);
    assert_eq!(made["output"][1]["content"][0]["text"], "It is 85.");
    assert!(server.prompts.lock().unwrap()[1].len() > 10_000);
}

/// The places in the background were counted before one was taken, so requests that came at once all found
/// one.
#[test]
fn requests_at_once_share_the_places_in_the_background() {
    const PLACES: usize = 3;
    let mut script = crate::scripted::Script::new(&[]);
    script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(20_000))];
    script.pause = std::time::Duration::from_millis(20);
    let limits = gptoss_server::Limits { background_max: PLACES, ..gptoss_server::Limits::default() };
    let server = Server::with(script, limits, gptoss_server::Keys::default());
    // Long enough to be tokenized while the others are let in.
    let body = json!({"input": "word ".repeat(10_000), "background": true});
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (address, body) = (server.address, body.clone());
            std::thread::spawn(move || post(address, "/v1/responses", &body))
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let taken: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(taken.len(), PLACES);
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)));
    let cancel = |id: &Value| {
        let path = format!("/v1/responses/{}/cancel", id.as_str().unwrap());
        assert_eq!(request(server.address, "POST", &path, &[], "").json()["status"], "cancelled");
    };
    taken.iter().for_each(|answer| cancel(&answer.json()["id"]));
    let is_taken = || match post(server.address, "/v1/responses", &body) {
        answer if answer.status == 200 => {
            cancel(&answer.json()["id"]);
            true
        }
        _ => false,
    };
    eventually("a place is free again", is_taken);
}

#[test]
fn a_conversation_goes_on() {
    let server = Server::start(&[ANSWER]);
    let first = post(server.address, "/v1/responses", &question(json!({}))).json();
    let next = json!({"input": "And 2 more?", "previous_response_id": first["id"]});
    assert_eq!(post(server.address, "/v1/responses", &next).status, 200);
    let conversation = post(server.address, "/v1/conversations", &json!({"items": [
        {"type": "message", "role": "user", "content": "What is 27 + 58?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 85, né."}]},
    ]}))
    .json();
    let going_on = json!({"input": "And 2 more?", "conversation": conversation["id"]});
    assert_eq!(post(server.address, "/v1/responses", &going_on).status, 200);
    let prompts = server.prompts.lock().unwrap();
    assert_eq!(prompts[1], prompts[2], "the same conversation by two ways");
    drop(prompts);
    let path = format!("/v1/conversations/{}", conversation["id"].as_str().unwrap());
    let items = get(server.address, &format!("{path}/items?order=asc")).json();
    assert_eq!(items["data"].as_array().unwrap().len(), 5, "{items}");
    assert_eq!(request(server.address, "DELETE", &path, &[], "").status, 200);
}

#[test]
fn a_compacted_conversation_is_read_again() {
    let server = Server::start(&["<|channel|>final<|message|>They added.<|return|>"]);
    let compact = post(server.address, "/v1/responses/compact", &question(json!({}))).json();
    let output = compact["output"].as_array().unwrap();
    assert_eq!((output.len(), output[1]["type"].as_str()), (2, Some("compaction")));
    assert_eq!(post(server.address, "/v1/responses", &json!({"input": output})).status, 200);
    let rendered = post(server.address, "/v1/render", &json!({"input": output})).json();
    assert!(rendered["text"].as_str().unwrap().contains("They added."), "{rendered}");
}
