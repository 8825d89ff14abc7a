//! What is said in a harmony conversation, by whom and to whom?
//!
//! Plain data with public fields, and constructors for the messages that occur: `Message::user("hi")`,
//! `Message::assistant("final", "hello")`, `Message::tool_result("functions.f", "{}")`. Rendering and parsing
//! live elsewhere; the JSON form (openai-harmony's own) is in `json`. Names, recipients and channels are free
//! strings here; nothing in this module can produce a control token, and the one control token that appears
//! in a header, `<|constrain|>`, is the bool of [`ContentType`].

use std::{collections::BTreeMap, fmt};

/// The literal that marks a constrained content type in the JSON form.
pub(crate) const CONSTRAIN_LITERAL: &str = "<|constrain|>";

/// Messages in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub author: Author,
    /// To whom, for tool calls and their results; `None` (or `all`) is everybody.
    pub recipient: Option<String>,
    /// `analysis`, `commentary`, `final`, or none.
    pub channel: Option<String>,
    /// Of the content, mostly set by the model on tool calls.
    pub content_type: Option<ContentType>,
    /// The parts, which are rendered one after the other.
    pub content: Vec<Content>,
}

/// Who speaks: a role and, for tools, the tool's full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The role.
    pub role: Role,
    /// The tool's full name (`functions.f`, `browser.search`, `python`), or a name for another role.
    pub name: Option<String>,
}

impl From<Role> for Author {
    fn from(role: Role) -> Self {
        Self { role, name: None }
    }
}

/// The five roles, by falling authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Capabilities and meta information.
    System,
    /// What other APIs call the system prompt, and the function tools.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

impl Role {
    /// The lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of that lower-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::System, Self::Developer, Self::User, Self::Assistant, Self::Tool]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// The type of a message's content, as the header names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// Whether the control token `<|constrain|>` stands before the name.
    pub constrained: bool,
    /// `json`, `code`, ...
    pub name: String,
}

impl ContentType {
    /// `<|constrain|>json`, which function calls carry.
    pub fn constrained_json() -> Self {
        Self { constrained: true, name: "json".into() }
    }
}

impl From<&str> for ContentType {
    /// Reads the JSON form: `<|constrain|>json` is constrained, anything else is text.
    fn from(text: &str) -> Self {
        match text.strip_prefix(CONSTRAIN_LITERAL) {
            Some(name) => Self { constrained: true, name: name.into() },
            None => Self { constrained: false, name: text.into() },
        }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", if self.constrained { CONSTRAIN_LITERAL } else { "" }, self.name)
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Only in system messages.
    System(SystemContent),
    /// Only in developer messages.
    Developer(DeveloperContent),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// How long the model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasoningEffort {
    /// Little.
    Low,
    /// The default.
    Medium,
    /// Long.
    High,
}

impl ReasoningEffort {
    /// As the system message says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The effort of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High]
            .into_iter()
            .find(|effort| effort.as_str().eq_ignore_ascii_case(name))
    }
}

/// Tool namespaces by name; they render in this order.
pub type Namespaces = BTreeMap<String, ToolNamespace>;

/// What the system message says. `None` leaves a line out; the default is the official one.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemContent {
    /// The first line.
    pub model_identity: Option<String>,
    /// The line `Reasoning: medium`.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// ISO date, for the line `Current date:`.
    pub conversation_start_date: Option<String>,
    /// The line `Knowledge cutoff:`.
    pub knowledge_cutoff: Option<String>,
    /// The section `# Valid channels`.
    pub channel_config: Option<ChannelConfig>,
    /// Built-in tools.
    pub tools: Option<Namespaces>,
}

impl Default for SystemContent {
    fn default() -> Self {
        Self {
            model_identity: Some("You are ChatGPT, a large language model trained by OpenAI.".into()),
            reasoning_effort: Some(ReasoningEffort::Medium),
            conversation_start_date: None,
            knowledge_cutoff: Some("2024-06".into()),
            channel_config: Some(ChannelConfig::default()),
            tools: None,
        }
    }
}

impl SystemContent {
    /// With another effort.
    pub fn with_reasoning_effort(mut self, effort: ReasoningEffort) -> Self {
        self.reasoning_effort = Some(effort);
        self
    }

