//! What may a turn say?
//!
//! [`Rules`] hold a turn to harmony's form and to what its caller asks for: the headers are always well-formed, the answer may have to be
//! JSON of a schema, a call may be forbidden, required or named, its arguments held to the function's schema, the reasoning bounded. Which
//! functions there are is read from the conversation, where the model reads it too. The work is done by the room `constrain`; here stands
//! what connects it with the engine, which asks for masks and knows nothing else.
//!
//! Rules are compiled when a turn begins, on the caller's thread and before the engine hears of it, so that what cannot be compiled is
//! refused and costs nobody anything.

use std::fmt;
use std::sync::Arc;

use gptoss_constrain::{
    Body, Builtin, Compiled, Constraint, Fidelity, Function, Limits, Reasoning, Spec, TokenTable, ToolChoice,
    compile,
};
use gptoss_engine::Mask;
use gptoss_harmony::{Content, Conversation, FunctionTool};

use crate::error::Error;
use crate::listen::FUNCTIONS_NAMESPACE;

/// Whose arguments must be JSON of their schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Strict {
    /// Nobody's: arguments are free text, as the model was trained to write them.
    #[default]
    Nobody,
    /// Every function's.
    Everybody,
    /// Those of the named functions.
    Named(Vec<String>),
}

/// What holds a turn's output to a form.
#[derive(Clone)]
pub struct Rules {
    /// The vocabulary, prepared once for all turns.
    pub table: Arc<TokenTable>,
    /// Whether the turn may or must call.
    pub tool_choice: ToolChoice,
    /// What the answer must match.
    pub answer: Body,
    /// How much may be said on the way.
    pub reasoning: Reasoning,
    /// Whose arguments must match their schema.
    pub strict: Strict,
    /// The operator's bounds on what is compiled.
    pub limits: Limits,
}

impl Rules {
    /// Nothing but well-formed headers.
    pub fn new(table: Arc<TokenTable>) -> Rules {
        Rules {
            table,
            tool_choice: ToolChoice::default(),
            answer: Body::default(),
            reasoning: Reasoning::default(),
            strict: Strict::default(),
            limits: Limits::default(),
        }
    }

    /// Makes masks of the rules for a conversation.
    ///
    /// Errors: `Constrain`.
    pub(crate) fn compile(&self, conversation: &Conversation) -> Result<Arc<Compiled>, Error> {
        let (functions, builtins) = self.tools(conversation);
        let spec = Spec {
            functions,
            builtins,
            tool_choice: self.tool_choice.clone(),
            answer: self.answer.clone(),
            reasoning: self.reasoning,
        };
        Ok(compile(&self.table, spec, &self.limits)?)
    }

    fn tools(&self, conversation: &Conversation) -> (Vec<Function>, Vec<Builtin>) {
        let (mut functions, mut builtins) = (Vec::new(), Vec::new());
        let parts = conversation.messages.iter().flat_map(|message| &message.content);
        let namespaces = parts.filter_map(|part| match part {
            Content::Developer(content) => content.tools.as_ref(),
            Content::System(content) => content.tools.as_ref(),
            _ => None,
        });
        for (name, namespace) in namespaces.flat_map(|namespaces| namespaces.iter()) {
            match name.as_str() {
                FUNCTIONS_NAMESPACE => {
                    functions.extend(namespace.tools.iter().map(|tool| self.function(tool)))
                }
                // A namespace without tools is one itself, as `python` is.
                _ if namespace.tools.is_empty() => {
                    builtins.push(Builtin { recipient: name.clone(), arguments: Body::Free });
                }
                _ => builtins.extend(namespace.tools.iter().map(|tool| Builtin {
                    recipient: format!("{name}.{}", tool.name),
                    arguments: Body::Free,
                })),
            }
        }
        // A developer who speaks twice may offer the same function twice.
        functions.dedup_by(|a: &mut Function, b| a.name == b.name);
        (functions, builtins)
    }

    fn function(&self, tool: &FunctionTool) -> Function {
        let is_strict = match &self.strict {
            Strict::Nobody => false,
            Strict::Everybody => true,
            Strict::Named(names) => names.contains(&tool.name),
        };
        let arguments = match (&tool.parameters, is_strict) {
            (_, false) => Body::Free,
            (None, true) => Body::JsonObject,
            (Some(schema), true) => Body::JsonSchema { schema: schema.clone(), fidelity: Fidelity::Strict },
        };
        Function { name: tool.name.clone(), arguments }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("tool_choice", &self.tool_choice)
            .field("reasoning", &self.reasoning)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

/// One sequence under compiled rules, as the engine asks it.
pub(crate) struct Grammar(pub(crate) Constraint);

impl gptoss_engine::Constraint for Grammar {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        self.0.allowed().map(Mask::Only).map_err(|error| error.to_string())
    }

    fn commit(&mut self, token: u32) -> Result<(), String> {
        self.0.commit(token).map_err(|error| error.to_string())
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }
}
