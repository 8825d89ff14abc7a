//! The operator's rules over HTTP: scopes, decisions, budgets, the audit, and what administrators read.

mod abroad;
mod batches;
mod budgets;
mod canary;
mod content;
mod organization;
mod reloads;
mod ruled;
mod scopes;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use gptoss_govern::{Digest, Journal};
use gptoss_server::{App, Governance, Keys, Limits};
use serde_json::Value;

use crate::http::{Answer, request};
use crate::scripted::Script;
use crate::server::{Server, model};

/// A key of the tests: its secret is `secret-` and its name.
pub fn key(name: &str, more: &str) -> String {
    let hash = Digest::of(&secret(name)).to_hex();
    let id = name.replace('-', "");
    format!("[[keys]]\nname = \"{name}\"\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{more}\n")
}

pub fn secret(name: &str) -> String {
    format!("secret-{name}")
}

/// The key of an administrator, who may do nothing else.
pub fn admin() -> String {
    key("admin", "scopes = [\"admin\"]")
}

pub fn governance(folder: Option<&Path>, rules: &str) -> Arc<Governance> {
    let rules = Governance::parse(rules, &[]).unwrap_or_else(|problem| panic!("{problem}\n{rules}"));
    let journal = Journal::open(folder, 1).unwrap();
    Arc::new(Governance::new(rules, Vec::new(), journal).unwrap())
}

/// A server under rules.
pub fn ruled(rules: &str, script: Script) -> Server {
    changed(&governance(None, rules), |app| app, script)
}

pub fn changed(governance: &Arc<Governance>, change: impl FnOnce(App) -> App, script: Script) -> Server {
    Server::of((None, model()), change, script, Limits::default(), Keys::governed(Arc::clone(governance)))
}

/// A request with a key; a body is sent with POST.
pub fn ask(address: SocketAddr, name: &str, path: &str, body: &Value) -> Answer {
    let key = format!("Bearer {}", secret(name));
    request(address, "POST", path, &[("authorization", &key)], &body.to_string())
}

/// What a key reads.
/// A request whose answer nobody has read yet, for clients that leave.
pub fn begin(address: SocketAddr, name: &str, path: &str, body: &Value) -> TcpStream {
    let (key, text) = (secret(name), body.to_string());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Reads on until a word has come.
pub fn read_until(stream: &mut TcpStream, word: &str) -> Vec<u8> {
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&heard).contains(word) {
        let num = stream.read(&mut part).unwrap();
        assert_ne!(num, 0, "it ended before {word:?}");
        heard.extend_from_slice(&part[..num]);
    }
    heard
}

pub fn see(address: SocketAddr, name: &str, path: &str) -> Answer {
    let key = format!("Bearer {}", secret(name));
    request(address, "GET", path, &[("authorization", &key)], "")
}

/// All links of the audit, the oldest first.
pub fn audit(address: SocketAddr) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/organization/audit_logs?limit=100{after}");
        let page = see(address, "admin", &path);
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            all.reverse();
            return all;
        }
        after = format!("&after={}", page["last_id"].as_str().unwrap());
    }
}

/// The audit's entries of requests to that path, the oldest first.
pub fn entries(address: SocketAddr, path: &str) -> Vec<Value> {
    let is_it = |entry: &Value| {
        let route = entry["route"].as_str().unwrap_or_default();
        route.split(' ').nth(1) == Some(path)
    };
    let all = audit(address).into_iter();
    all.map(|log| log[log["type"].as_str().unwrap()].clone()).filter(is_it).collect()
}

/// What a tenant used until now: requests, tokens read and tokens written.
pub fn used(address: SocketAddr, tenant: &str) -> (u64, u64, u64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let path = format!(
        "/v1/organization/usage/completions?start_time={}&bucket_width=1d&project_ids[]={tenant}",
        now - 86_400
    );
    let answer = see(address, "admin", &path);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let page = answer.json();
    let sum = |field: &str| {
        let buckets = page["data"].as_array().unwrap().iter();
        let results = buckets.flat_map(|bucket| bucket["results"].as_array().unwrap());
        results.map(|result| result[field].as_u64().unwrap()).sum()
    };
    (sum("num_model_requests"), sum("input_tokens"), sum("output_tokens"))
}
