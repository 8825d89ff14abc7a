//! `gptoss mcp` over its pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::program::{ended, gptoss, run};

/// A server that was greeted, and its pipes.
pub struct Served {
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    num_asked: u64,
    hello: Value,
}

impl Served {
    pub fn start(mut command: Command) -> Served {
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = server.stdin.take().expect("a pipe");
        let output = BufReader::new(server.stdout.take().expect("a pipe"));
        let mut served = Served { server, input, output, num_asked: 0, hello: Value::Null };
        let client = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        served.hello = served.ask("initialize", &hello);
        writeln!(served.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .expect("written");
        served
    }

    /// The result of a request.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.num_asked += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.num_asked, "method": method, "params": params});
        writeln!(self.input, "{message}").expect("written");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str::<Value>(&line).expect("JSON")["result"].take()
    }

    pub fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.ask("tools/call", &json!({"name": name, "arguments": arguments}))
    }

    pub fn ends(self) {
        let Served { mut server, input, .. } = self;
        drop(input);
        assert!(ended(&mut server).success());
    }
}

#[test]
fn the_browser_answers_over_standard_input_and_output() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("whales.txt"), "Whales\n\nA whale is a mammal.\n").expect("a file");
    let source = format!("corpus:{}", folder.path().display());
    let mut served = Served::start(gptoss(&["mcp", "browser", &source]));
    assert_eq!(served.hello["serverInfo"]["name"], "browser", "{}", served.hello);
    let tools = served.ask("tools/list", &json!({}));
    assert_eq!(tools["tools"][0]["title"], "Search for information", "{tools}");
    let found = served.call("search", json!({"query": "whale"}));
    assert!(
        found["content"][0]["text"].as_str().is_some_and(|text| text.starts_with("[0] whale")),
        "{found}"
    );
    served.ends();
}

#[cfg(target_os = "linux")]
#[test]
fn python_keeps_its_state_and_hands_out_plots() {
    let mut command = gptoss(&["mcp", "python"]);
    // Where the Python of this machine is looked for.
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let mut served = Served::start(command);
    assert_eq!(served.hello["serverInfo"]["name"], "python", "{}", served.hello);
    assert!(
        served.hello["instructions"].as_str().is_some_and(|text| text.contains("stateful")),
        "{}",
        served.hello
    );
    let tools = served.ask("tools/list", &json!({}));
    assert_eq!(tools["tools"][0]["inputSchema"]["required"], json!(["code"]), "{tools}");
    served.call("python", json!({"code": "x = 27"}));
    let sum = served.call("python", json!({"code": "print(x + 58)"}));
    assert_eq!(sum["content"], json!([{"type": "text", "text": "85\n"}]), "{sum}");
    let code = "open('/mnt/data/a.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n');";
    let plot = served.call("python", json!({"code": code}));
    let image = json!({"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"});
    assert_eq!(plot["content"][1], image, "{plot}");
    let wrong = served.call("python", json!({"text": "1"}));
    assert_eq!(wrong["isError"], true, "{wrong}");
    served.ends();
}

#[cfg(target_os = "linux")]
#[test]
fn a_python_in_wasm_that_cannot_be_used_is_told() {
    let (code, why) = match cfg!(feature = "wasm") {
        true => (1, "/no/such.wasm cannot be used as a Python in WebAssembly"),
        false => (2, "build it with --features wasm"),
    };
    run(&["mcp", "python", "--python-wasm", "/no/such.wasm"]).fails(code, &[why]);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let output = gptoss(&["mcp", "browser", "corpus:/no/such/folder"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("corpus:/no/such/folder cannot be used"), "{told}");
}
