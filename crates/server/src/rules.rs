//! What must the model's output be like, in the words of `turn`?
//!
//! [`constraint`] turns the tools, the choice among them and the format of the answer into the rules that
//! every token is held to. The header of each message is always held; reasoning is free in every case; a
//! strict function's arguments and a strict format are held to the letter, a loose one to as much of its
//! schema as can be held, with a warning for the rest. A grammar that cannot be used is refused before the
//! engine hears of the request. A model that would rather talk than call has a budget for it
//! ([`needs_budget`]).
//!
//! Compiling takes up to two seconds: call it where waiting is allowed. It does not know tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use gptoss_api::ApiError;
use gptoss_api::generation::tools::{Choice, Grammar, Kind, Tool};
use gptoss_api::generation::{format::Format, request::GenerationRequest};
use gptoss_turn::{
    Assistant, Body, ConstraintError, ConstraintLimits, ConstraintPart, Fidelity, FunctionRule, Reasoning,
    ToolChoice, TurnConstraint, TurnRules,
};

/// How long a client should wait when too many grammars are being compiled. Units: seconds.
const RETRY_SECONDS: u64 = 2;

/// Whether the ask demands anything beyond a well-formed turn.
pub(crate) fn has_demands(generation: &GenerationRequest) -> bool {
    let is_demanding = |tool: &Tool| tool.strict || tool.kind == Kind::Custom;
    generation.format != Format::Text
        || generation.tools.choice != Choice::Auto
        || generation.tools.list.iter().any(is_demanding)
}

/// Whether the model could go on talking instead of doing what is demanded: calling, or answering in a form
/// while there are tools.
pub(crate) fn needs_budget(generation: &GenerationRequest) -> bool {
    match generation.tools.choice {
        Choice::Required | Choice::Named(_) => true,
        Choice::Auto => generation.format != Format::Text && !generation.tools.list.is_empty(),
        Choice::None => false,
    }
}

/// The rules of an ask, ready to be used; `budget` are the tokens that reasoning and preambles may have.
///
/// Errors: a schema, regular expression or grammar that cannot be used, by the parameter it came in.
pub(crate) fn constraint(
    assistant: &Assistant,
    generation: &GenerationRequest,
    budget: Option<u32>,
) -> Result<TurnConstraint, ApiError> {
    let limits =
        ConstraintLimits { tenant: Arc::from(generation.tenant.as_str()), ..ConstraintLimits::default() };
    let compiled = assistant.compile(&generation.conversation, &rules(generation, budget), &limits);
    compiled.map_err(|error| refused(error, generation.format_param))
}

fn rules(generation: &GenerationRequest, budget: Option<u32>) -> TurnRules {
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
    let callable = if generation.tools.choice == Choice::None { &[][..] } else { &generation.tools.list[..] };
    TurnRules {
        tool_choice: match &generation.tools.choice {
            Choice::Auto => ToolChoice::Auto,
            Choice::None => ToolChoice::None,
            Choice::Required => ToolChoice::Required,
            Choice::Named(name) => ToolChoice::Named(name.clone()),
        },
        functions: callable.iter().filter_map(rule).collect::<BTreeMap<_, _>>(),
        answer: match &generation.format {
            Format::Text => Body::Free,
            Format::JsonObject => Body::JsonObject,
            Format::Regex(regex) => Body::Regex(regex.clone()),
            Format::Lark(lark) => Body::Lark(lark.clone()),
            Format::JsonSchema { schema, is_strict, .. } => Body::JsonSchema {
                schema: schema.clone(),
                fidelity: if *is_strict { Fidelity::Strict } else { Fidelity::Loose },
            },
        },
        // A preamble would stand before the JSON that the client reads.
        reasoning: Reasoning { preambles: generation.format == Format::Text, budget },
    }
}

/// A grammar that cannot be used; `format_param` is where the form of the answer came in.
pub(crate) fn refused(error: ConstraintError, format_param: &str) -> ApiError {
    use ConstraintError as E;
    let message = error.to_string();
    let of_part = |part: &ConstraintPart| match part {
        ConstraintPart::Answer => format_param.to_owned(),
        ConstraintPart::Arguments(_) => "tools".to_owned(),
    };
    let param = match &error {
        E::TooLarge { part, .. }
        | E::Keyword { part, .. }
        | E::Schema { part, .. }
        | E::Grammar { part, .. }
        | E::Exhausted { part, .. } => Some(of_part(part)),
        E::Name { .. } | E::TooManyTools { .. } => Some("tools".to_owned()),
        E::UnknownTool { .. } | E::NothingToCall => Some("tool_choice".to_owned()),
        // All of a request's grammars are compiled together: which was too slow is not known.
        E::TooSlow { .. } => None,
        E::Busy { .. } => return ApiError::Busy { what: message, retry_seconds: RETRY_SECONDS },
        _ => return ApiError::Internal { problem: message },
    };
    ApiError::Invalid { param, message }
}
