//! `--air-gap` and `local_only`, looked at from the wire: days in a network of their own, where every packet
//! is recorded.
//!
//! The network is a namespace with a loopback over which everything is routed, so that whatever would leave
//! the machine is seen as it leaves, and nothing does. The same day without the flag is the proof that the
//! recorder sees it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::mcp::Served;
use crate::program::{ended, gptoss, run};
use crate::serve::Server;

/// Set where a test runs in a network of its own.
const VARIABLE: &str = "GPTOSS_TEST_OWN_NETWORK";
/// What makes the network: an address of its own, and a way to everywhere.
const NETWORK: &str =
    "ip link set lo up && ip address add 10.9.9.2/32 dev lo && ip route add default dev lo && exec \"$@\"";
/// Somebody on the internet, if there were one.
const ELSEWHERE: &str = "9.9.9.9";
/// All kinds of packets, as the wire has the number.
const ALL_PACKETS: NonZeroU32 = NonZeroU32::new(ETH_P_ALL.to_be() as u32).unwrap();
const ETH_P_ALL: u16 = 3;

/// Runs an ignored test of this file in a network of its own. A machine on which there can be none is told.
fn in_its_own_network(test: &str) {
    let unshared = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-Urn", "sh", "-c", NETWORK, "sh"]).args(arguments).stdin(Stdio::null());
        command
    };
    match unshared(&["true"]).output() {
        Ok(output) if output.status.success() => {}
        other => {
            eprintln!("SKIPPED {test}: no network of its own can be made here: {other:?}");
            return;
        }
    }
    let own = std::env::current_exe().unwrap();
    let output = unshared(&[own.to_str().unwrap(), "--exact", test, "--ignored", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[expect(clippy::disallowed_methods, reason = "a test that starts itself hands itself a variable")]
fn is_in_its_own_network() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Every packet of the network, from now on.
struct Recorder {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Recorder {
    fn start() -> Recorder {
        let protocol = Some(Protocol::from_raw(ALL_PACKETS));
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol).unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(100))).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        Recorder { is_over, thread: std::thread::spawn(move || record(&socket, &over)) }
    }

    /// What was sent elsewhere, and who was connected to on this machine but for servers at `ports`.
    fn end(self, ports: &[u16]) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        let is_ours = |seen: &String| ports.iter().any(|port| seen.ends_with(&format!("127.0.0.1:{port}")));
        self.thread.join().unwrap().into_iter().filter(|seen| !is_ours(seen)).collect()
    }
}

/// Reads until it is over and nothing more comes.
fn record(socket: &OwnedFd, is_over: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut frame = [0; 256];
    loop {
        match recv(socket, &mut frame[..], RecvFlags::TRUNC) {
            Ok((count, _)) => seen.extend(told(&frame[..count.min(256)])),
            Err(_) if is_over.load(Ordering::Relaxed) => return seen,
            Err(_) => {}
        }
    }
}

/// What is worth telling of a frame: a packet that leaves the machine, or the first of a connection.
fn told(frame: &[u8]) -> Option<String> {
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(30..34)?).unwrap());
            let begin = 14 + usize::from(frame[14] & 0x0F) * 4;
            let port =
                frame.get(begin + 2..begin + 4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
            let is_first = frame[23] == 6 && frame.get(begin + 13)? & 0x12 == 0x02;
            let is_here = to.is_loopback() || to == Ipv4Addr::new(10, 9, 9, 2);
            (is_first || !is_here).then(|| format!("protocol {} to {to}:{port}", frame[23]))
        }
        // Its own is ::1, and there is no other.
        [0x86, 0xDD] => Some(format!("IPv6 to {:02x?}", frame.get(38..54)?)),
        other => Some(format!("a frame of kind {other:02x?}")),
    }
}

/// A corpus, and the file of an MCP server that tries to reach somebody before it serves that corpus.
fn written(folder: &Path) -> (String, String) {
    std::fs::write(folder.join("whales.txt"), "Whales\n\nA whale is a mammal.\n").unwrap();
    let corpus = format!("corpus:{}", folder.display());
    let program = env!("CARGO_BIN_EXE_gptoss");
    let script = format!(
        "(exec 3<>/dev/tcp/{ELSEWHERE}/80) 2>/dev/null & echo x >/dev/udp/{ELSEWHERE}/53; exec {program} mcp browser {corpus}"
    );
    let file = folder.join("mcp.json");
    let entry = json!({"mcpServers": {"wiki": {"command": "bash", "args": ["-c", script]}}});
    std::fs::write(&file, entry.to_string()).unwrap();
    (corpus, file.to_str().unwrap().to_owned())
}

