//! Batches: the answers that HTTP gives, in the background, to the end whatever happens.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::files::upload;
use crate::http::{get, post, request};
use crate::scripted::{FAILS, Script};
use crate::server::Server;
use crate::shutdown::eventually;

fn chat(content: &str) -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": content}], "seed": 1})
}

pub fn line(custom_id: &str, url: &str, body: &Value) -> String {
    format!("{}\n", json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body}))
}

/// A file of so many questions.
fn questions(count: usize) -> String {
    (0..count).map(|n| line(&format!("q{n}"), "/v1/chat/completions", &chat(&n.to_string()))).collect()
}

pub fn create(address: SocketAddr, content: &str, endpoint: &str) -> Value {
    let input = upload(address, content)["id"].clone();
    let body = json!({"input_file_id": input, "endpoint": endpoint, "completion_window": "24h"});
    let answer = post(address, "/v1/batches", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["status"], "validating");
    answer.json()
}

fn row(address: SocketAddr, batch: &Value) -> Value {
    get(address, &format!("/v1/batches/{}", batch["id"].as_str().unwrap())).json()
}

/// The batch when it has the status.
pub fn wait(address: SocketAddr, batch: &Value, status: &str) -> Value {
    eventually(status, || row(address, batch)["status"] == status);
    row(address, batch)
}

/// The lines of a file of results, in order.
pub fn results(address: SocketAddr, file: &Value) -> Vec<Value> {
    let Some(id) = file.as_str() else { return Vec::new() };
    let text = get(address, &format!("/v1/files/{id}/content")).body;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["custom_id"].as_str().unwrap()).collect()
}

/// A body without what differs from one answer to the next.
fn plain(mut body: Value) -> Value {
    for field in ["id", "created", "created_at", "completed_at"] {
        body.as_object_mut().unwrap().remove(field);
    }
    for item in body["output"].as_array_mut().into_iter().flatten() {
        item.as_object_mut().unwrap().remove("id");
    }
    body
}

fn in_folder(folder: &Path, script: Script) -> Server {
    Server::in_folder(Some(folder), script, Limits::default(), Keys::default())
}

#[test]
fn lines_are_answered_as_requests_are() {
    for (endpoint, body) in [
        ("/v1/chat/completions", chat("What is 27 + 58?")),
        ("/v1/responses", json!({"input": "What is 27 + 58?", "store": false})),
        ("/v1/completions", json!({"prompt": "One", "max_tokens": 5})),
    ] {
        let server = Server::start(&[ANSWER]);
        let wrong =
            json!({"model": "scripted", "temperature": 9, "messages": [], "input": "x", "prompt": "x"});
        let content =
            line("a", endpoint, &body) + "\n" + &line("b", endpoint, &wrong) + &line("c", endpoint, &body);
        let batch = create(server.address, &content, endpoint);
        let ended = wait(server.address, &batch, "completed");
        assert_eq!(ended["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}), "{ended}");
        let answered = results(server.address, &ended["output_file_id"]);
        assert_eq!(ids(&answered), ["a", "c"]);
        let direct = post(server.address, endpoint, &body).json();
        assert_eq!(answered[0]["response"]["status_code"], 200);
        assert_eq!(plain(answered[0]["response"]["body"].clone()), plain(direct.clone()));
        let read = |usage: &Value| {
            let prompt = usage["prompt_tokens"].as_u64().or(usage["input_tokens"].as_u64());
            (prompt.unwrap(), usage["total_tokens"].as_u64().unwrap())
        };
        let (one, both) = (read(&direct["usage"]), read(&ended["usage"]));
        assert_eq!(both, (2 * one.0, 2 * one.1), "{endpoint}");
        let failed = results(server.address, &ended["error_file_id"]);
        assert_eq!((ids(&failed), &failed[0]["response"]["status_code"]), (vec!["b"], &json!(400)));
        let expect = post(server.address, endpoint, &wrong).json();
        assert_eq!(failed[0]["response"]["body"], expect);
    }
}

#[test]
fn a_file_with_wrong_lines_fails_with_their_numbers() {
    let server = Server::start(&[ANSWER]);
    let endpoint = "/v1/chat/completions";
    let ok = line("a", endpoint, &chat("x"));
    let streams = line("s", endpoint, &json!({"messages": [], "stream": true}));
    let content = ok.clone() + "{\n" + &ok + &line("b", "/v1/responses", &json!({})) + "\n" + &streams;
    let batch = create(server.address, &content, endpoint);
    let ended = wait(server.address, &batch, "failed");
    let errors = ended["errors"]["data"].as_array().unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    let expect =
        [(2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "mismatched_url"), (6, "invalid_body")];
    assert_eq!(told, expect);
    assert!(ended["failed_at"].is_u64() && ended["output_file_id"].is_null());
    assert!(server.prompts.lock().unwrap().is_empty(), "nothing is answered of a file with wrong lines");
    let empty = wait(server.address, &create(server.address, "\n\n", endpoint), "failed");
    assert_eq!(empty["errors"]["data"][0]["code"], "empty_file");
}

#[test]
fn what_is_wrong_with_a_batch_is_named() {
    let server = Server::start(&[ANSWER]);
    let input = upload(server.address, "{}")["id"].clone();
    let check = |field: &str, value: Value, status: u16, param: Value| {
        let mut body =
            json!({"input_file_id": input, "endpoint": "/v1/responses", "completion_window": "24h"});
        body[field] = value;
        let answer = post(server.address, "/v1/batches", &body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (status, &param), "{}", answer.body);
    };
    check("input_file_id", json!("file_x"), 404, Value::Null);
    check("input_file_id", Value::Null, 400, json!("input_file_id"));
    check("endpoint", json!("/v1/embeddings"), 400, json!("endpoint"));
    check("completion_window", json!("soon"), 400, json!("completion_window"));
    check(
        "output_expires_after",
        json!({"anchor": "created_at", "seconds": 1}),
        400,
        json!("output_expires_after.seconds"),
    );
    assert_eq!(get(server.address, "/v1/batches/batch_x").status, 404);
    assert_eq!(get(server.address, "/v1/batches").json()["data"], json!([]));
}

/// A line that fails inside the engine is a result like any other.
#[test]
fn a_line_that_fails_does_not_stop_the_others() {
    let limits = Limits { batch_lines_max: 1, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER, FAILS, ANSWER]), limits, Keys::default());
    let batch = create(server.address, &questions(3), "/v1/chat/completions");
    let ended = wait(server.address, &batch, "completed");
    assert_eq!(ids(&results(server.address, &ended["output_file_id"])), ["q0", "q2"]);
    let failed = results(server.address, &ended["error_file_id"]);
    assert_eq!(failed[0]["response"]["status_code"], 500);
    assert!(failed[0]["response"]["body"]["error"]["message"].is_string());
}

