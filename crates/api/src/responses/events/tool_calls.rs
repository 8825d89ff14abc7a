//! Calls of built-in tools as events: of those that the server runs, and of those that the client runs.
//!
//! A call that the server runs is an item that stays open while the tool runs. Its events come in three
//! parts: when the call begins, when it is written ([`Next`] says what to do with it), and when
//! [`ResponseMachine::ran`] is told what came of it. What the client runs, or has to allow first, becomes an
//! item when it is written, because only then is it known whole.

use gptoss_harmony::Call;
use serde_json::{Value, json};

use super::citations::{Citations, CitedPage};
use super::{Open, ResponseMachine};
use crate::generation::fields::text;
use crate::generation::hosted::{HostedCall, OfferedServer, OfferedTool};
use crate::generation::tools::Kind;
use crate::responses::patch_text::operations;
use crate::wire::chat::TokenLogprob;
use crate::wire::response_events::{Event, Numbered};
use crate::wire::response_items::Item;
use crate::wire::tool_items::{
    ApplyPatchCallItem, CodeInterpreterCallItem, CodeOutput, ExecAction, LocalEnvironment,
    LocalShellCallItem, McpApprovalRequestItem, McpCallItem, McpError, McpListToolsItem, McpListedTool,
    SearchAction, SearchSource, ShellAction, ShellCallItem, WebSearchCallItem,
};

/// What a response tells of the tools that the server runs, and how many calls it may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolEvents {
    /// Whether the pages that a search found are told.
    pub has_sources: bool,
    /// Whether what code printed is told.
    pub has_outputs: bool,
    /// Where code runs.
    pub container_id: String,
    /// Most calls that the server runs.
    pub calls_max: u64,
}

/// What is to be done with a call that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The server runs it.
    Run,
    /// The model is told that it may call no more.
    Refuse,
}

/// What came of a call that the server ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolOutcome {
    /// What the model reads.
    pub text: String,
    /// Whether the call failed.
    pub is_error: bool,
    /// The address of the page that the browser is at.
    pub url: Option<String>,
    /// The addresses that a search found.
    pub sources: Vec<String>,
    /// Pages that the model may cite from now on.
    pub pages: Vec<CitedPage>,
    /// Pictures that code made, as `data:` addresses.
    pub images: Vec<String>,
    /// Files that code made.
    pub files: Vec<MadeFile>,
}

/// A file that code made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeFile {
    /// Given by whoever keeps the file.
    pub id: String,
    /// Where it is beneath `/mnt/data`.
    pub path: String,
    /// What is in it; nothing any more when it is kept.
    pub bytes: Vec<u8>,
}

/// The state of calls.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    pub(super) events: ToolEvents,
    pub(super) citations: Citations,
    /// Log-probabilities of the text that is held back.
    pub(super) logprobs: Vec<TokenLogprob>,
    /// Files that no answer has cited yet.
    pub(super) files: Vec<MadeFile>,
    next: Option<Next>,
    /// Calls that the server ran.
    num_run: u64,
    /// What becomes of the call that is being written without an item.
    unseen: Unseen,
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Unseen {
    #[default]
    Refused,
    Approval {
        label: String,
        name: String,
    },
    Client(Kind),
}

impl ResponseMachine {
    /// With tools that the server runs, and the pages that they have shown before.
    pub fn with_tools(mut self, events: ToolEvents, pages: Vec<CitedPage>) -> ResponseMachine {
        self.tools.events = events;
        self.tools.citations.show(pages);
        self
    }

    /// What is to be done with the call that the turn ended with; None: it is the client's.
    pub fn take_next(&mut self) -> Option<Next> {
        self.tools.next.take()
    }

