//! What may be asked, by name: a set of rules that keys and groups refer to.

use crate::ask::{Effort, ToolAsk, ToolKind};
use crate::content::AuditContent;
use crate::pattern::{Patterns, fits};
use crate::sensitivity::Sensitivity;

/// A set of rules. None: the rule does not bind.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Whether it acts.
    pub mode: Mode,
    /// Which models.
    pub models: Option<Patterns>,
    /// Which adapters; a request without one is not asked about.
    pub adapters: Option<Patterns>,
    /// How much the model may reason.
    pub effort_max: Option<Effort>,
    /// How much of the reasoning is seen.
    pub reasoning: Option<Reasoning>,
    /// Which tools.
    pub tools: Option<Vec<ToolRule>>,
    /// Which hosts tools may reach.
    pub hosts: Option<Patterns>,
    /// Most tokens of an answer.
    pub max_output_tokens: Option<u32>,
    /// Where its requests may go.
    pub sensitivity: Sensitivity,
    /// The guard's policy that its requests are judged by.
    pub moderation: Option<String>,
    /// What of its requests' own words the audit keeps.
    pub audit_content: Option<AuditContent>,
    /// Most that is kept of a request, and of its answer. Units: bytes.
    pub audit_content_max_bytes: Option<u64>,
}

/// Whether a policy acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// What it does not allow is refused.
    #[default]
    Enforce,
    /// It decides and is recorded, and nothing follows.
    Shadow,
}

/// How much of the reasoning is seen. More is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reasoning {
    /// Nothing.
    Hidden,
    /// What the model says that it thought.
    Summary,
    /// All of it.
    Raw,
}

/// Tools of one kind, or those of it whose name fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRule {
    /// None: every kind.
    pub kind: Option<ToolKind>,
    /// None: every name.
    pub name: Option<String>,
}

impl ToolRule {
    /// Reads `*`, `KIND` or `KIND:NAME`, where the name may have stars.
    pub fn from_name(text: &str) -> Option<ToolRule> {
        if text == "*" {
            return Some(ToolRule { kind: None, name: None });
        }
        match text.split_once(':') {
            None => Some(ToolRule { kind: Some(ToolKind::from_name(text)?), name: None }),
            Some((_, "")) => None,
            Some((kind, name)) => {
                Some(ToolRule { kind: Some(ToolKind::from_name(kind)?), name: Some(name.to_owned()) })
            }
        }
    }

    /// Whether it allows the tool.
    pub fn fits(&self, tool: &ToolAsk<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == tool.kind)
            && self.name.as_deref().is_none_or(|pattern| fits(pattern, tool.name))
    }
}

impl std::fmt::Display for ToolRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, &self.name) {
            (None, _) => f.write_str("*"),
            (Some(kind), None) => f.write_str(kind.name()),
            (Some(kind), Some(name)) => write!(f, "{}:{name}", kind.name()),
        }
    }
}

impl Reasoning {
    /// The visibility of that name.
    pub fn from_name(name: &str) -> Option<Reasoning> {
        let all = [Reasoning::Hidden, Reasoning::Summary, Reasoning::Raw];
        all.into_iter().find(|reasoning| reasoning.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Reasoning::Hidden => "hidden",
            Reasoning::Summary => "summary",
            Reasoning::Raw => "raw",
        }
    }
}

impl Mode {
    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Mode> {
        [Mode::Enforce, Mode::Shadow].into_iter().find(|mode| mode.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        }
    }
}