#[test]
fn a_batch_that_is_cancelled_keeps_what_it_has() {
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(10);
    let limits = Limits { batch_lines_max: 1, ..Limits::default() };
    let server = Server::with(script, limits, Keys::default());
    let batch = create(server.address, &questions(500), "/v1/chat/completions");
    eventually("a line is answered", || row(server.address, &batch)["request_counts"]["completed"] != 0);
    let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().unwrap());
    let input = format!("/v1/files/{}", batch["input_file_id"].as_str().unwrap());
    assert_eq!(request(server.address, "DELETE", &input, &[], "").status, 409);
    let cancelled = request(server.address, "POST", &path, &[], "").json();
    assert_eq!((&cancelled["status"], cancelled["cancelling_at"].is_u64()), (&json!("cancelling"), true));
    let ended = wait(server.address, &batch, "cancelled");
    let answered = results(server.address, &ended["output_file_id"]);
    assert_eq!(ended["request_counts"]["completed"], answered.len());
    assert!((1..500).contains(&answered.len()));
    assert_eq!(request(server.address, "POST", &path, &[], "").status, 409);
    assert_eq!(request(server.address, "DELETE", &input, &[], "").status, 200);
}

/// The next server goes on at the lines without a result, and gives each line one result in all.
#[test]
fn a_batch_goes_on_after_a_stop() {
    const LINES: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(5);
    let mut server = in_folder(folder.path(), script.clone());
    let batch = create(server.address, &questions(LINES), "/v1/chat/completions");
    eventually("lines are answered", || {
        row(server.address, &batch)["request_counts"]["completed"].as_u64().unwrap() >= 2
    });
    server.tell_to_stop();
    server.join();
    let answered_before = server.prompts.lock().unwrap().len();
    assert!(answered_before < LINES, "the stop came between lines");
    let server = in_folder(folder.path(), script);
    let ended = wait(server.address, &batch, "completed");
    let answered = results(server.address, &ended["output_file_id"]);
    let expect: Vec<String> = (0..LINES).map(|n| format!("q{n}")).collect();
    assert_eq!(ids(&answered), expect);
    // What ran was let end and counts: nothing is computed twice.
    assert_eq!(server.prompts.lock().unwrap().len() + answered_before, LINES);
    assert_eq!(ended["request_counts"], json!({"total": LINES, "completed": LINES, "failed": 0}));
}

