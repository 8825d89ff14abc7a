//! What comes in other servers' words: kept, refused or told by name, and never passed over.

use std::io::Read;
use std::time::Duration;

use gptoss_server::{Keys, Limits, LogFormat};
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post, request, send};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;

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

fn lines(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ollamas_raw_prompts_have_no_format() {
    let server = Server::start(&[" and so on, né<|return|>"]);
    let ask = json!({"prompt": "One", "raw": true, "options": {"mirostat": 1, "num_ctx": 9_999_999}});
    let streamed = lines(&post(server.address, "/api/generate", &ask).body);
    let text: String = streamed.iter().filter_map(|line| line["response"].as_str()).collect();
    assert_eq!(text, " and so on, né");
    let last = streamed.last().unwrap();
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")), "{last}");
    assert_eq!(last["prompt_eval_count"], 1, "{last}");
    for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(last[name].is_u64(), "{name}: {last}");
    }
    assert!(last["total_duration"].as_u64().unwrap() > 0, "{last}");
    let told = last["warnings"].as_array().unwrap();
    assert!(told.len() == 2 && told[0].as_str().unwrap().starts_with("num_ctx"), "{last}");
    let whole = post(server.address, "/api/generate", &with(ask, &json!({"stream": false}))).json();
    assert_eq!(whole["response"], " and so on, né");
}

#[test]
fn ollamas_api_refuses_in_its_own_form() {
    let server = Server::start(&[ANSWER]);
    let check = |path: &str, more: Value, status: u16, expect: &str| {
        let base = json!({"prompt": "hi", "messages": [{"role": "user", "content": "hi"}]});
        let answer = post(server.address, path, &with(base, &more));
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && error.contains(expect), "{path} {more}: {}", answer.body);
    };
    check("/api/generate", json!({"images": ["aGk="]}), 400, "images");
    check("/api/generate", json!({"suffix": "x"}), 400, "suffix");
    check("/api/generate", json!({"template": "{{ .Prompt }}"}), 400, "template");
    check("/api/generate", json!({"context": [1, 2]}), 400, "context");
    check("/api/generate", json!({"raw": true, "format": {"type": "object"}}), 400, "format");
    let images = json!({"messages": [{"role": "user", "content": "hi", "images": ["aGk="]}]});
    check("/api/chat", images, 400, "messages[0].images");
    check("/api/chat", json!({"think": 3}), 400, "think");
    check("/api/chat", json!({"format": "yaml"}), 400, "format");
    check("/api/embed", json!({}), 400, "embeddings");
    check("/api/create", json!({}), 400, "gptoss pull");
    check("/api/nothing", json!({}), 404, "/api/nothing");
    check("/api/tags", json!({}), 405, "/api/tags");
}

#[test]
fn ollamas_clients_see_what_is_loaded_and_what_was_likely() {
    let server = Server::start(&[ANSWER]);
    let loaded = get(server.address, "/api/ps").json();
    assert_eq!(loaded["models"][0]["name"], "scripted");
    assert_eq!(loaded["models"][0]["details"]["parameter_size"], "20.9B");
    assert!(loaded["models"][0]["expires_at"].as_str().unwrap() > "2100", "{loaded}");
    let ask = json!({"messages": [{"role": "user", "content": "hi"}], "logprobs": true, "top_logprobs": 2,
        "think": "low", "keep_alive": "5m", "stream": false});
    let body = post(server.address, "/api/chat", &ask).json();
    let tokens = body["logprobs"].as_array().unwrap();
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), "It is 85, né.", "{body}");
    assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert!(body.get("warnings").is_none(), "{body}");
}

#[test]
fn lines_of_log_say_who_asked_and_what_it_took() {
    let keys = Keys::parse("sk-0123456789abcdef name=ann\n").unwrap();
    let change = |app: gptoss_server::App| app.with_log_format(LogFormat::Json);
    let server = Server::changed(change, Script::new(&[ANSWER]), Limits::default(), keys);
    let key = [("authorization", "Bearer sk-0123456789abcdef"), ("x-request-id", "mine-1")];
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    request(server.address, "POST", "/v1/chat/completions", &key, &body);
    request(server.address, "GET", "/v1/embeddings/canary?canary=1", &key, "");
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let logged = |status: u16| {
        let log = server.logged(|line| read(line)["status"] == status);
        log.lines().map(read).find(|line| line["status"] == status).unwrap()
    };
    let line = logged(200);
    for (name, expect) in [
        ("path", json!("/v1/chat/completions")),
        ("tenant", json!("ann")),
        ("model", json!("scripted")),
        ("request_id", json!("mine-1")),
        ("cached_tokens", json!(0)),
        ("client_gone", json!(false)),
    ] {
        assert_eq!(line[name], expect, "{line}");
    }
    assert!(
        line["prompt_tokens"].as_u64() > Some(10) && line["completion_tokens"].as_u64() > Some(5),
        "{line}"
    );
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
    assert_eq!(logged(404)["path"], "/v1/embeddings/*");
}

/// A request whose client went away before there was an answer left no line at all.
#[test]
fn clients_that_go_away_are_logged() {
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_secs(1);
    let server = Server::with(script, Limits::default(), Keys::default());
    for (turns, (stream, status)) in [(false, "499"), (true, "200")].into_iter().enumerate() {
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream}).to_string();
        let mut connection = send(server.address, "POST", "/v1/chat/completions", &[], &body);
        eventually("the turn begins", || server.prompts.lock().unwrap().len() > turns);
        if stream {
            // Its head has come.
            connection.read_exact(&mut [0]).unwrap();
        }
        drop(connection);
        let line = format!("completions {status} ");
        server.logged(|logged| logged.contains(&line) && logged.ends_with("client gone"));
    }
}

#[test]
fn routers_read_how_full_the_server_is() {
    let server = Server::start(&[ANSWER]);
    post(server.address, "/v1/chat/completions", &question());
    let loads = get(server.address, "/v1/loads").json();
    assert_eq!((&loads["dp_rank_count"], &loads["loads"][0]["num_waiting_reqs"]), (&json!(1), &json!(0)));
    assert!(loads["loads"][0]["memory"].is_object() && loads["loads"][0]["queues"].is_object(), "{loads}");
    let core = get(server.address, "/v1/loads?include=core,queues").json();
    assert!(core["loads"][0].get("memory").is_none() && core["loads"][0]["queues"].is_object(), "{core}");
    let metrics = get(server.address, "/metrics").body;
    for line in [
        "vllm:request_success_total{engine=\"0\",model_name=\"scripted\",finished_reason=\"stop\"} 1",
        "vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"scripted\"} 1",
        "vllm:e2e_request_latency_seconds_bucket{engine=\"0\",model_name=\"scripted\",le=\"1800\"} 1",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
}
