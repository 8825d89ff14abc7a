//! The address of a judge elsewhere.

/// Where another model answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Up to and with `/v1`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// The key, if it wants one.
    pub key: Option<String>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key is never shown.
        write!(formatter, "{} at {}", self.model, self.url)
    }
}
