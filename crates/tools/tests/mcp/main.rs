//! The client of the Model Context Protocol, against a server in Python over both transports.

mod serve;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gptoss_tools::ToolReply;
use gptoss_tools::mcp::limits::McpLimits;
use gptoss_tools::mcp::{McpClient, parse_mcp_servers};
use serde_json::{Value, json};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py");

/// A client of one entry.
fn client(entry: &Value, limits: McpLimits) -> McpClient {
    let text = json!({"mcpServers": {"test-server": entry}}).to_string();
    let lookup = |name: &str| match name {
        "PATH" => Some("/usr/local/bin:/usr/bin:/bin".to_owned()),
        "OPENAI_API_KEY" => Some("sk-caller".to_owned()),
        "SECRET" => Some("s3cret".to_owned()),
        _ => None,
    };
    let config = parse_mcp_servers(&text, &lookup).expect("an entry").remove(0);
    McpClient::new(config, limits)
}

fn stdio_entry(more: &[&str]) -> Value {
    let args: Vec<&str> = [SERVER, "stdio"].into_iter().chain(more.iter().copied()).collect();
    json!({"command": "python3", "args": args, "env": {"GIVEN": "1"}})
}

/// A server over HTTP, killed when it is dropped.
struct HttpServer {
    process: Child,
    address: String,
}

