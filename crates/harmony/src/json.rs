//! How is a conversation written as JSON?
//!
//! As openai-harmony's `to_dict()` writes it; [`Conversation`] and [`Message`] implement serde's traits with
//! that form. Reading is lenient where the meaning is clear: content may be a plain string or a list of
//! parts, optional fields may be missing or null, a bare list of messages is a conversation, efforts may be
//! in any case. What is wrong is named with its place, `messages[3].content[0].text`. This is the boundary at
//! which the text `<|constrain|>json` of a content type becomes a control token and a name; no other text
//! does.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    message::{
        Author, ChannelConfig, Content, ContentType, Conversation, DeveloperContent, FunctionTool, Message,
        Namespaces, ReasoningEffort, ResponseFormat, Role, SystemContent, ToolNamespace,
    },
};

impl Conversation {
    /// Reads the JSON form.
    ///
    /// Errors: [`Error::Conversation`] with the path of the first wrong or missing field.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        let root = At { value, path: String::new() };
        let messages = match value {
            Value::Array(_) => At { value, path: "messages".into() },
            _ => root.required("messages", "a list of messages")?,
        };
        Ok(Self {
            messages: messages.list("a list of messages")?.iter().map(message).collect::<Result<_, _>>()?,
        })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        json!({"messages": self.messages.iter().map(Message::to_json).collect::<Vec<_>>()})
    }
}

impl Message {
    /// Reads the JSON form of one message.
    ///
    /// Errors: as [`Conversation::from_json`], with paths that start at `message`.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        message(&At { value, path: "message".into() })
    }

    /// The JSON form of one message.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("role".into(), self.author.role.as_str().into());
        object.insert("name".into(), self.author.name.clone().into());
        object.insert("content".into(), self.content.iter().map(content_to_json).collect());
        put(&mut object, "channel", self.channel.clone());
        put(&mut object, "recipient", self.recipient.clone());
        put(&mut object, "content_type", self.content_type.as_ref().map(ContentType::to_string));
        object.into()
    }
}

