//! Calls of built-in tools in the input, and what came of them.
//!
//! Clients send back the items that they were given. What a page said is in none of them and what code
//! printed is in few, so calls of the browser and of Python are read as far as they tell; while a turn goes
//! on, the server's own memory takes their place (`history::reconcile`), and when it has ended they are left
//! out as reasoning is.

use gptoss_harmony::{ContentType, Message};
use serde_json::{Value, json};

use super::{Reader, content_text, text};
use crate::errors::ApiError;
use crate::generation::hosted::{PYTHON, recipient_of};
use crate::responses::patch_text::{operations, patch};
use crate::wire::tool_items::{CodeOutput, ExecAction, PatchOperation, SearchAction, ShellAction};

/// The result of a call of which it is not known any more.
const NOT_KEPT: &str = "(The result is not kept any more.)";
/// The name of the function that changes files.
const APPLY_PATCH: &str = "apply_patch";

/// Whether an item of this type is one of a built-in tool.
pub(super) fn is_builtin(kind: &str) -> bool {
    prefix(kind).is_some()
}

/// How the ids of such items begin.
pub(super) fn prefix(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "web_search_call" => "ws",
        "code_interpreter_call" => "ci",
        "mcp_list_tools" => "mcpl",
        "mcp_approval_request" => "mcpr",
        "mcp_approval_response" => "mcpa",
        "mcp_call" => "mcp",
        "shell_call" => "sh",
        "shell_call_output" => "sho",
        "local_shell_call" => "lsh",
        "local_shell_call_output" => "lsho",
        "apply_patch_call" => "apc",
        "apply_patch_call_output" => "apco",
        _ => return None,
    })
}

