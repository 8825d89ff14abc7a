//! `serve --govern`: rules are checked at the start and at SIGHUP, and what cannot be used changes nothing.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::program::{gptoss, run};
use crate::serve::Server;

fn key(name: &str, more: &str) -> String {
    let hash: String = Sha256::digest(secret(name)).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[keys]]\nname = \"{name}\"\nid = \"{name}\"\nhash = \"sha256:{hash}\"\n{more}\n")
}

fn secret(name: &str) -> String {
    format!("sk-gptoss-{name}-secret")
}

fn status(server: &Server, name: &str, method: &str, path: &str, body: &str) -> u16 {
    let head = format!("authorization: Bearer {}\r\n", secret(name));
    let answer = server.ask(method, path, &head, body).expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[test]
fn rules_that_cannot_be_used_end_the_start_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, flags: &[&str], status: i32, expect: &[&str]| {
        let file = folder.path().join("rules.toml");
        fs::write(&file, text).unwrap();
        let rules = ["serve", "--port", "0", "--govern", file.to_str().unwrap()];
        run(&[&rules, flags].concat()).fails(status, expect);
    };
    check(&(key("one", "") + "color = \"red\"\n"), &[], 1, &["line 6", "color"]);
    let judged = "[policies.p]\nmoderation = \"mild\"\n".to_owned() + &key("one", "policy = \"p\"");
    check(&judged, &[], 1, &["line 2", "mild", "--guard"]);
    check(&key("one", ""), &["--api-key-file", "keys"], 2, &["--govern", "--api-key-file"]);
}

#[test]
fn a_hangup_reads_the_rules_again_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, key("one", "")).unwrap();
    let state = folder.path().join("state");
    let mut command = gptoss(&["serve", "--port", "0", "--context", "512", "--govern"]);
    command.arg(&file).arg("--state-dir").arg(&state).stderr(Stdio::piped());
    let mut server = Server::of(command);
    let mut lines = BufReader::new(server.child.stderr.take().expect("a pipe")).lines();
    let mut hears = |word: &str| loop {
        let line = lines.next().expect("the server runs").expect("text");
        if line.contains(word) {
            break line;
        }
    };
    let hangup = || kill_process(Pid::from_child(&server.child), Signal::HUP).expect("it runs");
    let may = |name: &str| status(&server, name, "GET", "/v1/models", "");
    assert_eq!((may("one"), may("two")), (200, 401));
    fs::write(&file, key("one", "") + &key("two", "") + "rpm = 3\n").unwrap();
    hangup();
    let line = hears("hold on");
    assert!(line.contains("line 11") && line.contains("rpm"), "{line}");
    assert_eq!((may("one"), may("two")), (200, 401));
    fs::remove_file(&file).unwrap();
    hangup();
    assert!(hears("hold on").contains("cannot be read"));
    fs::write(&file, key("two", "rpm_limit = 1")).unwrap();
    hangup();
    hears("holds now");
    assert_eq!((may("one"), may("two")), (401, 200));
    let body =
        json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}], "max_tokens": 1}).to_string();
    let ask = || status(&server, "two", "POST", "/v1/chat/completions", &body);
    assert_eq!((ask(), ask()), (200, 429));
    assert!(state.join("govern.sqlite3").is_file());
}

