//! A call that a tool has understood, and its answer.

use std::time::Duration;

use gptoss_tools::browser::Browser;
use gptoss_tools::mcp::{McpClient, McpListing};
use gptoss_tools::{
    Command, Container, Outcome, PatchError, Plan, Python, Shell, ToolReply, Workspace, patch_of_call,
};
use gptoss_turn::Call;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::action::Action;
use crate::toolbox::{BROWSER, Tool, Toolbox, function_in};

/// What a call would do, and what is needed to do it.
pub(crate) struct Prepared<'a> {
    pub(crate) action: Action,
    /// What is left to be done; a call that was not understood has its answer already.
    work: Result<Work<'a>, ToolReply>,
}

/// With the tool that does it.
enum Work<'a> {
    Patch(&'a Workspace, Plan),
    Command(&'a Shell, Command, Option<Duration>),
    Code { python: &'a Python, container: &'a Container, code: String },
    Browse { browser: &'a Mutex<Browser>, function: String, arguments: String },
    Mcp { client: &'a McpClient, function: String, arguments: String },
}

/// What came of a call.
pub(crate) struct Answer {
    pub(crate) reply: ToolReply,
    /// Of a command that ended by itself.
    pub(crate) exit_code: Option<i32>,
}

impl From<ToolReply> for Answer {
    fn from(reply: ToolReply) -> Answer {
        Answer { reply, exit_code: None }
    }
}

impl Prepared<'_> {
    /// Whether there is anything left to be done.
    pub(crate) fn is_understood(&self) -> bool {
        self.work.is_ok()
    }

    /// Does it.
    pub(crate) async fn answer(self) -> Answer {
        match self.work {
            Ok(Work::Patch(workspace, plan)) => applied(workspace, &plan).into(),
            Ok(Work::Command(shell, command, time)) => ran(shell, &command, time).await,
            Ok(Work::Code { python, container, code }) => python.call(container, &code).await.into(),
            Ok(Work::Browse { browser, function, arguments }) => {
                browser.lock().await.call(&function, &arguments).await.reply.into()
            }
            Ok(Work::Mcp { client, function, arguments }) => client.call(&function, &arguments).await.into(),
            Err(reply) => reply.into(),
        }
    }
}

impl Toolbox {
    /// What a call would do; None for a call of the caller's.
    pub(crate) async fn prepare(&self, call: &Call) -> Option<Prepared<'_>> {
        Some(match self.tools.iter().find(|tool| tool.takes(call))? {
            Tool::Patch(workspace) => prepared_patch(workspace, &call.arguments),
            Tool::Shell(shell) => prepared_command(shell, &call.arguments),
            Tool::Python { python, container } => {
                let code = call.arguments.clone();
                let action = Action::Code { code: code.clone() };
                Prepared { action, work: Ok(Work::Code { python, container, code }) }
            }
            Tool::Browser(browser) => prepared_browse(browser, call).await,
            Tool::Mcp { client, listing } => prepared_mcp(client, listing, call),
        })
    }
}

fn prepared_patch<'a>(workspace: &'a Workspace, arguments: &str) -> Prepared<'a> {
    match patch_of_call(arguments).and_then(|patch| workspace.plan(&patch)) {
        Ok(plan) => {
            let changes = plan.edits.iter().map(|edit| (edit.path.to_string(), edit.kind())).collect();
            let action = Action::FileChange { changes, diff: plan.diff() };
            Prepared { action, work: Ok(Work::Patch(workspace, plan)) }
        }
        Err(error) => {
            let action = Action::FileChange { changes: Vec::new(), diff: String::new() };
            Prepared { action, work: Err(patch_failed(&error)) }
        }
    }
}

fn applied(workspace: &Workspace, plan: &Plan) -> ToolReply {
    match workspace.apply(plan) {
        Ok(()) => ToolReply::text("Done!"),
        Err(error) => patch_failed(&error),
    }
}

fn patch_failed(error: &PatchError) -> ToolReply {
    ToolReply::error(format!("The patch was not applied: {error}"))
}

