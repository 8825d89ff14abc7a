//! Batches under the operator's rules: whose they are after a restart, and when their key does not hold any
//! more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gptoss_govern::Digest;
use gptoss_server::{Governance, Keys, Limits};
use serde_json::{Value, json};

use super::{admin, governance};
use crate::chat::ANSWER;
use crate::http::{Answer, request};
use crate::scripted::Script;
use crate::server::{Server, model};
use crate::shutdown::eventually;

/// Lines of a batch.
const LINES: usize = 12;

/// A key of the one tenant; its secret is `secret-` and its id.
fn key(id: &str, more: &str) -> String {
    let hash = Digest::of(&format!("secret-{id}")).to_hex();
    format!("[[keys]]\nname = \"team\"\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{more}\n")
}

/// A server whose lines take a while.
fn served(state: &Path, governance: &Arc<Governance>) -> Server {
    let script = Script { pause: Duration::from_millis(5), ..Script::new(&[ANSWER]) };
    let keys = Keys::governed(Arc::clone(governance));
    let limits = Limits { batch_lines_max: 1, ..Limits::default() };
    Server::of((Some(state), model()), |app| app, script, limits, keys)
}

fn ask(server: &Server, id: &str, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer secret-{id}");
    let text = if body.is_null() { String::new() } else { body.to_string() };
    request(server.address, method, path, &[("authorization", &bearer)], &text)
}

/// The path of a batch that the key has made, of which lines have been answered.
fn begun(server: &Server, id: &str) -> String {
    let body =
        json!({"model": "scripted", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 30});
    let lines: String =
        (0..LINES).map(|n| crate::batches::line(&format!("q{n}"), "/v1/chat/completions", &body)).collect();
    let form = crate::files::form(&[("purpose", "batch")], Some(&lines));
    let headers = format!("authorization: Bearer secret-{id}\r\n");
    let file = crate::files::post_form(server.address, &headers, &form).json();
    let create =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = ask(server, id, "POST", "/v1/batches", &create).json();
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    eventually("lines are answered", || {
        ask(server, id, "GET", &path, &json!(null)).json()["request_counts"]["completed"].as_u64() >= Some(2)
    });
    path
}

/// The tenant's name alone was known after a restart, so that the first of its keys was charged.
#[test]
fn a_batch_goes_on_under_the_key_that_made_it() {
    let (state, journal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rules = "[groups.other]\nmax_budget = { tokens = 1000000 }\n".to_owned()
        + &key("first", "")
        + &key("second", "group = \"other\"")
        + &admin();
    let before = governance(Some(journal.path()), &rules);
    let mut server = served(state.path(), &before);
    let path = begun(&server, "second");
    server.tell_to_stop();
    server.join();
    drop(server);
    drop(before);
    let after = governance(Some(journal.path()), &rules);
    let server = served(state.path(), &after);
    eventually("the end", || {
        ask(&server, "first", "GET", &path, &json!(null)).json()["status"] == "completed"
    });
    eventually("all entries", || entries_of(&server).len() == LINES);
    assert!(entries_of(&server).iter().all(|actor| actor == "second"), "{:?}", entries_of(&server));
}

/// Whose the lines were.
fn entries_of(server: &Server) -> Vec<String> {
    let all = super::audit(server.address);
    let is_line = |log: &&Value| {
        log["request"]["route"].as_str().is_some_and(|route| route.starts_with("BATCH /v1/chat/completions"))
    };
    let actor = |log: &Value| log["actor"]["api_key"]["id"].as_str().unwrap().to_owned();
    all.iter().filter(is_line).map(actor).collect()
}

/// It went on for whoever had the tenant's name, or failed line by line.
#[test]
fn a_batch_whose_key_ends_stops_and_says_why() {
    let check = |ended: &str, expect: &str, at_a_restart: bool| {
        let (state, journal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rules = key("first", "") + &key("second", "") + &admin();
        let ended = key("first", "") + ended + &admin();
        let holding = governance(Some(journal.path()), &rules);
        let mut server = served(state.path(), &holding);
        let path = begun(&server, "second");
        if at_a_restart {
            server.tell_to_stop();
            server.join();
            drop(server);
            drop(holding);
            let after = governance(Some(journal.path()), &ended);
            server = served(state.path(), &after);
        } else {
            holding.reload(&ended).unwrap();
        }
        let see = || ask(&server, "first", "GET", &path, &json!(null)).json();
        eventually("the end", || see()["status"] == "failed");
        let batch = see();
        let error = &batch["errors"]["data"][0];
        assert_eq!(error["code"], "key_ended", "{batch}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("the key second") && message.contains(expect), "{message}");
        let counts = &batch["request_counts"];
        let completed = counts["completed"].as_u64().unwrap() as usize;
        assert!((2..LINES).contains(&completed) && counts["failed"] == 0, "{counts}");
        let output = format!("/v1/files/{}/content", batch["output_file_id"].as_str().unwrap());
        let lines = ask(&server, "first", "GET", &output, &json!(null)).body;
        assert_eq!(lines.lines().count(), completed, "what was answered is not lost");
    };
    for at_a_restart in [false, true] {
        check(&key("second", "revoked_at = 2020-01-01T00:00:00Z"), "was revoked", at_a_restart);
        check(&key("second", "expires_at = 2020-01-01T00:00:00Z"), "expired at 2020-01-01", at_a_restart);
        check("", "is not in the server's rules any more", at_a_restart);
    }
}