fn port(server: &Server) -> u16 {
    server.address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Asks for everything that could make a server connect to somebody. Gives the tools of the MCP server.
fn ask_for_everything(server: &Server) -> Vec<String> {
    let address = format!("http://{ELSEWHERE}/");
    let tools = json!([
        {"type": "web_search"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "wiki", "require_approval": "never"},
    ]);
    let body = json!({"input": format!("Open {address}"), "tools": tools, "max_output_tokens": 16});
    let answer = server.post("/v1/responses", &body);
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4})),
        (
            "/v1/responses",
            json!({"input": "hi", "tools": [{"type": "mcp", "server_label": "far", "server_url": address}]}),
        ),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": address}]}]}),
        ),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": address}]}]}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}]}),
        ),
        ("/api/pull", json!({"model": "gpt-oss:20b"})),
        ("/v1/load_lora_adapter", json!({"lora_name": "a", "lora_path": address})),
    ] {
        let answer =
            server.ask("POST", path, "content-type: application/json\r\n", &body.to_string()).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 5"),
            "{path} {body}: {answer}"
        );
    }
    let listed = answer["output"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
    let names = |item: &Value| item["tools"].as_array().cloned().unwrap_or_default();
    listed.flat_map(names).map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// The lines of a server's log, as they come.
fn log_of(server: &mut Server) -> Receiver<String> {
    let (sender, lines) = channel();
    let stderr = server.child.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    lines
}

#[test]
fn nothing_leaves_a_day_behind_it() {
    in_its_own_network("air_gap::a_day");
}

#[test]
#[ignore = "started by nothing_leaves_a_day_behind_it, in a network of its own"]
fn a_day() {
    if !is_in_its_own_network() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (corpus, mcp) = written(folder.path());
    let serve = |more: &[&str]| {
        let mut command = gptoss(&["serve", "--port", "0"]);
        command.args(["--tools", "browser,python", "--browser", &corpus, "--mcp", &mcp]).args(more);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").stderr(Stdio::piped());
        command
    };
    // The program that opens whatever page it is asked for, as it can be driven without a model.
    let open = |command: Command| {
        let mut served = Served::start(command);
        let page = served.call("open", json!({"id": format!("http://{ELSEWHERE}:8080/")}));
        served.ends();
        page["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{page}")).to_owned()
    };

    let recorder = Recorder::start();
    refusals(folder.path());
    let mut server = Server::of(serve(&["--air-gap"]));
    let lines = log_of(&mut server);
    assert_eq!(ask_for_everything(&server), ["search", "open", "find"], "the server of tools works");
    kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();
    lines.iter().find(|line| line.contains("SIGHUP")).expect("a line of the signal");
    assert_eq!(ask_for_everything(&server), ["search", "open", "find"]);
    let told = open(gptoss(&["mcp", "--air-gap", "browser", &corpus]));
    assert!(told.contains("no file of the corpus has this address"), "{told}");
    let mut python = gptoss(&["mcp", "python", "--air-gap"]);
    python.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let mut python = Served::start(python);
    let connect = format!("import socket; socket.create_connection(('{ELSEWHERE}', 80), 1)");
    let answer = python.call("python", json!({"code": connect}));
    assert!(answer.to_string().contains("Error"), "{answer}");
    python.ends();
    let seen = recorder.end(&[port(&server)]);
    assert!(seen.is_empty(), "packets left: {seen:?}");
    drop(server);

    // The same without the flag: each way out is seen.
    let recorder = Recorder::start();
    let collector = format!("http://{ELSEWHERE}:4318");
    let mut server = Server::of(serve(&["--otlp-endpoint", &collector]));
    let lines = log_of(&mut server);
    assert_eq!(ask_for_everything(&server), ["search", "open", "find"]);
    open(gptoss(&["mcp", "browser", "fetch"]));
    kill_process(Pid::from_child(&server.child), Signal::INT).unwrap();
    ended(&mut server.child);
    lines.iter().for_each(drop);
    let seen = recorder.end(&[port(&server)]);
    for way in [
        "protocol 6 to 9.9.9.9:80",
        "protocol 6 to 9.9.9.9:8080",
        "protocol 17 to 9.9.9.9:53",
        "protocol 6 to 9.9.9.9:4318",
    ] {
        assert!(seen.iter().any(|seen| seen == way), "{way} is not among {seen:?}");
    }
}

#[test]
fn what_is_labelled_does_not_leave() {
    in_its_own_network("air_gap::a_day_of_labels");
}

/// A gateway whose upstream is somebody on the internet.
fn gateway(more: &str) -> String {
    format!(
        "[[detectors]]\nkind = \"pattern\"\nname = \"patients\"\npattern = \"patient [0-9]+\"\nlabel = \"local_only\"\n\
         [[upstreams]]\nname = \"cloud\"\nbase_url = \"http://{ELSEWHERE}:8090/v1\"\ntimeout = \"1s\"\n\
         models = {{ big = \"big\" }}\n[[routes]]\nname = \"rest\"\nmodel = [\"auto\"]\n\
         targets = [\"cloud:big\", \"local:demo\"]\n{more}"
    )
}

