//! What was said, kept for the keys whose policy has it kept: in every dialect, streamed, cut, in batches and
//! in the background; and nothing of what other keys say.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use gptoss_govern::{Audit, Erasure, Texts, erase_content, verify_export};
use gptoss_server::{Governance, Keys, Limits};
use serde_json::{Value, json};

use super::{admin, ask, audit, begin, changed, governance, key, read_until, secret, see};
use crate::chat::ANSWER;
use crate::http::raw;
use crate::scripted::{FAILS, Script};
use crate::server::{Server, model};
use crate::shutdown::eventually;
use crate::socket::Socket;

/// What the client says.
const ASKED: &str = "canary-asked-51c0";
/// What the scripted model says, in part.
const SAID: &str = "<|channel|>final<|message|>canary-said-77aa and more words than are asked for<|return|>";
/// What of it stands in answers.
const TOLD: &str = "canary-said-77aa";

fn rules() -> String {
    "[policies.both]\naudit_content = \"both\"\n[policies.short]\naudit_content = \"both\"\n\
        audit_content_max_bytes = 30\n[policies.prompt]\naudit_content = \"prompt\"\n\
        [policies.none]\ntools = []\naudit_content = \"none\"\n"
        .to_owned()
        + &key("both", "policy = \"both\"")
        + &key("short", "policy = \"short\"")
        + &key("prompt", "policy = \"prompt\"")
        + &key("none", "policy = \"none\"")
        + &key("plain", "")
        + &key("watch", "scopes = [\"metrics\"]")
        + &admin()
}

/// The lines of texts in an export of the folder.
fn texts(folder: &Path) -> Vec<Value> {
    let mut out = Vec::new();
    Audit::open(folder).unwrap().export(&mut out, 0, Texts::With).unwrap();
    verify_export(out.as_slice(), 0).unwrap();
    let lines = std::str::from_utf8(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter_map(|line: Value| line.get("said").cloned()).collect()
}

/// The texts, as soon as there are so many.
fn so_many(folder: &Path, num: usize) -> Vec<Value> {
    eventually("the texts", || texts(folder).len() >= num);
    let found = texts(folder);
    assert_eq!(found.len(), num, "{found:?}");
    found
}

fn has(text: &Value, word: &str) -> bool {
    text.as_str().is_some_and(|text| text.contains(word))
}

fn served(folder: &Path) -> (Server, Arc<Governance>) {
    let governance = governance(Some(folder), &rules());
    let server = changed(&governance, |app| app, Script::new(&[SAID]));
    (server, governance)
}

fn bodies(is_streamed: bool) -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": ASKED}]);
    let chat = json!({"model": "scripted", "messages": messages, "stream": is_streamed, "max_tokens": 60});
    vec![
        ("/v1/chat/completions", chat.clone()),
        ("/v1/messages", chat.clone()),
        ("/api/chat", json!({"model": "scripted", "messages": messages, "stream": is_streamed})),
        ("/v1/responses", json!({"model": "scripted", "input": ASKED, "stream": is_streamed})),
        (
            "/v1/completions",
            json!({"model": "scripted", "prompt": ASKED, "stream": is_streamed, "max_tokens": 40}),
        ),
    ]
}

