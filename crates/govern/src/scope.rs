//! What a key may be used for at all.

/// A part of the server that a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask models, and what belongs to it: files, batches, stored responses.
    Infer,
    /// See reasoning as it is; without it a summary at most.
    RawReasoning,
    /// Use tools that the server runs. Functions are run by the client and need no scope.
    Tools,
    /// Tune models.
    Tune,
    /// Read usage, costs, keys and the audit; reload.
    Admin,
    /// Read the metrics.
    Metrics,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 6] =
        [Scope::Infer, Scope::RawReasoning, Scope::Tools, Scope::Tune, Scope::Admin, Scope::Metrics];

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Its name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Infer => "infer",
            Scope::RawReasoning => "raw_reasoning",
            Scope::Tools => "tools",
            Scope::Tune => "tune",
            Scope::Admin => "admin",
            Scope::Metrics => "metrics",
        }
    }
}
