//! A run as JSON lines, in the events of `codex exec --json`.
//!
//! One run is one of its threads with one of its turns; a call, and what the model says, is an item.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};

use gptoss_agent::{Action, AgentEvent, AgentUsage, CallStatus};
use gptoss_tools::browser;
use gptoss_tools::{EditKind, ToolReply};
use gptoss_turn::Outcome;
use serde_json::{Value, json};

use super::made_files::MadeFiles;
use super::narrator::browsed;

/// Writes events.
pub struct Events {
    num_items: usize,
    /// The id of the call that is being answered.
    open: Option<String>,
    files: MadeFiles,
}

impl Events {
    /// Begins a thread and its turn.
    pub fn begin() -> io::Result<Events> {
        let draw = || RandomState::new().build_hasher().finish();
        write(&json!({"type": "thread.started", "thread_id": format!("{:016x}{:016x}", draw(), draw())}))?;
        write(&json!({"type": "turn.started"}))?;
        Ok(Events { num_items: 0, open: None, files: MadeFiles::default() })
    }

    /// Writes what an event is in these words, if it is anything.
    pub fn tell(&mut self, event: AgentEvent) -> io::Result<()> {
        match event {
            AgentEvent::TurnStarted | AgentEvent::Turn(_) => Ok(()),
            AgentEvent::TurnEnded(outcome) => self.said(&outcome),
            AgentEvent::CallStarted { action, .. } => {
                let id = self.next_id();
                let item = item(&id, &action, "in_progress", None);
                self.open = Some(id);
                write(&json!({"type": "item.started", "item": item}))
            }
            AgentEvent::CallEnded { action, status, reply, exit_code, .. } => {
                let id = self.open.take().unwrap_or_else(|| self.next_id());
                let status = match status {
                    CallStatus::Completed => "completed",
                    CallStatus::Failed => "failed",
                    CallStatus::Declined => "declined",
                };
                let mut item = item(&id, &action, status, Some((&reply, exit_code)));
                let files = self.files.keep(&reply.files);
                if !files.is_empty() {
                    item["files"] = files.iter().map(|path| path.to_string_lossy()).collect();
                }
                write(&json!({"type": "item.completed", "item": item}))
            }
        }
    }

    /// Ends the turn well.
    pub fn complete(&mut self, usage: &AgentUsage) -> io::Result<()> {
        write(&json!({"type": "turn.completed", "usage": {
            "input_tokens": usage.prompt_tokens,
            "cached_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
            "reasoning_output_tokens": usage.reasoning_tokens,
        }}))
    }

    /// Ends the turn otherwise.
    pub fn fail(&mut self, message: &str) -> io::Result<()> {
        write(&json!({"type": "turn.failed", "error": {"message": message}}))
    }

    fn said(&mut self, outcome: &Outcome) -> io::Result<()> {
        let texts = [
            ("reasoning", outcome.reasoning()),
            ("agent_message", outcome.preamble()),
            ("agent_message", outcome.answer()),
        ];
        for (kind, text) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                let item = json!({"id": self.next_id(), "type": kind, "text": text});
                write(&json!({"type": "item.completed", "item": item}))?;
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> String {
        self.num_items += 1;
        format!("item_{}", self.num_items - 1)
    }
}

fn item(id: &str, action: &Action, status: &str, answer: Option<(&ToolReply, Option<i32>)>) -> Value {
    let reply = answer.map(|(reply, _)| reply);
    let mcp = |server: &str, tool: &str, arguments: &str| {
        let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments));
        let content = |reply: &ToolReply| json!({"content": [{"type": "text", "text": reply.text}]});
        json!({
            "id": id, "type": "mcp_tool_call", "server": server, "tool": tool, "arguments": arguments,
            "result": reply.filter(|reply| !reply.is_error).map(content),
            "error": reply.filter(|reply| reply.is_error).map(|reply| json!({"message": reply.text})),
            "status": status,
        })
    };
    let command = |command: &str| {
        json!({
            "id": id, "type": "command_execution", "command": command, "status": status,
            "aggregated_output": reply.map_or("", |reply| reply.text.as_str()),
            "exit_code": answer.and_then(|(_, exit_code)| exit_code),
        })
    };
    match action {
        Action::FileChange { changes, .. } => {
            let changes = changes.iter().map(|(path, kind)| {
                let kind = match kind {
                    EditKind::Add => "add",
                    EditKind::Delete => "delete",
                    EditKind::Update => "update",
                };
                json!({"path": path, "kind": kind})
            });
            // A patch that was not made has failed, in their words; why is beside it.
            let status = if status == "declined" { "failed" } else { status };
            let mut item = json!({
                "id": id, "type": "file_change", "changes": changes.collect::<Vec<_>>(), "status": status,
            });
            if let Some(reply) = reply.filter(|reply| reply.is_error) {
                item["error"] = json!({"message": reply.text});
            }
            item
        }
        Action::Command { command: line } => command(line),
        Action::Code { code } => command(&format!("python\n{code}")),
        Action::Browse(action) => {
            let mut item = json!({
                "id": id, "type": "web_search", "query": browsed_query(action), "action": browsed_action(action),
                "status": status,
            });
            if let Some(reply) = reply.filter(|reply| reply.is_error) {
                item["error"] = json!({"message": reply.text});
            }
            item
        }
        Action::Mcp { server, tool, arguments, .. } => mcp(server, tool, arguments),
        Action::Unknown { name } => {
            let message = reply.map_or_else(|| name.clone(), |reply| reply.text.clone());
            json!({"id": id, "type": "error", "message": message})
        }
    }
}

/// What was searched; what else is done in a browser has no query, and is told in its place.
fn browsed_query(action: &browser::Action) -> String {
    match action {
        browser::Action::Search { query, .. } => query.clone(),
        other => browsed(other),
    }
}

fn browsed_action(action: &browser::Action) -> Value {
    match action {
        browser::Action::Search { query, .. } => json!({"type": "search", "query": query}),
        browser::Action::OpenPage { url } => json!({"type": "open_page", "url": url}),
        browser::Action::FindInPage { pattern, url } => {
            json!({"type": "find_in_page", "url": url, "pattern": pattern})
        }
    }
}

fn write(event: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{event}")
}
