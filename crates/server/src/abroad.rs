//! What the operator's rules say to a request that may go to another server, in whatever API it came.
//!
//! Its body is not read as one of a model here, so what the rules ask about is looked up in it: effort,
//! tools, most tokens of the answer. What it leaves open is narrowed in the body itself, and what cannot be
//! held to elsewhere is refused when it is about to leave; a request that stays is decided on by its handler.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use gptoss_api::ApiError;
use gptoss_api::generation::visibility::Visibility;
use gptoss_gateway::{Dialect, Label, RawObject};
use gptoss_govern::{Ask, Effort, Scope, Sensitivity, ToolAsk, ToolKind};
use serde_json::{Value, json};

use crate::bill::Bill;
use crate::keys::{Caller, ruled_visibility};
use crate::ruling::{ANY_HOST, decided, narrowed};
use crate::scope::Need;

/// Bytes of a body that one token of its prompt has at least, on average; more is reserved than will be read.
const TOKEN_BYTES_MIN: usize = 3;

/// What the rules ask about a request.
struct Wish {
    model: String,
    adapter: Option<String>,
    effort: Option<Effort>,
    tools: Vec<(ToolKind, String)>,
    output_max: Option<usize>,
}

/// What the rules say to a request, before it is known whether it leaves.
pub(crate) struct Ruled {
    caller: Caller,
    wish: Wish,
    /// Where it may go.
    pub(crate) label: Label,
    /// Most of the reasoning that its client may see.
    pub(crate) visibility: Visibility,
    output_max: Option<usize>,
    is_moderated: bool,
}

/// Reads what the rules ask about a request for the model of that name and adapter, and narrows its body.
///
/// Errors: a body that cannot be read.
pub(crate) fn rule(
    caller: &Caller,
    dialect: Dialect,
    (model, adapter): (&str, Option<&str>),
    body: &mut RawObject,
) -> Result<Ruled, ApiError> {
    let mut tools = Vec::new();
    add_tools(body.read("tools")?.as_ref(), &mut tools);
    let wish = Wish {
        model: model.to_owned(),
        adapter: adapter.map(str::to_owned),
        effort: effort(dialect, body)?,
        tools,
        output_max: output_max(dialect, body)?,
    };
    let (visibility, output_max) = (caller.visibility, wish.output_max);
    let caller = caller.clone();
    let Some(bill) = &caller.bill else {
        let label = Label::default();
        return Ok(Ruled { caller, wish, label, visibility, output_max, is_moderated: false });
    };
    let decision = bill.pass.rules.decide(&bill.pass.key, &Ask { model, adapter, ..Ask::default() });
    if decision.effort_max == Some(Effort::Low) && wish.effort.is_none_or(|effort| effort == Effort::Medium) {
        set_effort(dialect, body, "low");
    }
    let output_max = narrowed(bill, output_max, decision.max_output_tokens);
    if let (None, Some(max)) = (wish.output_max, output_max) {
        body.set(output_field(dialect), &json!(max));
    }
    let stays = decision.sensitivity == Sensitivity::LocalOnly;
    Ok(Ruled {
        label: if stays { Label::LocalOnly } else { Label::default() },
        visibility: visibility.min(ruled_visibility(decision.reasoning)),
        output_max,
        is_moderated: decision.moderation.is_some(),
        caller,
        wish,
    })
}

impl Ruled {
    /// Whose bill it is.
    pub(crate) fn bill(&self) -> Option<Arc<Bill>> {
        self.caller.bill.clone()
    }

    /// Decides whether it may leave for an upstream with a prompt of so many bytes, and reserves what it may
    /// take there.
    ///
    /// Errors: `Unscoped`; `Ruled`, also where the rules ask for what cannot be had there; `Rate`, `Quota`,
    /// `State`.
    pub(crate) fn admit(&self, upstream: &str, bytes: usize) -> BoxFuture<'static, Result<(), ApiError>> {
        if let Err(error) = self.decide() {
            return Box::pin(async { Err(error) });
        }
        let (bill, output_max, upstream) = (self.bill(), self.output_max, upstream.to_owned());
        Box::pin(async move {
            let Some(bill) = bill else { return Ok(()) };
            bill.went(&upstream);
            bill.reserve_apart(bytes / TOKEN_BYTES_MIN + 1, output_max).await
        })
    }

    fn decide(&self) -> Result<(), ApiError> {
        let Wish { model, adapter, effort, tools, output_max } = &self.wish;
        let is_hosted =
            |kind: &ToolKind| matches!(kind, ToolKind::Python | ToolKind::Browser | ToolKind::Mcp);
        if tools.iter().any(|(kind, _)| is_hosted(kind)) {
            self.caller.scopes.meet(Need::Scope(Scope::Tools))?;
        }
        let Some(bill) = &self.caller.bill else { return Ok(()) };
        let asks: Vec<ToolAsk<'_>> = tools.iter().map(|(kind, name)| ToolAsk { kind: *kind, name }).collect();
        let searches = asks.iter().any(|tool| tool.kind == ToolKind::Browser);
        decided(
            bill,
            &Ask {
                model,
                adapter: adapter.as_deref(),
                effort: effort.filter(|effort| *effort != Effort::Medium),
                tools: &asks,
                hosts: if searches { &ANY_HOST } else { &[] },
                max_output_tokens: output_max.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
                ..Ask::default()
            },
        )?;
        if self.is_moderated {
            let reason = "the policy's moderation judges turns of models here, and not those of others";
            return Err(ApiError::Ruled { reason: reason.to_owned() });
        }
        Ok(())
    }
}