impl Reader<'_> {
    /// Reads an item of a built-in tool.
    ///
    /// Errors: a field by its place; a result of a call that nobody knows.
    pub(super) fn builtin(&mut self, item: &Value, kind: &str, path: &str) -> Result<(), ApiError> {
        match kind {
            "web_search_call" => self.search_call(item),
            "code_interpreter_call" => self.code_call(item),
            "mcp_approval_request" => {
                let id = text(item, "id").map(str::to_owned);
                self.history.push_made(id, mcp_message(item));
            }
            "mcp_approval_response" => return self.approval(item, path),
            "mcp_call" => return self.mcp_call(item, path),
            "shell_call" | "local_shell_call" => self.shell_call(item, kind == "shell_call"),
            "apply_patch_call" => self.patch_call(item, path)?,
            "shell_call_output" | "local_shell_call_output" | "apply_patch_call_output" => {
                return self.client_result(item, kind, path);
            }
            // What a server offers is asked again.
            _ => {}
        }
        Ok(())
    }

    fn search_call(&mut self, item: &Value) {
        let action = item.get("action").cloned().and_then(|action| serde_json::from_value(action).ok());
        let (name, arguments) = match action {
            Some(SearchAction::Search { query, queries, .. }) => {
                let query = query.or_else(|| queries.and_then(|queries| queries.into_iter().next()));
                ("browser.search", json!({"query": query.unwrap_or_default()}))
            }
            Some(SearchAction::OpenPage { url }) => ("browser.open", json!({"id": url.unwrap_or_default()})),
            Some(SearchAction::FindInPage { pattern, .. }) => ("browser.find", json!({"pattern": pattern})),
            None => return,
        };
        self.ran(name, &arguments.to_string(), NOT_KEPT.to_owned());
    }

    fn code_call(&mut self, item: &Value) {
        let outputs = item.get("outputs").cloned().and_then(|outputs| serde_json::from_value(outputs).ok());
        let logs = outputs.map(|outputs: Vec<CodeOutput>| {
            let logs = outputs.into_iter().filter_map(|output| match output {
                CodeOutput::Logs { logs } => Some(logs),
                CodeOutput::Image { .. } => None,
            });
            logs.collect::<Vec<_>>().concat()
        });
        self.ran(PYTHON, text(item, "code").unwrap_or_default(), logs.unwrap_or_else(|| NOT_KEPT.to_owned()));
    }

    /// A call that the server ran on the way, and its result.
    fn ran(&mut self, recipient: &str, arguments: &str, result: String) {
        let call = Message::assistant("analysis", arguments).with_recipient(recipient);
        self.history.push(call.with_content_type(ContentType::from("code")));
        self.history.push(Message::tool_result(recipient, result).with_channel("analysis"));
    }

    fn mcp_call(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let output = text(item, "output").map(str::to_owned);
        let error = item.get("error").filter(|error| !error.is_null()).map(Value::to_string);
        let result = output.or(error).unwrap_or_else(|| NOT_KEPT.to_owned());
        let message = mcp_message(item);
        if let Some(id) = text(item, "approval_request_id").filter(|id| self.history.knows(id)) {
            self.approved.take_if(|approved| approved == id);
            let param = format!("{path}.approval_request_id");
            return self.history.push_result(id, None, result, &param, self.scope.recall);
        }
        let recipient = message.recipient.clone().unwrap_or_default();
        self.history.push(message);
        self.history.push(Message::tool_result(recipient, result));
        Ok(())
    }

    fn approval(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let id = text(item, "approval_request_id").unwrap_or_default();
        let param = format!("{path}.approval_request_id");
        if item.get("approve").and_then(Value::as_bool) == Some(true) {
            self.history.find(id, &param, self.scope.recall)?;
            self.approved = Some(id.to_owned());
            return Ok(());
        }
        let reason = text(item, "reason").map(|reason| format!(" {reason}")).unwrap_or_default();
        let result = format!("The user did not allow this call.{reason}");
        self.history.push_result(id, None, result, &param, self.scope.recall)
    }

    fn shell_call(&mut self, item: &Value, is_shell: bool) {
        let action = item.get("action").cloned().unwrap_or_default();
        let (name, mut arguments) = if is_shell {
            let action: ShellAction = serde_json::from_value(action).unwrap_or_default();
            ("shell", json!(action))
        } else {
            let action: ExecAction = serde_json::from_value(action).unwrap_or_default();
            ("local_shell", json!(action))
        };
        // As the model wrote it: what it left out is not there.
        if let Some(members) = arguments.as_object_mut() {
            let is_said = |name: &str, value: &Value| match name {
                "type" => false,
                "env" => value.as_object().is_some_and(|env| !env.is_empty()),
                _ => !value.is_null(),
            };
            members.retain(|name, value| is_said(name, value));
        }
        self.history.say_before_call();
        self.history.push_call(text(item, "call_id"), name, &arguments.to_string(), true);
    }

    fn patch_call(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        let param = format!("{path}.operation");
        let operation = item.get("operation").cloned().unwrap_or_default();
        let operation: PatchOperation = serde_json::from_value(operation).map_err(|_| {
            let message =
                format!("{param} must be create_file, update_file or delete_file, with path and diff");
            ApiError::invalid(&param, message)
        })?;
        let id = text(item, "call_id").unwrap_or_default();
        // The files of one call are one patch again.
        if first_of(id) != id
            && let Some(message) = self.history.last_call(first_of(id))
        {
            let mut all = operations(&message.text());
            all.push(operation);
            message.content = vec![patch(&all).into()];
            return Ok(());
        }
        self.history.say_before_call();
        self.history.push_call(Some(id), APPLY_PATCH, &patch([&operation]), false);
        Ok(())
    }

    fn client_result(&mut self, item: &Value, kind: &str, path: &str) -> Result<(), ApiError> {
        // The oldest of the three has the call's id as its own.
        let field =
            if kind == "local_shell_call_output" && item.get("call_id").is_none() { "id" } else { "call_id" };
        let id = text(item, field).unwrap_or_default();
        let param = format!("{path}.{field}");
        let output = item.get("output");
        let (name, result) = match kind {
            "apply_patch_call_output" => {
                let is_failed = text(item, "status") == Some("failed");
                let said = output.and_then(Value::as_str).filter(|said| !said.is_empty());
                (
                    APPLY_PATCH,
                    said.unwrap_or(if is_failed { "The patch failed." } else { "Done!" }).to_owned(),
                )
            }
            "shell_call_output" => ("shell", printed(output, path)?),
            _ => ("local_shell", output.and_then(Value::as_str).unwrap_or_default().to_owned()),
        };
        let id = if self.history.knows(id) { id } else { first_of(id) };
        self.history.push_result(id, Some(name), result, &param, self.scope.recall)
    }
}

