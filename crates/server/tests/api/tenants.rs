//! One tenant's things, asked for by another: on every route that takes an id, taken from what the server
//! says of itself, which a test of its own holds against the router.

use std::sync::Arc;

use gptoss_server::{App, Keys, Limits};
use serde_json::{Value, json};

use crate::files::{form, post_form};
use crate::http::{Answer, request};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;
use crate::tool_host::{PLOTS, TestHost};
use crate::tools::call;
use crate::trainer::Trainer;

const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b";
const A: (&str, &str) = ("authorization", "Bearer sk-0123456789abcdef");
const B: (&str, &str) = ("authorization", "Bearer sk-fedcba9876543210");
/// An id that is nobody's.
const NOBODY: &str = "nobodys_0123456789";

/// The ids of a tenant's things.
struct Things {
    response: String,
    conversation: String,
    item: String,
    file: String,
    container: String,
    made: String,
    batch: String,
    job: String,
    model: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Things {
    /// One of each, made by tenant A.
    fn make(server: &Server) -> Things {
        let ask = |method: &str, path: &str, body: Value| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let answer = request(server.address, method, path, &[A], &body);
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
            answer.json()
        };
        let upload = |purpose: &str, content: &str| {
            let head = format!("{}: {}\r\n", A.0, A.1);
            text(
                &post_form(server.address, &head, &form(&[("purpose", purpose)], Some(content))).json()["id"],
            )
        };
        // The script's first turn runs code that makes a file.
        let tools = json!([{"type": "code_interpreter", "container": "a_container_of_a"}]);
        let made =
            ask("POST", "/v1/responses", json!({"model": "scripted", "input": "Draw.", "tools": tools}));
        let citation = &made["output"].as_array().unwrap().last().unwrap()["content"][0]["annotations"][0];
        let items = json!([{"role": "user", "content": "hi"}]);
        let conversation = text(&ask("POST", "/v1/conversations", json!({"items": items}))["id"]);
        let path = format!("/v1/conversations/{conversation}/items");
        let line = json!({"custom_id": "1", "method": "POST", "url": "/v1/responses",
            "body": {"model": "scripted", "input": "hi"}});
        let file = upload("batch", &line.to_string());
        let batch = json!({"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"});
        let rows: String =
            (0..9).map(|n| format!("{}\n", json!({"messages": [{"role": "user", "content": n}]}))).collect();
        let job = json!({"model": "scripted", "training_file": upload("fine-tune", &rows)});
        let job = text(&ask("POST", "/v1/fine_tuning/jobs", job)["id"]);
        let trained = || ask("GET", &format!("/v1/fine_tuning/jobs/{job}"), Value::Null);
        eventually("a tuned model", || trained()["status"] == "succeeded");
        Things {
            response: text(&made["id"]),
            item: text(&ask("GET", &path, Value::Null)["data"][0]["id"]),
            conversation,
            container: text(&citation["container_id"]),
            made: text(&citation["file_id"]),
            batch: text(&ask("POST", "/v1/batches", batch)["id"]),
            file,
            model: text(&trained()["fine_tuned_model"]),
            job,
        }
    }

    /// The path of a route, with the ids of these things; those of nobody where `ids` are others.
    fn path(&self, route: &str, is_theirs: bool) -> String {
        let (family, rest) = route.strip_prefix("/v1/").unwrap().split_once('/').unwrap();
        let ids: Vec<&str> = match family {
            "responses" => vec![&self.response],
            "conversations" => vec![&self.conversation, &self.item],
            "files" => vec![&self.file],
            "containers" => vec![&self.container, &self.made],
            "batches" => vec![&self.batch],
            "fine_tuning" => vec![&self.job],
            // The name of a tuned model has no organization.
            "models" => vec![&self.model, &self.model],
            other => panic!("whose are the ids of /v1/{other}/{rest}? Say it here."),
        };
        let mut ids = ids.into_iter();
        let part = |part: &str| match part.starts_with('{') {
            true => if is_theirs { ids.next().unwrap_or(NOBODY) } else { NOBODY }.to_owned(),
            false => part.to_owned(),
        };
        let path: Vec<String> = route.split('/').map(part).collect();
        path.join("/")
    }
}

/// What a route is asked with.
fn body(route: &str, method: &str) -> String {
    match (method, route.rsplit('/').next()) {
        ("POST", Some("items")) => json!({"items": [{"role": "user", "content": "hi"}]}).to_string(),
        ("POST", _) => json!({"metadata": {}}).to_string(),
        _ => String::new(),
    }
}