/// The tools of a list, those of namespaces among them.
fn add_tools(list: Option<&Value>, tools: &mut Vec<(ToolKind, String)>) {
    for value in list.and_then(Value::as_array).into_iter().flatten() {
        match value["type"] == "namespace" {
            true => add_tools(value.get("tools"), tools),
            false => tools.push(tool(value)),
        }
    }
}

/// A tool of a body, in the rules' words. What is not known is a function of that name.
fn tool(tool: &Value) -> (ToolKind, String) {
    let kind = tool["type"].as_str().unwrap_or("function");
    let name = tool["name"].as_str().or(tool["function"]["name"].as_str()).unwrap_or_default();
    let begins = |heads: &[&str]| heads.iter().any(|head| kind.starts_with(head));
    let known = if begins(&["web_search", "web_fetch", "browser"]) {
        ToolKind::Browser
    } else if begins(&["code_", "python"]) {
        ToolKind::Python
    } else if begins(&["mcp"]) {
        let label = tool["server_label"].as_str().unwrap_or(name);
        return (ToolKind::Mcp, label.to_owned());
    } else if begins(&["shell", "local_shell", "bash"]) {
        ToolKind::Shell
    } else if begins(&["apply_patch", "text_editor"]) {
        ToolKind::ApplyPatch
    } else {
        return (ToolKind::Function, if name.is_empty() { kind } else { name }.to_owned());
    };
    (known, String::new())
}

/// The effort that a body asks for; one that the rules have no word for is the highest.
fn effort(dialect: Dialect, body: &RawObject) -> Result<Option<Effort>, ApiError> {
    let named = match dialect {
        Dialect::Responses => body.read("reasoning")?.map(|reasoning| reasoning["effort"].clone()),
        Dialect::Messages => body.read("output_config")?.map(|config| config["effort"].clone()),
        Dialect::Chat | Dialect::Completions => body.read("reasoning_effort")?,
    };
    Ok(named.as_ref().and_then(Value::as_str).map(|name| match name {
        "none" | "minimal" | "low" => Effort::Low,
        "medium" => Effort::Medium,
        _ => Effort::High,
    }))
}

fn set_effort(dialect: Dialect, body: &mut RawObject, effort: &str) {
    match dialect {
        Dialect::Chat => body.set("reasoning_effort", &json!(effort)),
        Dialect::Responses => {
            let mut reasoning = body.value("reasoning").filter(Value::is_object).unwrap_or_else(|| json!({}));
            reasoning["effort"] = json!(effort);
            body.set("reasoning", &reasoning);
        }
        // They have no word for it that every model takes.
        Dialect::Completions | Dialect::Messages => {}
    }
}

/// The field that says most tokens of the answer.
fn output_field(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "max_completion_tokens",
        Dialect::Responses => "max_output_tokens",
        Dialect::Completions | Dialect::Messages => "max_tokens",
    }
}

fn output_max(dialect: Dialect, body: &RawObject) -> Result<Option<usize>, ApiError> {
    let mut said = body.read(output_field(dialect))?.as_ref().and_then(Value::as_u64);
    if dialect == Dialect::Chat {
        // The older name of the same.
        said = said.or(body.read("max_tokens")?.as_ref().and_then(Value::as_u64));
    }
    Ok(said.map(|max| usize::try_from(max).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: &Value) -> RawObject {
        RawObject::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_the_rules_ask_about_is_found_in_every_api() {
        let chat = body(&json!({"reasoning_effort": "high", "max_tokens": 7}));
        assert_eq!(effort(Dialect::Chat, &chat), Ok(Some(Effort::High)));
        assert_eq!(output_max(Dialect::Chat, &chat), Ok(Some(7)));
        let responses = body(&json!({"reasoning": {"effort": "minimal"}, "max_output_tokens": 8}));
        assert_eq!(effort(Dialect::Responses, &responses), Ok(Some(Effort::Low)));
        assert_eq!(output_max(Dialect::Responses, &responses), Ok(Some(8)));
        let messages = body(&json!({"max_tokens": 9, "output_config": {"effort": "xhigh"}}));
        assert_eq!(effort(Dialect::Messages, &messages), Ok(Some(Effort::High)));
        assert_eq!(output_max(Dialect::Messages, &messages), Ok(Some(9)));
    }

    #[test]
    fn tools_are_told_apart_by_their_types() {
        for (value, kind, name) in [
            (json!({"type": "function", "function": {"name": "f"}}), ToolKind::Function, "f"),
            (json!({"name": "g", "input_schema": {}}), ToolKind::Function, "g"),
            (json!({"type": "web_search_20250305", "name": "web_search"}), ToolKind::Browser, ""),
            (json!({"type": "code_interpreter"}), ToolKind::Python, ""),
            (json!({"type": "mcp", "server_label": "files"}), ToolKind::Mcp, "files"),
            (json!({"type": "local_shell"}), ToolKind::Shell, ""),
            (json!({"type": "image_generation"}), ToolKind::Function, "image_generation"),
        ] {
            assert_eq!(tool(&value), (kind, name.to_owned()), "{value}");
        }
    }

    #[test]
    fn a_namespace_is_its_functions() {
        let list = json!([{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]);
        let mut tools = Vec::new();
        add_tools(Some(&list), &mut tools);
        assert_eq!(tools, [(ToolKind::Function, "f".to_owned())]);
    }

    #[test]
    fn an_effort_that_is_left_open_is_set_where_there_is_a_word_for_it() {
        let mut chat = body(&json!({"model": "m"}));
        set_effort(Dialect::Chat, &mut chat, "low");
        assert_eq!(chat.value("reasoning_effort"), Some(json!("low")));
        let mut responses = body(&json!({"reasoning": {"summary": "auto"}}));
        set_effort(Dialect::Responses, &mut responses, "low");
        assert_eq!(responses.value("reasoning"), Some(json!({"summary": "auto", "effort": "low"})));
    }
}
