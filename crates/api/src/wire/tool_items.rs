//! What do calls of built-in tools look like in a response?
//!
//! Two sorts: items of tools that this server runs (`web_search_call`, `code_interpreter_call`, those of
//! MCP), which hold what came of the call, and items of tools that the client runs (`shell_call`,
//! `local_shell_call`, `apply_patch_call`), whose results come back in the next input.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call of the browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebSearchCallItem {
    /// `ws_` and digits.
    pub id: String,
    /// in_progress, completed, failed or incomplete.
    pub status: String,
    /// What is done.
    pub action: SearchAction,
}

/// What the browser does; what the model has not said yet is absent, or empty where it may not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SearchAction {
    /// It looks for something.
    Search {
        /// For what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query: Option<String>,
        /// The same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queries: Option<Vec<String>>,
        /// What was found, if asked for by `include`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sources: Option<Vec<SearchSource>>,
    },
    /// It opens a page, or scrolls in one.
    OpenPage {
        /// Its address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// It looks for a text in a page.
    FindInPage {
        /// The text.
        pattern: String,
        /// The page's address.
        url: String,
    },
}

/// A page that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchSource {
    /// Always `url`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address.
    pub url: String,
}

/// A call of the Python interpreter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodeInterpreterCallItem {
    /// `ci_` and digits.
    pub id: String,
    /// in_progress, interpreting, completed, failed or incomplete.
    pub status: String,
    /// What is run.
    pub code: String,
    /// Where.
    pub container_id: String,
    /// What came of it, if asked for by `include`.
    pub outputs: Option<Vec<CodeOutput>>,
}

/// What came of code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CodeOutput {
    /// What it printed.
    Logs {
        /// The text.
        logs: String,
    },
    /// A picture that it made.
    Image {
        /// A `data:` address that holds it.
        url: String,
    },
}

/// The tools of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpListToolsItem {
    /// `mcpl_` and digits.
    pub id: String,
    /// The server.
    pub server_label: String,
    /// What it offers.
    pub tools: Vec<McpListedTool>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// A tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpListedTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// What the server says besides.
    pub annotations: Option<Value>,
}

/// A call of an MCP server's tool that waits to be allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpApprovalRequestItem {
    /// `mcpr_` and digits.
    pub id: String,
    /// The server.
    pub server_label: String,
    /// The tool.
    pub name: String,
    /// What the model wrote.
    pub arguments: String,
}

/// A call of an MCP server's tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpCallItem {
    /// `mcp_` and digits.
    pub id: String,
    /// in_progress, completed, failed or incomplete.
    pub status: String,
    /// The server.
    pub server_label: String,
    /// The tool.
    pub name: String,
    /// What the model wrote.
    pub arguments: String,
    /// What the tool said.
    pub output: Option<String>,
    /// What went wrong.
    pub error: Option<McpError>,
    /// The request by which it was allowed.
    pub approval_request_id: Option<String>,
}

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpError {
    /// Always `mcp_tool_execution_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was said of it.
    pub content: Value,
}

/// Commands that the client is to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShellCallItem {
    /// `sh_` and digits.
    pub id: String,
    /// By which the result refers to it.
    pub call_id: String,
    /// What to run.
    pub action: ShellAction,
    /// Always local: the client's own machine.
    pub environment: LocalEnvironment,
    /// in_progress, completed or incomplete.
    pub status: String,
}

/// Commands, and their bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShellAction {
    /// One after another.
    pub commands: Vec<String>,
    /// Units: milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Most of the output that the model wants to read. Units: characters.
    #[serde(default)]
    pub max_output_length: Option<u64>,
}

/// Where commands run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalEnvironment {
    /// Always `local`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A command that the client is to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocalShellCallItem {
    /// `lsh_` and digits.
    pub id: String,
    /// By which the result refers to it.
    pub call_id: String,
    /// What to run.
    pub action: ExecAction,
    /// in_progress, completed or incomplete.
    pub status: String,
}

/// A command by its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecAction {
    /// Always `exec`.
    #[serde(rename = "type", default = "exec")]
    pub kind: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Added to the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Units: milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// As whom.
    #[serde(default)]
    pub user: Option<String>,
    /// Where.
    #[serde(default)]
    pub working_directory: Option<String>,
}

impl Default for ExecAction {
    fn default() -> ExecAction {
        ExecAction {
            kind: exec(),
            command: Vec::new(),
            env: BTreeMap::new(),
            timeout_ms: None,
            user: None,
            working_directory: None,
        }
    }
}

fn exec() -> String {
    "exec".to_owned()
}

/// A change of a file that the client is to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplyPatchCallItem {
    /// `apc_` and digits.
    pub id: String,
    /// By which the result refers to it.
    pub call_id: String,
    /// What to change.
    pub operation: PatchOperation,
    /// in_progress or completed.
    pub status: String,
}

/// A change of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PatchOperation {
    /// It is made.
    CreateFile {
        /// Where.
        path: String,
        /// Its lines, each behind a plus.
        diff: String,
    },
    /// It is changed.
    UpdateFile {
        /// Which.
        path: String,
        /// The changes, each behind a line that begins with `@@`.
        diff: String,
    },
    /// It is deleted.
    DeleteFile {
        /// Which.
        path: String,
    },
}

/// What a text cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Annotation {
    /// A page.
    Url(UrlCitation),
    /// A file that code made.
    ContainerFile(ContainerFileCitation),
}

/// A file of a container that a text names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerFileCitation {
    /// Always `container_file_citation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The container.
    pub container_id: String,
    /// The file in it.
    pub file_id: String,
    /// The file's name.
    pub filename: String,
    /// Where the name of the file begins; 0 and 0 where the text does not name it. Units: characters of the
    /// text.
    pub start_index: usize,
    /// Where it has ended.
    pub end_index: usize,
}

/// A page that a text cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UrlCitation {
    /// Always `url_citation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the citation begins. Units: characters of the text.
    pub start_index: usize,
    /// Where it has ended.
    pub end_index: usize,
    /// The page's address.
    pub url: String,
    /// Its title.
    pub title: String,
}