/// The call that is meant by the id of one of its files.
fn first_of(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((first, number)) if number.parse::<u32>().is_ok() => first,
        _ => id,
    }
}

fn mcp_message(item: &Value) -> Message {
    let said = |field: &str| text(item, field).unwrap_or_default();
    let recipient = recipient_of(said("server_label"), said("name"));
    Message::assistant("commentary", said("arguments"))
        .with_recipient(recipient)
        .with_content_type(ContentType::constrained_json())
}

/// What commands printed and how they ended, for the model.
fn printed(output: Option<&Value>, path: &str) -> Result<String, ApiError> {
    let Some(Value::Array(parts)) = output else { return content_text(output, &format!("{path}.output")) };
    let told = parts.iter().map(|part| {
        let said = |field: &str| text(part, field).unwrap_or_default();
        let end = match part.pointer("/outcome/exit_code").and_then(Value::as_i64) {
            Some(code) => format!("exit code {code}"),
            None => "timed out".to_owned(),
        };
        [said("stdout"), said("stderr"), &end]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    });
    Ok(told.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Entry, RememberedCall, reconcile};
    use crate::responses::parse::entries_of;
    use crate::scope::RequestScope;

    fn read(items: Value) -> Result<Vec<Entry>, ApiError> {
        let scope = RequestScope {
            limits: &crate::limits::RequestLimits::default(),
            tenant: "t",
            visibility: crate::generation::visibility::Visibility::Raw,
            reasoning_max: None,
            date: None,
            is_background: false,
            recall: &|_| None,
            new_id: |prefix| prefix.to_owned(),
        };
        entries_of(items.as_array().unwrap(), Vec::new(), &scope)
    }

    fn told(items: Value) -> Vec<String> {
        let line = |entry: Entry| {
            let Entry { message, .. } = entry;
            let from = message.author.name.clone().unwrap_or_default();
            let (channel, recipient) =
                (message.channel.clone().unwrap_or_default(), message.recipient.clone());
            format!("{from}>{} {channel}: {}", recipient.unwrap_or_default(), message.text())
        };
        read(items).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn calls_that_the_server_ran_are_read_as_far_as_they_tell() {
        let items = json!([
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page", "url": "https://a"}},
            {"type": "web_search_call", "id": "ws_3", "action": {"type": "find_in_page", "pattern": "p", "url": "u"}},
            {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "container_id": "c",
                "outputs": [{"type": "logs", "logs": "2"}, {"type": "image", "url": "data:"}]},
            {"type": "mcp_list_tools", "id": "l", "server_label": "a-b", "tools": []},
            {"type": "mcp_call", "id": "m", "server_label": "a-b", "name": "t", "arguments": "{}", "output": "o"},
        ]);
        let not_kept = "(The result is not kept any more.)";
        let expect = [
            ">browser.search analysis: {\"query\":\"q\"}".to_owned(),
            format!("browser.search>assistant analysis: {not_kept}"),
            ">browser.open analysis: {\"id\":\"https://a\"}".to_owned(),
            format!("browser.open>assistant analysis: {not_kept}"),
            ">browser.find analysis: {\"pattern\":\"p\"}".to_owned(),
            format!("browser.find>assistant analysis: {not_kept}"),
            ">python analysis: 1".to_owned(),
            "python>assistant analysis: 2".to_owned(),
            ">a_b.t commentary: {}".to_owned(),
            "a_b.t>assistant commentary: o".to_owned(),
        ];
        assert_eq!(told(items), expect);
    }

    #[test]
    fn what_the_client_ran_is_a_result() {
        let patch = |file: &str| json!({"type": "delete_file", "path": file});
        let items = json!([
            {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"], "timeout_ms": null}},
            {"type": "shell_call_output", "call_id": "c1", "output": [
                {"stdout": "a", "stderr": "b", "outcome": {"type": "exit", "exit_code": 2}},
                {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}]},
            {"type": "local_shell_call", "call_id": "c2", "action": {"type": "exec", "command": ["ls"], "env": {}}},
            {"type": "local_shell_call_output", "id": "c2", "output": "x"},
            {"type": "apply_patch_call", "call_id": "c3", "operation": patch("a")},
            {"type": "apply_patch_call", "call_id": "c3.2", "operation": patch("b")},
            {"type": "apply_patch_call_output", "call_id": "c3", "status": "completed"},
            {"type": "apply_patch_call_output", "call_id": "c3.2", "status": "failed", "output": "no b"},
        ]);
        let expect = [
            ">functions.shell commentary: {\"commands\":[\"ls\"]}",
            "functions.shell>assistant commentary: a\nb\nexit code 2\ntimed out",
            ">functions.local_shell commentary: {\"command\":[\"ls\"]}",
            "functions.local_shell>assistant commentary: x",
            ">functions.apply_patch commentary: *** Begin Patch\n*** Delete File: a\n*** Delete File: b\n*** End Patch",
            "functions.apply_patch>assistant commentary: Done!",
            "functions.apply_patch>assistant commentary: no b",
        ];
        assert_eq!(told(items), expect);
        let wrong = json!([{"type": "apply_patch_call", "call_id": "c", "operation": {"type": "move"}}]);
        assert!(read(wrong).unwrap_err().to_string().contains("items[0].operation"));
    }

    #[test]
    fn a_call_is_answered_when_it_was_refused() {
        let request = json!({"type": "mcp_approval_request", "id": "r", "server_label": "s", "name": "t", "arguments": "{}"});
        let answer = |approve: bool| json!({"type": "mcp_approval_response", "approval_request_id": "r", "approve": approve, "reason": "Not today."});
        let no = told(json!([request, answer(false)]));
        assert_eq!(no[1], "s.t>assistant commentary: The user did not allow this call. Not today.");
        assert_eq!(told(json!([request, answer(true)])).len(), 1);
        let ran = json!({"type": "mcp_call", "id": "m", "server_label": "s", "name": "t", "arguments": "{}",
            "output": null, "error": {"type": "http_error", "code": 500, "message": "no"}, "approval_request_id": "r"});
        let all = told(json!([request, answer(true), ran]));
        assert!(all.len() == 2 && all[1].contains("http_error"), "{all:?}");
        assert!(
            read(json!([answer(true)])).unwrap_err().to_string().contains("items[0].approval_request_id")
        );
    }

    #[test]
    fn what_led_to_a_call_has_the_servers_calls_in_it() {
        let items = json!([
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "web_search_call", "id": "ws", "action": {"type": "search", "query": "q"}},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        ]);
        let made = |end: Vec<Message>| {
            let mut messages = vec![
                Message::assistant("analysis", "Search."),
                Message::assistant("analysis", "{\"query\": \"q\"}").with_recipient("browser.search"),
                Message::tool_result("browser.search", "The page.").with_channel("analysis"),
            ];
            messages.extend(end);
            messages
        };
        let recall =
            |_: &str| Some(RememberedCall { messages: made(vec![Message::function_call("look", "{}")]) });
        let mut warnings = Vec::new();
        let messages = reconcile(read(items).unwrap(), &recall, &mut warnings);
        assert_eq!(messages[1..], made(vec![Message::function_call("look", "{}")]));
        // When the turn has ended, they go as the reasoning goes.
        let entries = made(vec![Message::assistant("final", "It is."), Message::assistant("final", "So.")]);
        let entries = entries.into_iter().map(Entry::from).collect();
        let messages = reconcile(entries, &|_| None, &mut warnings);
        assert_eq!((messages.len(), warnings.len()), (2, 0));
    }
}
