//! Ten calls in a row, by clients that return the reasoning, a part of it, or none: the model reads the same.

use serde_json::{Value, json};

use crate::http::post;
use crate::server::Server;

const CALLS: usize = 10;

fn script() -> Vec<String> {
    (0..CALLS)
        .map(|number| {
            format!(
                "<|channel|>analysis<|message|>Step {number}.<|end|><|start|>assistant<|channel|>commentary<|message|>\
                 Wait {number}.<|end|><|start|>assistant<|channel|>commentary to=functions.look <|constrain|>json\
                 <|message|>{{\"key\": {number}}}<|call|>"
            )
        })
        .collect()
}

#[derive(Debug, Clone, Copy)]
enum Client {
    Faithful,
    Shortening,
    Forgetful,
}

const CLIENTS: [Client; 3] = [Client::Faithful, Client::Shortening, Client::Forgetful];

fn prompts_of(run: impl Fn(&Server, Client)) {
    let texts = script();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let prompts = CLIENTS.map(|client| {
        let server = Server::start(&texts);
        run(&server, client);
        let prompts = server.prompts.lock().unwrap().clone();
        assert_eq!(prompts.len(), CALLS);
        prompts
    });
    assert!(prompts[0] == prompts[1] && prompts[1] == prompts[2]);
    assert!(prompts[0].windows(2).all(|pair| pair[0].len() < pair[1].len()), "the loop grows");
}

#[test]
fn through_chat() {
    prompts_of(|server, client| {
        let tools =
            json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
        let mut messages = vec![json!({"role": "user", "content": "Look ten times."})];
        for number in 0..CALLS {
            let body = json!({"messages": messages, "tools": tools});
            let answer = post(server.address, "/v1/chat/completions", &body).json();
            let mut message = answer["choices"][0]["message"].clone();
            let object = message.as_object_mut().unwrap();
            match client {
                Client::Faithful => {}
                Client::Shortening => {
                    object.insert("reasoning".into(), json!("Step"));
                    object.remove("reasoning_content");
                }
                Client::Forgetful => {
                    for field in ["reasoning", "reasoning_content", "content"] {
                        object.remove(field);
                    }
                }
            }
            let id = message["tool_calls"][0]["id"].clone();
            messages.push(message);
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": format!("found {number}")}));
        }
    });
}

#[test]
fn through_responses() {
    prompts_of(|server, client| {
        let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
        let mut input = vec![json!({"role": "user", "content": "Look ten times."})];
        for number in 0..CALLS {
            let body = json!({"input": input, "tools": tools, "store": false});
            let answer = post(server.address, "/v1/responses", &body).json();
            let output = answer["output"].as_array().unwrap();
            let id = output.last().unwrap()["call_id"].clone();
            let is_kept = |item: &&Value| match client {
                Client::Faithful => true,
                Client::Shortening => item["type"] != "message",
                Client::Forgetful => item["type"] == "function_call",
            };
            input.extend(output.iter().filter(is_kept).cloned());
            input.push(
                json!({"type": "function_call_output", "call_id": id, "output": format!("found {number}")}),
            );
        }
    });
}

#[test]
fn through_previous_responses() {
    prompts_of(|server, _| {
        let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
        let mut body = json!({"input": "Look ten times.", "tools": tools});
        for number in 0..CALLS {
            let answer = post(server.address, "/v1/responses", &body).json();
            let id = &answer["output"].as_array().unwrap().last().unwrap()["call_id"];
            let result =
                json!([{"type": "function_call_output", "call_id": id, "output": format!("found {number}")}]);
            body = json!({"input": result, "tools": tools, "previous_response_id": answer["id"]});
        }
    });
}

#[test]
fn through_messages() {
    prompts_of(|server, client| {
        let tools = json!([{"name": "look", "input_schema": {"type": "object"}}]);
        let mut messages = vec![json!({"role": "user", "content": "Look ten times."})];
        for number in 0..CALLS {
            let thinking = json!({"type": "adaptive"});
            let body = json!({"max_tokens": 99, "messages": messages, "tools": tools, "thinking": thinking});
            let answer = post(server.address, "/v1/messages", &body).json();
            let content = answer["content"].as_array().unwrap();
            let id = content.last().unwrap()["id"].clone();
            let is_kept = |block: &&Value| match client {
                Client::Faithful => true,
                Client::Shortening => block["type"] != "text",
                Client::Forgetful => block["type"] == "tool_use",
            };
            let kept: Vec<Value> = content.iter().filter(is_kept).cloned().collect();
            messages.push(json!({"role": "assistant", "content": kept}));
            let found = format!("found {number}");
            let result = json!({"type": "tool_result", "tool_use_id": id, "content": found});
            messages.push(json!({"role": "user", "content": [result]}));
        }
    });
}
