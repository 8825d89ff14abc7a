//! What comes in other servers' words: kept, refused or told by name, and never passed over.

use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::post;
use crate::server::Server;

fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn question() -> Value {
    json!({"input": "hi", "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn constraints_of_other_servers_are_held_or_refused() {
    let server = Server::start(&[ANSWER]);
    let check = |more: Value, status: u16, param: Value| {
        for path in ["/v1/chat/completions", "/v1/responses"] {
            let answer = post(server.address, path, &with(question(), &more));
            assert_eq!(answer.status, status, "{path} {more}: {}", answer.body);
            assert_eq!(answer.json()["error"]["param"], param, "{path} {more}: {}", answer.body);
        }
    };
    for form in [
        json!({"guided_regex": "[a-z]{3}"}),
        json!({"guided_choice": ["yes", "no?"]}),
        json!({"structured_outputs": {"json": {"type": "object"}}}),
        json!({"structured_outputs": {"grammar": "start: \"a\" | \"b\""}}),
        json!({"ebnf": "root ::= item (\",\" item)* | \"\"\nitem ::= [^,\\n]{1,4} .?"}),
    ] {
        check(form, 200, Value::Null);
    }
    check(json!({"guided_regex": "("}), 400, json!("guided_regex"));
    check(json!({"grammar": "root ::= nothing"}), 400, json!("grammar"));
    check(json!({"regex": "a", "guided_choice": ["b"]}), 400, json!("regex"));
    check(json!({"min_tokens": "many"}), 400, json!("min_tokens"));
    let both = json!({"regex": "a", "response_format": {"type": "json_object"}});
    let answer = post(server.address, "/v1/chat/completions", &with(question(), &both));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("regex")));
    for (format, status) in [
        (json!({"type": "json_object", "schema": {"type": "object"}}), 200),
        (json!({"type": "regex", "pattern": "a+"}), 200),
        (json!({"type": "grammar", "grammar": "root ::= [ab]+"}), 200),
        (json!({"type": "grammar"}), 400),
    ] {
        let body = with(question(), &json!({"response_format": format}));
        assert_eq!(post(server.address, "/v1/chat/completions", &body).status, status, "{format}");
    }
    // A text has no form.
    let answer = post(server.address, "/v1/completions", &json!({"prompt": "a", "guided_regex": "b"}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("guided_regex")));
}

#[test]
fn what_is_not_kept_is_told_by_name() {
    let server = Server::start(&[ANSWER]);
    let told = |path: &str, more: Value| {
        let body = post(server.address, path, &with(question(), &more)).json();
        let warnings = body["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let more = json!({"continue_final_message": true, "mirostat": 2, "unheard_of": 1, "min_tokens": 1});
        let warnings = told(path, more);
        assert_eq!(warnings.len(), 2, "{path}: {warnings:?}");
        assert!(warnings[0].starts_with("continue_final_message") && warnings[1].starts_with("mirostat"));
    }
    let prompt = json!({"prompt": "a", "length_penalty": 2});
    assert!(told("/v1/completions", prompt)[0].starts_with("length_penalty"));
    let include = json!({"include": ["reasoning.encrypted_content"]});
    assert!(told("/v1/responses", include)[0].contains("reasoning.encrypted_content"));
    let body = with(question(), &json!({"include_reasoning": false}));
    let items = post(server.address, "/v1/responses", &body).json();
    assert!(!items["output"].to_string().contains("reasoning_text"), "{items}");
}

#[test]
fn a_text_ends_by_the_tokens_that_a_request_names() {
    let server = Server::start(&["one two three<|return|> four"]);
    let two = gptoss_harmony::Vocab::o200k_harmony().encode_ids(" two")[0];
    let ends = |more: Value| {
        let body = with(json!({"prompt": "a", "max_tokens": 50}), &more);
        post(server.address, "/v1/completions", &body).json()["choices"][0]["text"].clone()
    };
    assert_eq!(ends(json!({"stop_token_ids": [two]})), "one");
    assert_eq!(ends(json!({})), "one two three");
    assert_eq!(ends(json!({"ignore_eos": true})), "one two three four");
}
