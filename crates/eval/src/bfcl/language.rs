//! The languages whose values arguments have, with the names of their types.

use crate::bfcl::value::{Type, Value};

/// A language. In Java and JavaScript each argument is a text: a literal, read by its declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python, and JSON.
    Python,
    /// Java.
    Java,
    /// JavaScript.
    JavaScript,
}

impl Language {
    /// What a declared type is.
    pub fn kind(self, name: &str) -> Option<Type> {
        Some(match (self, name) {
            (Self::Python, "string" | "any") => Type::Text,
            (Self::Python, "integer") => Type::Int,
            (Self::Python, "float") => Type::Float,
            (Self::Python, "boolean") => Type::Bool,
            (Self::Python, "array" | "tuple") => Type::List,
            (Self::Python, "dict") => Type::Dict,
            (Self::Java, "byte" | "short" | "integer" | "long") => Type::Int,
            (Self::Java, "float" | "double") => Type::Float,
            (Self::Java, "boolean") => Type::Bool,
            (Self::Java, "char" | "String" | "any") => Type::Text,
            (Self::Java, "Array" | "ArrayList") => Type::List,
            (Self::Java, "HashMap") => Type::Dict,
            (Self::JavaScript, "String" | "any") => Type::Text,
            (Self::JavaScript, "integer" | "Bigint") => Type::Int,
            (Self::JavaScript, "float") => Type::Float,
            (Self::JavaScript, "Boolean") => Type::Bool,
            (Self::JavaScript, "dict") => Type::Dict,
            (Self::JavaScript, "array") => Type::List,
            _ => return None,
        })
    }

    /// Whether the values within are looked at too.
    pub fn is_nested(self, name: &str) -> bool {
        match self {
            Self::Python => matches!(name, "array" | "tuple"),
            Self::Java | Self::JavaScript => matches!(name, "Array" | "ArrayList" | "array"),
        }
    }
}

/// A pattern by its name, compiled when it is first asked for.
macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| regex::Regex::new($pattern).expect("a constant that is a pattern"));
    };
}
pub(super) use pattern;

/// A literal without its first and its last character.
pub fn inside(literal: &str) -> String {
    let mut chars = literal.chars();
    chars.next();
    chars.next_back();
    chars.as_str().to_owned()
}

/// A number by its look, or the text.
pub fn number_or_text(literal: &str) -> Value {
    let trimmed = literal.trim();
    if let Ok(whole) = trimmed.parse() {
        return Value::Int(whole);
    }
    trimmed.parse().map_or_else(|_| Value::Text(literal.to_owned()), Value::Float)
}
