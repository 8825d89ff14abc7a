//! What a request asks of the model, whatever API it came by.
//!
//! [`GenerationRequest`] is what is left when the words of an API are gone: the messages, the tools and what
//! is demanded of calls and answers, the sampling, the limits, how much of the reasoning may be seen.
//! [`Head`] makes the system and the developer message that stand before the conversation: effort, date and
//! the tools that the model was trained with in the one, instructions, other tools and the schema of the
//! answer in the other.

use gptoss_harmony::{Conversation, DeveloperContent, Message, ReasoningEffort, SystemContent};

use super::format::Format;
use super::sampling::Sampling;
use super::tools::Tools;
use super::visibility::Visibility;
use crate::wire::moderations::ModerationSettings;

/// What a request asks of the model.
#[derive(Debug, Clone)]
pub struct GenerationRequest {
    /// Everything the model reads.
    pub conversation: Conversation,
    /// What it may call.
    pub tools: Tools,
    /// What its answer must be.
    pub format: Format,
    /// The parameter that the form came in.
    pub format_param: &'static str,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens to write.
    pub max_new_tokens: Option<usize>,
    /// Tokens before which nothing ends, if anything else may be said; `usize::MAX` never lets it.
    pub min_new_tokens: usize,
    /// Strings before which the answer ends.
    pub stops: Vec<String>,
    /// How many likeliest tokens are told with each; None tells no log-probabilities.
    pub top_logprobs: Option<usize>,
    /// How much of the reasoning may be seen.
    pub visibility: Visibility,
    /// What it wants judged of itself and of its answer.
    pub moderation: Option<ModerationSettings>,
    /// Most tokens of reasoning; None is as many as the answer may have.
    pub reasoning_budget: Option<u32>,
    /// Whose request it is.
    pub tenant: String,
    /// Whether nobody waits for the answer.
    pub is_background: bool,
    /// What was changed or left out on the way.
    pub warnings: Vec<String>,
}

/// What stands before the conversation.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// How much the model reasons.
    pub effort: ReasoningEffort,
    /// The date it is told.
    pub date: Option<String>,
    /// What the developer wants, in order.
    pub instructions: Vec<String>,
    /// What may be called.
    pub tools: &'a Tools,
    /// What the answer must be.
    pub format: &'a Format,
}

impl Head<'_> {
    /// The conversation: the head and `messages` after it.
    pub fn before(self, messages: Vec<Message>) -> Conversation {
        let mut system = SystemContent {
            reasoning_effort: Some(self.effort),
            conversation_start_date: self.date,
            ..SystemContent::default()
        };
        let (builtins, namespaces) = self.tools.namespaces();
        for namespace in builtins {
            system = system.with_tools(namespace);
        }
        let mut all = vec![Message::system(system)];
        let instructions: Vec<String> =
            self.instructions.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let functions = self.tools.shown();
        let section = self.format.section();
        let has_tools = !functions.is_empty() || !namespaces.is_empty();
        if !instructions.is_empty() || has_tools || section.is_some() {
            let mut developer = DeveloperContent::default();
            if !instructions.is_empty() {
                developer = developer.with_instructions(instructions.join("\n\n"));
            }
            if !functions.is_empty() {
                developer = developer.with_function_tools(functions);
            }
            for namespace in namespaces {
                developer = developer.with_tools(namespace);
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