/// What an answer says, whatever the id was that it was asked for.
fn said(answer: &Answer, path: &str) -> (u16, String) {
    let mut body = answer.body.clone();
    for part in path.split('/').filter(|part| part.len() > 12) {
        body = body.replace(part, "ID");
    }
    (answer.status, body)
}

/// A server with everything that gives ids, and the folder of its trainings.
fn served() -> (tempfile::TempDir, Server) {
    let answer = "<|channel|>final<|message|>See [it](sandbox:/mnt/data/plot.png).<|return|>";
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(99));
    let tuning = folder.path().join("tuning");
    let change = |app: App| {
        app.with_tools(Arc::new(TestHost::default()))
            .with_training(Arc::new(trainer.clone()), &tuning)
            .unwrap()
    };
    let script = Script::new(&[&call("python", PLOTS), answer]);
    let server = Server::changed(change, script, Limits::default(), Keys::parse(KEYS).unwrap());
    (folder, server)
}

/// A new route is in the list as soon as it is in the router, and its ids have to be named above.
#[test]
fn another_tenants_things_are_not_there_on_any_route() {
    let (_folder, server) = served();
    let things = Things::make(&server);
    let ask = |method: &str, path: &str, key, body: &str| {
        request(server.address, &method.to_uppercase(), path, &[key], body)
    };
    let document = request(server.address, "GET", "/openapi.json", &[A], "").json();
    let mut num_walked = 0;
    let mut deletes = Vec::new();
    for (route, methods) in document["paths"].as_object().unwrap() {
        // What the operator's keys see is nobody's.
        if !route.contains('{') || !route.starts_with("/v1/") || route.starts_with("/v1/organization/") {
            continue;
        }
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let (theirs, nobodys) = (things.path(route, true), things.path(route, false));
            let body = body(route, &method);
            let found = ask(&method, &theirs, B, &body);
            let none = ask(&method, &nobodys, B, &body);
            assert_eq!(
                said(&found, &theirs),
                said(&none, &nobodys),
                "{method} {route}: it is told that it is there"
            );
            // A list of nothing is what there is in a container of one's own that nothing was made in.
            let is_list = route == "/v1/containers/{id}/files" && method == "GET";
            let expect = if is_list { 200 } else { 404 };
            assert_eq!(found.status, expect, "{method} {route}: {}", found.body);
            assert!(!is_list || found.json()["data"] == json!([]), "{}", found.body);
            num_walked += 1;
            match method.as_str() {
                // A tuned model is found by its whole name.
                "GET" if !route.contains("{organization}") => {
                    let own = ask(&method, &theirs, A, "");
                    assert_eq!(own.status, 200, "{method} {route}: the tenant's own: {}", own.body);
                }
                "DELETE" if !route.contains("{organization}") => deletes.push(theirs),
                _ => {}
            }
        }
    }
    assert!(num_walked >= 25, "{num_walked} routes with ids");
    // Nor did any of it change anything: what is the tenant's own is still there to be removed.
    deletes.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in deletes {
        assert_eq!(ask("DELETE", &path, A, "").status, 200, "{path}");
    }
}

/// Ids in bodies lead nowhere either.
#[test]
fn another_tenants_ids_in_a_body_are_not_there() {
    let (_folder, server) = served();
    let things = Things::make(&server);
    let check = |path: &str, field: &str, id: &str, body: Value| {
        let ask = |id: &str| {
            let mut body = body.clone();
            body[field] = json!(id);
            let answer = request(server.address, "POST", path, &[B], &body.to_string());
            (answer.status, answer.body.replace(id, "ID"))
        };
        let (found, none) = (ask(id), ask(NOBODY));
        assert_eq!(found, none, "{path} {field}");
        assert!((400..500).contains(&found.0), "{path} {field}: {found:?}");
    };
    let input = json!({"input": "hi"});
    check("/v1/responses", "previous_response_id", &things.response, input.clone());
    check("/v1/responses", "conversation", &things.conversation, input.clone());
    check("/v1/responses", "model", &things.model, input);
    let batch = json!({"endpoint": "/v1/responses", "completion_window": "24h"});
    check("/v1/batches", "input_file_id", &things.file, batch);
    check("/v1/fine_tuning/jobs", "training_file", &things.file, json!({"model": "scripted"}));
}
