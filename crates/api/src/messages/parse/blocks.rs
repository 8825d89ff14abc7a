//! The messages of a conversation, block by block.

use std::collections::{HashMap, HashSet};

use gptoss_harmony::{DeveloperContent, Message};
use serde_json::Value;

use crate::errors::ApiError;
use crate::history::History;
use crate::messages::signature::{Shown, Signer};
use crate::scope::RequestScope;
use crate::wire::messages::{BlockList, InputBlock, InputMessage};

/// Between the texts of blocks that become one message.
const BETWEEN: &str = "\n\n";

/// The kinds of blocks that another server's own tools leave in a conversation.
const FOREIGN_KINDS: [&str; 5] =
    ["server_tool_use", "mcp_tool_use", "_tool_result", "fallback", "compaction"];

/// Reads messages one after another.
struct Reader<'a> {
    scope: &'a RequestScope<'a>,
    signer: &'a Signer,
    history: History,
    warnings: &'a mut Vec<String>,
    /// Calls whose results have been put behind them already.
    answered: HashSet<String>,
}

/// The messages.
///
/// Errors: by the place of the block that cannot be read.
pub(super) fn history(
    messages: &[InputMessage],
    scope: &RequestScope<'_>,
    signer: &Signer,
    warnings: &mut Vec<String>,
) -> Result<History, ApiError> {
    let mut reader =
        Reader { scope, signer, history: History::default(), warnings, answered: HashSet::new() };
    for (index, message) in messages.iter().enumerate() {
        let path = format!("messages[{index}]");
        match message.role.as_str() {
            "user" => reader.user(message.content.as_ref(), &path)?,
            "assistant" => {
                let next = messages.get(index + 1).filter(|next| next.role == "user");
                let next_path = format!("messages[{}]", index + 1);
                reader.assistant(message, next.map(|next| (next, next_path.as_str())), &path)?;
            }
            "system" => {
                let texts = reader.texts(message.content.as_ref(), &format!("{path}.content"))?;
                if !texts.is_empty() {
                    let content = DeveloperContent::default().with_instructions(texts.join(BETWEEN));
                    reader.history.push(Message::developer(content));
                }
            }
            role => {
                let message = format!("{path}.role is {role:?}, but must be user, assistant or system");
                return Err(ApiError::invalid(format!("{path}.role"), message));
            }
        }
    }
    Ok(reader.history)
}

/// The first result of each call in a message, with its place.
fn results_by_call(message: &InputMessage) -> HashMap<&str, (usize, &InputBlock)> {
    let Some(BlockList::Blocks(blocks)) = &message.content else { return HashMap::new() };
    let results = blocks.iter().enumerate().filter(|(_, block)| block.kind == "tool_result");
    // The first of several is the last to be put in.
    let results = results.rev().filter_map(|(at, block)| Some((block.tool_use_id.as_deref()?, (at, block))));
    results.collect()
}

