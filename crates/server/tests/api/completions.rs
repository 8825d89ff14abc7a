//! The old API: continuing, echoing, scoring.

use serde_json::{Value, json};

use crate::http::post;
use crate::server::Server;

#[test]
fn a_text_is_continued_streamed_or_not() {
    let server = Server::start(&[" and so on, né END more<|return|>"]);
    let ask = json!({"prompt": "One", "max_tokens": 50, "stop": "END", "echo": true});
    let body = post(server.address, "/v1/completions", &ask).json();
    assert_eq!(body["choices"][0]["text"], "One and so on, né ");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let mut streaming = ask;
    streaming["stream"] = json!(true);
    let events = post(server.address, "/v1/completions", &streaming).events();
    let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "One and so on, né ");
}

#[test]
fn log_probabilities_are_parallel_lists() {
    let server = Server::start(&["abc def<|return|>"]);
    let ask = json!({"prompt": "x", "max_tokens": 50, "logprobs": 2});
    let body = post(server.address, "/v1/completions", &ask).json();
    let lists = &body["choices"][0]["logprobs"];
    let count = lists["tokens"].as_array().unwrap().len();
    for name in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(lists[name].as_array().unwrap().len(), count, "{name}");
    }
    let joined: String =
        lists["tokens"].as_array().unwrap().iter().filter_map(|token| token.as_str()).collect();
    assert_eq!(joined, body["choices"][0]["text"]);
}

/// Nothing comes before the first token of a prompt, so it has no probability.
#[test]
fn an_echoed_prompt_begins_with_a_null() {
    let server = Server::start(&["abc<|return|>"]);
    for (max_tokens, is_streamed) in [(0, false), (5, false), (5, true)] {
        let ask = json!({"prompt": "One two", "max_tokens": max_tokens, "echo": true, "logprobs": 2, "stream": is_streamed});
        let answer = post(server.address, "/v1/completions", &ask);
        let bodies = if is_streamed { answer.events() } else { vec![answer.json()] };
        let listed = |name: &str| -> Vec<Value> {
            let lists = bodies.iter().map(|body| &body["choices"][0]["logprobs"][name]);
            lists.filter_map(Value::as_array).flatten().cloned().collect()
        };
        for name in ["token_logprobs", "top_logprobs"] {
            let list = listed(name);
            assert!(list.len() > 1, "{answer:?}");
            assert!(list[0].is_null() && list[1..].iter().all(|value| !value.is_null()), "{name}: {list:?}");
        }
        assert_eq!(listed("tokens")[0], "One");
    }
}

#[test]
fn several_prompts_have_several_choices() {
    let server = Server::start(&["a<|return|>"]);
    let ask = json!({"prompt": ["x", "y"], "n": 2});
    let body = post(server.address, "/v1/completions", &ask).json();
    assert_eq!(body["choices"].as_array().unwrap().len(), 4);
    for wrong in [json!({"prompt": ""}), json!({"prompt": []}), json!({"prompt": [[1], []]}), json!({})] {
        assert_eq!(post(server.address, "/v1/completions", &wrong).status, 400, "{wrong}");
    }
    let beyond = json!({"prompt": [4_000_000_000u32]});
    assert_eq!(post(server.address, "/v1/completions", &beyond).status, 400);
}
