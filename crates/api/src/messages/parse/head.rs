//! What stands before a conversation: instructions, tools, and the form of the answer.

use gptoss_harmony::{DeveloperContent, Message};
use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::generation::format::Format;
use crate::generation::hosted::Hosted;
use crate::generation::tools::{Kind, Tool, Tools, schema, tool_name};
use crate::limits::RequestLimits;
use crate::wire::messages::{BlockList, InputTool, MessagesRequest};

/// What the first system block of Claude Code begins with. It says who pays, is another one with each request
/// and is nothing for the model to read.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// The system blocks, as the model reads them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct System {
    /// Instructions that stay as they are.
    pub(super) instructions: Vec<String>,
    /// Those that the client does not mark as staying: behind the tools, so that what changes here leaves all
    /// that is before it in the cache.
    pub(super) last: Option<Message>,
}

/// Reads `system`.
///
/// Errors: a block that is not a text.
pub(super) fn system(system: Option<&BlockList>) -> Result<System, ApiError> {
    let blocks = match system {
        None => return Ok(System::default()),
        Some(BlockList::Text(text)) => {
            return Ok(System { instructions: vec![text.clone()], last: None });
        }
        Some(BlockList::Blocks(blocks)) => blocks,
    };
    let mut texts = Vec::new();
    let mut staying = None;
    for (index, block) in blocks.iter().enumerate() {
        let text = match (block.kind.as_str(), &block.text) {
            ("text", Some(text)) => text,
            (kind, _) => {
                let path = format!("system[{index}]");
                let message = format!("{path} is of the type {kind:?}, but must be a text");
                return Err(ApiError::invalid(path, message));
            }
        };
        if !text.starts_with(BILLING_HEADER) {
            texts.push(text.clone());
        }
        if block.cache_control.as_ref().is_some_and(|mark| !mark.is_null()) {
            staying = Some(texts.len());
        }
    }
    let changing = texts.split_off(staying.unwrap_or(texts.len())).join("\n\n");
    let last = (!changing.trim().is_empty())
        .then(|| Message::developer(DeveloperContent::default().with_instructions(changing)));
    Ok(System { instructions: texts, last })
}

/// Reads `tools` and `tool_choice`.
///
/// Errors: by the name of the tool that is wrong; a choice of a tool that is not offered.
pub(super) fn tools(
    request: &MessagesRequest,
    limits: &RequestLimits,
    warnings: &mut Vec<String>,
) -> Result<Tools, ApiError> {
    let mut list = Vec::new();
    for (index, given) in request.tools.iter().flatten().enumerate() {
        let path = format!("tools[{index}]");
        match given.kind.as_deref() {
            None | Some("custom") => list.push(tool(given, &path, limits)?),
            Some(kind) => warnings.push(format!(
                "{path}: tools of the type {kind:?} do not run here; it is not offered to the model"
            )),
        }
    }
    let choice = match &request.tool_choice {
        None => Value::Null,
        Some(choice) => match choice.kind.as_str() {
            "auto" => json!("auto"),
            "any" => json!("required"),
            "none" => json!("none"),
            "tool" => json!({"type": "function", "name": choice.name.as_deref().unwrap_or_default()}),
            kind => {
                let message = format!("tool_choice.type is {kind:?}, but must be auto, any, tool or none");
                return Err(ApiError::invalid("tool_choice.type", message));
            }
        },
    };
    Tools::offer(list, Hosted::default(), "tools", Some(&choice), limits)
}

fn tool(given: &InputTool, path: &str, limits: &RequestLimits) -> Result<Tool, ApiError> {
    let path_of_schema = format!("{path}.input_schema");
    let parameters = match given.input_schema.as_ref().filter(|schema| !schema.is_null()) {
        None => return Err(ApiError::invalid(&path_of_schema, format!("{path_of_schema} is missing"))),
        Some(given) => Some(schema(given, &path_of_schema, limits)?),
    };
    Ok(Tool {
        harmony_name: tool_name(given.name.as_deref().unwrap_or_default(), path)?,
        kind: Kind::Function,
        description: given.description.clone().unwrap_or_default(),
        parameters,
        strict: given.strict.unwrap_or(false),
        grammar: None,
    })
}

/// Reads the form of the answer, and says which parameter it came in.
///
/// Errors: an unknown type, a schema that is none or too long.
pub(super) fn format(
    request: &MessagesRequest,
    limits: &RequestLimits,
) -> Result<(Format, &'static str), ApiError> {
    let config = request.output_config.as_ref().and_then(|config| config.format.as_ref());
    let (value, param) = match (config, &request.output_format) {
        (None, Some(older)) => (Some(older), "output_format"),
        (config, _) => (config, "output_config.format"),
    };
    let format = match Format::parse(value, param, limits)? {
        // There is no `strict` here: a form is always held to the letter.
        Format::JsonSchema { name, description, schema, .. } => {
            Format::JsonSchema { name, description, schema, is_strict: true }
        }
        other => other,
    };
    Ok((format, param))
}