impl Reader<'_> {
    fn user(&mut self, content: Option<&BlockList>, path: &str) -> Result<(), ApiError> {
        let blocks = match content {
            None => return Ok(()),
            Some(BlockList::Text(text)) => {
                self.history.push(Message::user(text.clone()));
                return Ok(());
            }
            Some(BlockList::Blocks(blocks)) => blocks,
        };
        let mut said = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            if block.kind == "tool_result" {
                self.say(&mut said);
                self.result(block, &path)?;
            } else {
                said.extend(self.text(block, &path)?);
            }
        }
        self.say(&mut said);
        Ok(())
    }

    fn say(&mut self, said: &mut Vec<String>) {
        if !said.is_empty() {
            self.history.push(Message::user(std::mem::take(said).join(BETWEEN)));
        }
    }

    fn result(&mut self, block: &InputBlock, path: &str) -> Result<(), ApiError> {
        let id = block.tool_use_id.as_deref().unwrap_or_default();
        if self.answered.remove(id) {
            return Ok(());
        }
        let text = self.texts(block.content.as_deref(), &format!("{path}.content"))?.join(BETWEEN);
        let text = if block.is_error == Some(true) { format!("Error: {text}") } else { text };
        self.history.push_result(id, None, text, &format!("{path}.tool_use_id"), self.scope.recall)
    }

    /// An assistant's message; `next` holds the results of its calls.
    fn assistant(
        &mut self,
        message: &InputMessage,
        next: Option<(&InputMessage, &str)>,
        path: &str,
    ) -> Result<(), ApiError> {
        let blocks = match &message.content {
            None => return Ok(()),
            Some(BlockList::Text(text)) => {
                self.history.push(Message::assistant("final", text.clone()));
                return Ok(());
            }
            Some(BlockList::Blocks(blocks)) => blocks,
        };
        let num_calls = blocks.iter().filter(|block| block.kind == "tool_use").count();
        let channel = if num_calls > 0 { "commentary" } else { "final" };
        let next = next.filter(|_| num_calls > 1);
        let results = next.map_or_else(HashMap::new, |(next, _)| results_by_call(next));
        let mut said: Vec<String> = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            match block.kind.as_str() {
                "thinking" => {
                    self.answer(&mut said, channel);
                    self.thinking(block, &path);
                }
                "redacted_thinking" => {
                    self.warn(format!(
                        "{path}: thinking that is redacted was not written here and is left out"
                    ));
                }
                "tool_use" => {
                    self.answer(&mut said, channel);
                    self.call(block, &path)?;
                    let result = block.id.as_deref().and_then(|id| results.get(id));
                    if let (Some((_, next_path)), Some(&(at, result))) = (next, result) {
                        // The format has one call at a time: what was called together is read in a row.
                        self.result(result, &format!("{next_path}.content[{at}]"))?;
                        self.answered.extend(block.id.clone());
                    }
                }
                _ => said.extend(self.text(block, &path)?),
            }
        }
        self.answer(&mut said, channel);
        Ok(())
    }

    fn answer(&mut self, said: &mut Vec<String>, channel: &str) {
        if !said.is_empty() {
            self.history.push(Message::assistant(channel, std::mem::take(said).join(BETWEEN)));
        }
    }

    fn call(&mut self, block: &InputBlock, path: &str) -> Result<(), ApiError> {
        let Some(name) = block.name.as_deref().filter(|name| !name.is_empty()) else {
            return Err(ApiError::invalid(format!("{path}.name"), format!("{path}.name is missing")));
        };
        let arguments = match &block.input {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(input) => input.to_string(),
        };
        self.history.push_call(block.id.as_deref(), name, &arguments, true);
        Ok(())
    }

    /// Thinking that comes back. Only what this server has written becomes the model's own again.
    fn thinking(&mut self, block: &InputBlock, path: &str) {
        let thinking = block.thinking.as_deref().unwrap_or_default();
        let signature = block.signature.as_deref().unwrap_or_default();
        match self.signer.check(thinking, signature) {
            Some(Shown::Whole) if !thinking.is_empty() => {
                self.history.push(Message::assistant("analysis", thinking));
            }
            // What the model thought stands in no summary; the memory of calls may have it.
            Some(_) => {}
            None => {
                self.warn(format!("{path}: the signature is not this server's, so the thinking is left out"))
            }
        }
    }

    /// The texts of blocks that stand where only texts can.
    fn texts(&mut self, content: Option<&BlockList>, path: &str) -> Result<Vec<String>, ApiError> {
        match content {
            None => Ok(Vec::new()),
            Some(BlockList::Text(text)) => Ok(vec![text.clone()]),
            Some(BlockList::Blocks(blocks)) => {
                let mut texts = Vec::new();
                for (index, block) in blocks.iter().enumerate() {
                    texts.extend(self.text(block, &format!("{path}[{index}]"))?);
                }
                Ok(texts)
            }
        }
    }

    /// The text of a block; None for one that is left out.
    fn text(&mut self, block: &InputBlock, path: &str) -> Result<Option<String>, ApiError> {
        match block.kind.as_str() {
            "text" => Ok(block.text.clone().filter(|text| !text.is_empty())),
            "tool_reference" => Ok(block.tool_name.as_ref().map(|name| format!("The tool {name} is there."))),
            "search_result" => {
                let source = block.source.as_ref().and_then(Value::as_str);
                let texts = self.texts(block.content.as_deref(), &format!("{path}.content"))?;
                Ok(Some(titled(block.title.as_deref(), source, &texts.join(BETWEEN))))
            }
            "document" => {
                let text = document(block, path)?;
                Ok(Some(titled(block.title.as_deref(), block.context.as_deref(), &text)))
            }
            "thinking" | "redacted_thinking" | "tool_use" | "tool_result" => {
                let message = format!("{path} is of the type {:?}, which cannot stand here", block.kind);
                Err(ApiError::invalid(format!("{path}.type"), message))
            }
            kind if FOREIGN_KINDS.iter().any(|foreign| kind.ends_with(foreign))
                || kind.starts_with("tool_") =>
            {
                self.warn(format!("{path}: blocks of the type {kind:?} mean nothing here; it is left out"));
                Ok(None)
            }
            kind => {
                let why =
                    format!("The block at {path} is of the type {kind:?}, but this model reads text only.");
                Err(ApiError::unsupported(format!("{path}.type"), why))
            }
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

fn titled(title: Option<&str>, more: Option<&str>, text: &str) -> String {
    let parts = [title, more, Some(text)].into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// The text of a document.
///
/// Errors: it is not plain text that came with the request.
fn document(block: &InputBlock, path: &str) -> Result<String, ApiError> {
    let source = block.source.as_ref();
    let field = |name: &str| source.and_then(|source| source.get(name)).and_then(Value::as_str);
    match (field("type"), field("data"), field("content")) {
        (Some("text"), Some(text), _) | (Some("content"), _, Some(text)) => Ok(text.to_owned()),
        (kind, ..) => {
            let why = format!(
                "The document at {path} has a source of the type {:?}, but this model reads text only.",
                kind.unwrap_or_default()
            );
            Err(ApiError::unsupported(format!("{path}.source"), why))
        }
    }
}