    /// The events of what MCP servers offer.
    pub fn listed(&mut self, servers: &[OfferedServer]) -> Vec<Numbered> {
        for server in servers {
            let listed = |offered: &OfferedTool| McpListedTool {
                name: offered.tool.name.clone(),
                description: offered.tool.description.clone(),
                input_schema: offered.tool.input_schema.clone(),
                annotations: offered.tool.annotations.clone(),
            };
            let mut item = McpListToolsItem {
                id: (self.options.new_id)("mcpl"),
                server_label: server.label.clone(),
                tools: Vec::new(),
                error: None,
            };
            self.add(Item::McpListTools(item.clone()));
            let (output_index, item_id) = self.place();
            self.emit(Event::McpListInProgress { item_id: item_id.clone(), output_index });
            item.tools = server.tools.iter().map(listed).collect();
            item.error.clone_from(&server.error);
            self.emit(match item.error {
                None => Event::McpListCompleted { item_id, output_index },
                Some(_) => Event::McpListFailed { item_id, output_index },
            });
            self.replace(Item::McpListTools(item));
            self.done();
        }
        self.take()
    }

    /// The events of a call that was made in an earlier response and is allowed now.
    pub fn approved(
        &mut self,
        request_id: &str,
        server_label: &str,
        name: &str,
        arguments: &str,
    ) -> Vec<Numbered> {
        self.add_mcp_call(server_label, name, Some(request_id.to_owned()));
        self.arguments(arguments.to_owned());
        self.written(arguments);
        self.take()
    }

    /// The events of what came of the call that ran.
    pub fn ran(&mut self, outcome: ToolOutcome) -> Vec<Numbered> {
        if self.open != Open::Running {
            return Vec::new();
        }
        self.open = Open::Nothing;
        let (has_sources, has_outputs) = (self.tools.events.has_sources, self.tools.events.has_outputs);
        let ToolOutcome { text, is_error, url, sources, pages, images, files } = outcome;
        self.tools.citations.show(pages);
        self.tools.files.retain(|old| files.iter().all(|new| new.path != old.path));
        self.tools.files.extend(files);
        let (output_index, item_id) = self.place();
        let Some(last) = self.response.output.last_mut() else { return Vec::new() };
        last.set_status(if is_error { "failed" } else { "completed" });
        let event = match last {
            Item::WebSearchCall(item) => {
                match &mut item.action {
                    SearchAction::Search { sources: told, .. } if has_sources => {
                        let source = |url| SearchSource { kind: "url".to_owned(), url };
                        *told = Some(sources.into_iter().map(source).collect());
                    }
                    SearchAction::Search { .. } => {}
                    SearchAction::OpenPage { url: told } => *told = url.or(told.take()),
                    SearchAction::FindInPage { url: told, .. } => *told = url.unwrap_or_default(),
                }
                (!is_error).then_some(Event::SearchCompleted { item_id, output_index })
            }
            Item::CodeInterpreterCall(item) => {
                let images = images.into_iter().map(|url| CodeOutput::Image { url });
                let outputs = || std::iter::once(CodeOutput::Logs { logs: text }).chain(images).collect();
                item.outputs = has_outputs.then(outputs);
                (!is_error).then_some(Event::CodeCompleted { item_id, output_index })
            }
            Item::McpCall(item) if is_error => {
                let content = json!([{"type": "text", "text": text}]);
                item.error = Some(McpError { kind: "mcp_tool_execution_error".to_owned(), content });
                Some(Event::McpCallFailed { item_id, output_index })
            }
            Item::McpCall(item) => {
                item.output = Some(text);
                Some(Event::McpCallCompleted { item_id, output_index })
            }
            _ => None,
        };
        if let Some(event) = event {
            self.emit(event);
        }
        self.done();
        self.take()
    }

    /// Begins a call to `name`, if it is a built-in tool's.
    pub(super) fn open_builtin(&mut self, name: &str) -> bool {
        self.tools.next = None;
        let tools = &self.options.tools;
        let unseen = match tools.find(name).map(|tool| &tool.kind) {
            Some(kind @ (Kind::Shell | Kind::LocalShell | Kind::ApplyPatch)) => Unseen::Client(kind.clone()),
            Some(_) => return false,
            None => match tools.hosted.find(name) {
                None => return false,
                Some(_) if self.tools.num_run >= self.tools.events.calls_max => Unseen::Refused,
                Some(HostedCall::Mcp(server, offered)) => {
                    let (label, name) = (server.label.clone(), offered.tool.name.clone());
                    if offered.needs_approval {
                        Unseen::Approval { label, name }
                    } else {
                        self.add_mcp_call(&label, &name, None);
                        return true;
                    }
                }
                Some(call) => {
                    let call = action_of(call);
                    self.add_own_call(call);
                    return true;
                }
            },
        };
        self.call_id = match &unseen {
            Unseen::Refused => None,
            Unseen::Approval { .. } => Some((self.options.new_id)("mcpr")),
            Unseen::Client(_) => Some((self.options.new_id)("call")),
        };
        self.tools.unseen = unseen;
        self.open = Open::Unseen;
        true
    }

