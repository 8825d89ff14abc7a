//! What a request asks, as far as rules are about it: never what it says.

use crate::sensitivity::Sensitivity;

/// A request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The adapter's name.
    pub adapter: Option<&'a str>,
    /// How much the model shall reason, where the request says it.
    pub effort: Option<Effort>,
    /// Tools that the model may call.
    pub tools: &'a [ToolAsk<'a>],
    /// Hosts that the request names: of MCP servers, of pages to read.
    pub hosts: &'a [&'a str],
    /// Most tokens of the answer, where the request says it.
    pub max_output_tokens: Option<u32>,
    /// How sensitive it is by its header and by what detectors found; a policy can only raise it.
    pub label: Sensitivity,
}

/// How much the model reasons. More is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Little or none.
    Low,
    /// The official default.
    Medium,
    /// Much.
    High,
}

impl Effort {
    /// The effort of that name.
    pub fn from_name(name: &str) -> Option<Effort> {
        [Effort::Low, Effort::Medium, Effort::High].into_iter().find(|effort| effort.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolAsk<'a> {
    /// What it is.
    pub kind: ToolKind,
    /// A function's name, a server's label; empty where the kind is all there is.
    pub name: &'a str,
}

/// What a tool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// A function or a free-form tool of the client's, which the client runs.
    Function,
    /// Python in a cell of the server's.
    Python,
    /// Search and pages.
    Browser,
    /// A server of the Model Context Protocol, by its label.
    Mcp,
    /// A shell.
    Shell,
    /// Patches of files.
    ApplyPatch,
}

impl ToolKind {
    /// All of them.
    pub const ALL: [ToolKind; 6] = [
        ToolKind::Function,
        ToolKind::Python,
        ToolKind::Browser,
        ToolKind::Mcp,
        ToolKind::Shell,
        ToolKind::ApplyPatch,
    ];

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<ToolKind> {
        ToolKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ToolKind::Function => "function",
            ToolKind::Python => "python",
            ToolKind::Browser => "browser",
            ToolKind::Mcp => "mcp",
            ToolKind::Shell => "shell",
            ToolKind::ApplyPatch => "apply_patch",
        }
    }

    /// Whether the client runs it, so that the server reaches nothing by it.
    pub fn is_clients(self) -> bool {
        self == ToolKind::Function
    }
}

impl std::fmt::Display for ToolAsk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name {
            "" => f.write_str(self.kind.name()),
            name => write!(f, "{}:{name}", self.kind.name()),
        }
    }
}
