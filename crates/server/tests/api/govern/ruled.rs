//! What rules refuse, what they narrow, and what they only write down.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gptoss_harmony::Vocab;
use gptoss_server::App;
use serde_json::{Value, json};

use super::{admin, ask, changed, entries, governance, key, ruled};
use crate::chat::ANSWER;
use crate::scripted::Script;
use crate::server::Server;
use crate::tool_host::TestHost;

fn chat(more: &Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// What the model read last.
fn last_prompt(server: &Server) -> String {
    let prompts = server.prompts.lock().unwrap();
    let bytes = Vocab::o200k_harmony().decode(prompts.last().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_a_request_leaves_open_is_narrowed() {
    let policy = "[policies.user]\neffort_max = \"low\"\nreasoning = \"hidden\"\nmax_output_tokens = 8\n";
    let rules = policy.to_owned() + &key("one", "policy = \"user\"") + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let answer = ask(server.address, "one", "/v1/chat/completions", &chat(&json!({})));
    let choice = answer.json()["choices"][0].clone();
    assert_eq!((answer.status, &choice["finish_reason"]), (200, &json!("length")), "{choice}");
    assert!(last_prompt(&server).contains("Reasoning: low"), "{}", last_prompt(&server));
    assert!(!answer.body.contains("tens"), "{}", answer.body);
    let response = ask(server.address, "one", "/v1/responses", &json!({"input": "hi"})).json();
    assert_eq!(response["status"], "incomplete", "{response}");
    let message = json!({"max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(ask(server.address, "one", "/v1/messages", &message).status, 200);
    assert!(last_prompt(&server).contains("Reasoning: low"));
    let ollama =
        json!({"model": "scripted", "stream": false, "messages": [{"role": "user", "content": "hi"}]});
    let answer = ask(server.address, "one", "/api/chat", &ollama);
    assert_eq!(answer.json()["eval_count"], 8, "{}", answer.body);
    let text = ask(server.address, "one", "/v1/completions", &json!({"prompt": "hi", "max_tokens": 8}));
    assert_eq!(text.status, 200, "{}", text.body);
}

#[test]
fn what_a_request_asks_and_may_not_is_refused_with_the_rule() {
    let policy = "[policies.user]\neffort_max = \"low\"\ntools = []\nmax_output_tokens = 8\n\
                  models = [\"scripted\"]\n[policies.none]\nmodels = [\"other\"]\n";
    let rules =
        policy.to_owned() + &key("one", "policy = \"user\"") + &key("two", "policy = \"none\"") + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let check = |name: &str, path: &str, body: &Value, expect: &str| {
        let answer = ask(server.address, name, path, body);
        assert_eq!(answer.status, 403, "{body}: {}", answer.body);
        assert!(answer.body.contains(expect), "{expect}: {}", answer.body);
        let entry = entries(server.address, path).pop().unwrap();
        assert_eq!((&entry["decision"], &entry["status"]), (&json!("refused"), &json!(403)), "{entry}");
        assert!(entry["reason"].as_str().unwrap().contains("the policy"), "{entry}");
    };
    let path = "/v1/chat/completions";
    check("one", path, &chat(&json!({"reasoning_effort": "high"})), "effort_max");
    check("one", path, &chat(&json!({"max_tokens": 9})), "max_output_tokens");
    let tool = json!({"type": "function", "function": {"name": "look_for_canary"}});
    check("one", path, &chat(&json!({"tools": [tool]})), "tools");
    let entry = entries(server.address, path).pop().unwrap();
    assert!(!entry.to_string().contains("canary"), "a function's name is its client's: {entry}");
    check("two", path, &chat(&json!({})), "models");
    check("two", "/v1/responses", &json!({"input": "hi"}), "models");
    check("two", "/v1/completions", &json!({"prompt": "hi"}), "models");
    let message = json!({"max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]});
    check("two", "/v1/messages", &message, "permission_error");
    assert!(server.prompts.lock().unwrap().is_empty(), "nothing reached the model");
}

/// A policy in shadow mode decides and is written down, and nothing follows.
#[test]
fn a_policy_in_shadow_mode_only_says_what_it_would_do() {
    let policy = "[policies.user]\nmode = \"shadow\"\nmax_output_tokens = 8\nreasoning = \"hidden\"\n";
    let rules = policy.to_owned()
        + &key("one", "policy = \"user\"\nscopes = [\"infer\", \"raw_reasoning\"]")
        + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let answer = ask(server.address, "one", "/v1/chat/completions", &chat(&json!({"max_tokens": 100})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("85") && answer.body.contains("tens"), "{}", answer.body);
    let entry = entries(server.address, "/v1/chat/completions").pop().unwrap();
    assert_eq!(entry["decision"], "shadowed", "{entry}");
    assert!(entry["reason"].as_str().unwrap().contains("max_output_tokens"), "{entry}");
}

/// What runs here needs a scope, and then a rule that lets it; a search that could open any page none that
/// lists hosts. No server is asked for whoever may not call it.
#[test]
fn tools_of_the_server_are_asked_for_by_scope_and_by_rule() {
    let policies = "[policies.search]\ntools = [\"browser\"]\n[policies.listed]\nhosts = [\"a.example\"]\n";
    let tools = "scopes = [\"infer\", \"tools\"]";
    let rules = policies.to_owned()
        + &key("none", "")
        + &key("all", tools)
        + &key("search", &format!("{tools}\npolicy = \"search\""))
        + &key("listed", &format!("{tools}\npolicy = \"listed\""))
        + &admin();
    let host = TestHost::default();
    let num_calls = Arc::clone(&host.num_calls);
    let change = |app: App| app.with_tools(Arc::new(host));
    let server = changed(&governance(None, &rules), change, Script::new(&[ANSWER]));
    let search = json!({"type": "web_search"});
    let python = json!({"type": "code_interpreter", "container": "mine"});
    let wiki = json!({"type": "mcp", "server_label": "wiki", "require_approval": "never"});
    let check = |name: &str, tool: &Value, expect: Option<&str>| {
        let answer = ask(server.address, name, "/v1/responses", &json!({"input": "hi", "tools": [tool]}));
        match expect {
            None => assert_eq!(answer.status, 200, "{name} {tool}: {}", answer.body),
            Some(code) => {
                let found = answer.json()["error"]["code"].clone();
                assert_eq!((answer.status, &found), (403, &json!(code)), "{name} {tool}");
            }
        }
    };
    for tool in [&search, &python, &wiki] {
        check("none", tool, Some("permission_denied"));
        check("all", tool, None);
    }
    check("search", &search, None);
    check("search", &python, Some("refused_by_rules"));
    check("search", &wiki, Some("refused_by_rules"));
    check("listed", &search, Some("refused_by_rules"));
    check("listed", &python, None);
    assert_eq!(num_calls.load(Ordering::Relaxed), 0, "nothing was called");
}
