//! Chat Completions: what is streamed adds up to what is not, for every kind of output.

use serde_json::{Value, json};

use crate::http::{Answer, get, post};
use crate::server::Server;

/// Reasoning, an answer.
pub const ANSWER: &str = "<|channel|>analysis<|message|>Add the \u{1d11e} tens.<|end|><|start|>assistant<|channel|>final<|message|>It is 85, né.<|return|>";
/// Reasoning, a preamble, a call.
pub const CALL: &str = "<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant<|channel|>commentary to=functions.look <|constrain|>json<|message|>{\"key\": \"a b\"}<|call|>";

fn question() -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": "What is 27 + 58?"}]})
}

fn tools() -> Value {
    let parameters = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    json!([{"type": "function", "function": {"name": "look", "parameters": parameters}}])
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Adds the deltas of a stream up, as a client does.
pub fn added_up(answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant"});
    let mut finish_reason = Value::Null;
    let mut calls: Vec<Value> = Vec::new();
    for chunk in answer.events() {
        for choice in chunk["choices"].as_array().unwrap() {
            for field in ["content", "reasoning", "reasoning_content"] {
                if let Some(text) = choice["delta"][field].as_str() {
                    let before = message[field].as_str().unwrap_or_default().to_owned();
                    message[field] = json!(before + text);
                }
            }
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].as_u64().unwrap() as usize;
                if index == calls.len() {
                    calls.push(json!({"type": call["type"], "function": call["function"]}));
                } else {
                    let before = calls[index]["function"]["arguments"].as_str().unwrap().to_owned();
                    let more = call["function"]["arguments"].as_str().unwrap();
                    calls[index]["function"]["arguments"] = json!(before + more);
                }
            }
            if !choice["finish_reason"].is_null() {
                finish_reason = choice["finish_reason"].clone();
            }
        }
    }
    json!({"message": message, "calls": calls, "finish_reason": finish_reason})
}

pub fn whole(answer: &Answer) -> Value {
    let choice = &answer.json()["choices"][0];
    let mut message = json!({"role": "assistant"});
    for field in ["content", "reasoning", "reasoning_content"] {
        if choice["message"][field].is_string() {
            message[field] = choice["message"][field].clone();
        }
    }
    let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
    let calls: Vec<Value> =
        calls.iter().map(|call| json!({"type": call["type"], "function": call["function"]})).collect();
    json!({"message": message, "calls": calls, "finish_reason": choice["finish_reason"]})
}

#[test]
fn what_is_streamed_adds_up_to_the_body() {
    let bare = "Only this.<|return|>";
    let cut = "<|channel|>final<|message|>one two three four five six<|return|>";
    let cases = [
        (ANSWER, json!({})),
        (CALL, json!({"tools": tools()})),
        (bare, json!({})),
        (cut, json!({"max_tokens": 6})),
        (cut, json!({"stop": ["four"]})),
        (ANSWER, json!({"include_reasoning": false})),
        (ANSWER, json!({"logprobs": true, "top_logprobs": 2})),
    ];
    for (text, more) in cases {
        let server = Server::start(&[text]);
        let body = post(server.address, "/v1/chat/completions", &with(question(), more.clone()));
        assert_eq!(body.status, 200, "{}", body.body);
        let stream = with(question(), with(more.clone(), json!({"stream": true})));
        let stream = post(server.address, "/v1/chat/completions", &stream);
        assert_eq!(added_up(&stream), whole(&body), "{more}");
        assert!(stream.body.ends_with("data: [DONE]\n\n"), "{}", stream.body);
    }
}

#[test]
fn an_answer_has_its_reasoning_under_both_names() {
    let server = Server::start(&[ANSWER]);
    let body = post(server.address, "/v1/chat/completions", &question()).json();
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], "It is 85, né.");
    assert_eq!(message["reasoning"], "Add the \u{1d11e} tens.");
    assert_eq!(message["reasoning_content"], message["reasoning"]);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = &body["usage"];
    assert!(usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0, "{usage}");
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
}

#[test]
fn a_call_says_what_was_said_before_it() {
    let server = Server::start(&[CALL]);
    let body =
        post(server.address, "/v1/chat/completions", &with(question(), json!({"tools": tools()}))).json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "One moment.");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "look", "arguments": "{\"key\": \"a b\"}"}));
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
}