    /// With a date, as in `2026-11-23`.
    pub fn with_conversation_start_date(mut self, date: impl Into<String>) -> Self {
        self.conversation_start_date = Some(date.into());
        self
    }

    /// With one more namespace of built-in tools.
    pub fn with_tools(mut self, namespace: ToolNamespace) -> Self {
        self.tools.get_or_insert_default().insert(namespace.name.clone(), namespace);
        self
    }
}

/// Which channels the system message allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// In order; none leaves the section out.
    pub valid_channels: Vec<String>,
    /// Whether every assistant message must name its channel.
    pub channel_required: bool,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            valid_channels: ["analysis", "commentary", "final"].map(String::from).to_vec(),
            channel_required: true,
        }
    }
}

/// What the developer message says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeveloperContent {
    /// The section `# Instructions`.
    pub instructions: Option<String>,
    /// The section `# Tools`.
    pub tools: Option<Namespaces>,
    /// The section `# Response Formats`.
    pub response_formats: Vec<ResponseFormat>,
}

impl DeveloperContent {
    /// With instructions.
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// With function tools, in the namespace `functions`.
    pub fn with_function_tools(self, tools: Vec<FunctionTool>) -> Self {
        self.with_tools(ToolNamespace { name: "functions".into(), description: None, tools })
    }

    /// With one more namespace of tools.
    pub fn with_tools(mut self, namespace: ToolNamespace) -> Self {
        self.tools.get_or_insert_default().insert(namespace.name.clone(), namespace);
        self
    }

    /// With one more response format.
    pub fn with_response_format(mut self, format: ResponseFormat) -> Self {
        self.response_formats.push(format);
        self
    }
}

/// A group of tools under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolNamespace {
    /// `functions`, `browser`, ...
    pub name: String,
    /// Comment lines above the tools, or plain text when there are none.
    pub description: Option<String>,
    /// In order.
    pub tools: Vec<FunctionTool>,
}

/// A function the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionTool {
    /// Without its namespace.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of the arguments object.
    pub parameters: Option<serde_json::Value>,
}

/// A shape that the developer asks answers to have.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseFormat {
    /// Heading of its section.
    pub name: String,
    /// Comment line above the schema.
    pub description: Option<String>,
    /// JSON Schema, rendered on one line.
    pub schema: serde_json::Value,
}

impl Conversation {
    /// From messages in order.
    pub fn from_messages(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect() }
    }
}

impl Message {
    /// A message with one part and nothing else in its header.
    pub fn new(author: impl Into<Author>, content: impl Into<Content>) -> Self {
        Self {
            author: author.into(),
            recipient: None,
            channel: None,
            content_type: None,
            content: vec![content.into()],
        }
    }

    /// The system message.
    pub fn system(content: SystemContent) -> Self {
        Self::new(Role::System, Content::System(content))
    }

    /// The developer message.
    pub fn developer(content: DeveloperContent) -> Self {
        Self::new(Role::Developer, Content::Developer(content))
    }

    /// A user's message.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, Content::Text(text.into()))
    }

    /// The model's message on a channel.
    pub fn assistant(channel: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, Content::Text(text.into())).with_channel(channel)
    }

    /// The model's call of a function tool: `name` without namespace, arguments as JSON text.
    pub fn function_call(name: &str, arguments: impl Into<String>) -> Self {
        Self::assistant("commentary", arguments)
            .with_recipient(format!("functions.{name}"))
            .with_content_type(ContentType::constrained_json())
    }

    /// A tool's answer to the model: `tool` is the full name, as in `functions.get_weather`.
    pub fn tool_result(tool: impl Into<String>, text: impl Into<String>) -> Self {
        let author = Author { role: Role::Tool, name: Some(tool.into()) };
        Self::new(author, Content::Text(text.into())).with_recipient("assistant").with_channel("commentary")
    }

    /// To a recipient.
    pub fn with_recipient(mut self, recipient: impl Into<String>) -> Self {
        self.recipient = Some(recipient.into());
        self
    }

    /// On a channel.
    pub fn with_channel(mut self, channel: impl Into<String>) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// With a content type.
    pub fn with_content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// The text parts, joined.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            Content::Text(text) => Some(text.as_str()),
            Content::System(_) | Content::Developer(_) => None,
        });
        texts.collect()
    }
}