    /// A call of the browser, or of Python when there is no action.
    fn add_own_call(&mut self, action: Option<SearchAction>) {
        self.begin_run();
        let status = "in_progress".to_owned();
        let is_search = action.is_some();
        self.add(match action {
            Some(action) => {
                Item::WebSearchCall(WebSearchCallItem { id: (self.options.new_id)("ws"), status, action })
            }
            None => Item::CodeInterpreterCall(CodeInterpreterCallItem {
                id: (self.options.new_id)("ci"),
                status,
                code: String::new(),
                container_id: self.tools.events.container_id.clone(),
                outputs: None,
            }),
        });
        let (output_index, item_id) = self.place();
        self.emit(match is_search {
            true => Event::SearchInProgress { item_id, output_index },
            false => Event::CodeInProgress { item_id, output_index },
        });
    }

    fn add_mcp_call(&mut self, label: &str, name: &str, approval_request_id: Option<String>) {
        self.begin_run();
        let item = McpCallItem {
            id: (self.options.new_id)("mcp"),
            status: "in_progress".to_owned(),
            server_label: label.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
            output: None,
            error: None,
            approval_request_id,
        };
        self.add(Item::McpCall(item));
        let (output_index, item_id) = self.place();
        self.emit(Event::McpCallInProgress { item_id, output_index });
    }

    fn begin_run(&mut self) {
        self.call_id = None;
        self.tools.num_run += 1;
        self.open = Open::Call;
    }

    /// A call is whole.
    pub(super) fn called(&mut self, call: &Call) {
        match (self.open, self.response.output.last()) {
            (Open::Unseen, _) => self.settle(&call.arguments),
            (Open::Call, Some(Item::WebSearchCall(_) | Item::CodeInterpreterCall(_) | Item::McpCall(_))) => {
                self.written(&call.arguments);
            }
            _ => self.close("completed"),
        }
    }

    /// The call of the open item is written, and its tool runs from now on.
    fn written(&mut self, arguments: &str) {
        self.tools.next = Some(Next::Run);
        self.open = Open::Running;
        let (output_index, item_id) = self.place();
        let events = match self.response.output.last_mut() {
            Some(Item::WebSearchCall(item)) => {
                item.status = "searching".to_owned();
                say(&mut item.action, arguments);
                vec![Event::Searching { item_id, output_index }]
            }
            Some(Item::CodeInterpreterCall(item)) => {
                item.status = "interpreting".to_owned();
                let code = item.code.clone();
                vec![
                    Event::CodeDone { item_id: item_id.clone(), output_index, code },
                    Event::Interpreting { item_id, output_index },
                ]
            }
            Some(Item::McpCall(item)) => {
                let arguments = item.arguments.clone();
                vec![Event::McpArgumentsDone { item_id, output_index, arguments }]
            }
            _ => return,
        };
        events.into_iter().for_each(|event| self.emit(event));
    }