#[test]
fn every_dialect_is_kept_streamed_or_not_and_only_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _held) = served(folder.path());
    for name in ["plain", "none"] {
        for (path, body) in bodies(true).into_iter().chain(bodies(false)) {
            assert_eq!(ask(server.address, name, path, &body).status, 200, "{path}");
        }
    }
    let mut num = 0;
    for is_streamed in [false, true] {
        for (path, body) in bodies(is_streamed) {
            let answer = ask(server.address, "both", path, &body);
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            num += 1;
            let all = so_many(folder.path(), num);
            let last = all.last().unwrap();
            assert_eq!(last["prompt"], body.to_string(), "{path}");
            assert!(has(&last["answer"], answer.body.trim()), "{path} {is_streamed}: {last}");
        }
    }
    let summary = Audit::open(folder.path()).unwrap().verify(None).unwrap();
    assert_eq!((summary.num_said, summary.num_unsaid), (10, 0));
    // What administrators read has hashes and lengths, and no word.
    let logs = audit(server.address);
    let kept: Vec<&Value> = logs.iter().filter(|log| log["type"] == "request.content").collect();
    assert_eq!(kept.len(), 10);
    let told = &kept[0]["request.content"];
    assert_eq!(told["content"]["prompt"]["bytes"], bodies(false)[0].1.to_string().len());
    assert_eq!((&told["status"], &kept[0]["project"]["id"]), (&json!(200), &json!("both")));
    let logs = json!(logs).to_string();
    assert!(!logs.contains(ASKED) && !logs.contains(TOLD));
    let log = server.logged(|line| line.contains("/v1/completions 200"));
    assert!(!log.contains(ASKED) && !log.contains(TOLD));
    // Erased, nothing of it is in any file, and the chain is as whole as before.
    assert_eq!(erase_content(folder.path(), &Erasure::default(), 1).unwrap(), 10);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(ASKED) && !text.contains(TOLD));
    }
    assert_eq!(Audit::open(folder.path()).unwrap().verify(None).unwrap().num_unsaid, 10);
}

#[test]
fn a_part_is_kept_up_to_its_bound_and_by_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _held) = served(folder.path());
    let body = &bodies(false)[0].1;
    ask(server.address, "prompt", "/v1/chat/completions", body);
    let all = so_many(folder.path(), 1);
    assert_eq!((&all[0]["prompt"], all[0].get("answer")), (&json!(body.to_string()), None));
    ask(server.address, "short", "/v1/chat/completions", body);
    let all = so_many(folder.path(), 2);
    assert_eq!(all[1]["prompt"], body.to_string()[..30]);
    assert_eq!(all[1]["answer"].as_str().unwrap().len(), 30);
    let logs = audit(server.address);
    let last = logs.iter().rfind(|log| log["type"] == "request.content").unwrap();
    let prompt = &last["request.content"]["content"]["prompt"];
    assert_eq!((&prompt["bytes"], &prompt["kept"]), (&json!(body.to_string().len()), &json!(30)));
    // What is refused was said too; what had no body is not there.
    let wrong = json!({"model": "scripted", "messages": ASKED});
    assert_eq!(ask(server.address, "both", "/v1/chat/completions", &wrong).status, 400);
    let all = so_many(folder.path(), 3);
    assert!(has(&all[2]["prompt"], ASKED) && has(&all[2]["answer"], "error"), "{}", all[2]);
    see(server.address, "both", "/v1/models");
    so_many(folder.path(), 3);
}

/// A reader that goes away has had what is kept, and the entry says that it went.
#[test]
fn an_answer_that_is_cut_is_kept_as_far_as_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let governance = governance(Some(folder.path()), &rules());
    let long = format!("<|channel|>final<|message|>{TOLD} {}<|return|>", "word ".repeat(4000));
    let script = Script { pause: Duration::from_millis(5), ..Script::new(&[&long]) };
    let server = changed(&governance, |app| app, script);
    let body = json!({"model": "scripted", "messages": [{"role": "user", "content": ASKED}], "stream": true});
    let mut stream = begin(server.address, "both", "/v1/chat/completions", &body);
    read_until(&mut stream, "word");
    drop(stream);
    let all = so_many(folder.path(), 1);
    assert!(has(&all[0]["prompt"], ASKED) && has(&all[0]["answer"], "word"), "{}", all[0]);
    assert!(!has(&all[0]["answer"], "[DONE]"));
    let logs = audit(server.address);
    let entry = logs.iter().find(|log| log["type"] == "request.content").unwrap();
    assert_eq!(entry["request.content"]["status"], 499);
}