impl Serialize for Conversation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A value and where it is.
struct At<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> At<'a> {
    fn wrong(&self, expected: &'static str) -> Error {
        let found = match self.value {
            Value::Null => "null".to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            Value::Array(_) => "a list".to_string(),
            Value::Object(_) => "an object".to_string(),
        };
        Error::Conversation { path: self.place(), expected, found }
    }

    fn place(&self) -> String {
        if self.path.is_empty() { "conversation".into() } else { self.path.clone() }
    }

    /// A field; `None` when missing or null.
    fn field(&self, name: &str) -> Option<At<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let dot = if self.path.is_empty() { "" } else { "." };
        Some(At { value, path: format!("{}{dot}{name}", self.path) })
    }

    fn required(&self, name: &str, expected: &'static str) -> Result<At<'a>, Error> {
        if !self.value.is_object() {
            return Err(self.wrong("an object"));
        }
        self.field(name).ok_or_else(|| {
            let dot = if self.path.is_empty() { "" } else { "." };
            Error::Conversation {
                path: format!("{}{dot}{name}", self.path),
                expected,
                found: "nothing".into(),
            }
        })
    }

    fn text(&self) -> Result<String, Error> {
        self.value.as_str().map(String::from).ok_or_else(|| self.wrong("a string"))
    }

    fn text_field(&self, name: &str) -> Result<Option<String>, Error> {
        self.field(name).map(|field| field.text()).transpose()
    }

    fn list(&self, expected: &'static str) -> Result<Vec<At<'a>>, Error> {
        let values = self.value.as_array().ok_or_else(|| self.wrong(expected))?;
        Ok(values
            .iter()
            .enumerate()
            .map(|(i, value)| At { value, path: format!("{}[{i}]", self.path) })
            .collect())
    }

    fn list_field(&self, name: &str, expected: &'static str) -> Result<Vec<At<'a>>, Error> {
        self.field(name).map_or(Ok(Vec::new()), |field| field.list(expected))
    }
}

fn message(at: &At<'_>) -> Result<Message, Error> {
    const ROLES: &str = "one of system, developer, user, assistant, tool";
    let role_field = at.required("role", ROLES)?;
    let role = role_field.value.as_str().and_then(Role::from_name).ok_or_else(|| role_field.wrong(ROLES))?;
    let content_type = at.text_field("content_type")?;
    Ok(Message {
        author: Author { role, name: at.text_field("name")? },
        recipient: at.text_field("recipient")?,
        channel: at.text_field("channel")?,
        content_type: content_type.as_deref().map(ContentType::from),
        content: contents(&at.required("content", "a string or a list of parts")?)?,
    })
}

fn contents(at: &At<'_>) -> Result<Vec<Content>, Error> {
    match at.value {
        Value::String(text) => Ok(vec![Content::Text(text.clone())]),
        Value::Object(_) => Ok(vec![content(at)?]),
        _ => at.list("a string or a list of parts")?.iter().map(content).collect(),
    }
}

fn content(at: &At<'_>) -> Result<Content, Error> {
    const KINDS: &str = "one of text, system_content, developer_content";
    if let Value::String(text) = at.value {
        return Ok(Content::Text(text.clone()));
    }
    let kind = match at.field("type") {
        None if at.field("text").is_some() => None,
        _ => Some(at.required("type", KINDS)?),
    };
    match kind.as_ref().map_or(Some("text"), |kind| kind.value.as_str()) {
        Some("text") => Ok(Content::Text(at.required("text", "a string")?.text()?)),
        Some("system_content") => Ok(Content::System(system_content(at)?)),
        Some("developer_content") => Ok(Content::Developer(developer_content(at)?)),
        _ => Err(kind.as_ref().unwrap_or(at).wrong(KINDS)),
    }
}

fn system_content(at: &At<'_>) -> Result<SystemContent, Error> {
    let effort = at.field("reasoning_effort").map(|field| {
        let effort = field.value.as_str().and_then(ReasoningEffort::from_name);
        effort.ok_or_else(|| field.wrong("one of low, medium, high"))
    });
    Ok(SystemContent {
        model_identity: at.text_field("model_identity")?,
        reasoning_effort: effort.transpose()?,
        conversation_start_date: at.text_field("conversation_start_date")?,
        knowledge_cutoff: at.text_field("knowledge_cutoff")?,
        channel_config: at.field("channel_config").map(|field| channel_config(&field)).transpose()?,
        tools: namespaces(at)?,
    })
}

fn channel_config(at: &At<'_>) -> Result<ChannelConfig, Error> {
    let required = at.field("channel_required");
    let required = required.map(|field| field.value.as_bool().ok_or_else(|| field.wrong("true or false")));
    Ok(ChannelConfig {
        valid_channels: at
            .list_field("valid_channels", "a list of strings")?
            .iter()
            .map(At::text)
            .collect::<Result<_, _>>()?,
        channel_required: required.transpose()?.unwrap_or(false),
    })
}

fn developer_content(at: &At<'_>) -> Result<DeveloperContent, Error> {
    let formats = at.list_field("response_formats", "a list of response formats")?;
    Ok(DeveloperContent {
        instructions: at.text_field("instructions")?,
        tools: namespaces(at)?,
        response_formats: formats.iter().map(response_format).collect::<Result<_, _>>()?,
    })
}

fn response_format(at: &At<'_>) -> Result<ResponseFormat, Error> {
    Ok(ResponseFormat {
        name: at.required("name", "a string")?.text()?,
        description: at.text_field("description")?,
        schema: at.required("schema", "a JSON Schema")?.value.clone(),
    })
}

fn namespaces(at: &At<'_>) -> Result<Option<Namespaces>, Error> {
    let Some(field) = at.field("tools") else { return Ok(None) };
    let object = field.value.as_object().ok_or_else(|| field.wrong("an object of namespaces by name"))?;
    let entries = object.iter().map(|(key, value)| {
        let at = At { value, path: format!("{}.{key}", field.path) };
        if !value.is_object() {
            return Err(at.wrong("a namespace with name and tools"));
        }
        let tools = at.list_field("tools", "a list of tools")?;
        let namespace = ToolNamespace {
            name: at.text_field("name")?.unwrap_or_else(|| key.clone()),
            description: at.text_field("description")?,
            tools: tools.iter().map(function_tool).collect::<Result<_, _>>()?,
        };
        Ok((key.clone(), namespace))
    });
    entries.collect::<Result<_, _>>().map(Some)
}

fn function_tool(at: &At<'_>) -> Result<FunctionTool, Error> {
    Ok(FunctionTool {
        name: at.required("name", "a string")?.text()?,
        description: at.text_field("description")?.unwrap_or_default(),
        parameters: at.field("parameters").map(|field| field.value.clone()),
    })
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.into(), value.into());
    }
}

