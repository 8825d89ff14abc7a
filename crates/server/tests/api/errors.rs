//! What is wrong is said in the documented form, by name, and nothing that a client wrote stands in a log.

use std::time::Duration;

use gptoss_server::{Keys, Limits};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post, request};
use crate::scripted::{EXHAUSTED, FAILS, NOT_FINITE, Script};
use crate::server::Server;

fn check(server: &Server, path: &str, body: &Value, status: u16, code: &str, param: Option<&str>) {
    let answer = post(server.address, path, body);
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{body}: {error}");
    assert_eq!(error["param"].as_str(), param, "{body}: {error}");
    assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
}

#[test]
fn wrong_requests_are_refused_by_name() {
    let server = Server::start(&[ANSWER]);
    let chat = |more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let refused = |more: Value, code: &str, param: &str| {
        check(&server, "/v1/chat/completions", &chat(more), 400, code, Some(param));
    };
    refused(json!({"temperature": 3}), "invalid_value", "temperature");
    refused(json!({"temperature": "hot"}), "invalid_value", "temperature");
    refused(json!({"n": 100}), "invalid_value", "n");
    refused(json!({"messages": []}), "invalid_value", "messages");
    refused(json!({"messages": [{"role": "king"}]}), "invalid_value", "messages[0].role");
    refused(json!({"audio": {"voice": "x"}}), "unsupported_parameter", "audio");
    let f = json!([{"name": "f"}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    refused(json!({"functions": f, "tools": tools}), "invalid_value", "functions");
    refused(json!({"function_call": "auto", "tools": tools}), "invalid_value", "function_call");
    refused(json!({"functions": f, "tool_choice": "auto"}), "invalid_value", "functions");
    refused(json!({"functions": f, "function_call": {"name": "g"}}), "invalid_value", "function_call");
    refused(json!({"functions": f, "function_call": "required"}), "invalid_value", "function_call");
    refused(json!({"function_call": {"name": "g"}}), "invalid_value", "function_call");
    refused(json!({"functions": [{"name": "a b"}]}), "invalid_value", "functions[0].name");
    refused(json!({"functions": [{"name": "f"}, {"name": "f"}]}), "invalid_value", "functions");
    refused(json!({"messages": [{"role": "function", "content": "1"}]}), "invalid_value", "messages[0].name");
    refused(json!({"logit_bias": {"9999999": 1}}), "invalid_value", "logit_bias");
    refused(json!({"max_tokens": 0}), "invalid_value", "max_tokens");
    refused(json!({"response_format": {"type": "xml"}}), "invalid_value", "response_format.type");
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]});
    refused(image, "unsupported_parameter", "messages[0].content[0].type");
    let orphan = json!({"messages": [{"role": "tool", "tool_call_id": "call_x", "content": "1"}]});
    refused(orphan, "invalid_value", "messages[0].tool_call_id");
    check(
        &server,
        "/v1/chat/completions",
        &chat(json!({"model": "gpt-9"})),
        404,
        "model_not_found",
        Some("model"),
    );
    check(&server, "/v1/responses", &json!({}), 400, "missing_required_parameter", Some("input"));
    check(&server, "/v1/responses", &json!({"input": [3]}), 400, "invalid_value", Some("input[0]"));
    check(
        &server,
        "/v1/responses",
        &json!({"input": "a", "prompt": {"id": "x"}}),
        404,
        "not_found",
        Some("prompt.id"),
    );
    check(
        &server,
        "/v1/responses",
        &json!({"input": "a", "previous_response_id": "resp_x"}),
        400,
        "previous_response_not_found",
        Some("previous_response_id"),
    );
    check(&server, "/v1/nothing", &json!({}), 404, "unknown_url", None);
    let long = "word ".repeat(70_000);
    let long = json!({"messages": [{"role": "user", "content": long}]});
    check(&server, "/v1/chat/completions", &long, 400, "context_length_exceeded", None);
    let wrong_method = request(server.address, "PUT", "/v1/models", &[], "");
    assert_eq!(
        (wrong_method.status, wrong_method.json()["error"]["code"].as_str()),
        (405, Some("method_not_allowed"))
    );
    let known = post(server.address, "/v1/chat/completions", &chat(json!({"model": "gpt-9"}))).json();
    assert!(known["error"]["message"].as_str().unwrap().contains("scripted, org/scripted"), "{known}");
}

/// A grammar of the client's that no token may go on with, found when the answer had begun, was a 500, and
/// SDKs tried it again and again.
#[test]
fn a_grammar_that_leads_nowhere_is_the_clients() {
    let server = Server::start(&[EXHAUSTED]);
    let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
    let (responses, text) = (json!({"input": "hi"}), json!({"prompt": "hi"}));
    for (path, mut body) in
        [("/v1/chat/completions", chat), ("/v1/responses", responses), ("/v1/completions", text)]
    {
        check(&server, path, &body, 400, "invalid_value", None);
        body["stream"] = json!(true);
        let streamed = post(server.address, path, &body);
        assert!(streamed.body.contains("invalid_value"), "{path}: {}", streamed.body);
        assert!(!streamed.body.contains("server_error"), "{path}: {}", streamed.body);
    }
}

