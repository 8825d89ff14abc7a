//! Clients that mean harm, or do it: pages of other sites, bodies that never come, readers that never read.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use gptoss_server::{Keys, Limits};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;

use crate::chat::ANSWER;
use crate::http::{get, post, raw, request, send};
use crate::scripted::{FAILS, Script};
use crate::server::Server;
use crate::shutdown::eventually;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

fn endless(pause: Duration) -> Script {
    let mut script = Script::new(&[]);
    script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(20_000))];
    script.pause = pause;
    script
}

/// A body of ten bytes, of which one comes. The server has read the head when this returns: until then it
/// would be one of the silent connections, which make room.
fn stalled(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{").unwrap();
    stream
}

/// What comes until the end, which is a reset when the server closes over bytes that it has not read.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

/// A page could post to a server on this machine without a key, and with a name of its own for 127.0.0.1 read
/// what it holds.
#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start(&[ANSWER]);
    let body = r#"{"input": "hi"}"#;
    let check = |path: &str, headers: &str, status: u16, code: Option<&str>| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n");
        let answer = raw(server.address, format!("{head}\r\n{body}"));
        let found = (answer.status, answer.json()["error"]["code"].as_str().map(str::to_owned));
        assert_eq!(found, (status, code.map(str::to_owned)), "{path} {headers}");
    };
    let responses = "/v1/responses";
    check(responses, "host: evil.test\r\n", 403, Some("host_not_allowed"));
    check(responses, "host: localhost\r\norigin: https://evil.test\r\n", 403, Some("origin_not_allowed"));
    check(responses, "", 400, Some("invalid_value"));
    check(responses, "host: localhost\r\nhost: localhost\r\n", 400, Some("invalid_value"));
    let media = Some("unsupported_media_type");
    for kind in ["text/plain", "text/plain; x=json", "text/plain;json", "application/x-www-form-urlencoded"] {
        let program = format!("host: localhost\r\ncontent-type: {kind}\r\n");
        check(responses, &program, 200, None);
        check("/api/generate", &program, 200, None);
        let page = format!("{program}origin: http://localhost:3000\r\n");
        check(responses, &page, 415, media);
        check("/api/generate", &page, 200, None);
        check(responses, &format!("{program}sec-fetch-site: same-origin\r\n"), 415, media);
    }
    let page = "host: localhost\r\norigin: http://localhost:3000\r\n";
    check(responses, page, 415, media);
    check(responses, &format!("{page}content-type: application/json; charset=utf-8\r\n"), 200, None);
    check(responses, "host: localhost\r\n", 200, None);
}

/// Codex compresses what it sends; a body that becomes large in memory is as long as a long one.
#[test]
fn compressed_bodies_are_read_within_the_limit() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &[u8]| compress_to_vec(text, CompressionLevel::Fastest);
    let check = |coding: &str, body: &[u8], status: u16, code: Option<&str>| {
        let mut request = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let answer = raw(server.address, request);
        let found = (answer.status, answer.json()["error"]["code"].as_str().map(str::to_owned));
        assert_eq!(found, (status, code.map(str::to_owned)), "{coding}");
        answer
    };
    let plain = br#"{"input": "hi"}"#;
    let bomb = format!("{{\"input\": \"{}\"}}", "a".repeat(100_000)).into_bytes();
    check("gzip", &gzip(plain), 200, None);
    check("zstd", &zstd(plain), 200, None);
    check("identity", plain, 200, None);
    check("gzip", &gzip(&bomb), 413, Some("request_too_large"));
    check("zstd", &zstd(&bomb), 413, Some("request_too_large"));
    check("gzip", plain, 400, Some("invalid_content_encoding"));
    check("zstd", &zstd(plain)[..9], 400, Some("invalid_content_encoding"));
    let refused = check("br", plain, 415, Some("unsupported_content_encoding"));
    assert!(refused.body.contains("content-encoding"), "{}", refused.body);
    assert_eq!(refused.header("accept-encoding"), Some("gzip, zstd"));
}

/// Bodies had no time: three hundred of them that never came took every file of the process.
#[test]
fn a_body_that_does_not_come_is_given_up() {
    let limits = Limits { body_patience: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let text = rest(stalled(server.address));
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("request_timeout"), "{text}");
}

/// A head that does not come, and a connection that is kept without a request, end without a word.
#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    let limits = Limits { head_patience: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let whole = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for text in ["", &whole[..20], whole] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let answer = rest(stream);
        match text == whole {
            true => assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('}'), "{answer}"),
            false => assert_eq!(answer, "", "{text:?}"),
        }
    }
}

