//! The tools that are on.
//!
//! Which tools there are is closed: each says what the model is told of it, which calls are its own, what a
//! call would do, and does it. A call of no tool here is the caller's.

use gptoss_harmony::{Content, Conversation, DeveloperContent, FunctionTool, Message, Role, ToolNamespace};
use gptoss_tools::{
    PATCH_INSTRUCTIONS, PatchError, Plan, ToolReply, Workspace, patch_function, patch_of_call,
};
use gptoss_turn::{Call, FunctionRule, TurnRules};

use crate::action::Action;

/// The namespace of functions.
const FUNCTIONS: &str = "functions";

/// A tool and what it works on.
#[derive(Debug)]
pub enum Tool {
    /// `apply_patch` beneath this folder.
    Patch(Workspace),
}

/// The tools of a run.
#[derive(Debug, Default)]
pub struct Toolbox {
    /// Each kind once.
    pub tools: Vec<Tool>,
}

/// A call that a tool has understood.
pub(crate) struct Prepared {
    pub(crate) action: Action,
    work: Result<Work, ToolReply>,
}

enum Work {
    Patch { tool: usize, plan: Plan },
}

impl Tool {
    fn functions(&self) -> Vec<FunctionTool> {
        match self {
            Tool::Patch(_) => vec![patch_function()],
        }
    }

    fn instructions(&self) -> &str {
        match self {
            Tool::Patch(_) => PATCH_INSTRUCTIONS,
        }
    }

    fn takes(&self, call: &Call) -> bool {
        match self {
            Tool::Patch(_) => call.name == "apply_patch",
        }
    }
}

impl Toolbox {
    /// Tells the model of the tools, in the system and developer messages of a conversation.
    pub fn offer(&self, conversation: &mut Conversation) {
        if self.tools.is_empty() {
            return;
        }
        let developer = developer_of(conversation);
        for tool in &self.tools {
            let instructions = developer.instructions.get_or_insert_default();
            if !instructions.is_empty() {
                instructions.push_str("\n\n");
            }
            instructions.push_str(tool.instructions());
            let namespaces = developer.tools.get_or_insert_default();
            let functions = namespaces.entry(FUNCTIONS.to_owned()).or_insert_with(|| ToolNamespace {
                name: FUNCTIONS.to_owned(),
                description: None,
                tools: Vec::new(),
            });
            for function in tool.functions() {
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
                    let free = FunctionRule::Custom(gptoss_turn::Body::Free);
                    rules.functions.insert("apply_patch".to_owned(), free);
                }
            }
        }
        rules
    }

    /// What a call would do; None for a call of the caller's.
    pub(crate) fn prepare(&self, call: &Call) -> Option<Prepared> {
        let index = self.tools.iter().position(|tool| tool.takes(call))?;
        Some(match &self.tools[index] {
            Tool::Patch(workspace) => prepared_patch(index, workspace, &call.arguments),
        })
    }

    /// Does it.
    pub(crate) async fn answer(&mut self, prepared: Prepared) -> ToolReply {
        let work = match prepared.work {
            Ok(work) => work,
            Err(reply) => return reply,
        };
        match work {
            Work::Patch { tool, plan } => {
                let Tool::Patch(workspace) = &self.tools[tool];
                match workspace.apply(&plan) {
                    Ok(()) => ToolReply::text("Done!"),
                    Err(error) => patch_failed(&error),
                }
            }
        }
    }
}

impl Prepared {
    /// Whether there is anything left to be done: a call that was not understood has its answer already.
    pub(crate) fn is_understood(&self) -> bool {
        self.work.is_ok()
    }
}

fn prepared_patch(tool: usize, workspace: &Workspace, arguments: &str) -> Prepared {
    match patch_of_call(arguments).and_then(|patch| workspace.plan(&patch)) {
        Ok(plan) => {
            let changes = plan.edits.iter().map(|edit| (edit.path.to_string(), edit.kind())).collect();
            let action = Action::FileChange { changes, diff: plan.diff() };
            Prepared { action, work: Ok(Work::Patch { tool, plan }) }
        }
        Err(error) => {
            let action = Action::FileChange { changes: Vec::new(), diff: String::new() };
            Prepared { action, work: Err(patch_failed(&error)) }
        }
    }
}

fn patch_failed(error: &PatchError) -> ToolReply {
    ToolReply::error(format!("The patch was not applied: {error}"))
}

/// The first developer message; one is put behind the system message where there is none.
fn developer_of(conversation: &mut Conversation) -> &mut DeveloperContent {
    let is_developer =
        |message: &Message| message.content.iter().any(|part| matches!(part, Content::Developer(_)));
    let index = conversation.messages.iter().position(is_developer).unwrap_or_else(|| {
        let index =
            conversation.messages.iter().take_while(|message| message.author.role == Role::System).count();
        conversation.messages.insert(index, Message::developer(DeveloperContent::default()));
        index
    });
    conversation.messages[index]
        .content
        .iter_mut()
        .find_map(|part| match part {
            Content::Developer(content) => Some(content),
            _ => None,
        })
        .expect("the message was found by its content, or made with it")
}