    /// A call that had no item until now is written.
    fn settle(&mut self, arguments: &str) {
        self.open = Open::Nothing;
        let id = self.call_id.clone().unwrap_or_default();
        match std::mem::take(&mut self.tools.unseen) {
            Unseen::Refused => self.tools.next = Some(Next::Refuse),
            Unseen::Approval { label, name } => {
                let arguments = arguments.to_owned();
                let item = McpApprovalRequestItem { id, server_label: label, name, arguments };
                self.add(Item::McpApprovalRequest(item));
                self.done();
            }
            Unseen::Client(Kind::ApplyPatch) => {
                for (index, operation) in operations(arguments).into_iter().enumerate() {
                    // One call may change several files, and an item changes one.
                    let call_id = if index == 0 { id.clone() } else { format!("{id}.{}", index + 1) };
                    let (id, status) = ((self.options.new_id)("apc"), "in_progress".to_owned());
                    self.add(Item::ApplyPatchCall(ApplyPatchCallItem { id, call_id, operation, status }));
                    self.done_as("completed");
                }
            }
            Unseen::Client(Kind::LocalShell) => {
                let action = exec_action(arguments);
                let (item_id, status) = ((self.options.new_id)("lsh"), "in_progress".to_owned());
                let item = LocalShellCallItem { id: item_id, call_id: id, action, status };
                self.add(Item::LocalShellCall(item));
                self.done_as("completed");
            }
            Unseen::Client(_) => self.shell_call(id, arguments),
        }
    }

    fn shell_call(&mut self, call_id: String, arguments: &str) {
        let action = shell_action(arguments);
        let item = ShellCallItem {
            id: (self.options.new_id)("sh"),
            call_id,
            action: ShellAction { commands: Vec::new(), ..action.clone() },
            environment: LocalEnvironment { kind: "local".to_owned() },
            status: "in_progress".to_owned(),
        };
        self.add(Item::ShellCall(item));
        let (output_index, _) = self.place();
        for (command_index, command) in action.commands.iter().enumerate() {
            self.emit(Event::CommandAdded { output_index, command_index, command: String::new() });
            self.emit(Event::CommandDelta { output_index, command_index, delta: command.clone() });
            self.emit(Event::CommandDone { output_index, command_index, command: command.clone() });
        }
        if let Some(Item::ShellCall(item)) = self.response.output.last_mut() {
            item.action = action;
        }
        self.done_as("completed");
    }

    fn replace(&mut self, item: Item) {
        if let Some(last) = self.response.output.last_mut() {
            *last = item;
        }
    }

    fn done_as(&mut self, status: &'static str) {
        if let Some(last) = self.response.output.last_mut() {
            last.set_status(status);
        }
        self.done();
    }

    /// The last item is done.
    pub(super) fn done(&mut self) {
        if let Some(item) = self.response.output.last().cloned() {
            self.emit(Event::ItemDone { output_index: self.response.output.len() - 1, item });
        }
    }
}

/// What a call of the browser does, as far as it is known before its arguments; None is Python.
fn action_of(call: HostedCall<'_>) -> Option<SearchAction> {
    match call {
        HostedCall::Search => Some(SearchAction::Search { query: None, queries: None, sources: None }),
        HostedCall::Open => Some(SearchAction::OpenPage { url: None }),
        HostedCall::Find => Some(SearchAction::FindInPage { pattern: String::new(), url: String::new() }),
        HostedCall::Python | HostedCall::Mcp(..) => None,
    }
}

/// Puts in what the model wrote.
fn say(action: &mut SearchAction, arguments: &str) {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    let said = |field: &str| text(&arguments, field).map(str::to_owned);
    match action {
        SearchAction::Search { query, queries, .. } => {
            *query = said("query");
            *queries = query.clone().map(|query| vec![query]);
        }
        SearchAction::OpenPage { url } => *url = said("id"),
        SearchAction::FindInPage { pattern, .. } => *pattern = said("pattern").unwrap_or_default(),
    }
}

/// What a shell is to run; what is no JSON is a command.
fn shell_action(arguments: &str) -> ShellAction {
    serde_json::from_str(arguments)
        .unwrap_or_else(|_| ShellAction { commands: vec![arguments.to_owned()], ..ShellAction::default() })
}

/// What a machine is to run; what is no JSON is a line for a shell.
fn exec_action(arguments: &str) -> ExecAction {
    serde_json::from_str(arguments).unwrap_or_else(|_| ExecAction {
        command: ["sh", "-c", arguments].map(str::to_owned).to_vec(),
        ..ExecAction::default()
    })
}

#[cfg(test)]
mod tests;
