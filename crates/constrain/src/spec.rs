//! What a caller asks of the next turn.
//!
//! [`Spec`] is plain data in the words of the OpenAI API: which functions exist and how their arguments are
//! held, which tool choice, what the answer's body must match, how long the model may reason. Its default
//! asks for nothing but a well-formed harmony turn. Nothing is checked here: [`crate::compile()`] makes a
//! [`crate::Compiled`] of it or says what is wrong. Limits stand apart, in [`crate::Limits`], because the
//! operator sets those and the client sets these.

use std::fmt;

use serde_json::Value;

/// What one turn of the assistant must look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spec {
    /// The functions that exist (recipients `functions.NAME`).
    pub functions: Vec<Function>,
    /// The built-in tools that exist, by recipient.
    pub builtins: Vec<Builtin>,
    /// Whether the turn may or must call.
    ///
    /// `parallel_tool_calls` has no field: in harmony a call ends the turn, so there is one call at most,
    /// which both of its values allow.
    pub tool_choice: ToolChoice,
    /// What the body of `final` must match.
    pub answer: Body,
    /// How much may be said on the way.
    pub reasoning: Reasoning,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Without namespace; no white space and no control characters.
    pub name: String,
    /// What the call's body must match: a schema or any JSON object for a function, [`Body::Free`] or a
    /// grammar for a custom tool.
    pub arguments: Body,
}

/// A tool that the model was trained with; it is called from `analysis` or `commentary`.
#[derive(Debug, Clone, PartialEq)]
pub struct Builtin {
    /// The whole recipient: `python`, `browser.search`.
    pub recipient: String,
    /// What the call's body must match.
    pub arguments: Body,
}

/// Whether the turn may or must call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No calls.
    None,
    /// A call, of any tool; no answer.
    Required,
    /// A call of this function (by name) or built-in tool (by recipient); no answer.
    Named(String),
}

/// What a text must match.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Body {
    /// Any valid UTF-8.
    #[default]
    Free,
    /// Any JSON object, without white space between its parts.
    JsonObject,
    /// JSON of a schema, without white space between its parts, properties in the order of the schema.
    JsonSchema {
        /// The JSON Schema.
        schema: Value,
        /// What to do about keywords that cannot be enforced.
        fidelity: Fidelity,
    },
    /// The whole text matches a regular expression (Rust's syntax, without look-around and back-references).
    Regex(String),
    /// A sentence of a Lark grammar (llguidance's dialect; `start` is the start rule).
    Lark(String),
}

/// What happens to schema keywords that cannot be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fidelity {
    /// They are refused: what is accepted is enforced to the letter.
    #[default]
    Strict,
    /// They are left out with a [`Warning`]: the text is still JSON of the rest of the schema.
    Loose,
}

/// How much may be said before the answer or the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasoning {
    /// Most tokens of `analysis` and preamble bodies together, their ends included; then the open one is
    /// ended at the next character's border and no other begins, so that the answer or the call comes next.
    /// `None` leaves it to the length of the turn; 0 leaves neither. Units: tokens.
    pub budget: Option<u32>,
    /// Whether preambles (`commentary` messages to the user) may come before the answer or the call.
    pub preambles: bool,
}

impl Default for Reasoning {
    fn default() -> Self {
        Self { budget: None, preambles: true }
    }
}

/// Which part of a [`Spec`] is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// [`Spec::answer`].
    Answer,
    /// The arguments of a function (by name) or built-in tool (by recipient).
    Arguments(String),
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => write!(formatter, "the answer's format"),
            Self::Arguments(name) => write!(formatter, "the arguments of {name}"),
        }
    }
}

/// Something in a schema that is not enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub part: Part,
    /// JSON pointer into the schema; empty for the whole.
    pub path: String,
    /// What, and what happens instead.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at #{}: {}", self.part, self.path, self.message)
    }
}