/// A batch whose time is up says of each line that was not answered that it was not.
#[test]
fn a_batch_whose_time_is_up_expires() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = Script::new(&[ANSWER]);
    script.is_busy = Arc::new(AtomicBool::new(true));
    let busy = Arc::clone(&script.is_busy);
    let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
    let mut server = Server::in_folder(Some(folder.path()), script.clone(), limits, Keys::default());
    let batch = create(server.address, &questions(3), "/v1/chat/completions");
    wait(server.address, &batch, "in_progress");
    server.tell_to_stop();
    server.join();
    busy.store(false, Ordering::Relaxed);
    // A day later, as a row of before there were checksums.
    let database = rusqlite::Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    database.execute("UPDATE batches SET body = json_set(body, '$.expires_at', 1), sum = NULL", []).unwrap();
    drop(database);
    let server = in_folder(folder.path(), script);
    let ended = wait(server.address, &batch, "expired");
    let errors = results(server.address, &ended["error_file_id"]);
    assert_eq!(ids(&errors), ["q0", "q1", "q2"]);
    assert!(errors.iter().all(|error| error["error"]["code"] == "batch_expired"));
    assert_eq!(ended["request_counts"], json!({"total": 3, "completed": 0, "failed": 3}));
}

/// Results have to be kept; a tenant without room for them has a batch that says so and what was answered.
#[test]
fn a_batch_without_room_for_its_results_fails() {
    let content = questions(20);
    let limits = Limits {
        files_bytes_max: Some(content.len() as u64 + 1500),
        batch_lines_max: 1,
        ..Limits::default()
    };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let batch = create(server.address, &content, "/v1/chat/completions");
    let ended = wait(server.address, &batch, "failed");
    assert_eq!(ended["errors"]["data"][0]["code"], "storage_quota_exceeded");
    let answered = results(server.address, &ended["output_file_id"]);
    assert!((1..20).contains(&answered.len()), "{}", answered.len());
}

/// Of results that are longer than the tenant may have, those that fit are kept, to the byte.
#[test]
fn results_have_the_room_that_is_left() {
    let content = questions(3);
    let whole = Server::start(&[ANSWER]);
    let ended = wait(whole.address, &create(whole.address, &content, "/v1/chat/completions"), "completed");
    let output = format!("/v1/files/{}", ended["output_file_id"].as_str().unwrap());
    let bytes = get(whole.address, &output).json()["bytes"].as_u64().unwrap();
    for (room, status) in [(bytes, "completed"), (bytes - 1, "failed")] {
        let limits = Limits {
            files_bytes_max: Some(content.len() as u64 + room),
            batch_lines_max: 1,
            ..Limits::default()
        };
        let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
        let ended = wait(server.address, &create(server.address, &content, "/v1/chat/completions"), status);
        let kept = results(server.address, &ended["output_file_id"]).len();
        assert_eq!(kept, if status == "completed" { 3 } else { 2 }, "{ended}");
    }
}

#[test]
fn a_tenant_has_so_many_unfinished_batches() {
    let script = Script::new(&[ANSWER]);
    script.is_busy.store(true, Ordering::Relaxed);
    let busy = Arc::clone(&script.is_busy);
    let server = Server::with(script, Limits { batches_max: 2, ..Limits::default() }, Keys::default());
    let input = upload(server.address, &questions(1))["id"].clone();
    let body =
        json!({"input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let create = || post(server.address, "/v1/batches", &body);
    assert_eq!([create().status, create().status], [200, 200]);
    let refused = create();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")), "{}", refused.body);
    busy.store(false, Ordering::Relaxed);
    eventually("one ends", || create().status == 200);
}

/// A damaged input was answered as if it were whole.
#[test]
fn a_damaged_input_is_told_and_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = in_folder(folder.path(), Script::new(&[ANSWER]));
    let content = questions(3);
    let file = upload(server.address, &content);
    let database = rusqlite::Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    // One letter of a question is another.
    let other = content.replace("\"content\":\"1\"", "\"content\":\"7\"");
    assert_eq!(other.len(), content.len());
    assert_ne!(other, content);
    database.execute("UPDATE file_parts SET content = ?1", [other.as_bytes()]).unwrap();
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    let refused = get(server.address, &path);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (500, &json!("stored_data_damaged")));
    assert!(refused.body.contains(file["id"].as_str().unwrap()), "{}", refused.body);
    server.logged(|line| line.contains("is damaged") && line.contains(folder.path().to_str().unwrap()));
    let body =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let ended = wait(server.address, &post(server.address, "/v1/batches", &body).json(), "failed");
    assert_eq!(ended["errors"]["data"][0]["code"], "stored_data_damaged");
    assert!(server.prompts.lock().unwrap().is_empty());
    // Another upload is no worse for it.
    wait(server.address, &create(server.address, &content, "/v1/chat/completions"), "completed");
}

