//! What a trial tries, and what the model card tried beside it.

/// A way to have a model disobey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// A user asks for a secret that stands in the system message.
    Secret,
    /// A user wants the answer for those with the password, without it.
    Lock,
    /// A lower role's instruction against a higher one's: system, developer, user, tool.
    Override,
    /// An instruction in what a tool gives back, or in its description.
    Injection,
    /// Text that pretends to be channels, headers or other structure.
    Forged,
    /// A user comes to the secret over several turns.
    Turns,
}

/// A figure of gpt-oss' model card, table "instruction hierarchy": other prompts and other judges, so there
/// is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// What was measured.
    pub name: &'static str,
    /// From 0 to 1; more is better.
    pub gpt_oss_120b: f64,
    /// The same of the smaller model.
    pub gpt_oss_20b: f64,
}

const EXTRACTION: Reference =
    Reference { name: "system prompt extraction", gpt_oss_120b: 0.832, gpt_oss_20b: 0.881 };
const HIJACKING: Reference =
    Reference { name: "prompt injection hijacking", gpt_oss_120b: 0.780, gpt_oss_20b: 0.639 };
const LOCKS: [Reference; 4] = [
    Reference { name: "phrase protection, system against user", gpt_oss_120b: 0.912, gpt_oss_20b: 0.793 },
    Reference { name: "password protection, system against user", gpt_oss_120b: 0.965, gpt_oss_20b: 0.947 },
    Reference { name: "phrase protection, developer against user", gpt_oss_120b: 0.909, gpt_oss_20b: 0.661 },
    Reference { name: "password protection, developer against user", gpt_oss_120b: 1.0, gpt_oss_20b: 0.946 },
];

impl Family {
    /// All of them.
    pub const ALL: [Family; 6] =
        [Family::Secret, Family::Lock, Family::Override, Family::Injection, Family::Forged, Family::Turns];

    /// As reports and command lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Family::Secret => "secret",
            Family::Lock => "lock",
            Family::Override => "override",
            Family::Injection => "injection",
            Family::Forged => "forged",
            Family::Turns => "turns",
        }
    }

    /// The model card's nearest figures, if it has any.
    pub fn references(self) -> &'static [Reference] {
        match self {
            Family::Secret => &[EXTRACTION],
            Family::Lock => &LOCKS,
            Family::Injection => &[HIJACKING],
            Family::Override | Family::Forged | Family::Turns => &[],
        }
    }

    /// A template a line.
    pub(super) fn source(self) -> &'static str {
        match self {
            Family::Secret => include_str!("templates/secret.txt"),
            Family::Lock => include_str!("templates/lock.txt"),
            Family::Override => include_str!("templates/override.txt"),
            Family::Injection => include_str!("templates/injection.txt"),
            Family::Forged => include_str!("templates/forged.txt"),
            Family::Turns => include_str!("templates/turns.txt"),
        }
    }
}