/// One stalled body made every stop take the whole drain time.
#[test]
fn a_body_that_does_not_come_does_not_hold_the_stop() {
    let limits = Limits { body_patience: LONG, body_time: LONG, drain: LONG, ..Limits::default() };
    let mut server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let stream = stalled(server.address);
    // Connections are taken in order: when this one is answered, the stalled one is being read.
    assert_eq!(get(server.address, "/health").status, 200);
    server.tell_to_stop();
    let text = rest(stream);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 503"), "{text}");
    server.join();
}

/// Readers that never read kept their connection for ever, and every stop with it.
#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let limits = Limits { write_patience: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(endless(Duration::ZERO), limits, Keys::default());
    // More bytes than the system takes in for both ends.
    let body = json!({"input": "hi", "stream": true, "store": false, "top_logprobs": 20,
        "include": ["message.output_text.logprobs"]});
    let mut stream = send(server.address, "POST", "/v1/responses", &[], &body.to_string());
    server.logged(|line| line.contains(" POST /v1/responses 200 "));
    let mut bytes = Vec::new();
    // The end may be an error: what was not taken is thrown away.
    let _ = stream.read_to_end(&mut bytes);
    assert!(!String::from_utf8_lossy(&bytes).contains("[DONE]"), "the reader was not cut off");
}

/// The listener closed in the moment of the signal, so nobody could see `/ready` say that the server stops.
#[test]
fn a_server_that_stops_says_so_for_a_while() {
    let mut server = Server::start(&[ANSWER]);
    server.tell_to_stop_after(LONG);
    eventually("/ready says so", || get(server.address, "/ready").status == 503);
    let answer = post(server.address, "/v1/responses", &json!({"input": "hi"}));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(answer.json()["error"]["code"], "shutting_down");
    assert_eq!(get(server.address, "/health").status, 200);
    assert_eq!(get(server.address, "/metrics").status, 200);
    // It would go on for an hour.
    std::mem::forget(server);
}

/// Wrong chunks were called too long a body, and an id that is no text was answered in a form of the
/// framework's.
#[test]
fn every_refusal_has_the_documented_form() {
    let server = Server::start(&[ANSWER]);
    let head = "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunk in ["zz\r\n", "fffffffffffffffff\r\n", "5\n{}\n"] {
        let answer = raw(server.address, format!("{head}{chunk}"));
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("invalid_framing")));
    }
    for path in ["/v1/responses/%ff", "/v1/conversations/%ff/items", "/v1/responses/x?stream=perhaps"] {
        let answer = get(server.address, path);
        assert_eq!(
            (answer.status, answer.json()["error"]["type"].as_str()),
            (400, Some("invalid_request_error"))
        );
    }
}

/// With several choices, one that failed was told only when all others had ended.
#[test]
fn a_choice_that_fails_ends_the_request() {
    let mut script = endless(Duration::from_millis(20));
    script.texts.push(FAILS.to_owned());
    let server = Server::with(script, Limits::default(), Keys::default());
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "n": 2});
    // The other choice takes minutes, which the client would not wait.
    assert_eq!(post(server.address, "/v1/chat/completions", &body).status, 500);
    let text = json!({"prompt": ["a", "b"], "max_tokens": 100_000});
    assert_eq!(post(server.address, "/v1/completions", &text).status, 500);
}

/// A key that may not see reasoning read it all the same: rendered as tokens, or by continuing tokens of its
/// own.
#[test]
fn a_key_without_reasoning_has_no_raw_tokens() {
    let keys = "sk-0123456789abcdef reasoning=hidden\nsk-fedcba9876543210 reasoning=hidden tokens=raw";
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), Keys::parse(keys).unwrap());
    let check = |key: &str, path: &str, body: serde_json::Value, expect: u16| {
        let key = format!("Bearer {key}");
        let answer = request(server.address, "POST", path, &[("authorization", &key)], &body.to_string());
        assert_eq!(answer.status, expect, "{path} {body}: {}", answer.body);
    };
    let (without, with) = ("sk-0123456789abcdef", "sk-fedcba9876543210");
    for (key, expect) in [(without, 403), (with, 200)] {
        check(key, "/v1/render", json!({"input": "hi"}), expect);
        let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
        check(key, "/v1/chat/completions/render", chat, expect);
        check(key, "/v1/completions/render", json!({"prompt": [1, 2, 3]}), expect);
        check(key, "/v1/completions", json!({"prompt": [1, 2, 3]}), expect);
        check(key, "/v1/completions", json!({"prompt": [[1, 2, 3]]}), expect);
    }
    check(without, "/v1/completions", json!({"prompt": "text"}), 200);
}

