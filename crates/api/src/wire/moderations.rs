//! What do the bodies of moderation look like?
//!
//! `/v1/moderations`, and the member `moderation` that Responses and Chat Completions have of it: what a
//! request asks, and what was found in its input and its output. The categories are OpenAI's, and beside them
//! those that the operator's policies have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// OpenAI's categories.
pub const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// A request to judge texts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ModerationsRequest {
    /// A text, several, or the parts of one.
    pub input: Option<ModerationsInput>,
    /// A policy's name, for that policy alone; OpenAI's names mean all.
    pub model: Option<String>,
}

/// What is judged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string, a list of strings or a list of content parts")]
pub enum ModerationsInput {
    /// A text.
    Text(String),
    /// Several, with a result each.
    Texts(Vec<String>),
    /// The parts of one.
    Parts(Vec<ModerationsPart>),
}

/// A part of what is judged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ModerationsPart {
    /// text; image_url is refused.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub text: Option<String>,
    /// Refused.
    pub image_url: Option<Value>,
}

/// What was found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Moderations {
    /// `modr-` and digits.
    pub id: String,
    /// As asked for.
    pub model: String,
    /// One a text.
    pub results: Vec<ModerationsResult>,
}

/// What was found in a text.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModerationsResult {
    /// Whether anything was.
    pub flagged: bool,
    /// Whether a category was.
    pub categories: BTreeMap<String, bool>,
    /// How probable that is, 0 to 1.
    pub category_scores: BTreeMap<String, f64>,
    /// `text`, for a category that somebody judged.
    pub category_applied_input_types: BTreeMap<String, Vec<String>>,
    /// What is flagged, by the policy's name; absent when nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyFinding>,
}

/// What a policy's judge said.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyFinding {
    /// The policy.
    pub policy: String,
    /// How probable a violation is, 0 to 1.
    pub score: f64,
    /// The rule that decides.
    pub policy_category: Option<String>,
    /// All rules that apply.
    pub rule_ids: Vec<String>,
    /// low, medium or high, in the judge's words.
    pub confidence: Option<String>,
    /// Why, in the judge's words.
    pub rationale: Option<String>,
}

/// What a request wants judged of itself and of its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ModerationSettings {
    /// A policy's name, for that policy alone; OpenAI's names mean all.
    pub model: Option<String>,
    /// What follows; without it everything is told and nothing is blocked.
    pub policy: Option<ModerationPolicy>,
}

/// What follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ModerationPolicy {
    /// Of what the user says.
    pub input: Option<ModerationMode>,
    /// Of what the model says.
    pub output: Option<ModerationMode>,
}

/// What follows of a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ModerationMode {
    /// score or block.
    pub mode: ModerationVerb,
}

/// Whether it is told or blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModerationVerb {
    /// It is told.
    Score,
    /// It is told and goes no further.
    Block,
}

/// What was found in the input and the output of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moderated {
    /// In what was said to the model, results of tools included.
    pub input: ModeratedPart,
    /// In what the model said.
    pub output: ModeratedPart,
}

/// What was found, or why nobody looked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ModeratedPart {
    /// What was found.
    #[serde(rename = "moderation_result")]
    Result {
        /// As asked for.
        model: String,
        /// Whether anything was.
        flagged: bool,
        /// Whether a category was.
        categories: BTreeMap<String, bool>,
        /// How probable that is, 0 to 1.
        category_scores: BTreeMap<String, f64>,
        /// Always text.
        category_applied_input_types: BTreeMap<String, Vec<String>>,
    },
    /// Nobody could look.
    #[serde(rename = "error")]
    Error {
        /// A word for programs.
        code: String,
        /// A sentence for people, which says whether the text passed.
        message: String,
    },
}

/// The same of a chat, in whose form a part has a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ChatModerated {
    /// In what was said to the model.
    pub input: ChatModeratedPart,
    /// In what the model said.
    pub output: ChatModeratedPart,
}

/// What was found, or why nobody looked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ChatModeratedPart {
    /// What was found.
    #[serde(rename = "moderation_results")]
    Results {
        /// As asked for.
        model: String,
        /// Always one.
        results: Vec<ModeratedPart>,
    },
    /// Nobody could look.
    #[serde(rename = "error")]
    Error {
        /// A word for programs.
        code: String,
        /// A sentence for people, which says whether the text passed.
        message: String,
    },
}

impl From<Moderated> for ChatModerated {
    fn from(moderated: Moderated) -> ChatModerated {
        ChatModerated { input: moderated.input.into(), output: moderated.output.into() }
    }
}

impl From<ModeratedPart> for ChatModeratedPart {
    fn from(part: ModeratedPart) -> ChatModeratedPart {
        match part {
            ModeratedPart::Error { code, message } => ChatModeratedPart::Error { code, message },
            ModeratedPart::Result { ref model, .. } => {
                ChatModeratedPart::Results { model: model.clone(), results: vec![part] }
            }
        }
    }
}

impl Moderated {
    /// Takes in what was found elsewhere of the same request.
    pub fn add(&mut self, other: Moderated) {
        self.input.add(other.input);
        self.output.add(other.output);
    }
}

impl ModeratedPart {
    /// Takes in what was found elsewhere: the greatest scores, and that nobody looked.
    fn add(&mut self, other: ModeratedPart) {
        let ModeratedPart::Result {
            flagged, categories, category_scores, category_applied_input_types, ..
        } = self
        else {
            return;
        };
        match other {
            // A part that is flagged says so, whatever else was not judged.
            ModeratedPart::Error { .. } if *flagged => {}
            ModeratedPart::Error { .. } => *self = other,
            ModeratedPart::Result {
                flagged: other_flagged,
                categories: flags,
                category_scores: scores,
                category_applied_input_types: types,
                ..
            } => {
                *flagged |= other_flagged;
                for (name, flag) in flags {
                    *categories.entry(name).or_default() |= flag;
                }
                for (name, score) in scores {
                    let greatest = category_scores.entry(name).or_default();
                    *greatest = greatest.max(score);
                }
                category_applied_input_types.extend(types);
            }
        }
    }
}
