//! The form that an answer must have.

use gptoss_harmony::ResponseFormat;
use serde_json::{Value, json};

use super::fields::text;
use super::gbnf;
use super::tools;
use crate::errors::ApiError;
use crate::limits::RequestLimits;

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema {
        /// The name the developer gave it.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether it must be held to the letter.
        is_strict: bool,
    },
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// A sentence of this Lark grammar.
    Lark(String),
}

impl Format {
    /// Reads `response_format` of Chat Completions or `text.format` of Responses; the two differ in one level
    /// of nesting.
    ///
    /// Errors: an unknown type, a schema that is none or too long.
    pub fn parse(value: Option<&Value>, param: &str, limits: &RequestLimits) -> Result<Format, ApiError> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Format::Text) };
        match text(value, "type") {
            Some("text") => Ok(Format::Text),
            // llama.cpp's, where a schema may stand beside it.
            Some("json_object") => match value.get("schema").filter(|schema| !schema.is_null()) {
                None => Ok(Format::JsonObject),
                Some(schema) => Ok(Format::JsonSchema {
                    name: "answer".to_owned(),
                    description: None,
                    schema: tools::schema(schema, &format!("{param}.schema"), limits)?,
                    is_strict: false,
                }),
            },
            Some("regex") => {
                let inside = value.get("regex").or_else(|| value.get("pattern")).unwrap_or(&Value::Null);
                regex(inside, &format!("{param}.regex"), limits)
            }
            Some("grammar") => {
                let inside = value.get("grammar").unwrap_or(&Value::Null);
                grammar(inside, &format!("{param}.grammar"), limits)
            }
            Some("json_schema") => {
                let inside = value.get("json_schema").filter(|inside| inside.is_object()).unwrap_or(value);
                let path = format!("{param}.schema");
                let schema = inside.get("schema").filter(|schema| !schema.is_null());
                let schema = schema.ok_or_else(|| ApiError::invalid(&path, format!("{path} is missing")))?;
                Ok(Format::JsonSchema {
                    name: text(inside, "name").unwrap_or("answer").to_owned(),
                    description: text(inside, "description").map(str::to_owned),
                    schema: tools::schema(schema, &path, limits)?,
                    is_strict: inside.get("strict").and_then(Value::as_bool).unwrap_or(false),
                })
            }
            _ => {
                let message =
                    format!("{param}.type must be text, json_object, json_schema, regex or grammar");
                Err(ApiError::invalid(format!("{param}.type"), message))
            }
        }
    }

    /// As the developer message shows it.
    pub fn section(&self) -> Option<ResponseFormat> {
        match self {
            // The model is not told of what it is held to here: harmony has no words for it.
            Format::Text | Format::Regex(_) | Format::Lark(_) => None,
            Format::JsonObject => Some(ResponseFormat {
                name: "json_object".into(),
                description: Some("The answer is one JSON object and nothing else.".into()),
                schema: json!({"type": "object"}),
            }),
            Format::JsonSchema { name, description, schema, .. } => {
                // The name becomes a heading: one line of it.
                let name = name.lines().next().unwrap_or("answer").to_owned();
                Some(ResponseFormat { name, description: description.clone(), schema: schema.clone() })
            }
        }
    }
}

/// A regular expression.
pub(super) fn regex(value: &Value, name: &str, limits: &RequestLimits) -> Result<Format, ApiError> {
    Ok(Format::Regex(string(value, name, limits)?.to_owned()))
}

/// GBNF, or Lark.
pub(super) fn grammar(value: &Value, name: &str, limits: &RequestLimits) -> Result<Format, ApiError> {
    let text = string(value, name, limits)?;
    if !text.contains("::=") {
        return Ok(Format::Lark(text.to_owned()));
    }
    let lark = gbnf::to_lark(text);
    lark.map(Format::Lark).map_err(|error| ApiError::invalid(name, format!("{name}: {error}")))
}

fn string<'a>(value: &'a Value, name: &str, limits: &RequestLimits) -> Result<&'a str, ApiError> {
    let text = value.as_str().ok_or_else(|| ApiError::invalid(name, format!("{name} must be a string")))?;
    is_short(text, name, limits)?;
    Ok(text)
}

/// Errors: longer than a schema may be.
pub(super) fn is_short(text: &str, name: &str, limits: &RequestLimits) -> Result<(), ApiError> {
    if text.len() <= limits.schema_bytes_max {
        return Ok(());
    }
    let max = limits.schema_bytes_max;
    Err(ApiError::invalid(name, format!("{name} has {} bytes, but at most {max} are taken", text.len())))
}