/// With damaged weights every request failed, and `/ready` went on calling for more.
#[test]
fn a_model_that_only_fails_is_not_ready() {
    let server =
        Server::start(&[NOT_FINITE, NOT_FINITE, FAILS, ANSWER, NOT_FINITE, FAILS, NOT_FINITE, NOT_FINITE]);
    let ready = || get(server.address, "/ready");
    let ways = [("/v1/responses", json!({"input": "hi"})), ("/v1/completions", json!({"prompt": "hi"}))];
    for (number, (path, body)) in ways.iter().cycle().take(8).enumerate() {
        assert_eq!(ready().status, 200, "before request {number}");
        let expect = if number == 3 { 200 } else { 500 };
        assert_eq!(post(server.address, path, body).status, expect, "request {number}");
    }
    assert_eq!((ready().status, &ready().json()["status"]), (503, &json!("failing")));
    assert_eq!(get(server.address, "/health").status, 200);
}

#[test]
fn bodies_have_a_length() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2000)}]});
    check(&server, "/v1/chat/completions", &long, 413, "request_too_large", None);
}

#[test]
fn every_route_but_health_asks_for_the_key() {
    let keys =
        Keys::parse("sk-0123456789abcdef name=app reasoning=hidden\nsk-fedcba9876543210 name=other").unwrap();
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), keys);
    let paths =
        ["/v1/models", "/metrics", "/openapi.json", "/api/tags", "/v1/responses/resp_x", "/v1/nothing"];
    for path in paths {
        let answer = get(server.address, path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        match path {
            // Ollama's clients read a text.
            "/api/tags" => assert!(answer.json()["error"].as_str().unwrap().contains("API key")),
            _ => assert_eq!(answer.json()["error"]["code"], "invalid_api_key"),
        }
    }
    assert_eq!((get(server.address, "/health").status, get(server.address, "/ready").status), (200, 200));
    let key = [("authorization", "Bearer sk-0123456789abcdef")];
    let body = json!({"input": "hi"}).to_string();
    let made = request(server.address, "POST", "/v1/responses", &key, &body).json();
    assert_eq!(made["output"][0]["content"], json!([]), "this key does not see reasoning");
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(request(server.address, "GET", &path, &key, "").status, 200);
    let other = [("authorization", "Bearer sk-fedcba9876543210")];
    assert_eq!(request(server.address, "GET", &path, &other, "").status, 404, "another tenant's");
}

#[test]
fn requests_have_ids_and_logs_have_no_words() {
    let server = Server::start(&[ANSWER]);
    let canary = "canary-7f3a";
    let body = json!({"model": canary, "messages": [{"role": "user", "content": canary}]}).to_string();
    let answer =
        request(server.address, "POST", "/v1/chat/completions", &[("x-request-id", "mine-1")], &body);
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    request(server.address, "POST", &format!("/v1/{canary}"), &[("x-request-id", "bad id\u{e9}")], &body);
    request(server.address, "POST", "/v1/responses", &[], &format!("{{\"input\": \"{canary}\", "));
    post(server.address, "/v1/responses", &json!({"input": canary}));
    let log = server.logged(|line| line.contains("POST /v1/responses 200"));
    assert!(log.contains("POST /v1/chat/completions 404") && log.contains("mine-1"), "{log}");
    assert!(!log.contains(canary) && !log.contains("bad id"), "{log}");
    let metrics = get(server.address, "/metrics").body;
    assert!(
        metrics.contains("gptoss_http_responses_total{route=\"/v1/responses\",status=\"200\"} 1"),
        "{metrics}"
    );
    assert!(!metrics.contains(canary));
}

/// What serde_json said of a stored row quoted it, and went to the log with the name of the folder.
#[test]
fn rows_that_cannot_be_read_are_not_quoted_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::in_folder(Some(folder.path()), Script::new(&[ANSWER]), Limits::default(), Keys::default());
    let made = post(server.address, "/v1/responses", &json!({"input": "hi"})).json();
    let spoiled = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    spoiled.busy_timeout(Duration::from_secs(10)).unwrap();
    spoiled.execute(r#"UPDATE rows SET sum = NULL, entries = '"canary-7f3a"'"#, []).unwrap();
    let answer = get(server.address, &format!("/v1/responses/{}", made["id"].as_str().unwrap()));
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (500, Some("server_error")));
    let log = server.logged(|line| line.contains("the state database: a value"));
    let place = folder.path().display().to_string();
    assert!(log.contains(&place) && !log.contains("canary-7f3a"), "{log}");
    assert!(!answer.body.contains("canary-7f3a"), "{}", answer.body);
}
