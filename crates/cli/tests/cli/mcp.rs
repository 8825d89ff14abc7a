//! `gptoss mcp` over its pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{ended, gptoss};

#[test]
fn the_browser_answers_over_standard_input_and_output() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("whales.txt"), "Whales\n\nA whale is a mammal.\n").expect("a file");
    let mut server = gptoss(&["mcp", "browser", "--corpus"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = server.stdin.take().expect("a pipe");
    let mut output = BufReader::new(server.stdout.take().expect("a pipe"));
    let mut ask = |message: Value| {
        writeln!(input, "{message}").expect("written");
        let mut line = String::new();
        if message.get("id").is_some() {
            output.read_line(&mut line).expect("a line");
        }
        serde_json::from_str::<Value>(&line).unwrap_or_default()
    };
    let client = json!({"name": "test", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let hello = ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
    assert_eq!(hello["result"]["serverInfo"]["name"], "browser", "{hello}");
    ask(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let tools = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
    assert_eq!(tools["result"]["tools"][0]["title"], "Search for information", "{tools}");
    let search = json!({"name": "search", "arguments": {"query": "whale"}});
    let found = ask(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": search}));
    assert!(
        found["result"]["content"][0]["text"].as_str().is_some_and(|text| text.starts_with("[0] whale")),
        "{found}"
    );
    drop(input);
    assert!(ended(&mut server).success());
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let output = gptoss(&["mcp", "browser", "--corpus", "/no/such/folder"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--corpus: /no/such/folder: No such file"), "{told}");
}
