//! The tools that a conversation offers.
//!
//! [`function_tools`] and [`builtin_tools`] read them from its system and developer messages, where the
//! renderer reads them too: the namespace `functions` has the caller's, every other namespace is one that the
//! model was trained with, or that stands beside those. The constraint allows calls of these and no others,
//! and the decoder warns of others. A name that is offered twice is the last one.

use std::collections::BTreeMap;

use gptoss_harmony::{Content, Conversation, FunctionTool, ToolNamespace};

/// The namespace of the caller's functions.
const FUNCTIONS: &str = "functions";

/// The functions by name.
pub(crate) fn function_tools(conversation: &Conversation) -> BTreeMap<&str, &FunctionTool> {
    let functions = namespaces(conversation).filter(|namespace| namespace.name == FUNCTIONS);
    functions.flat_map(|namespace| &namespace.tools).map(|tool| (tool.name.as_str(), tool)).collect()
}

/// The other tools by recipient; those that are described in words alone, as `python` is, have no parameters.
pub(crate) fn builtin_tools(conversation: &Conversation) -> BTreeMap<String, Option<&FunctionTool>> {
    let mut tools = BTreeMap::new();
    for namespace in namespaces(conversation).filter(|namespace| namespace.name != FUNCTIONS) {
        if namespace.tools.is_empty() {
            tools.insert(namespace.name.clone(), None);
        }
        for tool in &namespace.tools {
            tools.insert(format!("{}.{}", namespace.name, tool.name), Some(tool));
        }
    }
    tools
}

/// Whether the conversation offers a tool whose calls have this recipient.
pub fn is_offered(conversation: &Conversation, recipient: &str) -> bool {
    namespaces(conversation).any(|namespace| {
        let is_called = |tool: &FunctionTool| format!("{}.{}", namespace.name, tool.name) == recipient;
        namespace.name == recipient || namespace.tools.iter().any(is_called)
    })
}

fn namespaces(conversation: &Conversation) -> impl Iterator<Item = &ToolNamespace> {
    let parts = conversation.messages.iter().flat_map(|message| &message.content);
    let tools = parts.filter_map(|part| match part {
        Content::System(content) => content.tools.as_ref(),
        Content::Developer(content) => content.tools.as_ref(),
        Content::Text(_) => None,
    });
    tools.flat_map(|namespaces| namespaces.values())
}
