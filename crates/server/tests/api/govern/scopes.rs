//! Every route times every scope, walked from the table that the router is made of.

use gptoss_govern::Scope;
use gptoss_server::{DeclaredRoute, Keys, Limits, declared_routes};
use serde_json::json;

use super::{admin, ask, key, ruled, secret};
use crate::chat::ANSWER;
use crate::http::{Answer, request};
use crate::scripted::Script;
use crate::server::Server;

/// A path that means nothing that is there.
fn filled(route: &DeclaredRoute) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "nothing" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn send(server: &Server, route: &DeclaredRoute, key: Option<&str>) -> Answer {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|key| ("authorization", key.as_str())).collect();
    let body = if route.method == "POST" { "{}" } else { "" };
    request(server.address, route.method.as_str(), &filled(route), &headers, body)
}

/// What an answer says to programs, whatever the dialect.
fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let error = &body["error"];
    error["code"].as_str().or(error["type"].as_str()).or(error.as_str()).unwrap_or_default().to_owned()
}

#[test]
fn every_route_asks_for_the_scope_that_it_declares() {
    let keys: String = Scope::ALL
        .iter()
        .map(|scope| {
            key(scope.name().replace('_', "-").as_str(), &format!("scopes = [\"{}\"]", scope.name()))
        })
        .collect();
    let expired = key("old", "scopes = [\"infer\"]\nexpires_at = 2020-01-01T00:00:00Z");
    let server = ruled(&(keys + &expired), Script::new(&[ANSWER]));
    let routes = declared_routes();
    assert!(routes.len() > 70, "{}", routes.len());
    for route in &routes {
        let place = format!("{} {}", route.method, route.path);
        let declared = Scope::from_name(route.need);
        for stranger in [None, Some("sk-gptoss-nobody"), Some("secret-old")] {
            let answer = send(&server, route, stranger);
            match route.need {
                "nothing" => {
                    assert!(answer.status < 400 || answer.status == 404, "{place}: {}", answer.status)
                }
                _ => assert_eq!(answer.status, 401, "{place} {stranger:?}: {}", answer.body),
            }
        }
        for scope in Scope::ALL {
            let answer = send(&server, route, Some(&secret(&scope.name().replace('_', "-"))));
            let is_met = declared.is_none_or(|declared| declared == scope);
            assert_ne!(answer.status, 401, "{place} {}", scope.name());
            assert_eq!(answer.status == 403, !is_met, "{place} {}: {}", scope.name(), answer.body);
            if !is_met && !route.path.starts_with("/api/") {
                let expect = if route.path.starts_with("/v1/messages") {
                    "permission_error"
                } else {
                    "permission_denied"
                };
                assert_eq!(code(&answer), expect, "{place}: {}", answer.body);
            }
        }
    }
}

/// A request is counted before its body is read, by every route that does something for a scope.
#[test]
fn every_route_that_does_something_is_counted() {
    let scopes: Vec<String> = Scope::ALL.iter().map(|scope| format!("{:?}", scope.name())).collect();
    let all = format!("scopes = [{}]\nrpm_limit = 1", scopes.join(", "));
    let server = ruled(&key("one", &all), Script::new(&[ANSWER]));
    assert_eq!(ask(server.address, "one", "/v1/tokenize", &json!({"prompt": "hi"})).status, 200);
    for route in declared_routes() {
        let answer = send(&server, &route, Some(&secret("one")));
        let is_counted = route.method == "POST" && Scope::from_name(route.need).is_some();
        let place = format!("{} {}", route.method, route.path);
        assert_eq!(answer.status == 429, is_counted, "{place}: {} {}", answer.status, answer.body);
        if !is_counted {
            continue;
        }
        let millis: u64 = answer.header("retry-after-ms").unwrap().parse().unwrap();
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(millis > 0 && seconds == millis.div_ceil(1000), "{place}: {millis} {seconds}");
        assert_eq!(answer.header("x-should-retry"), None, "{place}");
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("1"), "{place}");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"), "{place}");
        assert!(answer.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
        let is_anthropic = route.path.starts_with("/v1/messages");
        assert_eq!(answer.header("anthropic-ratelimit-requests-limit").is_some(), is_anthropic, "{place}");
        match route.path.starts_with("/api/") {
            true => assert!(answer.body.contains("rate of this key"), "{place}: {}", answer.body),
            false if is_anthropic => assert_eq!(code(&answer), "rate_limit_error", "{place}"),
            false => assert_eq!(code(&answer), "rate_limit_exceeded", "{place}"),
        }
    }
}

/// Keys of the simple file do what they did, and no more than their line says.
#[test]
fn a_key_of_the_simple_file_has_all_scopes_but_admin_unless_its_line_says_which() {
    let keys = "secret-all-0123456789 name=all\n\
                secret-seen-0123456789 name=seen scopes=metrics\n\
                secret-told-0123456789 name=told reasoning=hidden";
    let keys = Keys::parse(keys).unwrap();
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), keys);
    for route in declared_routes() {
        let place = format!("{} {}", route.method, route.path);
        for (name, may) in [
            ("all", !matches!(route.need, "admin")),
            ("seen", matches!(route.need, "metrics" | "key" | "nothing")),
            ("told", !matches!(route.need, "admin" | "raw_reasoning")),
        ] {
            let answer = send(&server, &route, Some(&format!("secret-{name}-0123456789")));
            assert_eq!(answer.status != 403, may, "{place} {name}: {}", answer.body);
        }
    }
}

#[test]
fn tenants_of_rules_see_nothing_of_each_other() {
    let server = ruled(&(key("one", "") + &key("other", "") + &admin()), Script::new(&[ANSWER]));
    let made = ask(server.address, "one", "/v1/responses", &json!({"input": "hi"})).json();
    let conversation = ask(server.address, "one", "/v1/conversations", &json!({})).json();
    for (kind, made) in [("responses", &made), ("conversations", &conversation)] {
        let path = format!("/v1/{kind}/{}", made["id"].as_str().unwrap());
        assert_eq!(super::see(server.address, "one", &path).status, 200, "{kind}");
        assert_eq!(super::see(server.address, "other", &path).status, 404, "{kind}");
        assert_eq!(super::see(server.address, "admin", &path).status, 403, "{kind}");
    }
    let going_on = json!({"input": "and?", "previous_response_id": made["id"]});
    assert_eq!(ask(server.address, "other", "/v1/responses", &going_on).status, 400);
    let into = json!({"input": "and?", "conversation": conversation["id"]});
    assert_eq!(ask(server.address, "other", "/v1/responses", &into).status, 404);
    let listed = super::see(server.address, "other", "/v1/files").json();
    assert_eq!(listed["data"], json!([]));
}
