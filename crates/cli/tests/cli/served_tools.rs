//! `serve --tools`: what a model calls runs here, in a cell, and flags that do not go together are told.

use serde_json::json;

use crate::program::{gptoss, run};
use crate::scripted::scripted;
use crate::serve::Server;

const CALL: &str = "<|channel|>analysis to=python code<|message|>print|(|27|+|58|)<|call|>";
const DONE: &str = "<|channel|>final<|message|>It makes 85.<|return|>";

#[cfg(target_os = "linux")]
#[test]
fn a_call_of_python_runs_and_is_an_item() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), CALL, DONE);
    let mut command = gptoss(&["serve", "--port", "0", "--quiet", "--model", &model, "--tools", "python"]);
    // Where the Python of this machine is looked for.
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let server = Server::of(command);
    let tools = json!([{"type": "code_interpreter", "container": {"type": "auto"}}]);
    let body = json!({"input": "Hi", "tools": tools, "include": ["code_interpreter_call.outputs"]});
    let response = server.post("/v1/responses", &body);
    let items = response["output"].as_array().unwrap_or_else(|| panic!("{response}"));
    let call = items.iter().find(|item| item["type"] == "code_interpreter_call");
    let call = call.unwrap_or_else(|| panic!("{response}"));
    assert_eq!((&call["code"], &call["status"]), (&json!("print(27+58)"), &json!("completed")), "{response}");
    assert_eq!(call["outputs"], json!([{"type": "logs", "logs": "85\n"}]));
    assert_eq!(items.last().unwrap()["content"][0]["text"], "It makes 85.", "{response}");
    // What was not turned on is left out, and the model does without.
    let tools = json!([{"type": "web_search"}]);
    let response =
        server.post("/v1/responses", &json!({"input": "Hi", "tools": tools, "max_output_tokens": 60}));
    assert!(
        response["output"].as_array().unwrap().iter().all(|item| item["type"] != "web_search_call"),
        "{response}"
    );
}

#[test]
fn flags_of_tools_go_together() {
    let refused = |flags: &[&str], why: &str| {
        run(&[&["serve", "--port", "0"], flags].concat()).fails(2, &[why]);
    };
    refused(&["--tools", "browser"], "--browser corpus:DIR");
    refused(&["--python-wasm", "python.wasm"], "add --tools python");
    refused(&["--browser", "corpus:."], "add --tools browser");
    refused(&["--tools", "browser", "--browser", "elsewhere"], "elsewhere");
    refused(&["--tools", "browser", "--browser", "exa"], "EXA_API_KEY is not set");
}