/// Labelled requests, in every API: what is here answers, and nobody else is asked.
fn ask_with_labels(server: &Server) {
    let status = |path: &str, head: &str, body: &Value| {
        let head = format!("content-type: application/json\r\n{head}");
        let answer = server.ask("POST", path, &head, &body.to_string()).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    const LABEL: &str = "x-gptoss-sensitivity: local_only\r\n";
    for (head, text) in [(LABEL, "hi"), ("", "What of patient 4711?")] {
        let turn = json!([{"role": "user", "content": text}]);
        let tool = json!([{"type": "function", "function": {"name": "f"}}]);
        for model in ["big", "auto"] {
            let expect = if model == "big" { 503 } else { 200 };
            for (path, body) in [
                ("/v1/chat/completions", json!({"messages": turn, "max_tokens": 4})),
                ("/v1/chat/completions", json!({"messages": turn, "max_tokens": 4, "tools": tool})),
                ("/v1/chat/completions", json!({"messages": turn, "max_tokens": 4, "stream": true})),
                ("/v1/responses", json!({"input": text, "max_output_tokens": 16})),
                ("/v1/messages", json!({"messages": turn, "max_tokens": 4})),
                ("/v1/completions", json!({"prompt": text, "max_tokens": 4})),
            ] {
                let mut body = body.clone();
                body["model"] = json!(model);
                assert_eq!(status(path, head, &body), expect, "{path} {body}");
            }
        }
    }
}

#[test]
#[ignore = "started by what_is_labelled_does_not_leave, in a network of its own"]
fn a_day_of_labels() {
    if !is_in_its_own_network() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, gateway("")).unwrap();
    let recorder = Recorder::start();
    let mut command = gptoss(&["serve", "--port", "0", "--gateway", file.to_str().unwrap()]);
    command.stderr(Stdio::piped());
    let mut server = Server::of(command);
    let lines = log_of(&mut server);
    ask_with_labels(&server);
    for (text, line) in [
        (gateway("[[routes]]\nname = 7\n"), "the gateway stays as it is"),
        (gateway("[local]\nprice = { input = 1, output = 1 }\n"), "1 upstreams and 1 routes now"),
    ] {
        std::fs::write(&file, text).unwrap();
        kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();
        lines.iter().find(|said| said.contains(line)).expect(line);
        ask_with_labels(&server);
    }
    let seen = recorder.end(&[port(&server)]);
    assert!(seen.is_empty(), "packets left: {seen:?}");

    // What nobody labels does leave, and comes back to who is here.
    let recorder = Recorder::start();
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4});
    let answer = server.post("/v1/chat/completions", &body);
    assert!(answer["choices"][0]["message"].is_object(), "{answer}");
    let seen = recorder.end(&[port(&server)]);
    assert!(seen.iter().any(|seen| seen == "protocol 6 to 9.9.9.9:8090"), "{seen:?}");
}

#[test]
fn what_needs_a_connection_is_refused_by_name() {
    refusals(tempfile::tempdir().unwrap().path());
}

/// Every option that would need a connection, at the start.
fn refusals(folder: &Path) {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let far = file("far.json", r#"{"mcpServers": {"far": {"url": "http://9.9.9.9/mcp"}}}"#);
    file("spam.txt", "No spam.");
    let guard = file(
        "guard.toml",
        "[[policy]]\nname = \"spam\"\nfile = \"spam.txt\"\nmodel = \"judge\"\naddress = \"http://127.0.0.1:1/v1\"\n",
    );
    let refused = |arguments: &[&str], named: &str| {
        run(&[&["--air-gap"], arguments].concat()).fails(2, &[named, "--air-gap"]);
        run(&[arguments, &["--air-gap"]].concat()).fails(2, &[named, "--air-gap"]);
    };
    let serve = |flags: &[&str], named: &str| refused(&[&["serve", "--port", "0"], flags].concat(), named);
    serve(&["--tools", "browser", "--browser", "exa"], "--browser exa");
    serve(&["--tools", "browser", "--browser", "youcom"], "--browser youcom");
    serve(&["--tools", "browser", "--browser", "fetch"], "--browser fetch");
    serve(&["--tools", "browser", "--browser", "searxng:http://127.0.0.1:1"], "--browser searxng");
    serve(&["--mcp", &far], "the server \"far\"");
    serve(&["--otlp-endpoint", "http://127.0.0.1:4318"], "--otlp-endpoint");
    serve(&["--guard", &guard], "--guard");
    let gateway = file("gateway.toml", &gateway(""));
    serve(&["--gateway", &gateway], "--gateway");
    serve(&["--host", "gptoss.invalid"], "--host gptoss.invalid");
    refused(&["chat", "--browser", "exa"], "--browser exa");
    refused(
        &["agent", "task", "--approve", "never", "--tools", "browser", "--browser", "fetch"],
        "--browser fetch",
    );
    refused(
        &["agent", "task", "--approve", "never", "--tools", "mcp:far", "--mcp", &far],
        "the server \"far\"",
    );
    refused(&["mcp", "browser", "fetch"], "--browser fetch");
    refused(&["pull", "openai/gpt-oss-20b"], "pull");
    refused(&["launch", "codex"], "launch");
    // The variable is the flag, for commands with settings and for those without.
    for arguments in [["chat", "--browser", "exa"].as_slice(), &["pull", "openai/gpt-oss-20b"]] {
        let output = gptoss(arguments).env("GPTOSS_AIR_GAP", "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains("--air-gap"), "{arguments:?}: {told}");
    }
}
