//! What must the model's output be like, in the words of `turn`?
//!
//! [`constraint`] turns the tools, the choice among them and the format of the answer into the rules that
//! every token is held to. The header of each message is always held; reasoning is free in every case; a
//! strict function's arguments and a strict format are held to the letter, a loose one to as much of its
//! schema as can be held, with a warning for the rest. A grammar that cannot be used is refused before the
//! engine hears of the request. How much a model may reason, of all who have a say in it, is
//! [`reasoning_budget`].
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

use crate::limits::Limits;

/// How long a client should wait when too many grammars are being compiled. Units: seconds.
const RETRY_SECONDS: u64 = 2;

/// Whether the ask demands anything beyond a well-formed turn.
pub(crate) fn has_demands(generation: &GenerationRequest) -> bool {
    let is_demanding = |tool: &Tool| tool.strict || matches!(tool.kind, Kind::Custom | Kind::ApplyPatch);
    generation.format != Format::Text
        || generation.tools.choice != Choice::Auto
        || generation.tools.list.iter().any(is_demanding)
}

/// Most tokens of reasoning and preambles: the least of what the request wishes, with what its key and the
/// operator allow in it already, and of what may stand before something that is demanded. Units: tokens.
pub(crate) fn reasoning_budget(generation: &GenerationRequest, limits: &Limits) -> Option<u32> {
    let forced = could_talk_instead(generation).then_some(limits.forced_reasoning_max);
    generation.reasoning_budget.into_iter().chain(forced).min()
}

/// Whether the model could go on talking instead of doing what is demanded: calling, or answering in a form
/// while there are tools.
fn could_talk_instead(generation: &GenerationRequest) -> bool {
    match generation.tools.choice {
        Choice::Required | Choice::Named(_) => true,
        Choice::Auto => {
            let has_tools = !generation.tools.list.is_empty() || !generation.tools.hosted.is_empty();
            generation.format != Format::Text && has_tools
        }
        Choice::None => false,
    }
}

/// The rules of an ask, ready to be used.
///
/// Errors: a schema, regular expression or grammar that cannot be used, by the parameter it came in.
pub(crate) fn constraint(
    assistant: &Assistant,
    generation: &GenerationRequest,
) -> Result<TurnConstraint, ApiError> {
    let limits =
        ConstraintLimits { tenant: Arc::from(generation.tenant.as_str()), ..ConstraintLimits::default() };
    let compiled = assistant.compile(&generation.conversation, &rules(generation), &limits);
    compiled.map_err(|error| refused(error, generation.format_param))
}

fn rules(generation: &GenerationRequest) -> TurnRules {
    let rule = |tool: &Tool| {
        let rule = match (&tool.kind, &tool.grammar) {
            (Kind::Custom | Kind::ApplyPatch, None) => FunctionRule::Custom(Body::Free),
            (Kind::Custom, Some(Grammar::Regex(regex))) => FunctionRule::Custom(Body::Regex(regex.clone())),
            (Kind::Custom, Some(Grammar::Lark(lark))) => FunctionRule::Custom(Body::Lark(lark.clone())),
            _ if tool.strict && tool.parameters.is_some() => FunctionRule::Strict,
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
        reasoning: Reasoning { preambles: generation.format == Format::Text, budget: None },
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
        E::Busy { .. } => return ApiError::Overloaded { what: message, retry_seconds: RETRY_SECONDS },
        _ => return ApiError::Internal { problem: message },
    };
    ApiError::Invalid { param, message }
}

#[cfg(test)]
mod tests {
    use gptoss_api::RequestScope;
    use gptoss_api::chat::parse::parse;
    use gptoss_api::generation::visibility::Visibility;
    use gptoss_api::limits::RequestLimits;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_least_of_all_budgets_counts() {
        let limits = Limits { forced_reasoning_max: 100, ..Limits::default() };
        let check = |more: serde_json::Value, reasoning_max: Option<u32>, expect: Option<u32>| {
            let mut body = json!({"messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "function", "function": {"name": "look"}}]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let scope = RequestScope {
                limits: &RequestLimits::default(),
                tenant: "t",
                visibility: Visibility::Raw,
                reasoning_max,
                date: None,
                is_background: false,
                recall: &|_| None,
                new_id: |prefix| prefix.to_owned(),
            };
            let request = serde_json::from_value(body).unwrap();
            let generation = parse(&request, &scope).unwrap();
            assert_eq!(reasoning_budget(&generation, &limits), expect, "{more}");
        };
        check(json!({}), None, None);
        check(json!({}), Some(50), Some(50));
        check(json!({"max_reasoning_tokens": 60}), Some(50), Some(50));
        check(json!({"thinking_token_budget": 60, "reasoning": {"max_tokens": 40}}), Some(50), Some(40));
        check(json!({"reasoning_effort": "none"}), Some(50), Some(0));
        check(json!({"tool_choice": "required"}), None, Some(100));
        check(json!({"tool_choice": "required", "max_reasoning_tokens": 5000}), None, Some(100));
        check(json!({"tool_choice": "required", "max_reasoning_tokens": 60}), Some(90), Some(60));
    }

    /// A client that is told 429 slows down; one that is told 503 asks again.
    #[test]
    fn a_line_that_is_full_is_the_servers() {
        let row = refused(ConstraintError::Busy { max: 8 }, "response_format").row();
        assert_eq!((row.status, row.retry_seconds), (503, Some(RETRY_SECONDS)));
    }
}