async fn prepared_browse<'a>(browser: &'a Mutex<Browser>, call: &Call) -> Prepared<'a> {
    let function = function_in(call, BROWSER).unwrap_or_default().to_owned();
    let arguments = call.arguments.clone();
    let mut open = browser.lock().await;
    match open.foresee(&function, &arguments) {
        Some(action) => {
            let work = Work::Browse { browser, function, arguments };
            Prepared { action: Action::Browse(action), work: Ok(work) }
        }
        // What cannot be understood asks nobody for anything: it is answered at once.
        None => {
            let reply = open.call(&function, &arguments).await.reply;
            Prepared { action: Action::Unknown { name: call.name.clone() }, work: Err(reply) }
        }
    }
}

fn prepared_mcp<'a>(client: &'a McpClient, listing: &McpListing, call: &Call) -> Prepared<'a> {
    let config = client.config();
    // What is not in the listing is asked for: the server may take it all the same.
    let known = listing.tool(&call.recipient);
    let action = Action::Mcp {
        server: config.label.clone(),
        tool: known.map_or(&call.recipient, |known| &known.name).clone(),
        arguments: call.arguments.clone(),
        needs_approval: known.is_none_or(|known| config.approval.is_needed(&known.name)),
    };
    let work = Work::Mcp { client, function: call.recipient.clone(), arguments: call.arguments.clone() };
    Prepared { action, work: Ok(work) }
}

fn prepared_command<'a>(shell: &'a Shell, arguments: &str) -> Prepared<'a> {
    match command_of(arguments) {
        Some((command, time)) => {
            let action = Action::Command { command: shown(&command) };
            Prepared { action, work: Ok(Work::Command(shell, command, time)) }
        }
        None => {
            let reply = ToolReply::error("The call holds no command: write {\"command\": \"...\"}.");
            Prepared { action: Action::Command { command: arguments.to_owned() }, work: Err(reply) }
        }
    }
}

/// A command as people would write it.
fn shown(command: &Command) -> String {
    match command {
        Command::Text(text) => text.clone(),
        Command::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

/// A word as a shell reads it, so that its bounds are seen.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A line, or a program and its arguments, as Codex has it; and its time.
fn command_of(arguments: &str) -> Option<(Command, Option<Duration>)> {
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    let command = match arguments.get("command").or_else(|| arguments.get("cmd"))? {
        Value::String(text) => Command::Text(text.clone()),
        Value::Array(words) if !words.is_empty() => {
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            Command::Argv(words.collect::<Option<Vec<String>>>()?)
        }
        _ => return None,
    };
    let time = ["timeout_ms", "timeout"].iter().find_map(|key| arguments.get(key)?.as_u64());
    Some((command, time.map(Duration::from_millis)))
}

async fn ran(shell: &Shell, command: &Command, time: Option<Duration>) -> Answer {
    match shell.run(command, time).await {
        Ok(output) => {
            let exit_code = match output.outcome {
                Outcome::Exit(code) => Some(code),
                Outcome::Timeout => None,
            };
            Answer { reply: output.into(), exit_code }
        }
        Err(error) => ToolReply::error(format!("The command was not run: {error}")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_within_their_bounds() {
        let (command, _) = command_of(r#"{"command": ["echo", "a b", "it's", "", "-n", "$x;"]}"#).unwrap();
        assert_eq!(shown(&command), r"echo 'a b' 'it'\''s' '' -n '$x;'");
    }

    #[test]
    fn commands_are_read_as_models_write_them() {
        let check = |arguments: &str, expected: Option<(Command, Option<u64>)>| {
            let expected = expected.map(|(command, time)| (command, time.map(Duration::from_millis)));
            assert_eq!(command_of(arguments), expected, "{arguments}");
        };
        let text = |text: &str| Command::Text(text.to_owned());
        check(r#"{"command": "ls"}"#, Some((text("ls"), None)));
        check(r#"{"cmd": "ls", "timeout_ms": 5}"#, Some((text("ls"), Some(5))));
        let argv = Command::Argv(vec!["ls".to_owned(), "-l".to_owned()]);
        check(r#"{"command": ["ls", "-l"], "timeout": 5}"#, Some((argv, Some(5))));
        for wrong in ["ls", "{}", r#"{"command": []}"#, r#"{"command": [1]}"#, r#"{"command": 1}"#, "[]"] {
            check(wrong, None);
        }
    }
}
