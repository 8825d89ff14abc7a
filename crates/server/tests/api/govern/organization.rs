//! What administrators read, in OpenAI's words.

use serde_json::{Value, json};

use super::{admin, ask, audit, key, ruled, see};
use crate::chat::ANSWER;
use crate::http::{get, request};
use crate::scripted::Script;
use crate::server::Server;

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn read(server: &Server, path: &str) -> Value {
    let answer = see(server.address, "admin", path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

#[test]
fn usage_and_costs_are_what_clients_were_told() {
    let prices = "[prices.scripted]\ninput = 2.0\noutput = 10.0\n";
    let rules = prices.to_owned() + &key("one", "") + &key("two", "") + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let usage = ask(server.address, "one", "/v1/chat/completions", &body).json()["usage"].clone();
    ask(server.address, "two", "/v1/chat/completions", &body);
    let start = now() - 3600;
    let path = format!(
        "/v1/organization/usage/completions?start_time={start}&bucket_width=1h&group_by[]=project_id&group_by[]=model"
    );
    let page = read(&server, &path);
    assert_eq!((&page["object"], &page["has_more"]), (&json!("page"), &json!(false)));
    let buckets = page["data"].as_array().unwrap();
    assert!(buckets.iter().all(|bucket| bucket["object"] == "bucket"));
    let results: Vec<&Value> =
        buckets.iter().flat_map(|bucket| bucket["results"].as_array().unwrap()).collect();
    assert_eq!(results.len(), 2, "{page}");
    let one = results.iter().find(|result| result["project_id"] == "one").unwrap();
    assert_eq!(
        (&one["input_tokens"], &one["output_tokens"], &one["num_model_requests"], &one["model"]),
        (&usage["prompt_tokens"], &usage["completion_tokens"], &json!(1), &json!("scripted"))
    );
    assert_eq!(one["object"], "organization.usage.completions.result");
    let costs = read(&server, &format!("/v1/organization/costs?start_time={start}&group_by[]=project_id"));
    let mut results =
        costs["data"].as_array().unwrap().iter().flat_map(|bucket| bucket["results"].as_array().unwrap());
    let cost = results.rfind(|result| result["project_id"] == "one").unwrap();
    let count = |field: &str| usage[field].as_u64().unwrap();
    let expect = count("prompt_tokens") * 2 + count("completion_tokens") * 10;
    assert_eq!(cost["amount"], json!({"value": expect as f64 / 1e6, "currency": "usd"}), "{cost}");
    for (query, param) in [
        ("", "start_time"),
        ("?start_time=x", "start_time"),
        ("?start_time=1&limit=0", "limit"),
        ("?start_time=1&group_by=moon", "group_by"),
        ("?start_time=1&bucket_width=2d", "bucket_width"),
    ] {
        let answer = see(server.address, "admin", &format!("/v1/organization/usage/completions{query}"));
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{query}");
    }
}

#[test]
fn the_audit_names_who_what_and_why() {
    let server = ruled(&(key("one", "") + &admin()), Script::new(&[ANSWER]));
    let body = json!({"model": "scripted", "messages": [{"role": "user", "content": "hi"}]});
    let bearer = format!("Bearer {}", super::secret("one"));
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "mine-7")];
    let answer = request(server.address, "POST", "/v1/chat/completions", &headers, &body.to_string());
    assert_eq!(answer.status, 200);
    assert_eq!(get(server.address, "/v1/models").status, 401);
    let logs = audit(server.address);
    let kinds: Vec<&str> = logs.iter().map(|log| log["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["server.started", "rules.loaded", "request", "login.failed"], "{logs:?}");
    let log = &logs[2];
    assert_eq!((&log["actor"]["api_key"]["id"], &log["project"]["id"]), (&json!("one"), &json!("one")));
    let entry = &log["request"];
    assert_eq!(entry["request_id"], "mine-7");
    assert_eq!(entry["route"], "POST /v1/chat/completions > local");
    assert_eq!(
        (&entry["model"], &entry["decision"], &entry["status"]),
        (&json!("scripted"), &json!("allowed"), &json!(200))
    );
    assert_eq!(entry["rules"].as_str().unwrap().len(), 12);
    let usage = answer.json()["usage"].clone();
    assert_eq!(
        (&entry["input_tokens"], &entry["output_tokens"]),
        (&usage["prompt_tokens"], &usage["completion_tokens"])
    );
    assert_eq!(log["x_chain"].as_str().unwrap().len(), 64);
    let only = read(&server, "/v1/organization/audit_logs?event_types[]=request&actor_ids[]=one&limit=1");
    assert_eq!((&only["data"][0], &only["has_more"]), (log, &json!(false)));
    let none = read(&server, "/v1/organization/audit_logs?event_types[]=invite.sent");
    assert_eq!(none["data"], json!([]));
    let before = read(&server, &format!("/v1/organization/audit_logs?after={}", log["id"].as_str().unwrap()));
    assert_eq!(before["data"].as_array().unwrap().len(), 2, "{before}");
}

#[test]
fn keys_and_rates_are_read_and_not_changed() {
    let more = "rpm_limit = 7\nexpires_at = 2100-01-01T00:00:00Z\ncreated_at = 2026-01-01T00:00:00Z";
    let server = ruled(&(key("one", more) + &admin()), Script::new(&[ANSWER]));
    let listed = read(&server, "/v1/organization/admin_api_keys");
    let found = &listed["data"][0];
    assert_eq!((&found["id"], &found["name"]), (&json!("one"), &json!("one")), "{listed}");
    assert_eq!(found["object"], "organization.admin_api_key");
    assert_eq!(
        (&found["expires_at"], &found["created_at"]),
        (&json!(4_102_444_800u64), &json!(1_767_225_600))
    );
    assert_eq!(found["last_used_at"], Value::Null);
    assert!(!listed.to_string().contains("sha256") && !listed.to_string().contains("secret-"), "{listed}");
    assert_eq!(see(server.address, "one", "/v1/models").status, 200);
    let one = read(&server, "/v1/organization/admin_api_keys/one");
    assert!(one["last_used_at"].as_u64().unwrap() >= now() - 60, "{one}");
    assert_eq!(see(server.address, "admin", "/v1/organization/admin_api_keys/none").status, 404);
    let made = ask(server.address, "admin", "/v1/organization/admin_api_keys", &json!({"name": "x"}));
    assert_eq!(made.status, 400);
    assert!(made.body.contains("gptoss key new"), "{}", made.body);
    let rates = read(&server, "/v1/organization/projects/one/rate_limits");
    assert_eq!(rates["data"][0]["max_requests_per_1_minute"], 7, "{rates}");
}

/// Without rules there is nothing to be read, and that is said.
#[test]
fn a_server_without_rules_has_no_organization() {
    let server = Server::start(&[ANSWER]);
    let answer = get(server.address, "/v1/organization/usage/completions?start_time=1");
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("--govern"), "{}", answer.body);
}
