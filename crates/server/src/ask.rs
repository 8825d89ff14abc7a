//! What does a request ask of the model, whatever API it came by?
//!
//! [`Ask`] is what is left when the words of an API are gone: the messages, the tools and what is demanded of
//! calls and answers, the sampling, the limits, how much of the reasoning may be seen. [`Head`] makes the
//! system and the developer message that stand before the conversation: effort and date in the one,
//! instructions, tools and the schema of the answer in the other.
//!
//! It does not know how any of it is written on the wire.

use gptoss_harmony::{
    Conversation, DeveloperContent, Message, ReasoningEffort, ResponseFormat, SystemContent,
};
use gptoss_turn::SamplingParams;
use serde_json::{Value, json};

use crate::limits::Limits;
use crate::tools::{self, Tools, text};
use crate::visibility::Visibility;
use crate::wire::errors::ApiError;

/// What a request asks of the model.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Everything the model reads.
    pub(crate) conversation: Conversation,
    /// What it may call.
    pub(crate) tools: Tools,
    /// What its answer must be.
    pub(crate) format: Format,
    /// The parameter that the form came in.
    pub(crate) format_param: &'static str,
    /// How tokens are chosen.
    pub(crate) sampling: SamplingParams,
    /// Most tokens to write.
    pub(crate) max_new_tokens: Option<usize>,
    /// Strings before which the answer ends.
    pub(crate) stops: Vec<String>,
    /// How many likeliest tokens are told with each; None tells no log-probabilities.
    pub(crate) top_logprobs: Option<usize>,
    /// How much of the reasoning may be seen.
    pub(crate) visibility: Visibility,
    /// Whose request it is.
    pub(crate) tenant: String,
    /// What was changed or left out on the way.
    pub(crate) warnings: Vec<String>,
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Format {
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
    pub(crate) fn parse(value: Option<&Value>, param: &str, limits: &Limits) -> Result<Format, ApiError> {
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

    fn section(&self) -> Option<ResponseFormat> {
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

/// Reads an effort; words beyond harmony's three are taken for the nearest.
///
/// Errors: an unknown word.
pub(crate) fn effort(
    word: Option<&str>,
    param: &str,
    warnings: &mut Vec<String>,
) -> Result<ReasoningEffort, ApiError> {
    let Some(word) = word else { return Ok(ReasoningEffort::Medium) };
    let (effort, is_near) = match word.to_ascii_lowercase().as_str() {
        "low" => (ReasoningEffort::Low, false),
        "medium" | "auto" | "default" => (ReasoningEffort::Medium, false),
        "high" => (ReasoningEffort::High, false),
        "none" | "minimal" => (ReasoningEffort::Low, true),
        "xhigh" | "max" => (ReasoningEffort::High, true),
        _ => {
            let message = format!("{param} is {word:?}, but must be low, medium or high");
            return Err(ApiError::invalid(param, message));
        }
    };
    if is_near {
        warnings.push(format!("{param} is {word:?}; the model's nearest is {}", effort.as_str()));
    }
    Ok(effort)
}

/// What stands before the conversation.
#[derive(Debug, Clone)]
pub(crate) struct Head<'a> {
    /// How much the model reasons.
    pub(crate) effort: ReasoningEffort,
    /// The date it is told.
    pub(crate) date: Option<String>,
    /// What the developer wants, in order.
    pub(crate) instructions: Vec<String>,
    /// What may be called.
    pub(crate) tools: &'a Tools,
    /// What the answer must be.
    pub(crate) format: &'a Format,
}

impl Head<'_> {
    /// The conversation: the head and `messages` after it.
    pub(crate) fn before(self, messages: Vec<Message>) -> Conversation {
        let system = SystemContent {
            reasoning_effort: Some(self.effort),
            conversation_start_date: self.date,
            ..SystemContent::default()
        };
        let mut all = vec![Message::system(system)];
        let instructions: Vec<String> =
            self.instructions.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let functions = self.tools.shown();
        let section = self.format.section();
        if !instructions.is_empty() || !functions.is_empty() || section.is_some() {
            let mut developer = DeveloperContent::default();
            if !instructions.is_empty() {
                developer = developer.with_instructions(instructions.join("\n\n"));
            }
            if !functions.is_empty() {
                developer = developer.with_function_tools(functions);
            }
            if let Some(section) = section {
                developer = developer.with_response_format(section);
            }
            all.push(Message::developer(developer));
        }
        all.extend(messages);
        Conversation { messages: all }
    }
}
