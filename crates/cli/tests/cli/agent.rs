//! `agent`: a task in a folder, by a checkpoint that says what a test wants.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{Ran, gptoss, run, run_with};
use crate::scripted::{scripted, scripted_with_middle};

/// A patch with one new file: its first half, up to the name of the file, and the rest.
const PATCH: [&str; 2] = [
    "<|channel|>commentary to=functions.apply_patch<|message|> *** Begin| Pat|ch|\n|***| Add File: piano",
    "\n|+|print|(1|)\n|***| End Patch<|call|>",
];
/// A call that holds no patch.
const NO_PATCH: &str =
    "<|channel|>commentary to=functions.apply_patch <|constrain|>json<|message|>{}<|call|>";
const LIST: &str =
    "<|channel|>commentary to=functions.shell <|constrain|>json<|message|>{\"command\":\"ls\"}<|call|>";
const SEARCH: [&str; 2] =
    ["<|channel|>analysis to=browser.search code<|message|>{\"query\":\"|piano", "\"}<|call|>"];
const CITES: &str = "<|channel|>final<|message|>It is so 【0†L1】.<|return|>";
const MAKES_FILE: &str = "<|channel|>analysis to=python code<|message|>open|('/|mnt|/data|/p|iano|','|w|').|write|('|85|')<|call|>";
const DONE: &str = "<|channel|>final<|message|>It makes 85.<|return|>";

struct Bench {
    model: tempfile::TempDir,
    workspace: tempfile::TempDir,
}

impl Bench {
    /// A model that patches, and says that it is done.
    fn patching() -> Bench {
        let bench = Bench::empty();
        scripted_with_middle(bench.model.path(), PATCH[0], PATCH[1], DONE);
        bench
    }

