//! The tools that the server runs itself, as a request asks for them and as the operator has them.
//!
//! [`ServerTools`] is what there is: what the operator turned on, and what the MCP servers of the operator's
//! list offer. [`Hosted`] is what of it a request gets, each tool with the recipient by which the model calls
//! it: `browser.search`, `python`, `LABEL.TOOL`. Nothing here runs a tool, and no address that came in a
//! request is ever asked.

use gptoss_harmony::{FunctionTool, ToolNamespace};
use serde_json::Value;

use super::fields::text;
use crate::containers::{ContainerWish, wish};
use crate::errors::ApiError;
use crate::limits::TOOL_NAME_BYTES_MAX;

/// The recipients of the browser's calls.
pub(super) const BROWSER: [&str; 3] = ["browser.search", "browser.open", "browser.find"];
/// The recipient of Python code.
pub const PYTHON: &str = "python";

/// What the server runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerTools {
    /// Whether there is a browser.
    pub has_browser: bool,
    /// Whether there is a Python.
    pub has_python: bool,
    /// Labels of the MCP servers in the operator's list.
    pub labels: Vec<String>,
    /// Those of them that the request asks for, and were asked what they offer.
    pub servers: Vec<ToolServer>,
}

impl ServerTools {
    /// Whether a tool of a request's is one of these.
    pub fn has(&self, tool: &Value) -> bool {
        match text(tool, "type").unwrap_or_default() {
            "code_interpreter" => self.has_python,
            "mcp" => {
                let label = text(tool, "server_label").unwrap_or_default();
                self.labels.iter().any(|known| known == label)
            }
            kind => self.has_browser && is_search(kind),
        }
    }
}

/// An MCP server of the operator's.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolServer {
    /// How requests call it.
    pub label: String,
    /// Its address, if it has one.
    pub url: Option<String>,
    /// What it says of itself.
    pub description: Option<String>,
    /// What it offers, or why it could not be asked.
    pub tools: Result<Vec<ServerTool>, String>,
}

/// A tool of an MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// What the server says besides, `readOnlyHint` among it.
    pub annotations: Option<Value>,
    /// Whether the operator wants each call to be allowed, whatever a request says.
    pub asks_always: bool,
}

impl ServerTool {
    fn is_read_only(&self) -> bool {
        let hint = self.annotations.as_ref().and_then(|annotations| annotations.get("readOnlyHint"));
        hint.and_then(Value::as_bool).unwrap_or(false)
    }
}

/// What of the server's tools the model may call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hosted {
    /// The browser.
    pub has_browser: bool,
    /// Python.
    pub has_python: bool,
    /// The container that the request names for it, or what one of its own is to have.
    pub container: ContainerWish,
    /// MCP servers.
    pub servers: Vec<OfferedServer>,
}

/// An MCP server that a request asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedServer {
    /// How the request calls it.
    pub label: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// Those of its tools that the request allows.
    pub tools: Vec<OfferedTool>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// A tool of an MCP server that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedTool {
    /// The tool.
    pub tool: ServerTool,
    /// Whether whoever asked has to allow each call.
    pub needs_approval: bool,
}

/// A call that the server runs, by what is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HostedCall<'a> {
    /// `browser.search`.
    Search,
    /// `browser.open`.
    Open,
    /// `browser.find`.
    Find,
    /// Python.
    Python,
    /// A tool of an MCP server.
    Mcp(&'a OfferedServer, &'a OfferedTool),
}