/// The statuses of the entries of texts, as soon as there are so many, the oldest first.
fn statuses(address: std::net::SocketAddr, num: usize) -> Vec<u64> {
    let kept = || -> Vec<Value> {
        audit(address).into_iter().filter(|log| log["type"] == "request.content").collect()
    };
    eventually("the entries", || kept().len() >= num);
    kept().iter().map(|log| log["request.content"]["status"].as_u64().unwrap()).collect()
}

/// The status says how the request ended: a failure that comes in a stream whose head said 200 is one, and on
/// a connection and in the background too; who leaves before there is an answer has left.
#[test]
fn the_status_of_what_was_said_is_how_it_ended() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let governance = governance(Some(folder.path()), &rules());
    let keys = Keys::governed(Arc::clone(&governance));
    let script = Script::new(&[FAILS]);
    let of = (Some(state.path()), model());
    let server = Server::of(of, |app| app, script, Limits::default(), keys);
    let mut num = 0;
    for (path, body) in bodies(true).into_iter().chain(bodies(false)) {
        let answer = ask(server.address, "both", path, &body);
        num += 1;
        let all = statuses(server.address, num);
        assert_eq!(all.last(), Some(&500), "{path} {}: {}", answer.status, answer.body);
    }
    let body = json!({"model": "scripted", "input": ASKED, "background": true});
    assert_eq!(ask(server.address, "both", "/v1/responses", &body).status, 200);
    let authorization = format!("Bearer {}", secret("both"));
    let mut socket = Socket::with(server.address, &[("authorization", &authorization)]).ok().unwrap();
    num += 1;
    assert_eq!(statuses(server.address, num).last(), Some(&500), "in the background");
    socket.create(json!({"input": ASKED}));
    assert_eq!(socket.events().last().unwrap()["type"], "response.failed");
    num += 1;
    assert_eq!(statuses(server.address, num).last(), Some(&500), "on a connection");
    // One that is refused before anything is generated.
    socket.create(json!({"input": ASKED, "previous_response_id": "resp_none"}));
    assert_eq!(socket.events().last().unwrap()["type"], "error");
    num += 1;
    assert_eq!(statuses(server.address, num).last(), Some(&400), "refused on a connection");
    // The rest of the audit says the same of the same requests.
    let by_id = |kind: &str| -> std::collections::BTreeMap<String, Value> {
        let logs = audit(server.address).into_iter().filter(|log| log["type"] == kind);
        logs.map(|log| log[kind].clone())
            .filter(|entry| !entry["route"].as_str().unwrap().starts_with("WEBSOCKET"))
            .map(|entry| (entry["request_id"].to_string(), entry["status"].clone()))
            .collect()
    };
    let (content, mut requests) = (by_id("request.content"), by_id("request"));
    requests.append(&mut by_id("request.refunded"));
    for (id, status) in content {
        assert_eq!(requests.get(&id), Some(&status), "{id}");
    }
}

/// A client that leaves while it waits for its answer, by HTTP and on a connection.
#[test]
fn who_leaves_before_the_answer_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let governance = governance(Some(folder.path()), &rules());
    let script = Script { pause: Duration::from_millis(20), ..Script::new(&[&"word ".repeat(4000)]) };
    let server = changed(&governance, |app| app, script);
    let stream = begin(server.address, "both", "/v1/responses", &bodies(false)[3].1);
    eventually("the request", || {
        see(server.address, "watch", "/metrics").body.contains("gptoss_turns_running 1")
    });
    drop(stream);
    assert_eq!(statuses(server.address, 1), [499]);
    let authorization = format!("Bearer {}", secret("both"));
    let mut socket = Socket::with(server.address, &[("authorization", &authorization)]).ok().unwrap();
    socket.create(json!({"input": ASKED}));
    assert_eq!(socket.event().unwrap()["type"], "response.created");
    drop(socket);
    assert_eq!(statuses(server.address, 2), [499, 499]);
    // The rest of the audit says so too.
    let gone = || {
        let statuses = audit(server.address).into_iter().map(|log| {
            let kind = log["type"].as_str().unwrap().to_owned();
            (log[&kind]["status"].as_u64(), kind)
        });
        statuses.filter(|(status, kind)| *status == Some(499) && kind != "request.content").count()
    };
    eventually("the requests", || gone() == 2);
}

