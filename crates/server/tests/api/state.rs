//! What is stored: references, conversations under many hands, quotas, disks that are full and files that are
//! damaged.

use std::path::Path;
use std::thread;
use std::time::Duration;

use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post, request};
use crate::scripted::{FAILS, Script};
use crate::server::Server;

fn on_disk(folder: &Path) -> Server {
    Server::in_folder(Some(folder), Script::new(&[ANSWER]), Limits::default(), Keys::default())
}

/// The reference itself was stored under the id of the item it meant, so that the second use followed it for
/// ever and the overflowing stack ended the process.
#[test]
fn item_references_are_resolved_and_not_stored() {
    let server = Server::start(&[ANSWER]);
    let hi = json!({"items": [{"type": "message", "role": "user", "content": "hi", "id": "m1"}]});
    assert_eq!(post(server.address, "/v1/conversations", &hi).status, 200);
    let reference =
        json!({"input": [{"type": "item_reference", "id": "m1"}, {"role": "user", "content": "2+2?"}]});
    for _ in 0..3 {
        let made = post(server.address, "/v1/responses", &reference).json();
        let path = format!("/v1/responses/{}/input_items?order=asc", made["id"].as_str().unwrap());
        let first = get(server.address, &path).json()["data"][0].clone();
        assert_eq!((&first["type"], &first["id"]), (&json!("message"), &json!("m1")), "{first}");
    }
    let prompts = server.prompts.lock().unwrap();
    assert!(prompts.iter().all(|prompt| *prompt == prompts[0]));
}

/// A reference to an id that the same request brings along leads nowhere, and to itself neither.
#[test]
fn a_reference_to_itself_is_refused() {
    let server = Server::start(&[ANSWER]);
    let body = json!({"input": [{"type": "item_reference", "id": "loop"}]});
    for _ in 0..2 {
        assert_eq!(post(server.address, "/v1/responses", &body).status, 404);
    }
    let body = json!({"items": [{"type": "item_reference", "id": "loop"}]});
    assert_eq!(post(server.address, "/v1/conversations", &body).status, 404);
}

/// Databases that older servers wrote may hold references to themselves.
#[test]
fn a_poisoned_database_is_an_error_for_the_client_alone() {
    let folder = tempfile::tempdir().unwrap();
    let hi = json!({"items": [{"type": "message", "role": "user", "content": "hi", "id": "m1"}]});
    assert_eq!(post(on_disk(folder.path()).address, "/v1/conversations", &hi).status, 200);
    let database = rusqlite::Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    let poison = json!({"type": "item_reference", "id": "m1"}).to_string();
    assert_eq!(
        database.execute("UPDATE items SET item = ?1, sum = NULL WHERE id = 'm1'", [&poison]).unwrap(),
        1
    );
    drop(database);
    let server = on_disk(folder.path());
    let answer =
        post(server.address, "/v1/responses", &json!({"input": [{"type": "item_reference", "id": "m1"}]}));
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.json()["error"]["param"], "input[0].id");
    assert_eq!(post(server.address, "/v1/responses", &json!({"input": "hi"})).status, 200);
}