impl Hosted {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        !self.has_browser && !self.has_python && self.servers.iter().all(|server| server.tools.is_empty())
    }

    /// What a call to `recipient` calls, if it is the server's to run.
    pub fn find(&self, recipient: &str) -> Option<HostedCall<'_>> {
        match recipient {
            "browser.search" if self.has_browser => return Some(HostedCall::Search),
            "browser.open" if self.has_browser => return Some(HostedCall::Open),
            "browser.find" if self.has_browser => return Some(HostedCall::Find),
            PYTHON if self.has_python => return Some(HostedCall::Python),
            _ => {}
        }
        let mut all =
            self.servers.iter().flat_map(|server| server.tools.iter().map(move |tool| (server, tool)));
        all.find(|(server, tool)| recipient_of(&server.label, &tool.tool.name) == recipient)
            .map(|(server, tool)| HostedCall::Mcp(server, tool))
    }

    /// The namespaces that stand in the system message: those that the model was trained with.
    pub fn builtins(&self) -> Vec<ToolNamespace> {
        let browser = self.has_browser.then(ToolNamespace::browser);
        browser.into_iter().chain(self.has_python.then(ToolNamespace::python)).collect()
    }

    /// The namespaces that stand in the developer message: one for each MCP server.
    pub fn namespaces(&self) -> Vec<ToolNamespace> {
        let show = |tool: &OfferedTool| FunctionTool {
            name: word(&tool.tool.name),
            description: tool.tool.description.clone().unwrap_or_default(),
            parameters: Some(tool.tool.input_schema.clone()),
        };
        let servers = self.servers.iter().filter(|server| !server.tools.is_empty());
        let namespaces = servers.map(|server| ToolNamespace {
            name: word(&server.label),
            description: server.description.clone(),
            tools: server.tools.iter().map(show).collect(),
        });
        namespaces.collect()
    }

    /// Every recipient.
    pub fn recipients(&self) -> Vec<String> {
        let browser = BROWSER.into_iter().filter(|_| self.has_browser);
        let builtins = browser.chain(self.has_python.then_some(PYTHON)).map(str::to_owned);
        let of_servers = self
            .servers
            .iter()
            .flat_map(|server| server.tools.iter().map(|tool| recipient_of(&server.label, &tool.tool.name)));
        builtins.chain(of_servers).collect()
    }

    /// Leaves only tools that one of `recipients` calls.
    pub(crate) fn retain(&mut self, recipients: &[String]) {
        let has = |recipient: &str| recipients.iter().any(|other| other == recipient);
        self.has_browser &= has("browser.search");
        self.has_python &= has(PYTHON);
        for server in &mut self.servers {
            let label = &server.label;
            server.tools.retain(|tool| has(&recipient_of(label, &tool.tool.name)));
        }
    }

    /// Takes in a tool of a request's, if the server has it; otherwise says in a warning why it does not.
    ///
    /// Errors: a server that is not named or named twice, or is another than the operator's of that name; a
    /// container that cannot be had.
    pub(crate) fn take(
        &mut self,
        value: &Value,
        path: &str,
        has: &ServerTools,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let kind = text(value, "type").unwrap_or_default();
        let mut off = |flag: &str| {
            warnings.push(format!(
                "{path}: {kind} is off on this server (serve --tools {flag}); it is not offered to the model"
            ));
        };
        match kind {
            "code_interpreter" if !has.has_python => off("python"),
            "code_interpreter" => {
                self.container = wish(value.get("container"), &format!("{path}.container"))?;
                self.has_python = true;
            }
            "mcp" => return self.take_server(value, path, has, warnings),
            _ if !has.has_browser => off("browser"),
            _ => self.has_browser = true,
        }
        Ok(())
    }

    fn take_server(
        &mut self,
        value: &Value,
        path: &str,
        has: &ServerTools,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let wrong = |field: &str, problem: &str| {
            let param = format!("{path}.{field}");
            ApiError::invalid(&param, format!("{param} {problem}"))
        };
        let label = text(value, "server_label").filter(|label| !label.is_empty());
        let label = label.ok_or_else(|| wrong("server_label", "is missing"))?;
        if label.len() > TOOL_NAME_BYTES_MAX {
            return Err(wrong("server_label", &format!("is longer than {TOOL_NAME_BYTES_MAX} bytes")));
        }
        if matches!(word(label).as_str(), "functions" | "browser" | PYTHON) {
            return Err(wrong("server_label", "is a name that the model knows otherwise; take another"));
        }
        if self.servers.iter().any(|server| word(&server.label) == word(label)) {
            return Err(wrong("server_label", "is used by two servers"));
        }
        let Some(server) = has.servers.iter().find(|server| server.label == label) else {
            let known = if has.labels.is_empty() { "none".to_owned() } else { has.labels.join(", ") };
            warnings.push(format!(
                "{path}: {label:?} is not an MCP server of this server's list (serve --mcp), which has {known}; it is \
                 not offered to the model"
            ));
            return Ok(());
        };
        match (text(value, "server_url"), &server.url) {
            (Some(asked), Some(has)) if asked.trim_end_matches('/') != has.trim_end_matches('/') => {
                return Err(wrong("server_url", "is not the address that this server has under the label"));
            }
            _ => {}
        }
        for field in ["headers", "authorization"] {
            if value.get(field).is_some_and(|value| !value.is_null()) {
                warnings.push(format!("{path}.{field} is not passed on: the operator's own are used"));
            }
        }
        let (tools, error) = match &server.tools {
            Ok(tools) => (offered(tools, value, path)?, None),
            Err(problem) => (Vec::new(), Some(problem.clone())),
        };
        let (label, description) = (label.to_owned(), server.description.clone());
        self.servers.push(OfferedServer { label, description, tools, error });
        Ok(())
    }
}