impl HttpServer {
    fn start(more: &[&str]) -> Self {
        let mut process = Command::new("python3")
            .args([SERVER, "http"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut address = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut address).expect("an address");
        Self { process, address: address.trim().to_owned() }
    }

    fn entry(&self, path: &str) -> Value {
        json!({"url": format!("{}{path}", self.address), "headers": {"X-Secret": "is ${SECRET}"}})
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is the same over every transport and revision.
async fn check_calls(client: &McpClient) {
    let listing = client.listing().await.expect("a listing");
    let namespace = listing.tool_namespace();
    let names: Vec<&str> = namespace.tools.iter().map(|tool| tool.name.as_str()).collect();
    let expected =
        ["echo", "get_env", "fail", "refuse", "sleep", "canceled", "die", "image", "grow", "ask", "headers"];
    assert_eq!(names, expected, "of both pages");
    assert_eq!(namespace.name, "test_server");
    assert_eq!(namespace.description.as_deref(), Some("Says what it is told."));
    let echoed = client.call("test_server.echo", r#"{"text": "héllo\u0007"}"#).await;
    assert_eq!(echoed, ToolReply::text("héllo"));
    assert_eq!(client.call("echo", " ").await, ToolReply::text("[nothing]"));
    assert_eq!(client.call("fail", "{}").await, ToolReply::error("it did not work"));
    let refused = ToolReply::error(r#"MCP server "test-server" refuses: not today"#);
    assert_eq!(client.call("refuse", "{}").await, refused);
    let image = client.call("image", "{}").await;
    assert_eq!(
        (image.text.as_str(), image.files[0].bytes.as_slice()),
        ("[image image/png, 3 bytes: image-1.png]", &[0, 1, 2][..])
    );
    assert_eq!(
        client.call("ask", "{}").await,
        ToolReply::text("asked"),
        "a server's own request hinders nothing"
    );
    let wrong = client.call("echo", "[1]").await;
    assert!(wrong.is_error && wrong.text.starts_with("the arguments are not a JSON object: "), "{wrong:?}");
    let unknown = client.call("get-env", "{}").await;
    assert!(
        unknown.is_error
            && unknown.text.starts_with(r#"there is no function "get-env"; there are: echo, get_env, "#)
    );
}

#[tokio::test]
async fn a_program_is_called_over_its_pipes() {
    let client = client(&stdio_entry(&[]), McpLimits::default());
    check_calls(&client).await;
    let environment = client.call("get_env", "{}").await.text;
    let inherited: Vec<&str> =
        environment.split(' ').filter(|name| !["LC_CTYPE", "PWD"].contains(name)).collect();
    assert_eq!(inherited, ["GIVEN", "PATH"], "the entry's variables, and of the caller's no key");
    assert_eq!(client.call("grow", "{}").await, ToolReply::text("grew"));
    let grown = client.listing().await.expect("a listing");
    assert!(grown.tool("grown").is_some(), "tools are read again once they have changed");
    client.close().await;
}

#[tokio::test]
async fn a_newer_program_is_called_without_a_handshake() {
    let client = client(&stdio_entry(&["--newer"]), McpLimits::default());
    check_calls(&client).await;
    client.close().await;
}

#[tokio::test]
async fn an_address_is_called_over_http() {
    let server = HttpServer::start(&[]);
    let client = client(&server.entry("/mcp"), McpLimits::default());
    check_calls(&client).await;
    let headers: Value = serde_json::from_str(&client.call("headers", "{}").await.text).expect("JSON");
    assert_eq!(headers["x-secret"], "is s3cret");
    assert_eq!(headers["mcp-session-id"], "s1");
    assert!(!headers.to_string().contains("sk-caller"), "{headers}");
    client.close().await;
}

#[tokio::test]
async fn a_newer_address_is_called_without_a_handshake() {
    let server = HttpServer::start(&["--newer"]);
    let client = client(&server.entry("/mcp"), McpLimits::default());
    check_calls(&client).await;
    client.close().await;
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_started_again() {
    let client = client(&stdio_entry(&[]), McpLimits::default());
    let died = client.call("die", "{}").await;
    let expected = r#"MCP server "test-server" has ended: it ended (exit status: 3) and last wrote: I was told to die. It is started again at the next call."#;
    assert_eq!(died, ToolReply::error(expected));
    assert_eq!(client.call("echo", r#"{"text": "again"}"#).await, ToolReply::text("again"));
    client.close().await;
    assert_eq!(client.call("echo", r#"{"text": "and again"}"#).await, ToolReply::text("and again"));
    client.close().await;
}

#[tokio::test]
async fn an_address_that_is_gone_is_told_and_reached_again() {
    let server = HttpServer::start(&[]);
    let client = client(&server.entry("/mcp"), McpLimits::default());
    assert_eq!(client.call("echo", r#"{"text": "a"}"#).await, ToolReply::text("a"));
    let died = client.call("die", "{}").await;
    assert!(died.is_error && died.text.contains("test-server"), "{died:?}");
    let gone = client.call("echo", "{}").await;
    assert!(gone.is_error && gone.text.contains("onnect"), "{gone:?}");
}

#[tokio::test]
async fn a_call_has_its_time_and_its_length() {
    let limits = McpLimits { call: Duration::from_millis(400), output_bytes: 5, ..McpLimits::default() };
    let client = client(&stdio_entry(&[]), limits);
    let cut = client.call("echo", r#"{"text": "a long text"}"#).await;
    assert_eq!(cut, ToolReply::text("a lon\n[cut: 6 more bytes]"));
    let late = client.call("sleep", r#"{"text": "60"}"#).await;
    let expected = r#"MCP server "test-server" did not answer within 0.4 s; the call was canceled."#;
    assert_eq!(late, ToolReply::error(expected));
    assert_eq!(client.call("canceled", "{}").await, ToolReply::text("True"));
    client.close().await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_canceled() {
    let client = client(&stdio_entry(&[]), McpLimits::default());
    client.listing().await.expect("a listing");
    let call = client.call("sleep", r#"{"text": "60"}"#);
    assert!(tokio::time::timeout(Duration::from_millis(400), call).await.is_err());
    assert_eq!(client.call("canceled", "{}").await, ToolReply::text("True"));
    client.close().await;
}

#[tokio::test]
async fn what_is_not_a_server_is_told() {
    let http = HttpServer::start(&[]);
    let check = async |entry: Value, expected: &str| {
        let limits = McpLimits { start: Duration::from_secs(2), ..McpLimits::default() };
        let client = client(&entry, limits);
        let error = client.listing().await.expect_err(expected).to_string();
        assert!(
            error.starts_with(r#"MCP server "test-server""#) && error.contains(expected),
            "{entry}: {error}"
        );
        assert_eq!(client.call("echo", "{}").await, ToolReply::error(error));
    };
    check(json!({"command": "/no/such/program"}), r#""/no/such/program" cannot be started: No such file"#)
        .await;
    let exits = json!({"command": "sh", "args": ["-c", "echo no license >&2; exit 4"]});
    check(exits, "it ended (exit status: 4) and last wrote: no license").await;
    check(json!({"command": "sleep", "args": ["60"]}), "did not start within 2 s").await;
    check(http.entry("/locked"), "HTTP 401 Unauthorized: who are you?; give what it wants in `headers`")
        .await;
    check(http.entry("/moved"), "HTTP 307 Temporary Redirect to /mcp; write that as `url`").await;
    check(http.entry("/other"), "HTTP 404 Not Found: <h1>nothing here</h1>; see the path of `url`").await;
    check(json!({"url": "http://127.0.0.1:1/mcp"}), "onnection refused").await;
}

#[tokio::test]
async fn a_server_that_does_not_start_is_not_tried_again_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("starts");
    let script = format!("echo x >> {}; exit 1", file.display());
    let client = client(&json!({"command": "sh", "args": ["-c", script]}), McpLimits::default());
    let (first, second) = tokio::join!(client.listing(), client.listing());
    assert!(first.is_err() && second.is_err());
    assert_eq!(std::fs::read_to_string(&file).expect("a start"), "x\n");
}

#[tokio::test]
async fn a_program_and_what_it_started_end_with_the_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    // The grandchild holds no pipe and would live for a minute.
    let script = format!(
        "sleep 60 </dev/null >/dev/null 2>&1 & echo $! > {}; exec python3 {SERVER} stdio",
        file.display()
    );
    let client = client(&json!({"command": "sh", "args": ["-c", script]}), McpLimits::default());
    client.listing().await.expect("a listing");
    let pid = std::fs::read_to_string(&file).expect("a number");
    let is_there = || {
        Path::new("/proc").join(pid.trim()).join("fd").read_dir().is_ok_and(|mut fds| fds.next().is_some())
    };
    assert!(is_there(), "it runs");
    drop(client);
    let start = Instant::now();
    while is_there() && start.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!is_there(), "it was killed with its group");
}
