//! `functions` and `function_call`, which were there before tools.
//!
//! [`offered`] reads them as tools of their own kind, so that a call is told in the same form. They stand by
//! themselves: beside tools nobody could say in which form a call is to come.

use serde_json::Value;

use crate::errors::ApiError;
use crate::generation::fields::text;
use crate::generation::hosted::Hosted;
use crate::generation::tools::{Choice, Kind, Tool, Tools, tool};
use crate::limits::RequestLimits;
use crate::wire::chat::ChatRequest;

/// The functions and the choice among them; None when the request has none.
///
/// Errors: beside tools; by the name of the function that is wrong; a choice that is none, or of an unknown
/// function.
pub(super) fn offered(request: &ChatRequest, limits: &RequestLimits) -> Result<Option<Tools>, ApiError> {
    let functions = request.functions.as_deref().unwrap_or_default();
    let choice = request.function_call.as_ref().filter(|choice| !choice.is_null());
    let old = [("functions", !functions.is_empty()), ("function_call", choice.is_some())];
    let Some((old, _)) = old.into_iter().find(|(_, is_given)| *is_given) else { return Ok(None) };
    let new = [
        ("tools", request.tools.as_ref().is_some_and(|tools| !tools.is_empty())),
        ("tool_choice", request.tool_choice.as_ref().is_some_and(|choice| !choice.is_null())),
    ];
    if let Some((new, _)) = new.into_iter().find(|(_, is_given)| *is_given) {
        let message =
            format!("{old} is the older form and cannot stand beside {new}: use tools and tool_choice");
        return Err(ApiError::invalid(old, message));
    }
    let list = functions.iter().enumerate().map(|(index, function)| {
        let function = tool(function, &format!("functions[{index}]"), limits)?;
        Ok(Tool { kind: Kind::OldFunction, grammar: None, ..function })
    });
    let list: Vec<Tool> = list.collect::<Result<_, ApiError>>()?;
    let mut tools = Tools::offer(list, Hosted::default(), "functions", None, limits)?;
    if let Some(choice) = choice {
        tools.choice = chosen(&tools, choice)?;
    }
    Ok(Some(tools))
}

fn chosen(tools: &Tools, choice: &Value) -> Result<Choice, ApiError> {
    let refused = |message: String| Err(ApiError::invalid("function_call", message));
    match (choice.as_str(), text(choice, "name")) {
        (Some("none"), _) => Ok(Choice::None),
        (Some("auto"), _) => Ok(Choice::Auto),
        (None, Some(name)) if tools.find(name).is_some() => Ok(Choice::Named(name.to_owned())),
        (None, Some(name)) => {
            refused(format!("function_call names {name:?}, which is not among the functions"))
        }
        _ => refused("function_call must be none, auto or an object with a name".to_owned()),
    }
}
