//! The tools that are on.
//!
//! Which tools there are is closed: each says what the model is told of it and which calls are its own. A
//! call of no tool here is the caller's.

use std::sync::Arc;

use gptoss_harmony::{
    Content, Conversation, DeveloperContent, FunctionTool, Message, Role, SystemContent, ToolNamespace,
};
use gptoss_tools::browser::Browser;
use gptoss_tools::mcp::{McpClient, McpListing};
use gptoss_tools::{Container, PATCH_INSTRUCTIONS, Python, Shell, Workspace, patch_function};
use gptoss_turn::{Body, Call, FunctionRule, TurnRules};
use serde_json::json;
use tokio::sync::Mutex;

/// The namespace of functions.
const FUNCTIONS: &str = "functions";
/// The namespace of the browser's.
pub(crate) const BROWSER: &str = "browser";

/// A tool and what it works on.
pub enum Tool {
    /// `apply_patch` beneath this folder.
    Patch(Workspace),
    /// `shell`: commands in a folder.
    Shell(Shell),
    /// `python`, as the models were trained with it.
    Python {
        /// The processes.
        python: Python,
        /// Which process it is: what it keeps, it keeps there.
        container: Container,
    },
    /// `search`, `open` and `find`, as the models were trained with them.
    Browser(Mutex<Browser>),
    /// The tools of a server of the Model Context Protocol.
    Mcp {
        /// The way to it.
        client: McpClient,
        /// What it offered when the run began.
        listing: Arc<McpListing>,
    },
}

/// The tools of a run.
#[derive(Default)]
pub struct Toolbox {
    /// Each kind once, and each server.
    pub tools: Vec<Tool>,
}

impl Tool {
    fn function(&self) -> Option<FunctionTool> {
        match self {
            Tool::Patch(_) => Some(patch_function()),
            Tool::Shell(_) => Some(shell_function()),
            Tool::Python { .. } | Tool::Browser(_) | Tool::Mcp { .. } => None,
        }
    }

    fn instructions(&self) -> Option<&str> {
        match self {
            Tool::Patch(_) => Some(PATCH_INSTRUCTIONS),
            Tool::Shell(_) | Tool::Python { .. } | Tool::Browser(_) | Tool::Mcp { .. } => None,
        }
    }

    pub(crate) fn takes(&self, call: &Call) -> bool {
        match self {
            Tool::Patch(_) => call.name == "apply_patch",
            Tool::Shell(_) => call.name == "shell",
            Tool::Python { .. } => call.name == "python",
            Tool::Browser(_) => function_in(call, BROWSER).is_some(),
            Tool::Mcp { listing, .. } => function_in(call, &listing.namespace).is_some(),
        }
    }
}

impl Toolbox {
    /// The pages that an answer may cite: the cursor and the address of each.
    pub async fn pages(&self) -> Vec<(usize, String)> {
        for tool in &self.tools {
            if let Tool::Browser(browser) = tool {
                let browser = browser.lock().await;
                return browser.pages().map(|(cursor, url)| (cursor, url.to_owned())).collect();
            }
        }
        Vec::new()
    }

    /// Tells the model of the tools, in the system and developer messages of a conversation.
    pub fn offer(&self, conversation: &mut Conversation) {
        for tool in &self.tools {
            match tool {
                Tool::Patch(_) | Tool::Shell(_) => {}
                Tool::Python { .. } => offer_built_in(conversation, ToolNamespace::python()),
                Tool::Browser(_) => offer_built_in(conversation, ToolNamespace::browser()),
                Tool::Mcp { listing, .. } => {
                    let developer = developer_of(conversation);
                    *developer = std::mem::take(developer).with_tools(listing.tool_namespace());
                }
            }
            if let Some(instructions) = tool.instructions() {
                let said = developer_of(conversation).instructions.get_or_insert_default();
                if !said.is_empty() {
                    said.push_str("\n\n");
                }
                said.push_str(instructions);
            }
            if let Some(function) = tool.function() {
                let namespaces = developer_of(conversation).tools.get_or_insert_default();
                let functions = namespaces.entry(FUNCTIONS.to_owned()).or_insert_with(|| ToolNamespace {
                    name: FUNCTIONS.to_owned(),
                    description: None,
                    tools: Vec::new(),
                });
                // The tool that is on wins over a function of the caller's with its name.
                functions.tools.retain(|other| other.name != function.name);
                functions.tools.push(function);
            }
        }
    }

    /// Rules with what the tools take that is not JSON.
    pub(crate) fn rules(&self, rules: &TurnRules) -> TurnRules {
        let mut rules = rules.clone();
        for tool in &self.tools {
            match tool {
                Tool::Patch(_) => {
                    rules.functions.insert("apply_patch".to_owned(), FunctionRule::Custom(Body::Free));
                }
                Tool::Shell(_) => drop(rules.functions.remove("shell")),
                Tool::Python { .. } | Tool::Browser(_) | Tool::Mcp { .. } => {}
            }
        }
        rules
    }
}

/// The function that a call names in a namespace; None where it is in another.
pub(crate) fn function_in<'a>(call: &'a Call, namespace: &str) -> Option<&'a str> {
    call.recipient.strip_prefix(namespace)?.strip_prefix('.')
}

fn offer_built_in(conversation: &mut Conversation, namespace: ToolNamespace) {
    let system = system_of(conversation);
    *system = std::mem::take(system).with_tools(namespace);
}

fn shell_function() -> FunctionTool {
    FunctionTool {
        name: "shell".to_owned(),
        description: "Runs a command in the workspace, without a network, and returns what it wrote."
            .to_owned(),
        parameters: Some(json!({
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "A line for sh"},
                "timeout_ms": {"type": "integer", "description": "Most milliseconds that it may take"},
            },
            "required": ["command"],
        })),
    }
}

/// The system message; one is put first where there is none.
fn system_of(conversation: &mut Conversation) -> &mut SystemContent {
    let is_system = |message: &Message| message.content.iter().any(|part| matches!(part, Content::System(_)));
    let index = conversation.messages.iter().position(is_system).unwrap_or_else(|| {
        conversation.messages.insert(0, Message::system(SystemContent::default()));
        0
    });
    let part = conversation.messages[index].content.iter_mut().find_map(|part| match part {
        Content::System(content) => Some(content),
        _ => None,
    });
    part.expect("the message was found by its content, or made with it")
}

/// The first developer message; one is put behind the system message where there is none.
fn developer_of(conversation: &mut Conversation) -> &mut DeveloperContent {
    let messages = &mut conversation.messages;
    let is_developer =
        |message: &Message| message.content.iter().any(|part| matches!(part, Content::Developer(_)));
    let index = messages.iter().position(is_developer).unwrap_or_else(|| {
        let index = messages.iter().take_while(|message| message.author.role == Role::System).count();
        messages.insert(index, Message::developer(DeveloperContent::default()));
        index
    });
    let part = messages[index].content.iter_mut().find_map(|part| match part {
        Content::Developer(content) => Some(content),
        _ => None,
    });
    part.expect("the message was found by its content, or made with it")
}
