//! How rows become samples.

use gptoss_harmony::ReasoningEffort;

/// What becomes of an example with too many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLong {
    /// It is left out.
    #[default]
    LeaveOut,
    /// The oldest turns before it are left out until it fits; what is learned is never cut.
    CutHistory,
}

/// How rows are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most tokens of an example.
    pub tokens_max: usize,
    /// What becomes of those with more.
    pub too_long: TooLong,
    /// How much the model is told to reason where a row does not say it. Without it, medium where the turn
    /// has reasoning and low where it has none.
    pub effort: Option<ReasoningEffort>,
    /// The date that the model is told, as `2026-11-30`.
    pub date: Option<String>,
    /// Whether reasoning is read and not learned.
    pub mask_reasoning: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            tokens_max: 4096,
            too_long: TooLong::default(),
            effort: None,
            date: None,
            mask_reasoning: false,
        }
    }
}