/// Clients written before there were tools were refused.
#[test]
fn functions_are_called_in_their_own_form() {
    let server = Server::start(&[CALL, ANSWER]);
    let parameters = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    let functions = json!([{"name": "look", "description": "Looks.", "parameters": parameters}]);
    let offered = json!({"functions": functions, "function_call": {"name": "look"}});
    let answer = post(server.address, "/v1/chat/completions", &with(question(), offered)).json();
    let (message, expect) =
        (&answer["choices"][0]["message"], json!({"name": "look", "arguments": "{\"key\": \"a b\"}"}));
    assert_eq!(answer["choices"][0]["finish_reason"], "function_call", "{answer}");
    assert_eq!(message["function_call"], expect);
    assert!(message.get("tool_calls").is_none(), "{message}");

    // What the client sends back reads like a call of today's.
    let chat = |call: Value, result: Value, offered: Value| {
        let messages = json!([{"role": "user", "content": "What is 27 + 58?"}, call, result]);
        post(server.address, "/v1/chat/completions", &with(json!({"messages": messages}), offered)).json()
    };
    let old = chat(
        json!({"role": "assistant", "content": null, "function_call": message["function_call"]}),
        json!({"role": "function", "name": "look", "content": "found"}),
        json!({"functions": functions, "function_call": "auto"}),
    );
    assert_eq!(old["choices"][0]["finish_reason"], "stop", "{old}");
    let new = chat(
        json!({"role": "assistant", "tool_calls": [{"id": "call_x", "type": "function", "function": message["function_call"]}]}),
        json!({"role": "tool", "tool_call_id": "call_x", "content": "found"}),
        json!({"tools": [{"type": "function", "function": functions[0]}]}),
    );
    assert!(new["choices"].is_array(), "{new}");
    let prompts = server.prompts.lock().unwrap();
    assert!(prompts.len() == 3 && prompts[1] == prompts[2]);
}

#[test]
fn functions_are_called_in_streams_too() {
    let server = Server::start(&[CALL]);
    let offered = json!({"functions": [{"name": "look", "parameters": {"type": "object"}}], "stream": true});
    let stream = post(server.address, "/v1/chat/completions", &with(question(), offered)).events();
    let choices: Vec<&Value> = stream.iter().filter_map(|chunk| chunk["choices"].get(0)).collect();
    let calls: Vec<&Value> =
        choices.iter().filter_map(|choice| choice["delta"].get("function_call")).collect();
    assert_eq!(calls[0], &json!({"name": "look", "arguments": ""}));
    assert!(calls[1..].iter().all(|call| call.get("name").is_none()), "{calls:?}");
    let arguments: String = calls.iter().filter_map(|call| call["arguments"].as_str()).collect();
    assert_eq!(arguments, "{\"key\": \"a b\"}");
    assert!(choices.iter().all(|choice| choice["delta"].get("tool_calls").is_none()));
    assert_eq!(choices.last().unwrap()["finish_reason"], "function_call");
}

#[test]
fn usage_comes_last_when_it_is_asked_for() {
    let server = Server::start(&[ANSWER]);
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let stream = post(server.address, "/v1/chat/completions", &with(question(), options));
    let chunks = stream.events();
    let (last, others) = chunks.split_last().unwrap();
    assert!(
        last["choices"].as_array().unwrap().is_empty() && last["usage"]["total_tokens"].is_u64(),
        "{last}"
    );
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[test]
fn choices_come_side_by_side() {
    let server = Server::start(&[ANSWER]);
    let body = post(server.address, "/v1/chat/completions", &with(question(), json!({"n": 3}))).json();
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(choices.iter().all(|choice| choice["message"]["content"] == "It is 85, né."));
}

#[test]
fn log_probabilities_cover_the_answer() {
    let server = Server::start(&[ANSWER]);
    let body = post(
        server.address,
        "/v1/chat/completions",
        &with(question(), json!({"logprobs": true, "top_logprobs": 2})),
    )
    .json();
    let content = body["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let bytes: Vec<u8> = content
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), "It is 85, né.");
    assert!(content.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
}

#[test]
fn ollamas_clients_get_lines() {
    let server = Server::start(&[ANSWER]);
    let question = json!({"model": "scripted:latest", "messages": [{"role": "user", "content": "hi"}]});
    let stream = post(server.address, "/api/chat", &question);
    let lines: Vec<Value> = stream.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!((text.as_str(), lines.last().unwrap()["done"].as_bool()), ("It is 85, né.", Some(true)));
    let whole = post(server.address, "/api/chat", &with(question, json!({"stream": false}))).json();
    assert_eq!(whole["message"]["content"], "It is 85, né.");
    let generated = post(server.address, "/api/generate", &json!({"prompt": "hi", "stream": false})).json();
    assert_eq!(generated["response"], "It is 85, né.");
    assert_eq!(get(server.address, "/api/tags").json()["models"][0]["name"], "scripted");
    assert_eq!(post(server.address, "/api/pull", &json!({"model": "other"})).status, 404);
}