/// Every entry once and in order, over two servers on one folder.
#[test]
fn the_audit_is_forwarded_as_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, out) = (folder.path().join("rules.toml"), folder.path().join("audit.jsonl"));
    fs::write(&rules, key("one", "")).unwrap();
    let state = folder.path().join("state");
    let mut num_before = 0;
    for _ in 0..2 {
        let mut command =
            gptoss(&["serve", "--port", "0", "--context", "512", "--stop-grace", "0", "--govern"]);
        command.arg(&rules).arg("--state-dir").arg(&state).arg("--audit-forward").arg(&out);
        let mut server = Server::of(command);
        assert_eq!(status(&server, "one", "GET", "/v1/models", ""), 200);
        let entries = || -> Vec<serde_json::Value> {
            let text = fs::read_to_string(&out).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).expect("whole lines")).collect()
        };
        let is_told = |entry: &serde_json::Value| {
            entry["route"] == "GET /v1/models" && entry["seq"].as_u64() > Some(num_before)
        };
        let begun = std::time::Instant::now();
        while !entries().iter().any(is_told) {
            assert!(begun.elapsed().as_secs() < 60, "no entry of the request: {:?}", entries());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        num_before = entries().len() as u64;
        kill_process(Pid::from_child(&server.child), Signal::TERM).expect("it runs");
        crate::program::ended(&mut server.child);
        let numbers: Vec<u64> = entries().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
    run(&["audit", "verify", "--state-dir", state.to_str().unwrap()]).ok();
    // A journal that begins anew is forwarded from its first entry.
    for file in fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()) {
        if !file.ends_with("govern.forwarded") && file.is_file() {
            fs::remove_file(file).unwrap();
        }
    }
    fs::remove_file(&out).unwrap();
    let mut command = gptoss(&["serve", "--port", "0", "--context", "512", "--stop-grace", "0", "--govern"]);
    command.arg(&rules).arg("--state-dir").arg(&state).arg("--audit-forward").arg(&out);
    let server = Server::of(command);
    let begun = std::time::Instant::now();
    while !fs::read_to_string(&out).is_ok_and(|text| text.starts_with("{\"seq\":1,")) {
        assert!(begun.elapsed().as_secs() < 60, "the first entry does not come");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(server);
}

/// What a policy has kept is exported and forwarded when that is asked for, and erased while the server runs.
#[test]
fn what_was_said_is_exported_forwarded_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, out) = (folder.path().join("rules.toml"), folder.path().join("audit.jsonl"));
    let policy = "[policies.kept]\naudit_content = \"both\"\n";
    fs::write(&rules, policy.to_owned() + &key("one", "policy = \"kept\"") + &key("two", "")).unwrap();
    let state = folder.path().join("state");
    let mut command = gptoss(&["serve", "--port", "0", "--context", "512", "--stop-grace", "0", "--govern"]);
    command.arg(&rules).arg("--state-dir").arg(&state);
    command.arg("--audit-forward").arg(&out).arg("--audit-forward-content");
    let server = Server::of(command);
    let body =
        json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}], "max_tokens": 1}).to_string();
    for name in ["one", "two"] {
        assert_eq!(status(&server, name, "POST", "/v1/chat/completions", &body), 200);
    }
    let state = state.to_str().unwrap();
    let exported = |flags: &[&str]| run(&[&["audit", "export", "--state-dir", state], flags].concat()).ok();
    let begun = std::time::Instant::now();
    while !fs::read_to_string(&out).unwrap_or_default().contains("{\"said\":") {
        assert!(begun.elapsed().as_secs() < 60, "what was said does not come");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(fs::read_to_string(&out).unwrap().matches("27 + 58").count(), 1, "of one of the keys");
    assert!(!exported(&[]).contains("27 + 58"));
    assert_eq!(exported(&["--content"]).matches("27 + 58").count(), 1);
    assert!(run(&["audit", "verify", "--state-dir", state]).ok().contains("1 contents"));
    run(&["audit", "erase", "--state-dir", state]).fails(2, &["--tenant", "--all"]);
    let erased = |flags: &[&str]| run(&[&["audit", "erase", "--state-dir", state], flags].concat()).ok();
    assert!(erased(&["--tenant", "two"]).contains("in 0 requests"));
    assert!(erased(&["--tenant", "one", "--before", "2020-01-01"]).contains("in 0 requests"));
    assert!(erased(&["--tenant", "one"]).contains("in 1 requests"));
    assert!(!exported(&["--content"]).contains("27 + 58"));
    assert!(run(&["audit", "verify", "--state-dir", state]).ok().contains("1 were erased"));
    drop(server);
}
