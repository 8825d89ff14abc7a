//! What a request is charged: tokens and money.

/// What is reserved for a request, its prompt and the longest answer it may get; or what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Tokens of both.
    pub tokens: u64,
    /// What they cost. Units: micro-dollars.
    pub micro_usd: u64,
}
