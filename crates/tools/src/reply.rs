//! The answer of a tool: what the model reads, and the files that came with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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

impl ToolFile {
    /// The media type of an image that browsers show, by its first bytes; none of any other file.
    fn image_type(&self) -> Option<&'static str> {
        match self.bytes.as_slice() {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
            [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
            _ => None,
        }
    }

    /// An image of at most so many bytes: its media type, and its bytes in Base64.
    pub fn image(&self, bytes_max: usize) -> Option<(&'static str, String)> {
        let kind = self.image_type().filter(|_| self.bytes.len() <= bytes_max)?;
        Some((kind, STANDARD.encode(&self.bytes)))
    }

    /// The same as an address of its own, which browsers show.
    pub fn image_url(&self, bytes_max: usize) -> Option<String> {
        self.image(bytes_max).map(|(kind, base64)| format!("data:{kind};base64,{base64}"))
    }
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
