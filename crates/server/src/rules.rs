//! What must the model's output be like, in the words of `turn`?
//!
//! [`constraint`] turns the tools, the choice among them and the format of the answer into the rules that every token is held to. The
//! header of each message is always held; reasoning is free in every case; a strict function's arguments and a strict format are held to
//! the letter, a loose one to as much of its schema as can be held, with a warning for the rest. A grammar that cannot be used is refused
//! before the engine hears of the request.
//!
//! Compiling takes up to two seconds: call it where waiting is allowed. It does not know tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use gptoss_harmony::Vocab;
use gptoss_turn::{
    Body, ConstraintError, ConstraintLimits, Fidelity, FunctionRule, Reasoning, ToolChoice, TurnConstraint,
    TurnRules,
};

use crate::ask::{Ask, Format};
use crate::tools::{Choice, Grammar, Kind, Tool};
use crate::wire::errors::ApiError;

/// How long a client should wait when too many grammars are being compiled. Units: seconds.
const RETRY_SECONDS: u64 = 2;

/// Whether the ask demands anything beyond a well-formed turn.
pub(crate) fn has_demands(ask: &Ask) -> bool {
    let is_demanding = |tool: &Tool| tool.strict || tool.kind == Kind::Custom;
    ask.format != Format::Text || ask.tools.choice != Choice::Auto || ask.tools.list.iter().any(is_demanding)
}

/// The rules of an ask, ready to be used.
///
/// Errors: a schema, regular expression or grammar that cannot be used, by the parameter it came in.
pub(crate) fn constraint(vocab: &Arc<Vocab>, ask: &Ask) -> Result<TurnConstraint, ApiError> {
    let limits = ConstraintLimits::default();
    TurnConstraint::compile(vocab, &ask.conversation, &rules(ask), &limits).map_err(refused)
}

fn rules(ask: &Ask) -> TurnRules {
    let rule = |tool: &Tool| {
        let rule = match (&tool.kind, &tool.grammar) {
            (Kind::Custom, None) => FunctionRule::Custom(Body::Free),
            (Kind::Custom, Some(Grammar::Regex(regex))) => FunctionRule::Custom(Body::Regex(regex.clone())),
            (Kind::Custom, Some(Grammar::Lark(lark))) => FunctionRule::Custom(Body::Lark(lark.clone())),
            (Kind::Function | Kind::Namespaced { .. }, _) if tool.strict && tool.parameters.is_some() => {
                FunctionRule::Strict
            }
            _ => return None,
        };
        Some((tool.harmony_name.clone(), rule))
    };
    let callable = if ask.tools.choice == Choice::None { &[][..] } else { &ask.tools.list[..] };
    TurnRules {
        tool_choice: match &ask.tools.choice {
            Choice::Auto => ToolChoice::Auto,
            Choice::None => ToolChoice::None,
            Choice::Required => ToolChoice::Required,
            Choice::Named(name) => ToolChoice::Named(name.clone()),
        },
        functions: callable.iter().filter_map(rule).collect::<BTreeMap<_, _>>(),
        answer: match &ask.format {
            Format::Text => Body::Free,
            Format::JsonObject => Body::JsonObject,
            Format::JsonSchema { schema, is_strict, .. } => Body::JsonSchema {
                schema: schema.clone(),
                fidelity: if *is_strict { Fidelity::Strict } else { Fidelity::Loose },
            },
        },
        // A preamble would stand before the JSON that the client reads.
        reasoning: Reasoning { preambles: ask.format == Format::Text, ..Reasoning::default() },
    }
}

/// A grammar that cannot be used.
pub(crate) fn refused(error: ConstraintError) -> ApiError {
    let message = error.to_string();
    match error {
        ConstraintError::Busy { .. } => ApiError::Busy { what: message, retry_seconds: RETRY_SECONDS },
        _ => {
            let param = if message.contains("the answer's format") { "response_format" } else { "tools" };
            ApiError::invalid(param, message)
        }
    }
}
