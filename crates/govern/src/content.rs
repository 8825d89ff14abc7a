//! What of a request's own words the audit keeps, where a policy asks for it: nothing unless it does.

/// Which words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditContent {
    /// None.
    #[default]
    None,
    /// The request's body.
    Prompt,
    /// The answer's.
    Answer,
    /// Of both.
    Both,
}

/// Most of a request's body that is kept, and of its answer's, where no policy says how much. Units: bytes.
pub(crate) const CONTENT_BYTES: u64 = 256 << 10;
/// Most that a policy may say. Units: bytes.
pub(crate) const CONTENT_BYTES_MAX: u64 = 16 << 20;

/// What is kept of a key's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRule {
    /// Whether their bodies are.
    pub has_prompt: bool,
    /// Whether the bodies of their answers are.
    pub has_answer: bool,
    /// Most of each. Units: bytes.
    pub max_bytes: usize,
}

impl AuditContent {
    const ALL: [AuditContent; 4] =
        [AuditContent::None, AuditContent::Prompt, AuditContent::Answer, AuditContent::Both];

    /// The choice of that name.
    pub fn from_name(name: &str) -> Option<AuditContent> {
        AuditContent::ALL.into_iter().find(|content| content.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            AuditContent::None => "none",
            AuditContent::Prompt => "prompt",
            AuditContent::Answer => "answer",
            AuditContent::Both => "both",
        }
    }

    /// Whether requests are among them.
    pub(crate) fn has_prompt(self) -> bool {
        matches!(self, AuditContent::Prompt | AuditContent::Both)
    }

    /// Whether answers are.
    pub(crate) fn has_answer(self) -> bool {
        matches!(self, AuditContent::Answer | AuditContent::Both)
    }
}
