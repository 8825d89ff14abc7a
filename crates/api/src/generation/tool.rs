//! A tool that the model may call and the client runs.

use serde_json::Value;

/// A tool the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name in harmony, without `functions.`.
    pub harmony_name: String,
    /// What it is to the client.
    pub kind: Kind,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether the arguments must keep to the schema.
    pub strict: bool,
    /// What a custom tool's input must keep to.
    pub grammar: Option<Grammar>,
}

/// What a tool is to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A function by this name.
    Function,
    /// The same, asked for as it was before there were tools.
    OldFunction,
    /// A function inside a namespace.
    Namespaced {
        /// The namespace.
        namespace: String,
        /// The name inside.
        name: String,
    },
    /// A tool that takes free text.
    Custom,
    /// Commands for the client's shell.
    Shell,
    /// A command for the client's machine.
    LocalShell,
    /// A change of the client's files, as free text.
    ApplyPatch,
}

/// The grammar of a custom tool's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grammar {
    /// In Lark's notation.
    Lark(String),
    /// A regular expression.
    Regex(String),
}