/// A stream was logged when it began, with the time of its headers.
#[test]
fn a_stream_is_logged_when_it_ends() {
    let server = Server::start(&[ANSWER]);
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let body = json!({"input": "hi", "messages": [{"role": "user", "content": "hi"}], "stream": true});
        post(server.address, path, &body);
        let has_tokens =
            |line: &str| line.contains(path) && line.contains("tokens read") && line.ends_with("written");
        server.logged(has_tokens);
    }
}

/// A method of a client's own making stood in the log.
#[test]
fn methods_are_not_logged() {
    let server = Server::start(&[ANSWER]);
    raw(server.address, "CANARY /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let log = server.logged(|line| line.contains("OTHER /v1/models 405"));
    assert!(!log.contains("CANARY"), "{log}");
}

/// The parameter at fault was guessed from the words of the message, and named as Chat Completions has it.
#[test]
fn a_form_that_cannot_be_held_is_named_as_the_api_has_it() {
    let server = Server::start(&[ANSWER]);
    let schema = json!({"type": "string", "pattern": "("});
    let inside = json!({"name": "a", "strict": true, "schema": schema});
    let mut format = inside.clone();
    format["type"] = json!("json_schema");
    let check = |path: &str, body: serde_json::Value, param: &str| {
        let answer = post(server.address, path, &body);
        assert_eq!(
            (answer.status, answer.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{}",
            answer.body
        );
    };
    check("/v1/responses", json!({"input": "hi", "text": {"format": format}}), "text.format");
    let chat = json!({"messages": [{"role": "user", "content": "hi"}],
        "response_format": {"type": "json_schema", "json_schema": inside}});
    check("/v1/chat/completions", chat, "response_format");
    let tool = json!({"type": "function", "name": "f", "strict": true, "parameters": {"type": "object",
        "properties": {"a": schema}, "required": ["a"], "additionalProperties": false}});
    check("/v1/responses", json!({"input": "hi", "tools": [tool]}), "tools");
}

/// One request of 64 prompts took every place of the engine, and others waited for all of them.
#[test]
fn one_request_does_not_take_every_place() {
    let server = Server::with(endless(Duration::from_millis(20)), Limits::default(), Keys::default());
    let prompts: Vec<String> = (0..20).map(|number| format!("prompt {number}")).collect();
    let body = json!({"prompt": prompts, "max_tokens": 100_000, "stream": true}).to_string();
    let stream = send(server.address, "POST", "/v1/completions", &[], &body);
    eventually("the first begin", || server.prompts.lock().unwrap().len() == 8);
    let chat = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1});
    assert_eq!(post(server.address, "/v1/chat/completions", &chat).status, 200);
    assert_eq!(server.prompts.lock().unwrap().len(), 9, "the other twelve wait for the first eight");
    drop(stream);
}

/// One tenant could fill the queue, and all others were refused until it was done.
#[test]
fn one_tenant_does_not_fill_the_queue() {
    let keys = "sk-0123456789abcdef name=many\nsk-fedcba9876543210 name=one";
    let script = Script::new(&[ANSWER]);
    let is_busy = Arc::clone(&script.is_busy);
    is_busy.store(true, Ordering::Relaxed);
    let limits = Limits { background_max: 10_000, drain: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(script, limits, Keys::parse(keys).unwrap());
    let ask = |key: &str, path: &str, body: serde_json::Value| {
        let key = format!("Bearer {key}");
        request(server.address, "POST", path, &[("authorization", &key)], &body.to_string())
    };
    let begin = |key: &str| ask(key, "/v1/responses", json!({"input": "hi", "background": true}));
    let (many, one) = ("sk-0123456789abcdef", "sk-fedcba9876543210");
    let refused = (0..1000).map(|_| begin(many)).find(|answer| answer.status != 200).expect("a bound");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("2")));
    assert!(refused.body.contains("share of the queue"), "{}", refused.body);
    let text = json!({"prompt": ["a", "b"], "max_tokens": 1});
    assert_eq!(ask(many, "/v1/completions", text.clone()).status, 429, "by any way");
    let begun = begin(one);
    assert_eq!(begun.status, 200, "{}", begun.body);
    is_busy.store(false, Ordering::Relaxed);
    eventually("what waited has begun", || begin(many).status == 200);
    assert_eq!(ask(one, "/v1/completions", text).status, 200);
}

