//! `gptoss serve` with the demo model, over real connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{ended, gptoss, run};

/// How long a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests that are sent at a time: fewer than grammars may be compiled at a time.
const AT_A_TIME: u64 = 4;
/// Seeds of each kind of request.
const SEEDS: u64 = 20;

/// A running server; killed when dropped.
pub struct Server {
    /// The process.
    pub child: Child,
    pub address: String,
}

impl Server {
    pub fn start(flags: &[&str]) -> Server {
        let mut command = gptoss(&["serve", "--port", "0", "--quiet"]);
        command.args(flags);
        Server::of(command)
    }

    /// The server that a command starts.
    pub fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.find_map(|line| {
            let line = line.expect("text");
            Some(line.split_once("is served at http://")?.1.split_once('/')?.0.to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address: line.expect("a line with the address") }
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.try_post(path, body).expect("an answer")
    }

    /// Errors: the connection ended before an answer came.
    fn try_post(&self, path: &str, body: &Value) -> std::io::Result<Value> {
        self.exchange("POST", path, "application/json", &body.to_string())
    }

    pub fn get(&self, path: &str) -> Value {
        self.exchange("GET", path, "application/json", "").expect("an answer")
    }

    /// The whole answer to a request with these lines of its head.
    ///
    /// Errors: the connection ended before an answer came.
    pub fn ask(&self, method: &str, path: &str, head: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let fixed = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let fixed = format!("{fixed}content-length: {}\r\n{head}\r\n", body.len());
        stream.write_all(format!("{fixed}{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Errors: the connection ended before an answer came.
    fn exchange(&self, method: &str, path: &str, kind: &str, body: &str) -> std::io::Result<Value> {
        let answer = self.ask(method, path, &format!("content-type: {kind}\r\n"), body)?;
        let Some((_, body)) = answer.split_once("\r\n\r\n") else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        Ok(serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A demanded call is made, whatever the model would rather do. It used to reason or to announce the call
/// until the context was full, in 57 of 100 seeds and more, because nothing bounded what may stand before the
/// call.
#[test]
fn a_demanded_call_is_made() {
    let server = Server::start(&["--context", "512", "--forced-reasoning", "48"]);
    let weather = json!({"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
        "required": ["city"], "additionalProperties": false}, "strict": true}});
    let custom = |format: Value| json!({"type": "custom", "custom": {"name": "note", "description": "Writes a note.", "format": format}});
    let regex = custom(json!({"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}}));
    let form = json!({"type": "json_schema", "json_schema": {"name": "joke", "strict": true, "schema": {
        "type": "object", "properties": {"joke": {"type": "string"}}, "required": ["joke"], "additionalProperties": false}}});
    let variants = [
        json!({"tools": [weather], "tool_choice": "required"}),
        json!({"tools": [weather], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}),
        json!({"tools": [regex], "tool_choice": {"type": "custom", "custom": {"name": "note"}}}),
        json!({"tools": [custom(json!({"type": "text"}))], "tool_choice": "required"}),
        json!({"tools": [weather], "tool_choice": "required", "response_format": form}),
    ];
    for (number, variant) in variants.iter().enumerate() {
        let ask = &|seed: u64| {
            let mut body = variant.clone();
            body["messages"] = json!([{"role": "user", "content": "Tell me a joke about cats."}]);
            body["temperature"] = json!(1);
            body["seed"] = json!(seed);
            let answer = server.post("/v1/chat/completions", &body);
            let choice = &answer["choices"][0];
            let calls = choice["message"]["tool_calls"].as_array().map_or(0, Vec::len);
            // A client's own format may leave the arguments open without end; then they are cut, and the call
            // is told all the same.
            let is_ended = choice["finish_reason"] == "tool_calls" || variant["tools"][0]["type"] == "custom";
            assert!(calls == 1 && is_ended, "variant {number}, seed {seed}: {answer}");
        };
        for first in (0..SEEDS).step_by(AT_A_TIME as usize) {
            std::thread::scope(|scope| {
                for seed in first..first + AT_A_TIME {
                    scope.spawn(move || ask(seed));
                }
            });
        }
    }
}

/// Nothing that a client could send ended the reasoning, and `none` was taken for low.
#[test]
fn reasoning_is_as_long_as_it_may_be() {
    let server = Server::start(&["--reasoning-budget", "30"]);
    let question = json!([{"role": "user", "content": "What is 27 + 58?"}]);
    let tokens = |usage: &Value, details: &str| usage[details]["reasoning_tokens"].as_u64().unwrap();
    let is_told = |answer: &Value| answer["warnings"].to_string().contains("budget of tokens was used up");
    // The header of a message and its end are counted too.
    let is_near = |tokens: u64, budget: u64| (budget..budget + 8).contains(&tokens);
    for (more, budget) in [
        (json!({}), 30),
        (json!({"max_reasoning_tokens": 10}), 10),
        (json!({"thinking_token_budget": 10}), 10),
        (json!({"reasoning": {"max_tokens": 10}}), 10),
        (json!({"max_reasoning_tokens": 5000}), 30),
        (json!({"max_reasoning_tokens": 0}), 0),
        (json!({"reasoning_effort": "none"}), 0),
    ] {
        let mut body = more.clone();
        body["messages"] = question.clone();
        let answer = server.post("/v1/chat/completions", &body);
        let used = tokens(&answer["usage"], "completion_tokens_details");
        assert!(if budget == 0 { used == 0 } else { is_near(used, budget) }, "{more}: {answer}");
        assert_eq!(is_told(&answer), budget > 0, "{more}: {answer}");
        assert_ne!(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default(), "", "{answer}");
    }
    for (reasoning, budget) in [(json!({"max_tokens": 10}), 10), (json!({"effort": "none"}), 0)] {
        let body = json!({"input": "What is 27 + 58?", "reasoning": reasoning});
        let answer = server.post("/v1/responses", &body);
        let used = tokens(&answer["usage"], "output_tokens_details");
        assert!(if budget == 0 { used == 0 } else { is_near(used, budget) }, "{answer}");
        assert_eq!(is_told(&answer), budget > 0, "{answer}");
        assert_eq!(answer["reasoning"]["effort"], if budget == 0 { "none" } else { "medium" });
    }
    // The answer alone takes 12 tokens.
    let question = json!([{"role": "user", "content": "Count to 3."}]);
    let body = json!({"messages": question, "think": false, "stream": false});
    let answer = server.post("/api/chat", &body);
    assert!(answer["eval_count"].as_u64().unwrap() < 16, "it does not think where nobody sees it: {answer}");
    let body = json!({"messages": question, "max_tokens": 99, "thinking": {"type": "disabled"}});
    let answer = server.post("/v1/messages", &body);
    assert!(answer["usage"]["output_tokens"].as_u64().unwrap() < 16, "{answer}");
}

/// What is wrong with a flag is said before a model is read, and a dangerous one when the server starts.
#[test]
fn names_and_origins_are_checked_at_the_start() {
    run(&["serve", "--cors-origin", "https://chat.example/app"])
        .fails(2, &["https://chat.example/app", "SCHEME://HOST"]);
    run(&["serve", "--host", "not a name"]).fails(2, &["--host not a name has no address"]);
    let mut command = gptoss(&["serve", "--port", "0", "--cors-origin", "*", "--host", "localhost"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let is_warned = lines.any(|line| line.expect("text").contains("warning: any page"));
    let _ = child.kill();
    let _ = child.wait();
    assert!(is_warned);
}

/// Files and batches had limits that no flag changed.
#[test]
fn limits_of_files_and_batches_are_flags() {
    let flags = [
        "--max-file",
        "1KiB",
        "--max-files",
        "2",
        "--files-size",
        "1500B",
        "--max-batches",
        "1",
        "--batch-lines",
        "1",
        // The batch has to be there when the second one comes.
        "--no-loop-breaker",
    ];
    let server = Server::start(&flags);
    let upload = |content: &str| {
        let form = format!(
            "--xx\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xx\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{content}\r\n--xx--\r\n"
        );
        server.exchange("POST", "/v1/files", "multipart/form-data; boundary=xx", &form).expect("an answer")
    };
    let code = |answer: &Value| answer["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!(code(&upload(&"x".repeat(1025))), "file_too_large");
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "ignore_eos": true});
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body});
    let input = upload(&format!("{line}{}", " ".repeat(1024 - line.to_string().len())));
    assert_eq!(input["bytes"], 1024, "{input}");
    let full = upload(&"x".repeat(500));
    assert!(code(&full) == "storage_quota_exceeded" && full.to_string().contains("1500"), "{full}");
    assert_eq!(upload("x")["bytes"], 1);
    let many = upload("x");
    assert!(code(&many) == "storage_quota_exceeded" && many.to_string().contains("2 files"), "{many}");
    let batch =
        json!({"input_file_id": input["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    assert_eq!(server.post("/v1/batches", &batch)["status"], "validating");
    assert_eq!(code(&server.post("/v1/batches", &batch)), "server_busy");
}

/// A turn without a limit of its own ended as if the client had set one, and nothing bounded its time.
#[test]
fn a_turn_that_goes_on_is_ended_and_says_why() {
    let check = |flags: &[&str], choices: u32, warning: &str| {
        let server = Server::start(flags);
        // 2022 is `<|return|>`: the answer never ends by itself.
        let body = json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}], "logit_bias": {"2022": -100}, "n": choices});
        let answer = server.post("/v1/chat/completions", &body);
        assert_eq!(answer["choices"][0]["finish_reason"], "length", "{answer}");
        assert!(answer["warnings"].to_string().contains(warning), "{answer}");
    };
    check(&["--context", "256"], 1, "context is full");
    // Eight times the context is more than a second of work.
    check(&["--context", "4096", "--request-timeout", "1"], 8, "time of a request is up");
}

/// Closing the terminal, or a reload by a supervisor, killed the server and cut every stream.
#[cfg(unix)]
#[test]
fn a_hangup_changes_nothing_and_a_second_signal_ends_at_once() {
    use rustix::process::{Pid, Signal, kill_process};

    let mut server =
        Server::start(&["--host", "localhost", "--stop-grace", "3600", "--drain-timeout", "3600"]);
    let pid = Pid::from_child(&server.child);
    kill_process(pid, Signal::HUP).expect("it runs");
    let body = json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}]});
    assert_eq!(server.post("/v1/chat/completions", &body)["choices"][0]["message"]["content"], "85");
    kill_process(pid, Signal::TERM).expect("it runs");
    // The first signal is heard when requests are refused, which the grace of an hour leaves time to see. A
    // connection that was accepted in the moment of the signal may end without an answer.
    let is_refused = |answer: Value| answer["error"]["code"] == "shutting_down";
    while !server.try_post("/v1/chat/completions", &body).is_ok_and(is_refused) {}
    kill_process(pid, Signal::TERM).expect("it still runs");
    assert_eq!(ended(&mut server.child).code(), Some(130));
}
