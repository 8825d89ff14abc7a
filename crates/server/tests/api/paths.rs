//! Paths and names as clients write them.

use gptoss_server::ServedModel;
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post};
use crate::scripted::Script;
use crate::server::{Server, model};

/// vLLM's paths, base URLs without `/v1` and slashes at the end were all 404.
#[test]
fn paths_that_local_tools_try_are_there() {
    let server = Server::start(&[ANSWER]);
    let question = json!({"messages": [{"role": "user", "content": "hi"}]});
    for path in ["/chat/completions", "/v1/chat/completions/", "/chat/completions/"] {
        let answer = post(server.address, path, &question);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "It is 85, né.", "{path}");
    }
    let made = post(server.address, "/responses", &json!({"input": "hi"})).json();
    let path = format!("/responses/{}/", made["id"].as_str().unwrap());
    assert_eq!(get(server.address, &path).json()["id"], made["id"]);
    for path in ["/models", "/models/", "/v1/models/"] {
        assert_eq!(get(server.address, path).json()["data"][0]["id"], "scripted", "{path}");
    }
    assert_eq!(get(server.address, "/models/org/scripted").json()["id"], "org/scripted");
    let tokens = post(server.address, "/tokenize", &json!({"prompt": "two words"})).json();
    assert_eq!(tokens["count"], 2);
    let text = post(server.address, "/detokenize", &json!({"tokens": tokens["tokens"]})).json();
    assert_eq!(text["prompt"], "two words");
    let info = get(server.address, "/tokenizer_info").json();
    assert_eq!((&info["eos_token"], &info["pad_token"]), (&json!("<|return|>"), &json!("<|endoftext|>")));
    assert!(get(server.address, "/version").json()["version"].is_string());
    assert_eq!(
        (get(server.address, "/ping").status, post(server.address, "/ping", &json!({})).status),
        (200, 200)
    );
    for path in ["/nothing", "/v1/nothing", "/v1/v1/models", "//"] {
        assert_eq!(get(server.address, path).status, 404, "{path}");
    }
    let metrics = get(server.address, "/metrics").body;
    assert!(metrics.contains("route=\"/v1/chat/completions\",status=\"200\"} 3"), "{metrics}");
    server.logged(|line| line.contains("GET /v1/models 200"));
}

/// Some clients insist on names of OpenAI's; `*` was a model called `*`.
#[test]
fn an_alias_may_be_any_name() {
    let aliases = vec!["*".into(), "other".into()];
    let server = Server::of_model(ServedModel { aliases, ..model() }, Script::new(&[ANSWER]));
    for name in ["gpt-4.1", "scripted", "*"] {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "hi"}]});
        let answer = post(server.address, "/v1/chat/completions", &body);
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!(name)));
    }
    assert_eq!(get(server.address, "/v1/models/gpt-4.1").json()["id"], "gpt-4.1");
    let ids = |list: Value, field: &str| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|entry| entry[field].clone()).collect()
    };
    let listed = get(server.address, "/v1/models").json();
    assert_eq!(ids(listed["data"].clone(), "id"), ["scripted", "other"]);
    let listed = get(server.address, "/api/tags").json();
    assert_eq!(ids(listed["models"].clone(), "name"), ["scripted", "other"]);
}
