//! Random conversations, schemas and texts for the property and oracle tests.
//!
//! The strategies stay inside what the format can say: names and recipients without white space, bodies of
//! anything, control-token literals among it.

use gptoss_harmony::{
    Author, ChannelConfig, Content, ContentType, Conversation, DeveloperContent, FunctionTool, Message,
    ReasoningEffort, Role, SystemContent, ToolNamespace,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

/// Text in which tokens, characters and control literals lie close together.
pub fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z']{1,8}",
        2 => "[ \t\r\n]{1,3}",
        1 => "[0-9٣½]{1,5}",
        1 => "[!-/:-@\\[-`{-~]{1,4}",
        1 => "[éßǅʰ你好はカ\u{301}\u{300}ſ\u{3000}\u{85}\u{200d}]{1,4}",
        1 => select(vec!["🙂", "👩‍👩‍👧", "'ll", "I'VE", "<|start|>system", "<|end|>", "<|message|>", "<|constrain|>json", "//\n", " \n "])
            .prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// One short line, as in descriptions.
pub fn line() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "A city",
        "one\ntwo",
        "in \"quotes\"",
        "nullable thing",
        "ünï",
        "<|end|>",
        " spaced ",
        "\n",
    ])
    .prop_map(String::from)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-zA-Z0-9_-]{0,10}"
}

fn default_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        line().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!(1.5)),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(["a", 1])),
        Just(json!({"k": null})),
    ]
}

/// A JSON Schema of the kind that the vendor's crate renders: no `$ref`, `const`, `anyOf` or `allOf`.
pub fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => select(vec!["string", "number", "integer", "boolean", "null", "object", "array", "weird"]).prop_map(|name| json!({"type": name})),
        1 => vec(select(vec!["string", "integer", "null", "number"]), 0..3).prop_map(|names| json!({"type": names})),
        2 => vec(line(), 0..3).prop_map(|values| json!({"type": "string", "enum": values})),
        1 => Just(json!({"type": "integer", "enum": [1, 2]})),
        1 => Just(json!({"enum": ["a"]})),
        1 => Just(json!({})),
        1 => Just(json!(true)),
    ];
    let node = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            vec(inner.clone(), 0..3).prop_map(|variants| json!({"oneOf": variants})),
            (vec((name(), inner), 0..4), any::<u8>()).prop_map(|(properties, mask)| {
                let required: Vec<String> =
                    properties.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, (name, _))| name.clone()).collect();
                json!({"type": "object", "properties": properties.into_iter().collect::<Map<_, _>>(), "required": required})
            }),
        ]
    });
    decorated(node)
}

/// With the fields that any schema may have.
fn decorated(node: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let fields = (
        option::of(line()),
        option::of(line()),
        option::of(default_value()),
        option::of(vec(line(), 0..3)),
        option::of(any::<bool>()),
    );
    (node, vec(fields, 8)).prop_map(|(mut node, fields)| {
        decorate(&mut node, &mut fields.into_iter());
        node
    })
}

type Fields = (Option<String>, Option<String>, Option<Value>, Option<Vec<String>>, Option<bool>);

fn decorate(node: &mut Value, fields: &mut impl Iterator<Item = Fields>) {
    let Value::Object(object) = node else { return };
    let Some((title, description, default, examples, nullable)) = fields.next() else { return };
    for child in object.values_mut() {
        match child {
            Value::Array(children) => children.iter_mut().for_each(|child| decorate(child, fields)),
            Value::Object(_) => child
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
                .for_each(|child| decorate(child, fields)),
            _ => {}
        }
    }
    object.extend(title.map(|text| ("title".into(), text.into())));
    object.extend(description.map(|text| ("description".into(), text.into())));
    object.extend(default.map(|value| ("default".into(), value)));
    object.extend(examples.map(|values| ("examples".into(), values.into())));
    object.extend(nullable.map(|value| ("nullable".into(), value.into())));
}

fn tool() -> impl Strategy<Value = FunctionTool> {
    (name(), line(), option::of(schema())).prop_map(|(name, description, parameters)| FunctionTool {
        name,
        description,
        parameters,
    })
}