/// Two responses that ended at once each wrote the conversation as it had been before both: items were listed
/// whose turns the model never saw again.
#[test]
fn parallel_responses_on_a_conversation_keep_every_turn() {
    const TURNS: usize = 16;
    let server = Server::start(&[ANSWER]);
    let made = post(server.address, "/v1/conversations", &json!({})).json();
    let id = made["id"].as_str().unwrap().to_owned();
    let (address, body) = (server.address, json!({"input": "What is 27 + 58?", "conversation": id}));
    let threads: Vec<_> = (0..TURNS)
        .map(|_| {
            let body = body.clone();
            thread::spawn(move || assert_eq!(post(address, "/v1/responses", &body).status, 200))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let listed = get(address, &format!("/v1/conversations/{id}/items?limit=100")).json();
    let users = listed["data"].as_array().unwrap().iter().filter(|item| item["role"] == "user");
    assert_eq!(users.count(), TURNS);
    assert_eq!(post(address, "/v1/responses", &body).status, 200);
    let prompts = server.prompts.lock().unwrap();
    let text = gptoss_harmony::Vocab::o200k_harmony();
    let last = String::from_utf8(text.decode(prompts.last().unwrap()).unwrap()).unwrap();
    assert_eq!(last.matches("What is 27 + 58?").count(), TURNS + 1);
}

/// A turn that failed, or was cancelled, stood in its conversation: whoever asked again said it twice.
#[test]
fn a_turn_that_did_not_end_well_is_not_part_of_its_conversation() {
    let mut script = Script::new(&[FAILS, ANSWER, ANSWER, ANSWER]);
    script.pause = Duration::from_millis(30);
    let server = Server::with(script, Limits::default(), Keys::default());
    let made = post(server.address, "/v1/conversations", &json!({})).json();
    let id = made["id"].as_str().unwrap();
    let items = || {
        let listed = get(server.address, &format!("/v1/conversations/{id}/items")).json();
        listed["data"].as_array().unwrap().len()
    };
    let body = json!({"input": "What is 27 + 58?", "conversation": id});
    assert_eq!(post(server.address, "/v1/responses", &body).status, 500);
    assert_eq!(items(), 0, "after a failure");
    let mut background = body.clone();
    background["background"] = json!(true);
    let begun = post(server.address, "/v1/responses", &background).json();
    let cancel = format!("/v1/responses/{}/cancel", begun["id"].as_str().unwrap());
    assert_eq!(request(server.address, "POST", &cancel, &[], "").json()["status"], "cancelled");
    assert_eq!(items(), 0, "after a cancel");
    assert_eq!(post(server.address, "/v1/responses", &body).status, 200);
    assert_eq!(items(), 3, "the question, the reasoning and the answer");
    let limited = json!({"input": "And then?", "conversation": id, "max_output_tokens": 2});
    assert_eq!(post(server.address, "/v1/responses", &limited).json()["status"], "incomplete");
    assert!(items() > 3, "what a limit ended was said");
}

/// Of 64 items added at once, all answered with 200, 55 were kept.
#[test]
fn parallel_items_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = on_disk(folder.path());
    let made = post(server.address, "/v1/conversations", &json!({})).json();
    let path = format!("/v1/conversations/{}/items", made["id"].as_str().unwrap());
    let threads: Vec<_> = (0..64)
        .map(|n| {
            let (address, path) = (server.address, path.clone());
            let items =
                json!({"items": [{"type": "message", "role": "user", "content": format!("item {n}")}]});
            thread::spawn(move || assert_eq!(post(address, &path, &items).status, 200))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let listed = get(server.address, &format!("{path}?limit=100")).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 64);
}

/// What could not be stored was told as stored, and was a 404 later.
#[test]
fn a_response_that_is_not_stored_says_so() {
    let limits = Limits { state_row_bytes_max: 100, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let check = |response: &Value| {
        assert_eq!((&response["status"], &response["store"]), (&json!("completed"), &json!(false)));
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.contains("was not stored") && warning.contains("at most 100"), "{warning}");
    };
    check(&post(server.address, "/v1/responses", &json!({"input": "hi"})).json());
    let events = post(server.address, "/v1/responses", &json!({"input": "hi", "stream": true})).events();
    check(&events.last().unwrap()["response"]);
    let answer = post(server.address, "/v1/responses", &json!({"input": "hi", "background": true}));
    assert_eq!(answer.status, 400, "{}", answer.body);
}

/// A response whose events were too large beside it was lost with them.
#[test]
fn a_response_whose_events_do_not_fit_is_stored_without_them() {
    let limits = Limits { state_row_bytes_max: 6_000, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let body = json!({"input": "hi", "stream": true});
    let told = post(server.address, "/v1/responses", &body).events().pop().unwrap()["response"].clone();
    assert_eq!(told["store"], true, "{told}");
    let path = format!("/v1/responses/{}", told["id"].as_str().unwrap());
    assert_eq!(get(server.address, &path).json(), told);
    let events = get(server.address, &format!("{path}?stream=true&starting_after=2")).events();
    assert_eq!((events.len(), &events[0]["code"]), (1, &json!("events_dropped")));
}

/// Stored reasoning was given to every key of the tenant, also to those that may not see any.
#[test]
fn a_reader_sees_as_much_of_the_reasoning_as_its_key_allows() {
    let keys = "sk-0123456789abcdef name=app\nsk-fedcba9876543210 name=app reasoning=hidden";
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(20);
    let server = Server::with(script, Limits::default(), Keys::parse(keys).unwrap());
    let ask = |key: &str, method: &str, path: &str, body: Value| {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let key = format!("Bearer {key}");
        let answer = request(server.address, method, path, &[("authorization", &key)], &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    };
    let (raw, hidden) = ("sk-0123456789abcdef", "sk-fedcba9876543210");
    let conversation = ask(raw, "POST", "/v1/conversations", json!({})).json();
    let conversation = conversation["id"].as_str().unwrap();
    let body = json!({"input": "hi", "background": true, "conversation": conversation});
    let made = ask(raw, "POST", "/v1/responses", body).json();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    let check = |path: &str| {
        // The first of a stream's readers has it while it is written.
        let (not_seen, seen) = (ask(hidden, "GET", path, json!({})), ask(raw, "GET", path, json!({})));
        assert!(seen.body.contains("tens"), "{path}: {}", seen.body);
        assert!(!not_seen.body.contains("tens"), "{path}: {}", not_seen.body);
        not_seen
    };
    // While it is written, and once more when it is stored.
    for _ in 0..2 {
        let not_seen = check(&format!("{path}?stream=true")).events();
        assert_eq!(not_seen.last().unwrap()["response"]["output"][1]["content"][0]["text"], "It is 85, né.");
    }
    let whole = check(&path).json();
    assert_eq!(
        (&whole["output"][0]["type"], &whole["output"][0]["content"]),
        (&json!("reasoning"), &json!([]))
    );
    let thought = &whole["output"][0]["id"];
    check(&format!("/v1/conversations/{conversation}/items"));
    let reference = json!([{"type": "item_reference", "id": thought}, {"role": "user", "content": "And?"}]);
    let items = format!("/v1/conversations/{conversation}/items");
    let added = ask(hidden, "POST", &items, json!({"items": reference}));
    assert!(!added.body.contains("tens"), "{}", added.body);
    let going_on = ask(hidden, "POST", "/v1/responses", json!({"input": reference})).json();
    check(&format!("/v1/responses/{}/input_items", going_on["id"].as_str().unwrap()));
}

/// `response.completed` was told before the response was stored, and the id of a background response before
/// its row was there: a crash in between made a 404 of either.
#[test]
fn what_is_told_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = on_disk(folder.path());
    let database = rusqlite::Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    let is_stored = |id: &Value| {
        let sql = "SELECT count(*) FROM rows WHERE id = ?1";
        database.query_row(sql, [id.as_str().unwrap()], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    for _ in 0..8 {
        let events = post(server.address, "/v1/responses", &json!({"input": "hi", "stream": true})).events();
        assert!(is_stored(&events.last().unwrap()["response"]["id"]));
        let begun = post(server.address, "/v1/responses", &json!({"input": "hi", "background": true})).json();
        assert!(is_stored(&begun["id"]));
    }
}

/// A background response that was cut off by a crash was unknown afterwards.
#[test]
fn a_response_cut_off_by_a_crash_reads_as_failed() {
    let folder = tempfile::tempdir().unwrap();
    let made = post(on_disk(folder.path()).address, "/v1/responses", &json!({"input": "hi"})).json();
    let database = rusqlite::Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    database.execute("UPDATE rows SET is_unfinished = 1", []).unwrap();
    drop(database);
    let server = on_disk(folder.path());
    let going_on = json!({"input": "and then?", "previous_response_id": made["id"]});
    assert_eq!(post(server.address, "/v1/responses", &going_on).status, 409);
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    let found = get(server.address, &path).json();
    assert_eq!((&found["status"], &found["error"]["code"]), (&json!("failed"), &json!("server_error")));
    let events = get(server.address, &format!("{path}?stream=true&starting_after=3")).events();
    assert_eq!(events.last().unwrap()["type"], "response.failed");
}
