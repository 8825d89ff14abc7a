//! Our browser, served to our own client and to one that speaks the older transport.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gptoss_tools::browser::{Backend, Browser, Corpus, Limits};
use gptoss_tools::mcp::limits::{MCP_SESSIONS_MAX, McpLimits};
use gptoss_tools::mcp::{OfferedTool, ToolOffer, serve_mcp_http};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A server of a corpus with one file, for as long as the folder is held.
async fn start() -> (TempDir, SocketAddr) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("whales.txt"), "Whales\n\nA whale is a mammal.\n").expect("a file");
    let path = folder.path().to_owned();
    let offer = ToolOffer::new(move || {
        let limits = Limits::default();
        let corpus = Corpus::open(&path, limits.page_bytes_max).map_err(std::io::Error::other)?;
        Ok(OfferedTool::Browser(Box::new(Browser::new(Backend::Corpus(corpus), limits))))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve_mcp_http(listener, offer, std::future::pending()));
    (folder, address)
}

#[tokio::test]
async fn the_browser_is_served_with_a_state_for_each_session() {
    let (_folder, address) = start().await;
    let entry = json!({"url": format!("http://{address}/mcp")});
    let client = super::client(&entry, McpLimits::default());
    let listing = client.listing().await.expect("a listing");
    let offered = listing.tool_namespace();
    let expected = gptoss_harmony::ToolNamespace::browser();
    assert_eq!(
        (offered.description, offered.tools),
        (expected.description, expected.tools),
        "the words of the training"
    );
    let searched = client.call("search", r#"{"query": "whale"}"#).await;
    assert!(!searched.is_error && searched.text.starts_with("[0] whale"), "{searched:?}");
    let opened = client.call("open", r#"{"id": 0}"#).await;
    assert!(opened.text.starts_with("[1] ") && opened.text.contains("A whale is a mammal."), "{opened:?}");
    let other = super::client(&entry, McpLimits::default());
    let empty = other.call("find", r#"{"pattern": "mammal"}"#).await;
    assert!(empty.is_error && empty.text.contains("No pages to access!"), "{empty:?}");
    client.close().await;
    other.close().await;
}

/// Sends one request and gives the status line and what is read with it.
fn ask(address: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    BufReader::new(stream)
}

fn status(mut answer: BufReader<TcpStream>) -> (String, String) {
    let mut text = String::new();
    answer.read_to_string(&mut text).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// The data of the next event.
fn event(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).expect("a line"), 0, "the stream has ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return data.trim_end().to_owned();
        }
    }
}

fn post(address: SocketAddr, path: &str, message: &str) -> (String, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close"
    );
    status(ask(address, &format!("{head}\r\nContent-Length: {}\r\n\r\n{message}", message.len())))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_pair_of_routes_is_served() {
    let (_folder, address) = start().await;
    let talk = move || {
        let open = || ask(address, &format!("GET /sse HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        let mut stream = open();
        let path = event(&mut stream);
        let mut call = |message: Value| {
            let (status, body) = post(address, &path, &message.to_string());
            assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 202 Accepted", ""));
            match message.get("id") {
                Some(_) => serde_json::from_str(&event(&mut stream)).expect("JSON"),
                None => Value::Null,
            }
        };
        let client = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client});
        let hello: Value = call(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
        assert_eq!(hello["result"]["serverInfo"]["name"], "browser");
        call(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        let search = json!({"name": "search", "arguments": {"query": "whale"}});
        let found = call(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": search}));
        assert!(
            found["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("whales")),
            "{found}"
        );
        let unknown = json!({"name": "shell"});
        let refused = call(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": unknown}));
        assert_eq!(
            refused["error"]["message"],
            "there is no tool of this name; there are: search, open, find"
        );
        assert_eq!(post(address, &path, "{").0, "HTTP/1.1 400 Bad Request");
        drop(stream);
        assert_eq!(
            post(
                address,
                "/messages?session_id=none",
                &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string()
            )
            .0,
            "HTTP/1.1 404 Not Found"
        );
        let many: Vec<_> = (0..MCP_SESSIONS_MAX).map(|_| open()).collect();
        let (full, words) = {
            std::thread::sleep(Duration::from_millis(500));
            status(ask(
                address,
                &format!("GET /sse HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
            ))
        };
        assert_eq!(
            (full.as_str(), words.as_str()),
            ("HTTP/1.1 503 Service Unavailable", "64 sessions are open; try again later\n")
        );
        drop(many);
        let evil = format!(
            "GET /sse HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(status(ask(address, &evil)).0, "HTTP/1.1 403 Forbidden");
    };
    tokio::task::spawn_blocking(talk).await.expect("it was served");
}
