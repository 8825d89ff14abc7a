//! Traces that `gptoss serve` sends, as a collector gets them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{ended, gptoss};
use crate::scripted::{AFTER_CALL, ANSWER, scripted};
use crate::serve::Server;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// A word of the prompt.
const CANARY: &str = "zanzibar";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What was posted: the head and the body.
type Post = (String, Vec<u8>);

/// A collector that takes everything, for as long as the program runs.
fn collector() -> (String, Receiver<Post>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, posts) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                while let Some(post) = taken(&stream) {
                    let _ = sender.send(post);
                }
            });
        }
    });
    (address, posts)
}

/// Takes a post; None when the connection has ended.
fn taken(mut stream: &TcpStream) -> Option<Post> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let (_, rest) = head.split_once("content-length: ")?;
    let mut body = vec![0; rest.lines().next()?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some((head, body))
}

fn start(flags: &[&str], variables: &[(&str, &str)]) -> Server {
    let mut command = gptoss(&["serve", "--port", "0", "--stop-grace", "0"]);
    command.args(flags).envs(variables.iter().copied()).stderr(Stdio::piped());
    Server::of(command)
}

/// The answer to a request with these lines of its head; a body makes it a post.
fn ask(server: &Server, path: &str, head: &str, body: &str) -> String {
    server.ask(if body.is_empty() { "GET" } else { "POST" }, path, head, body).expect("an answer")
}

/// Stops it as an operator does, and gives its standard error.
fn stop(mut server: Server) -> String {
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    let mut text = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(ended(&mut server.child).success(), "{text}");
    text
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn text(list: &[KeyValue], name: &str) -> Option<String> {
    let value = list.iter().find(|pair| pair.key == name)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::ArrayValue(values) => format!("{:?}", values.values),
        other => panic!("{name}: {other:?}"),
    })
}

#[test]
fn a_request_is_a_span_with_its_phases_and_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), ANSWER, AFTER_CALL);
    let (address, posts) = collector();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
        ("OTEL_SERVICE_NAME", "answers"),
        // The way to this machine leads over no proxy, and over this one to nobody.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    let server = start(&["--model", &model], &variables);
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "{CANARY}"}}], "stream": true}}"#);
    let answer = ask(&server, "/v1/chat/completions", &format!("traceparent: {PARENT}\r\n"), &body);
    assert!(answer.contains("morning"), "{answer}");

    let (head, body) = posts.recv_timeout(PATIENCE).expect("the collector is told");
    assert!(head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("x-key: a b\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    for word in [CANARY, "morning", "world"] {
        assert!(!body.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
    }
    let resource = &ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans[0].resource;
    assert_eq!(text(&resource.as_ref().unwrap().attributes, "service.name").unwrap(), "answers");

    let spans = spans(&body);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /v1/chat/completions", "queue", "prefill", "decode"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let whole = &spans[0];
    assert_eq!(hex(&whole.parent_span_id), "00f067aa0ba902b7");
    for (at, span) in spans.iter().enumerate() {
        assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        if at > 0 {
            assert_eq!(span.parent_span_id, whole.span_id);
            assert!(span.start_time_unix_nano >= whole.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= whole.end_time_unix_nano);
        }
        if at > 1 {
            assert_eq!(span.start_time_unix_nano, spans[at - 1].end_time_unix_nano);
        }
    }
    let says = |name: &str| text(&whole.attributes, name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(says("http.route"), "/v1/chat/completions");
    assert_eq!(says("http.response.status_code"), "200");
    assert_eq!(says("gen_ai.operation.name"), "chat");
    assert!(says("gen_ai.response.finish_reasons").contains("stop"));
    assert!(says("gen_ai.usage.input_tokens").parse::<u32>().unwrap() > 0);
    assert!(says("gen_ai.usage.output_tokens").parse::<u32>().unwrap() > 0);

    // What is asked last is told before the program ends.
    ask(&server, "/v1/models", "", "");
    stop(server);
    let (_, body) = posts.recv_timeout(PATIENCE).expect("the collector is told at the end");
    assert_eq!(self::spans(&body)[0].name, "GET /v1/models");
}

#[test]
fn a_collector_that_is_away_is_told_once_and_counted() {
    // A port that nobody listens to.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let server = start(&["--otlp-endpoint", &format!("http://{address}")], &variables);
    for expect in 1..3 {
        assert!(ask(&server, "/v1/models", "", "").starts_with("HTTP/1.1 200 "));
        let wanted = format!("gptoss_traces_dropped_total {expect}\n");
        let until = std::time::Instant::now() + PATIENCE;
        while !ask(&server, "/metrics", "", "").contains(&wanted) {
            assert!(std::time::Instant::now() < until, "no {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let stderr = stop(server);
    assert_eq!(stderr.matches("does not take them").count(), 1, "{stderr}");
}

#[test]
fn a_collector_without_an_address_is_a_usage_error() {
    let ran = crate::program::run(&["serve", "--otlp-endpoint", "collector:4317"]);
    ran.fails(2, &["--otlp-endpoint: `collector:4317/v1/traces`", "http://127.0.0.1:4318"]);
}

/// What the environment says to all programs kept this one from serving.
#[test]
fn an_environment_without_an_address_is_a_note() {
    let server = start(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]);
    assert!(ask(&server, "/v1/models", "", "").starts_with("HTTP/1.1 200 "));
    let stderr = stop(server);
    assert!(stderr.contains("note: OTEL_EXPORTER_OTLP_ENDPOINT: `collector:4317/v1/traces`"), "{stderr}");
}
