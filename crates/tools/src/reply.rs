//! The answer of a tool: what the model reads, and the files that came with it.

/// What a call gave back. A call that failed is answered too: its text says what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolReply {
    /// What the model reads.
    pub text: String,
    /// Whether the text tells a failure of the call.
    pub is_error: bool,
    /// Files that the call made, such as plots: for people, not for the model.
    pub files: Vec<ToolFile>,
}

/// A file that a call made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFile {
    /// Its path beneath the place where the tool keeps files, such as `plot.png`.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl ToolReply {
    /// The answer of a call that did what it was asked.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The answer of a call that failed.
    pub fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, ..Self::default() }
    }
}
