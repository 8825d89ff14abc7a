//! The arguments of a call, as the model wrote them.
//!
//! An argument that is unknown is passed over, one that is null is as if it were absent, and numbers may be
//! written as `3.0`: models do all three.

use serde_json::{Map, Value};

use super::error::Error;

/// A call that can be tried.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arguments {
    Search { query: String },
    Open { target: Target, cursor: i64, view: View, view_source: bool },
    Find { pattern: String, cursor: i64 },
}

/// What is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A fully qualified address.
    Url(String),
    /// A link of the page that the cursor names.
    Link(i64),
    /// That page itself, elsewhere.
    Same,
}

/// Which lines of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// The first line; none when the model left it open.
    pub(super) line: Option<usize>,
    /// How many lines; none is as many as fit.
    pub(super) num_lines: Option<usize>,
}

impl Arguments {
    /// Reads the arguments of a function's call; nothing at all is no arguments.
    pub(super) fn parse(function: &str, arguments: &str) -> Result<Self, Error> {
        let arguments = match arguments {
            "" => Map::new(),
            text => serde_json::from_str(text).map_err(|_| Error::Arguments)?,
        };
        let cursor = || Ok(integer(&arguments, "cursor")?.unwrap_or(-1));
        match function {
            "search" => Ok(Self::Search { query: text(&arguments, "query")? }),
            "find" => Ok(Self::Find { pattern: text(&arguments, "pattern")?, cursor: cursor()? }),
            "open" => {
                let target = match arguments.get("id") {
                    Some(Value::String(url)) => Target::Url(url.clone()),
                    _ => match integer(&arguments, "id")? {
                        Some(id) if id >= 0 => Target::Link(id),
                        _ => Target::Same,
                    },
                };
                let natural =
                    |name| Ok(integer(&arguments, name)?.and_then(|value| usize::try_from(value).ok()));
                let num_lines = natural("num_lines")?.filter(|&lines| lines > 0);
                Ok(Self::Open {
                    target,
                    cursor: cursor()?,
                    view: View { line: natural("loc")?, num_lines },
                    view_source: arguments.get("view_source") == Some(&Value::Bool(true)),
                })
            }
            other => Err(Error::Function(other.to_owned())),
        }
    }
}

fn integer(arguments: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Error> {
    let kind = match arguments.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => {
            // A float is taken when it is whole; what is beyond an i64 saturates, and no page is so long.
            let whole = number.as_f64().filter(|value| value.fract() == 0.0).map(|value| value as i64);
            match number.as_i64().or(whole) {
                Some(value) => return Ok(Some(value)),
                None => "float",
            }
        }
        Some(Value::String(_)) => "str",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Array(_)) => "list",
        Some(Value::Object(_)) => "dict",
    };
    Err(Error::NotAnInteger { name, kind })
}

fn text(arguments: &Map<String, Value>, name: &str) -> Result<String, Error> {
    match arguments.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        _ => Err(Error::Arguments),
    }
}