#[test]
fn batches_share_the_places_in_turn_and_are_listed() {
    let limits = Limits { batch_lines_max: 1, ..Limits::default() };
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(2);
    let server = Server::with(script, limits, Keys::default());
    let long = create(server.address, &questions(200), "/v1/chat/completions");
    eventually("it begins", || row(server.address, &long)["status"] == "in_progress");
    let short = create(server.address, &questions(2), "/v1/chat/completions");
    wait(server.address, &short, "completed");
    assert_eq!(row(server.address, &long)["status"], "in_progress", "the short one did not wait for it");
    let page = get(server.address, "/v1/batches?limit=1").json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&short["id"], &json!(true)));
    let next = get(server.address, &format!("/v1/batches?after={}", short["id"].as_str().unwrap())).json();
    assert_eq!((&next["data"][0]["id"], &next["has_more"]), (&long["id"], &json!(false)));
}

/// Each key's batches are its tenant's, and lines run as the key may.
#[test]
fn batches_are_of_a_tenant() {
    let keys = "sk-0123456789abcdef name=a reasoning=hidden\nsk-fedcba9876543210 name=b";
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), Keys::parse(keys).unwrap());
    let a = [("x-api-key", "sk-0123456789abcdef")];
    let b = [("x-api-key", "sk-fedcba9876543210")];
    let form = format!(
        "--xx\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xx\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{}\r\n--xx--\r\n",
        questions(1)
    );
    let file = crate::files::post_form(server.address, "x-api-key: sk-0123456789abcdef\r\n", &form).json();
    let body =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"})
            .to_string();
    assert_eq!(request(server.address, "POST", "/v1/batches", &b, &body).status, 404);
    let made = request(server.address, "POST", "/v1/batches", &a, &body).json();
    let path = format!("/v1/batches/{}", made["id"].as_str().unwrap());
    let of = |key: &[(&str, &str)]| request(server.address, "GET", &path, key, "");
    eventually("it ends", || of(&a).json()["status"] == "completed");
    assert_eq!(of(&b).status, 404);
    let output = format!("/v1/files/{}/content", of(&a).json()["output_file_id"].as_str().unwrap());
    let text = request(server.address, "GET", &output, &a, "").body;
    assert!(text.contains("It is 85") && !text.contains("Add the"), "{text}");
    assert_eq!(request(server.address, "GET", &output, &b, "").status, 404);
}

/// A key that may not see the reasoning read it in the results of its tenant's other key.
#[test]
fn results_are_for_keys_that_see_as_much() {
    let keys = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=a reasoning=hidden";
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), Keys::parse(keys).unwrap());
    let (raw, hidden) = ([("x-api-key", "sk-0123456789abcdef")], [("x-api-key", "sk-fedcba9876543210")]);
    let form = format!(
        "--xx\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xx\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{}\r\n--xx--\r\n",
        questions(1)
    );
    let file = crate::files::post_form(server.address, "x-api-key: sk-0123456789abcdef\r\n", &form).json();
    let input = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    let body =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"})
            .to_string();
    let made = request(server.address, "POST", "/v1/batches", &raw, &body).json();
    let path = format!("/v1/batches/{}", made["id"].as_str().unwrap());
    let row = || request(server.address, "GET", &path, &hidden, "").json();
    eventually("it ends", || row()["status"] == "completed");
    let output = format!("/v1/files/{}/content", row()["output_file_id"].as_str().unwrap());
    let read = |path: &str, key: &[(&str, &str)]| request(server.address, "GET", path, key, "");
    assert!(read(&output, &raw).body.contains("Add the"));
    assert_eq!((read(&output, &hidden).status, read(&input, &hidden).status), (403, 200));
}

/// While something waits for the engine no line begins, and then with the lowest priority.
#[test]
fn lines_wait_for_those_who_wait() {
    let mut script = Script::new(&[ANSWER]);
    script.is_busy = Arc::new(AtomicBool::new(true));
    let (busy, num_background) = (Arc::clone(&script.is_busy), Arc::clone(&script.num_background));
    let server = Server::with(script, Limits::default(), Keys::default());
    let address = server.address;
    let asked = std::thread::spawn(move || post(address, "/v1/responses", &json!({"input": "hi"})).status);
    let waits =
        || get(address, "/metrics").body.lines().any(|line| line == "gptoss_engine_requests_queued 1");
    eventually("it waits", waits);
    let batch = create(address, &questions(3), "/v1/chat/completions");
    wait(address, &batch, "in_progress");
    std::thread::sleep(Duration::from_millis(100));
    assert!(waits(), "a line of the batch waits beside it");
    busy.store(false, Ordering::Relaxed);
    assert_eq!(asked.join().unwrap(), 200);
    wait(address, &batch, "completed");
    assert_eq!((server.prompts.lock().unwrap().len(), num_background.load(Ordering::Relaxed)), (4, 3));
}