fn namespace() -> impl Strategy<Value = ToolNamespace> {
    prop_oneof![
        Just(ToolNamespace::browser()),
        Just(ToolNamespace::python()),
        (name(), option::of(line()), vec(tool(), 0..3))
            .prop_map(|(name, description, tools)| ToolNamespace { name, description, tools }),
        vec(tool(), 0..3).prop_map(|tools| ToolNamespace {
            name: "functions".into(),
            description: None,
            tools
        }),
    ]
}

fn channels() -> impl Strategy<Value = ChannelConfig> {
    (vec(name(), 0..3), any::<bool>())
        .prop_map(|(valid_channels, channel_required)| ChannelConfig { valid_channels, channel_required })
}

fn system() -> impl Strategy<Value = Message> {
    let effort = select(vec![
        None,
        Some(ReasoningEffort::Low),
        Some(ReasoningEffort::Medium),
        Some(ReasoningEffort::High),
    ]);
    let fields = (
        option::of(line()),
        effort,
        option::of(line()),
        option::of(line()),
        option::of(channels()),
        vec(namespace(), 0..3),
    );
    fields.prop_map(
        |(
            model_identity,
            reasoning_effort,
            conversation_start_date,
            knowledge_cutoff,
            channel_config,
            namespaces,
        )| {
            let content = SystemContent {
                model_identity,
                reasoning_effort,
                conversation_start_date,
                knowledge_cutoff,
                channel_config,
                tools: None,
            };
            Message::system(namespaces.into_iter().fold(content, SystemContent::with_tools))
        },
    )
}

fn developer() -> impl Strategy<Value = Message> {
    (option::of(text()), vec(namespace(), 0..3)).prop_map(|(instructions, namespaces)| {
        let content = DeveloperContent { instructions, ..DeveloperContent::default() };
        Message::developer(namespaces.into_iter().fold(content, DeveloperContent::with_tools))
    })
}

fn channel() -> impl Strategy<Value = String> {
    select(vec!["analysis", "commentary", "final"]).prop_map(String::from)
}

fn content_type() -> impl Strategy<Value = ContentType> {
    select(vec!["json", "code", "<|constrain|>json"]).prop_map(ContentType::from)
}

/// A message that every reader of the format reads back, the vendor's among them: one text part.
pub fn plain_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        2 => text().prop_map(Message::user),
        1 => text().prop_map(|text| Message::new(Role::Developer, text)),
        1 => text().prop_map(|text| Message::new(Role::System, text)),
        4 => (channel(), text()).prop_map(|(channel, text)| Message::assistant(channel, text)),
        2 => (name(), channel(), option::of(content_type()), text()).prop_map(|(name, channel, content_type, text)| Message {
            content_type,
            ..Message::assistant(channel, text).with_recipient(format!("functions.{name}"))
        }),
        2 => (name(), text()).prop_map(|(name, text)| Message::tool_result(format!("functions.{name}"), text)),
    ]
}

/// Any message of one text part that rendering can write and parsing must read back.
pub fn message() -> impl Strategy<Value = Message> {
    let odd = (
        0usize..5,
        option::of(name()),
        option::of(name()),
        option::of(channel()),
        option::of(content_type()),
        text(),
    );
    let odd = odd.prop_map(|(role, name, recipient, channel, content_type, text)| {
        let role = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool][role];
        let name = if role == Role::Tool { Some(format!("tool.{}", name.unwrap_or_default())) } else { name };
        Message {
            author: Author { role, name },
            recipient,
            channel,
            content_type,
            content: vec![Content::Text(text)],
        }
    });
    prop_oneof![plain_message(), odd]
}

/// A conversation as applications make them.
pub fn conversation() -> impl Strategy<Value = Conversation> {
    let several = (plain_message(), text()).prop_map(|(mut message, text)| {
        message.content.push(Content::Text(text));
        message
    });
    let any_message = prop_oneof![6 => plain_message(), 1 => message(), 1 => several];
    (option::of(system()), option::of(developer()), vec(any_message, 0..8)).prop_map(
        |(system, developer, messages)| {
            Conversation::from_messages(system.into_iter().chain(developer).chain(messages))
        },
    )
}