/// Whether a tool of this type is the server's to run, and not OpenAI's alone.
pub(crate) fn is_hosted(kind: &str) -> bool {
    matches!(kind, "code_interpreter" | "mcp") || is_search(kind)
}

/// Whether this is one of the names of the browser.
pub(crate) fn is_search(kind: &str) -> bool {
    kind == "browser_search" || kind == "web_search" || kind.starts_with("web_search_")
}

/// The labels of the MCP servers that `tools` ask for.
pub fn labels(tools: &[Value]) -> Vec<&str> {
    let servers = tools.iter().filter(|tool| text(tool, "type") == Some("mcp"));
    servers.filter_map(|tool| text(tool, "server_label")).collect()
}

/// The recipient of calls of an MCP server's tool.
pub fn recipient_of(label: &str, tool: &str) -> String {
    format!("{}.{}", word(label), word(tool))
}

/// A name as it may stand in a recipient and in the text of a namespace.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Those of a server's tools that the request allows; of two that the model could not tell apart the first.
fn offered(tools: &[ServerTool], value: &Value, path: &str) -> Result<Vec<OfferedTool>, ApiError> {
    let allowed = value.get("allowed_tools").filter(|allowed| !allowed.is_null());
    let approval = value.get("require_approval").filter(|approval| !approval.is_null());
    if let Some(Value::String(wish)) = approval
        && !matches!(wish.as_str(), "always" | "never")
    {
        let param = format!("{path}.require_approval");
        return Err(ApiError::invalid(&param, format!("{param} must be always, never or a filter")));
    }
    let mut offered: Vec<OfferedTool> = Vec::new();
    for tool in tools.iter().filter(|tool| allowed.is_none_or(|filter| matches(filter, tool))) {
        if offered.iter().any(|other| word(&other.tool.name) == word(&tool.name)) {
            continue;
        }
        offered.push(OfferedTool {
            tool: tool.clone(),
            needs_approval: tool.asks_always || needs_approval(approval, tool),
        });
    }
    Ok(offered)
}

/// Whether a filter, or a list of names, has this tool in it.
fn matches(filter: &Value, tool: &ServerTool) -> bool {
    let is_named = |names: &Value| {
        names.as_array().is_some_and(|names| names.iter().any(|name| name.as_str() == Some(&tool.name)))
    };
    if filter.is_array() {
        return is_named(filter);
    }
    let names = filter.get("tool_names").filter(|names| !names.is_null());
    let read_only = filter.get("read_only").and_then(Value::as_bool);
    names.is_none_or(is_named) && read_only.is_none_or(|wish| wish == tool.is_read_only())
}

