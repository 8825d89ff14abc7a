//! What a request is charged: tokens and money.

/// Most of one charge or count, so that sums of millions stay within 64 bits. Units: tokens or micro-dollars.
pub(super) const CHARGE_MAX: u64 = 1_000_000_000_000;

/// What is reserved for a request, its prompt and the longest answer it may get; or what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Tokens of both.
    pub tokens: u64,
    /// What they cost. Units: micro-dollars.
    pub micro_usd: u64,
}

impl Charge {
    /// The same, as much of it as sums can take.
    pub(super) fn bounded(self) -> Charge {
        Charge { tokens: self.tokens.min(CHARGE_MAX), micro_usd: self.micro_usd.min(CHARGE_MAX) }
    }
}

/// A count that sums can take.
pub(super) fn count(number: u64) -> i64 {
    number.min(CHARGE_MAX).cast_signed()
}
