//! What is looked at, where, and what follows: the plain data that an operator's files come to.

use serde::Deserialize;

use crate::keywords::Keywords;
use crate::personal::PersonalData;
use crate::policy::Policy;
use crate::secrets::SecretKeys;
use crate::urls::UrlFilter;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What a user says.
    Input,
    /// What a tool gives back.
    Tools,
    /// Reasoning that somebody sees: a summary of it, or the reasoning itself.
    Reasoning,
    /// What the model says, and the arguments of its calls.
    Output,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 4] = [Stage::Input, Stage::Tools, Stage::Reasoning, Stage::Output];
}

/// What follows when a text violates a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is not looked at.
    #[default]
    Off,
    /// It is told.
    Score,
    /// It goes no further.
    Block,
}

/// What happens when nobody could judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fails {
    /// The text counts as one that violates the policy.
    #[default]
    Closed,
    /// The text passes.
    Open,
}

/// Something that is looked for.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// What it is told as: one of OpenAI's categories, or another word.
    pub category: String,
    /// Where it is looked for, and what follows there.
    pub stages: Vec<(Stage, Mode)>,
    /// What is looked for.
    pub kind: CheckKind,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub enum CheckKind {
    /// What a model judges.
    Policy(Policy),
    /// Words.
    Keywords(Keywords),
    /// Addresses that are not allowed.
    Urls(UrlFilter),
    /// Keys and passwords.
    Secrets(SecretKeys),
    /// Personal data that has a pattern.
    Personal(PersonalData),
}

impl Check {
    /// What follows at a stage, where a request asks for at least `asked`.
    pub fn mode(&self, stage: Stage, asked: Mode) -> Mode {
        let found = self.stages.iter().filter(|(of, _)| *of == stage).map(|(_, mode)| *mode).max();
        found.map_or(Mode::Off, |mode| mode.max(asked))
    }
}

/// Everything that an operator wants looked at.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// All of it.
    pub checks: Vec<Check>,
    /// What happens when nobody could judge.
    pub fails: Fails,
}

impl Guard {
    /// The policies that a model judges.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.checks.iter().filter_map(|check| match &check.kind {
            CheckKind::Policy(policy) => Some(policy),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_more_and_never_for_less() {
        let check = |stages: &[(Stage, Mode)], asked: Mode, expect: Mode| {
            let kind = CheckKind::Policy(Policy::new("p", "text"));
            let check = Check { name: "p".into(), category: "p".into(), stages: stages.to_vec(), kind };
            assert_eq!(check.mode(Stage::Output, asked), expect, "{stages:?} {asked:?}");
        };
        check(&[(Stage::Output, Mode::Off)], Mode::Score, Mode::Score);
        check(&[(Stage::Output, Mode::Block)], Mode::Score, Mode::Block);
        check(&[(Stage::Output, Mode::Score)], Mode::Off, Mode::Score);
        check(&[(Stage::Input, Mode::Block)], Mode::Block, Mode::Off);
    }
}