fn content_to_json(content: &Content) -> Value {
    let mut object = Map::new();
    match content {
        Content::Text(text) => return json!({"type": "text", "text": text}),
        Content::System(system) => {
            put(&mut object, "model_identity", system.model_identity.clone());
            let effort = system.reasoning_effort.map(|effort| format!("{effort:?}"));
            put(&mut object, "reasoning_effort", effort);
            put(&mut object, "conversation_start_date", system.conversation_start_date.clone());
            put(&mut object, "knowledge_cutoff", system.knowledge_cutoff.clone());
            let channels = system.channel_config.as_ref().map(|config| {
                json!({"valid_channels": config.valid_channels, "channel_required": config.channel_required})
            });
            put(&mut object, "channel_config", channels);
            put(&mut object, "tools", system.tools.as_ref().map(namespaces_to_json));
            object.insert("type".into(), "system_content".into());
        }
        Content::Developer(developer) => {
            put(&mut object, "instructions", developer.instructions.clone());
            put(&mut object, "tools", developer.tools.as_ref().map(namespaces_to_json));
            if !developer.response_formats.is_empty() {
                let formats: Value = developer.response_formats.iter().map(response_format_to_json).collect();
                object.insert("response_formats".into(), formats);
            }
            object.insert("type".into(), "developer_content".into());
        }
    }
    object.into()
}

fn response_format_to_json(format: &ResponseFormat) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), format.name.clone().into());
    put(&mut object, "description", format.description.clone());
    object.insert("schema".into(), format.schema.clone());
    object.into()
}

fn namespaces_to_json(namespaces: &Namespaces) -> Value {
    let entries = namespaces.iter().map(|(key, namespace)| {
        let mut object = Map::new();
        object.insert("name".into(), namespace.name.clone().into());
        put(&mut object, "description", namespace.description.clone());
        object.insert("tools".into(), namespace.tools.iter().map(function_tool_to_json).collect());
        (key.clone(), Value::from(object))
    });
    entries.collect::<Map<_, _>>().into()
}

fn function_tool_to_json(tool: &FunctionTool) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), tool.name.clone().into());
    object.insert("description".into(), tool.description.clone().into());
    put(&mut object, "parameters", tool.parameters.clone());
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(conversation: Value, expected: &str) {
        assert_eq!(Conversation::from_json(&conversation).unwrap_err().to_string(), expected);
    }

    #[test]
    fn lenient_forms_mean_the_same() {
        let strict = json!({"messages": [
            {"role": "system", "name": null, "content": [{"type": "system_content", "reasoning_effort": "Low"}]},
            {"role": "user", "name": null, "content": [{"type": "text", "text": "hi"}]}]});
        let lenient = json!([
            {"role": "system", "content": {"type": "system_content", "reasoning_effort": "low", "tools": null}},
            {"role": "user", "content": "hi", "extra": 1}]);
        let conversation = Conversation::from_json(&lenient).unwrap();
        assert_eq!(conversation, Conversation::from_json(&strict).unwrap());
        assert_eq!(serde_json::to_value(&conversation).unwrap(), strict);
    }

    #[test]
    fn errors_name_the_place() {
        fails(json!(3), "conversation: expected an object, found 3");
        fails(json!({}), "messages: expected a list of messages, found nothing");
        fails(
            json!({"messages": [{"role": "usr", "content": ""}]}),
            "messages[0].role: expected one of system, developer, user, assistant, tool, found \"usr\"",
        );
        fails(
            json!([{"role": "user"}]),
            "messages[0].content: expected a string or a list of parts, found nothing",
        );
        fails(
            json!([{"role": "user", "content": [{"type": "text"}]}]),
            "messages[0].content[0].text: expected a string, found nothing",
        );
        fails(
            json!([{"role": "user", "content": [{"type": "image"}]}]),
            "messages[0].content[0].type: expected one of text, system_content, developer_content, found \"image\"",
        );
        fails(
            json!([{"role": "system", "content": [{"type": "system_content", "tools": {"f": {"tools": [{"name": 1}]}}}]}]),
            "messages[0].content[0].tools.f.tools[0].name: expected a string, found 1",
        );
        fails(
            json!([{"role": "user", "content": "", "channel": 1}]),
            "messages[0].channel: expected a string, found 1",
        );
    }
}