/// Calls are asked for, unless the request says otherwise.
fn needs_approval(approval: Option<&Value>, tool: &ServerTool) -> bool {
    match approval {
        Some(Value::String(wish)) => wish != "never",
        Some(Value::Object(filters)) => {
            let filter = |name: &str| filters.get(name).filter(|filter| !filter.is_null());
            match (filter("always"), filter("never")) {
                (Some(always), _) if matches(always, tool) => true,
                (_, Some(never)) => !matches(never, tool),
                (Some(_), None) => false,
                (None, None) => true,
            }
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(name: &str, is_read_only: bool) -> ServerTool {
        ServerTool {
            name: name.to_owned(),
            description: Some(format!("Does {name}.")),
            input_schema: json!({"type": "object"}),
            annotations: Some(json!({"readOnlyHint": is_read_only})),
            asks_always: name == "delete",
        }
    }

    fn has() -> ServerTools {
        let server = ToolServer {
            label: "wiki".into(),
            url: Some("https://wiki.example/mcp".into()),
            description: None,
            tools: Ok(vec![tool("read page", true), tool("write", false), tool("read-page", true)]),
        };
        ServerTools {
            has_browser: true,
            has_python: true,
            labels: vec!["wiki".into()],
            servers: vec![server],
        }
    }

    fn take(value: Value, has: &ServerTools) -> (Result<Hosted, ApiError>, Vec<String>) {
        let (mut hosted, mut warnings) = (Hosted::default(), Vec::new());
        let taken = hosted.take(&value, "tools[0]", has, &mut warnings);
        (taken.map(|()| hosted), warnings)
    }

    #[test]
    fn what_is_off_is_left_out_with_the_flag_that_turns_it_on() {
        let check = |kind: &str, expect: &str| {
            let value = json!({"type": kind, "server_label": "wiki"});
            let (hosted, warnings) = take(value.clone(), &ServerTools::default());
            assert!(hosted.unwrap().is_empty());
            assert!(warnings.len() == 1 && warnings[0].contains(expect), "{warnings:?}");
            assert!(!take(value, &has()).0.unwrap().is_empty());
        };
        for kind in ["web_search", "web_search_preview", "web_search_2025_08_26", "browser_search"] {
            assert!(is_hosted(kind));
            check(kind, "serve --tools browser");
        }
        check("code_interpreter", "serve --tools python");
        check("mcp", "serve --mcp");
    }

    #[test]
    fn a_recipient_leads_to_its_tool() {
        let (hosted, _) = take(json!({"type": "mcp", "server_label": "wiki"}), &has());
        let hosted = Hosted { has_browser: true, has_python: true, ..hosted.unwrap() };
        let expect =
            ["browser.search", "browser.open", "browser.find", "python", "wiki.read_page", "wiki.write"];
        assert_eq!(hosted.recipients(), expect);
        for recipient in hosted.recipients() {
            assert!(hosted.find(&recipient).is_some(), "{recipient}");
        }
        let Some(HostedCall::Mcp(server, tool)) = hosted.find("wiki.read_page") else { panic!("no tool") };
        assert_eq!((server.label.as_str(), tool.tool.name.as_str()), ("wiki", "read page"));
        assert_eq!(hosted.find("wiki.delete"), None);
        assert_eq!(Hosted::default().find("python"), None);
    }

    #[test]
    fn a_request_narrows_a_server() {
        let check = |field: &str, filter: Value, expect: &[(&str, bool)]| {
            let mut value = json!({"type": "mcp", "server_label": "wiki"});
            value[field] = filter;
            let (hosted, _) = take(value, &has());
            let hosted = hosted.unwrap();
            let tools = hosted.servers[0].tools.iter();
            let found: Vec<_> = tools.map(|tool| (tool.tool.name.as_str(), tool.needs_approval)).collect();
            assert_eq!(found, expect, "{field}");
        };
        check("allowed_tools", Value::Null, &[("read page", true), ("write", true)]);
        check("allowed_tools", json!(["write"]), &[("write", true)]);
        check("allowed_tools", json!({"read_only": true}), &[("read page", true)]);
        check("allowed_tools", json!({"tool_names": ["write"], "read_only": true}), &[]);
        check("require_approval", json!("never"), &[("read page", false), ("write", false)]);
        let mut has = has();
        has.servers[0].tools = Ok(vec![tool("delete", false)]);
        let never = json!({"type": "mcp", "server_label": "wiki", "require_approval": "never"});
        assert!(take(never, &has).0.unwrap().servers[0].tools[0].needs_approval);
        check("require_approval", json!("always"), &[("read page", true), ("write", true)]);
        let never = json!({"never": {"read_only": true}});
        check("require_approval", never, &[("read page", false), ("write", true)]);
        let always = json!({"always": {"tool_names": ["write"]}});
        check("require_approval", always, &[("read page", false), ("write", true)]);
    }

    #[test]
    fn a_server_is_the_operators() {
        let check = |value: Value, expect: &str| {
            let message = take(value, &has()).0.unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(json!({"type": "mcp"}), "tools[0].server_label");
        check(json!({"type": "mcp", "server_label": "functions"}), "tools[0].server_label");
        let elsewhere =
            json!({"type": "mcp", "server_label": "wiki", "server_url": "https://evil.example/mcp"});
        check(elsewhere, "tools[0].server_url");
        check(
            json!({"type": "mcp", "server_label": "wiki", "require_approval": "sometimes"}),
            "require_approval",
        );
        check(json!({"type": "code_interpreter", "container": "c".repeat(129)}), "tools[0].container");
        let (_, warnings) =
            take(json!({"type": "mcp", "server_label": "wiki", "authorization": "k"}), &has());
        assert!(warnings.len() == 1 && warnings[0].contains("not passed on"), "{warnings:?}");
    }
}
