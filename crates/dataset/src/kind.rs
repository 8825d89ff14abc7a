//! The kinds of rows that people have, known by their columns.

use std::fmt;

use serde_json::{Map, Value};

/// A kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `tokens`, and `weights` of predicting each: what another program has rendered.
    Tokens,
    /// `input.messages`, `preferred_output` and `non_preferred_output`, as OpenAI has pairs.
    OpenAiPair,
    /// `chosen` and `rejected`, with or without `prompt`, as TRL has pairs.
    Pair,
    /// `messages` whose last answer is the better one, and `rejected_response`, as MS-Swift has pairs.
    SwiftPair,
    /// `messages`, and `tools` or `functions`: OpenAI's and Hugging Face's chats, Multilingual-Thinking's
    /// rows.
    Chat,
    /// `conversations` of `from` and `value`.
    ShareGpt,
    /// `user`, `analysis` and `final`, and `developer` if there is one.
    Columns,
    /// `instruction`, `input` if there is one, and `output`.
    Instruction,
    /// `prompt` and `completion`, texts or messages.
    Completion,
    /// `text`, all of which is learned.
    Text,
}

/// Each kind with its columns; the first whose columns are all there is the row's.
const KINDS: [(Kind, &[&str]); 10] = [
    (Kind::Tokens, &["tokens"]),
    (Kind::OpenAiPair, &["input", "preferred_output", "non_preferred_output"]),
    (Kind::Pair, &["chosen", "rejected"]),
    (Kind::SwiftPair, &["messages", "rejected_response"]),
    (Kind::Chat, &["messages"]),
    (Kind::ShareGpt, &["conversations"]),
    (Kind::Columns, &["user", "analysis", "final"]),
    (Kind::Instruction, &["instruction", "output"]),
    (Kind::Completion, &["prompt", "completion"]),
    (Kind::Text, &["text"]),
];

impl Kind {
    /// The kind of a row.
    pub(crate) fn of(row: &Map<String, Value>) -> Option<Kind> {
        let has = |column: &&str| row.get(*column).is_some_and(|value| !value.is_null());
        KINDS.iter().find(|(_, columns)| columns.iter().all(has)).map(|(kind, _)| *kind)
    }

    /// The columns of every kind, for who has others.
    pub(crate) fn all_columns() -> String {
        let columns: Vec<String> = KINDS.iter().map(|(_, columns)| columns.join("+")).collect();
        columns.join(", ")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Kind::Tokens => "tokens and weights",
            Kind::OpenAiPair => "OpenAI's preference pairs",
            Kind::Pair => "preference pairs (chosen, rejected)",
            Kind::SwiftPair => "preference pairs (messages, rejected_response)",
            Kind::Chat => "chats (messages)",
            Kind::ShareGpt => "chats (conversations of from and value)",
            Kind::Columns => "single turns (user, analysis, final)",
            Kind::Instruction => "instructions (instruction, input, output)",
            Kind::Completion => "prompts with completions",
            Kind::Text => "plain texts",
        };
        formatter.write_str(name)
    }
}