    fn empty() -> Bench {
        Bench { model: tempfile::tempdir().unwrap(), workspace: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> &Path {
        self.workspace.path()
    }

    fn agent(&self, more: &[&str]) -> Ran {
        self.agent_with("apply_patch", more)
    }

    fn agent_with(&self, tools: &str, more: &[&str]) -> Ran {
        let (model, workspace) = (self.model.path().to_str().unwrap(), self.folder().to_str().unwrap());
        let args = ["agent", "Begin.", "--model", model, "--workspace", workspace, "--tools", tools];
        run(&[&args[..], more].concat())
    }

    fn undo(&self) -> Ran {
        run(&["agent", "--undo", "--workspace", self.folder().to_str().unwrap()])
    }
}

fn events(ran: Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_task_is_done_told_and_taken_back() {
    let bench = Bench::patching();
    let ran = bench.agent(&["--approve", "auto"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "It makes 85.\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("+++ b/piano\n@@ -0,0 +1 @@\n+print(1)\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("patch of +piano: done"), "{}", ran.stderr);
    let file = bench.folder().join("piano");
    assert_eq!(fs::read_to_string(&file).unwrap(), "print(1)\n");
    assert_eq!(bench.undo().ok(), "piano\n");
    assert!(!file.exists());
    bench.undo().fails(1, &["no patch to take back"]);
}

#[test]
fn what_nobody_approves_of_is_shown_and_not_done() {
    let bench = Bench::patching();
    let ran = bench.agent(&["--approve", "never"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "It makes 85.\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("+print(1)\n") && ran.stderr.contains("patch of +piano: not done"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_dir(bench.folder()).unwrap().count(), 0);
    // Standard input of these tests is a pipe.
    bench.agent(&[]).fails(2, &["nobody can be asked", "--approve auto"]);
}

#[test]
fn events_are_those_of_codex() {
    let bench = Bench::patching();
    let mut events = events(bench.agent(&["--approve", "auto", "--json"]));
    let usage = events.last().unwrap()["usage"].clone();
    assert!(usage["input_tokens"].as_u64() > usage["output_tokens"].as_u64(), "{usage}");
    assert_eq!(usage["reasoning_output_tokens"], 0);
    assert!(events[0]["thread_id"].as_str().is_some_and(|id| id.len() == 32), "{}", events[0]);
    events[0]["thread_id"] = json!("");
    let item = |status: &str| json!({"id": "item_0", "type": "file_change", "changes": [{"path": "piano", "kind": "add"}], "status": status});
    let expected = [
        json!({"type": "thread.started", "thread_id": ""}),
        json!({"type": "turn.started"}),
        json!({"type": "item.started", "item": item("in_progress")}),
        json!({"type": "item.completed", "item": item("completed")}),
        json!({"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "It makes 85."}}),
        json!({"type": "turn.completed", "usage": usage}),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_run_that_is_not_done_says_why_and_how_to_give_it_more() {
    let bench = Bench::empty();
    scripted(bench.model.path(), NO_PATCH, NO_PATCH);
    bench
        .agent(&["--approve", "auto", "--max-steps", "3"])
        .fails(1, &["not done after 3 turns", "--max-steps"]);
    bench.agent(&["--approve", "auto", "--max-tokens", "5"]).fails(1, &["--max-tokens gives it more"]);
    let ran = bench.agent(&["--approve", "auto", "--max-steps", "2", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let events = events(ran);
    let failed: Vec<&Value> = events.iter().filter(|event| event["item"]["status"] == "failed").collect();
    assert_eq!(failed.len(), 2, "{events:?}");
    assert!(
        failed[0]["item"]["error"]["message"].as_str().unwrap().contains("holds no patch"),
        "{}",
        failed[0]
    );
    assert_eq!(events.last().unwrap()["type"], "turn.failed");
    assert_eq!(fs::read_dir(bench.folder()).unwrap().count(), 0);
}

#[test]
fn the_folders_own_agents_md_is_read() {
    let bench = Bench::patching();
    let without = events(bench.agent(&["--approve", "never", "--json"]));
    fs::write(bench.folder().join("AGENTS.md"), "Write tests.\n").unwrap();
    let with = events(bench.agent(&["--approve", "never", "--json"]));
    let read = |events: &[Value]| events.last().unwrap()["usage"]["input_tokens"].as_u64().unwrap();
    assert!(read(&with) > read(&without));
    fs::remove_file(bench.folder().join("AGENTS.md")).unwrap();
    fs::create_dir(bench.folder().join("AGENTS.md")).unwrap();
    // What is not a regular file could be any file, or never end.
    let ran = bench.agent(&["--approve", "never"]);
    assert!(ran.code == 0 && ran.stderr.contains("AGENTS.md: not read"), "{}", ran.stderr);
}

#[test]
fn a_command_runs_in_the_folder_and_is_an_item() {
    let bench = Bench::empty();
    scripted(bench.model.path(), LIST, DONE);
    fs::write(bench.folder().join("here.txt"), "").unwrap();
    let events = events(bench.agent_with("shell", &["--approve", "auto", "--json"]));
    let item = |status: &str, output: &str, code: Value| {
        json!({
            "id": "item_0", "type": "command_execution", "command": "ls", "status": status,
            "aggregated_output": output, "exit_code": code,
        })
    };
    assert_eq!(events[2], json!({"type": "item.started", "item": item("in_progress", "", Value::Null)}));
    let done = item("completed", "here.txt\n", json!(0));
    assert_eq!(events[3], json!({"type": "item.completed", "item": done}));
    let never = bench.agent_with("shell", &["--approve", "never"]);
    assert!(never.stderr.contains("$ ls\n") && never.stderr.contains("$ ls: not done"), "{}", never.stderr);
}

/// The pages that an answer cites stand behind it; a citation of none does not.
#[test]
fn a_browser_reads_a_folder_and_its_pages_are_told() {
    let bench = Bench::empty();
    scripted_with_middle(bench.model.path(), SEARCH[0], SEARCH[1], CITES);
    fs::write(bench.folder().join("a.txt"), "A piano is tuned.\n").unwrap();
    let source = format!("corpus:{}", bench.folder().display());
    let flags = ["--approve", "never", "--browser", &source];
    let ran = bench.agent_with("browser", &flags);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "It is so 【0†L1】.\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("search piano: done") && !ran.stderr.contains("【0】"), "{}", ran.stderr);
    let events = events(bench.agent_with("browser", &[&flags[..], &["--json"]].concat()));
    let item = json!({
        "id": "item_0", "type": "web_search", "query": "piano", "status": "completed",
        "action": {"type": "search", "query": "piano"},
    });
    assert_eq!(events[3], json!({"type": "item.completed", "item": item}));
}

/// What Python writes to /mnt/data is handed out, and where it is, is told.
#[cfg(target_os = "linux")]
#[test]
fn files_of_python_are_kept_and_told() {
    let bench = Bench::empty();
    scripted(bench.model.path(), MAKES_FILE, DONE);
    let places = tempfile::tempdir().unwrap();
    let agent = |more: &[&str]| {
        let (model, workspace) = (bench.model.path().to_str().unwrap(), bench.folder().to_str().unwrap());
        let args = ["agent", "Begin.", "--model", model, "--workspace", workspace, "--tools", "python"];
        let mut command = gptoss(&[&args[..], &["--approve", "never"], more].concat());
        // Where the Python of this machine is looked for, and where files are put.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TMPDIR", places.path());
        Ran::from(command.stdin(Stdio::null()).output().unwrap())
    };
    let ran = agent(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let file = ran.stderr.lines().find_map(|line| line.strip_prefix("  file: "));
    let file = file.unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(file.starts_with(places.path().to_str().unwrap()) && file.ends_with("/piano"), "{file}");
    assert_eq!(fs::read_to_string(file).unwrap(), "85");
    let events = events(agent(&["--json"]));
    let told = events[3]["item"]["files"][0].as_str().unwrap_or_else(|| panic!("{}", events[3]));
    assert_eq!(fs::read_to_string(told).unwrap(), "85");
    assert_eq!(fs::read_dir(bench.folder()).unwrap().count(), 0);
}

#[test]
fn tools_that_cannot_be_had_are_told_before_the_model_is_opened() {
    let bench = Bench::empty();
    bench.agent_with("hammer", &[]).fails(2, &["no tool `hammer`", "apply_patch"]);
    bench.agent_with("mcp:files", &["--approve", "auto"]).fails(2, &["--mcp FILE"]);
    bench.agent_with("browser", &["--approve", "auto"]).fails(2, &["--browser corpus:DIR"]);
    let source = ["--approve", "auto", "--browser", "fetch"];
    bench.agent_with("shell", &source).fails(2, &["add --tools browser"]);
    let wasm = ["--approve", "auto", "--python-wasm", "python.wasm"];
    bench.agent_with("shell", &wasm).fails(2, &["add --tools python"]);
    let file = bench.model.path().join("mcp.json");
    let mcp = ["--approve", "auto", "--mcp", file.to_str().unwrap()];
    fs::write(&file, r#"{"mcpServers": {"other": {"command": "true"}}}"#).unwrap();
    bench.agent_with("mcp:files", &mcp).fails(1, &["no server files", "other"]);
    fs::write(&file, r#"{"mcpServers": {"files": {}}}"#).unwrap();
    bench.agent_with("mcp:files", &mcp).fails(1, &["mcp.json", "mcpServers.files"]);
    fs::write(&file, "[mcp_servers.files]\nenabled = true\n").unwrap();
    bench.agent_with("mcp:files", &mcp).fails(1, &["mcp.json", "mcp_servers.files"]);
}

#[test]
fn a_chat_turns_tools_on_and_off() {
    let script = "/tools\n/tools hammer\n/tools apply_patch\n/tools none\n/quit\n";
    let ran = run_with(&["chat", "--model", "synthetic:tiny"], script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said = [
        "no tools are on; /tools shell,apply_patch,python turns",
        "there is no tool `hammer`",
        "the model may use apply_patch in this folder",
        "no tools are on",
    ];
    let mut rest = ran.stderr.as_str();
    for text in said {
        let at = rest.find(text).unwrap_or_else(|| panic!("{text:?} in order in {}", ran.stderr));
        rest = &rest[at + text.len()..];
    }
}

/// A patch in a chat is asked for on the next line; what is declined is not done.
#[test]
fn a_chat_asks_before_it_changes_files() {
    let bench = Bench::patching();
    let file = bench.folder().join("piano");
    for (answer, is_made) in [("n", false), ("y", true)] {
        let script = format!("/tools apply_patch\nBegin.\n{answer}\n/quit\n");
        let mut child = gptoss(&["chat", "--model", bench.model.path().to_str().unwrap()])
            .current_dir(bench.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stdout.ends_with("It makes 85.\n")), (0, true), "{ran:?}");
        assert!(ran.stderr.contains("+print(1)\n"), "{}", ran.stderr);
        assert_eq!(file.exists(), is_made, "{}", ran.stderr);
    }
}