/// More connections than the server takes wait until one ends, and are served then.
#[test]
fn connections_beyond_the_cap_wait() {
    let limits = Limits { connections_max: 2, body_patience: LONG, body_time: LONG, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let (first, second) = (stalled(server.address), stalled(server.address));
    let mut third = send(server.address, "GET", "/health", &[], "");
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = third.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(rest(third).starts_with("HTTP/1.1 200"));
    drop(second);
}

/// Connections that send no request, or never the end of its head, took all places, and everybody waited
/// until their time was up: an hour here.
#[test]
fn the_silent_make_room() {
    let limits = Limits { connections_max: 4, head_patience: LONG, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let silent: Vec<TcpStream> = (0..8)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(&b"GET /health HTTP/1.1\r\nhost: "[..number * 3]).unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(post(server.address, "/v1/responses", &json!({"input": "hi"})).status, 200);
    }
    let first = silent.into_iter().next().unwrap();
    assert_eq!(rest(first), "", "the one that came first went first");
}

/// A reader that takes nothing held the stop for the whole drain time.
#[test]
fn a_reader_that_takes_nothing_does_not_hold_the_stop() {
    let limits = Limits { write_patience: LONG, drain: LONG, ..Limits::default() };
    let mut server = Server::with(endless(Duration::ZERO), limits, Keys::default());
    let body = json!({"input": "hi", "stream": true, "store": false, "top_logprobs": 20,
        "include": ["message.output_text.logprobs"]});
    let stream = send(server.address, "POST", "/v1/responses", &[], &body.to_string());
    // It is written to its end, and most of it waits for the reader.
    let is_written =
        || get(server.address, "/metrics").body.lines().any(|line| line == "gptoss_turns_running 0");
    eventually("the turn begins", || !server.prompts.lock().unwrap().is_empty());
    eventually("the turn ends", is_written);
    server.tell_to_stop();
    // It would be an hour.
    server.join();
    drop(stream);
}

/// Turns that were left out to make the rest fit were left out without a word: the warning was lost on its
/// way.
#[test]
fn what_is_left_out_is_told() {
    let server = Server::start(&[ANSWER]);
    let input = json!([
        {"role": "user", "content": "word ".repeat(70_000)},
        {"role": "assistant", "content": "Too much."},
        {"role": "user", "content": "hi"},
    ]);
    let answer = post(server.address, "/v1/responses", &json!({"input": input, "truncation": "auto"})).json();
    assert!(answer["warnings"][0].as_str().unwrap().contains("oldest 1 turns"), "{}", answer["warnings"]);
    assert!(server.prompts.lock().unwrap()[0].len() < 1000);
}

/// What a refused client still wrote was not read, so the connection was reset: a broken pipe in the middle
/// of the body, and no answer.
#[test]
fn who_is_refused_while_it_writes_sees_the_answer() {
    const BODY_BYTES: usize = 64 << 20;
    let keys = Keys::parse("sk-0123456789abcdef").unwrap();
    let limits = Limits { file_bytes_max: 1 << 20, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, keys);
    let plain = format!("content-length: {BODY_BYTES}");
    let form = format!("{plain}\r\ncontent-type: multipart/form-data; boundary=x");
    let file = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    let chunked = "transfer-encoding: chunked";
    let chunk = format!("{BODY_BYTES:x}\r\n");
    let check = |path: &str, key: &str, (headers, begin): (&str, &str), pause: Duration, expect: u16| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n");
        stream.write_all(format!("{head}{headers}\r\n\r\n").as_bytes()).unwrap();
        let mut body = begin.as_bytes().to_vec();
        body.resize(BODY_BYTES, b'x');
        for part in body.chunks(1 << 20) {
            stream.write_all(part).unwrap_or_else(|error| panic!("{path}, {expect}: {error}"));
            std::thread::sleep(pause);
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {expect} ")), "{path}: {text}");
    };
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        check("/v1/responses", "other", (&plain, ""), pause, 401);
        check("/v1/responses", "sk-0123456789abcdef", (&plain, ""), pause, 413);
        check("/v1/responses", "sk-0123456789abcdef", (chunked, &chunk), pause, 413);
        check("/v1/files", "sk-0123456789abcdef", (&form, file), pause, 413);
        check("/nowhere", "sk-0123456789abcdef", (&plain, ""), pause, 404);
    }
}
