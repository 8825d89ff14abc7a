//! The head of a conversation: the system message and, where there is anything to say in it, the developer
//! message.

use crate::message::{
    Conversation, DeveloperContent, FunctionTool, Message, ReasoningEffort, ResponseFormat, SystemContent,
};

/// What stands before the first message of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// How much the model reasons.
    pub effort: ReasoningEffort,
    /// The date it is told, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// What the developer wants, in order; blank texts are left out, and the others set apart by a blank
    /// line.
    pub instructions: Vec<String>,
    /// The functions that may be called.
    pub functions: Vec<FunctionTool>,
    /// The shape that the answer is asked to have.
    pub response_format: Option<ResponseFormat>,
}

impl Default for Opening {
    fn default() -> Opening {
        Opening {
            effort: ReasoningEffort::Medium,
            date: None,
            instructions: Vec::new(),
            functions: Vec::new(),
            response_format: None,
        }
    }
}

impl Conversation {
    /// A conversation that begins so, with `messages` after it.
    pub fn opening(opening: Opening, messages: &[Message]) -> Conversation {
        let system = SystemContent {
            reasoning_effort: Some(opening.effort),
            conversation_start_date: opening.date,
            ..SystemContent::default()
        };
        let mut all = vec![Message::system(system)];
        let instructions: Vec<String> =
            opening.instructions.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let mut developer = DeveloperContent::default();
        if !instructions.is_empty() {
            developer = developer.with_instructions(instructions.join("\n\n"));
        }
        if !opening.functions.is_empty() {
            developer = developer.with_function_tools(opening.functions);
        }
        if let Some(format) = opening.response_format {
            developer = developer.with_response_format(format);
        }
        if developer != DeveloperContent::default() {
            all.push(Message::developer(developer));
        }
        all.extend_from_slice(messages);
        Conversation { messages: all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_developer_with_nothing_to_say_says_nothing() {
        let blank = Opening { instructions: vec![" ".to_owned()], ..Opening::default() };
        let conversation = Conversation::opening(blank, &[Message::user("Hi")]);
        assert_eq!(conversation.messages.len(), 2);
        let instructions = vec!["One.".to_owned(), String::new(), "Two.".to_owned()];
        let opening = Opening { instructions, ..Opening::default() };
        let conversation = Conversation::opening(opening, &[]);
        let expected = DeveloperContent::default().with_instructions("One.\n\nTwo.");
        assert_eq!(conversation.messages[1], Message::developer(expected));
    }
}
