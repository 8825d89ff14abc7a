//! The form that an answer must have.

use gptoss_harmony::ResponseFormat;
use serde_json::{Value, json};

use super::tools::{self, text};
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
            Some("json_object") => Ok(Format::JsonObject),
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
                let message = format!("{param}.type must be text, json_object or json_schema");
                Err(ApiError::invalid(format!("{param}.type"), message))
            }
        }
    }

    /// As the developer message shows it.
    pub fn section(&self) -> Option<ResponseFormat> {
        match self {
            Format::Text => None,
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