/// Moderations and compaction say a client's words too.
#[test]
fn moderations_and_compaction_are_kept_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let governance = governance(Some(folder.path()), &rules());
    let config = crate::guard::config("");
    let judged = "<|channel|>final<|message|>{\"violation\":0,\"policy_category\":null}<|return|>";
    let change = |app| crate::guard::guarded(app, &config);
    let server = changed(&governance, change, Script::new(&[judged, SAID]));
    let mut num = 0;
    for (path, body) in [
        ("/v1/moderations", json!({"input": ASKED})),
        ("/v1/responses/compact", json!({"model": "scripted", "input": ASKED})),
    ] {
        let answer = ask(server.address, "both", path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        num += 1;
        let all = so_many(folder.path(), num);
        let last = all.last().unwrap();
        assert_eq!(last["prompt"], body.to_string(), "{path}");
        assert!(has(&last["answer"], answer.body.trim()), "{path}: {last}");
    }
    assert_eq!(erase_content(folder.path(), &Erasure::default(), 1).unwrap(), num as u64);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(ASKED));
    }
}

/// What comes to its client otherwise than as the answer to its request.
#[test]
fn the_lines_of_a_batch_and_responses_in_the_background_are_kept() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let governance = governance(Some(folder.path()), &rules());
    let keys = Keys::governed(Arc::clone(&governance));
    let server =
        Server::of((Some(state.path()), model()), |app| app, Script::new(&[SAID]), Limits::default(), keys);
    let body = json!({"model": "scripted", "input": ASKED, "background": true});
    let answer = ask(server.address, "both", "/v1/responses", &body);
    assert!(answer.status == 200 && !answer.body.contains(TOLD), "{}", answer.body);
    let all = so_many(folder.path(), 1);
    assert!(has(&all[0]["prompt"], ASKED) && has(&all[0]["answer"], TOLD), "{}", all[0]);
    let line =
        json!({"model": "scripted", "messages": [{"role": "user", "content": ASKED}], "max_tokens": 60});
    let lines = crate::batches::line("q", "/v1/chat/completions", &line);
    let form = crate::files::form(&[("purpose", "batch")], Some(&lines));
    let headers = format!("authorization: Bearer {}\r\n", secret("both"));
    let file = crate::files::post_form(server.address, &headers, &form).json();
    let create =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    assert_eq!(ask(server.address, "both", "/v1/batches", &create).status, 200);
    // The creation of the batch is no word to a model, and a file is kept as a file.
    let all = so_many(folder.path(), 2);
    assert!(has(&all[1]["prompt"], ASKED) && has(&all[1]["answer"], TOLD), "{}", all[1]);
    let logs = audit(server.address);
    let entry = logs.iter().rfind(|log| log["type"] == "request.content").unwrap();
    assert_eq!(entry["request.content"]["route"], "BATCH /v1/chat/completions");
}

/// A body that came packed is kept unpacked.
#[test]
fn a_packed_body_is_kept_as_it_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let governance = governance(Some(folder.path()), &rules());
    let server = changed(&governance, |app| app, Script::new(&[ANSWER]));
    let body = bodies(false)[0].1.to_string();
    let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
    packing.write_all(body.as_bytes()).unwrap();
    let packed = packing.finish().unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-encoding: gzip\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        secret("prompt"),
        packed.len()
    );
    assert_eq!(raw(server.address, [head.into_bytes(), packed].concat()).status, 200);
    assert_eq!(so_many(folder.path(), 1)[0]["prompt"], body);
}
