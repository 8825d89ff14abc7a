//! Which tokens does a conversation become?
//!
//! [`render`] gives the tokens that openai-harmony 0.0.8 gives, in the three forms of [`Form`];
//! [`render_training`] gives the training form with a loss mask beside it. Each text is encoded where the
//! vendor encodes it (role, recipient, channel, each part of the content), since tokens never merge across
//! those borders. All text goes through [`Vocab::encode`], so control tokens come only from the structure:
//! five of them around a message, and `<|constrain|>` where [`crate::ContentType::constrained`] says so.

use crate::{
    error::Error,
    message::{Content, Conversation, DeveloperContent, Message, Role},
    sections,
    vocab::{Control, Vocab},
};

/// What follows the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing: the messages alone.
    Conversation,
    /// `<|start|>` and the role that speaks next: the prompt for a completion.
    Completion(Role),
    /// Nothing, but a last message on `final` ends with `<|return|>`, as the model should end it.
    Training,
}

/// What happens to the reasoning of earlier turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analysis {
    /// When the last assistant message is on `final`, analysis before the first `final` is left out: the
    /// vendor's rule.
    DropOld,
    /// All stays.
    KeepAll,
}

/// How [`render`] renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// What follows the messages.
    pub form: Form,
    /// What happens to old reasoning.
    pub analysis: Analysis,
}

impl Default for RenderOptions {
    /// The prompt for the assistant's next message, without old analysis.
    fn default() -> Self {
        Self { form: Form::Completion(Role::Assistant), analysis: Analysis::DropOld }
    }
}

/// A conversation as a training example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingTokens {
    /// The tokens of the training form.
    pub tokens: Vec<u32>,
    /// For each token whether the model should learn to produce it: all that an assistant message has after
    /// `<|start|>assistant`.
    pub is_target: Vec<bool>,
}

/// The tokens of a conversation.
///
/// Errors: a tool message without a name, system or developer content in a message of another role, a tool
/// schema beyond its limits. Source: openai/harmony `src/encoding.rs` @ec7606d.
pub fn render(vocab: &Vocab, conversation: &Conversation, options: RenderOptions) -> Result<Vec<u32>, Error> {
    Ok(render_with_targets(vocab, conversation, options)?.tokens)
}

/// The training form with its loss mask.
///
/// Errors: as [`render`].
pub fn render_training(
    vocab: &Vocab,
    conversation: &Conversation,
    analysis: Analysis,
) -> Result<TrainingTokens, Error> {
    render_with_targets(vocab, conversation, RenderOptions { form: Form::Training, analysis })
}

fn render_with_targets(
    vocab: &Vocab,
    conversation: &Conversation,
    options: RenderOptions,
) -> Result<TrainingTokens, Error> {
    let messages = &conversation.messages;
    let has_function_tools = messages.iter().flat_map(|message| &message.content).any(is_with_function_tools);
    let num_droppable = match options.analysis {
        Analysis::DropOld => num_before_first_final(messages),
        Analysis::KeepAll => 0,
    };
    let mut renderer = Renderer { vocab, tokens: Vec::new(), is_target: Vec::new(), has_function_tools };
    for (index, message) in messages.iter().enumerate() {
        if index >= num_droppable || message.channel.as_deref() != Some("analysis") {
            renderer.message(index, message)?;
        }
    }
    match options.form {
        Form::Conversation => {}
        Form::Completion(role) => {
            renderer.control(Control::Start);
            renderer.text(role.as_str());
        }
        Form::Training => {
            let is_final = |message: &Message| {
                message.author.role == Role::Assistant && message.channel.as_deref() == Some("final")
            };
            if messages.last().is_some_and(is_final)
                && let Some(last) = renderer.tokens.last_mut()
            {
                *last = vocab.control(Control::Return);
            }
        }
    }
    renderer.is_target.resize(renderer.tokens.len(), false);
    Ok(TrainingTokens { tokens: renderer.tokens, is_target: renderer.is_target })
}

fn is_with_function_tools(content: &Content) -> bool {
    match content {
        Content::Developer(DeveloperContent { tools: Some(tools), .. }) => {
            tools.get("functions").is_some_and(|namespace| !namespace.tools.is_empty())
        }
        _ => false,
    }
}

/// How many messages precede the first `final`, when the last assistant message is on `final`; otherwise 0:
/// the model is in the middle of a turn and needs its reasoning.
fn num_before_first_final(messages: &[Message]) -> usize {
    let is_final = |message: &Message| message.channel.as_deref() == Some("final");
    match messages.iter().rev().find(|message| message.author.role == Role::Assistant) {
        Some(last) if is_final(last) => messages.iter().position(is_final).unwrap_or(0),
        _ => 0,
    }
}

struct Renderer<'a> {
    vocab: &'a Vocab,
    tokens: Vec<u32>,
    is_target: Vec<bool>,
    has_function_tools: bool,
}

impl Renderer<'_> {
    fn control(&mut self, control: Control) {
        self.tokens.push(self.vocab.control(control));
    }

    fn text(&mut self, text: &str) {
        self.vocab.encode_into(text, &mut self.tokens);
    }

    fn message(&mut self, index: usize, message: &Message) -> Result<(), Error> {
        let role = message.author.role;
        self.control(Control::Start);
        match (role, &message.author.name) {
            (Role::Tool, Some(name)) => self.text(name),
            (Role::Tool, None) => return Err(Error::ToolWithoutName { message: index }),
            (_, name) => {
                self.text(role.as_str());
                self.is_target.resize(self.tokens.len(), false);
                if let Some(name) = name {
                    self.text(&format!(":{name}"));
                }
            }
        }
        if let Some(recipient) = message.recipient.as_deref().filter(|&recipient| recipient != "all") {
            self.text(&format!(" to={recipient}"));
        }
        if let Some(channel) = &message.channel {
            self.control(Control::Channel);
            self.text(channel);
        }
        match &message.content_type {
            Some(content_type) if content_type.constrained => {
                self.text(" ");
                self.control(Control::Constrain);
                self.text(&content_type.name);
            }
            Some(content_type) => self.text(&format!(" {}", content_type.name)),
            None => {}
        }
        self.control(Control::Message);
        for content in &message.content {
            self.content(index, role, content)?;
        }
        let is_call = role == Role::Assistant && message.recipient.is_some();
        self.control(if is_call { Control::Call } else { Control::End });
        self.is_target.resize(self.tokens.len(), role == Role::Assistant);
        Ok(())
    }

    fn content(&mut self, message: usize, role: Role, content: &Content) -> Result<(), Error> {
        let misplaced = |content, expected: Role| Error::MisplacedContent {
            message,
            content,
            expected: expected.as_str(),
            found: role.as_str(),
        };
        match content {
            Content::Text(text) => self.text(text),
            Content::System(_) if role != Role::System => {
                return Err(misplaced("system content", Role::System));
            }
            Content::System(system) => {
                let text = sections::system(system, self.has_function_tools)
                    .map_err(|excess| excess.in_message(message))?;
                self.text(&text);
            }
            Content::Developer(_) if role != Role::Developer => {
                return Err(misplaced("developer content", Role::Developer));
            }
            Content::Developer(developer) => {
                let text = sections::developer(developer).map_err(|excess| excess.in_message(message))?;
                self.text(&text);
            }
        }
        Ok(())
    }
}
