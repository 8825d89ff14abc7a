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
use crate::ruling::{ANY_HOST, counted, decided, narrowed};
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
    num_answers: usize,
    /// Whether tokens are given or asked for as they are, which shows reasoning.
    shows_tokens: bool,
    /// What the rules ask for that cannot be had elsewhere.
    refusal: Option<&'static str>,
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
    for list in ["tools", "functions", "mcp_servers"] {
        add_tools(body.read(list)?.as_ref(), &mut tools);
    }
    if body.read("web_search_options")?.is_some_and(|value| !value.is_null()) {
        tools.push((ToolKind::Browser, String::new()));
    }
    let wish = Wish {
        model: model.to_owned(),
        adapter: adapter.map(str::to_owned),
        effort: effort(dialect, body)?,
        tools,
        output_max: output_max(dialect, body)?,
    };
    let thinks = body.read("thinking")?.is_some_and(|thinking| thinking["type"] != "disabled");
    let (num_answers, shows_tokens) = (num_answers(body)?, shows_tokens(body)?);
    let (visibility, output_max) = (caller.visibility, wish.output_max);
    let caller = caller.clone();
    let Some(bill) = &caller.bill else {
        let label = Label::default();
        return Ok(Ruled {
            caller,
            wish,
            label,
            visibility,
            output_max,
            num_answers,
            shows_tokens,
            refusal: None,
        });
    };
    let decision = bill.pass.rules.decide(&bill.pass.key, &Ask { model, adapter, ..Ask::default() });
    if decision.effort_max == Some(Effort::Low) && wish.effort.is_none_or(|effort| effort == Effort::Medium) {
        set_effort(dialect, body, "low");
    }
    let output_max = narrowed(bill, output_max, decision.max_output_tokens);
    if let (None, Some(max)) = (wish.output_max, output_max) {
        body.set(output_field(dialect), &json!(max));
    }
    // How long it thinks is said in tokens there, and no rule is.
    let refusal = if decision.moderation.is_some() {
        Some("the policy's moderation judges turns of models here, and not those of others")
    } else if thinks && decision.effort_max.is_some_and(|max| max != Effort::High) {
        Some("the policy's effort_max cannot be held to where `thinking` is asked for; leave it out")
    } else {
        None
    };
    let stays = decision.sensitivity == Sensitivity::LocalOnly;
    Ok(Ruled {
        label: if stays { Label::LocalOnly } else { Label::default() },
        visibility: visibility.min(ruled_visibility(decision.reasoning)),
        output_max,
        num_answers,
        shows_tokens,
        refusal,
        caller,
        wish,
    })
}

impl Ruled {
    /// Whose bill it is.
    pub(crate) fn bill(&self) -> Option<Arc<Bill>> {
        self.caller.bill.clone()
    }

    /// The same.
    pub(crate) fn bill_of(&self) -> Option<&Arc<Bill>> {
        self.caller.bill.as_ref()
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
        let output_max = self.output_max.map(|max| max.saturating_mul(self.num_answers));
        let (bill, upstream) = (self.bill(), upstream.to_owned());
        Box::pin(async move {
            let Some(bill) = bill else { return Ok(()) };
            bill.went(&upstream);
            bill.reserve_apart(bytes / TOKEN_BYTES_MIN + 1, output_max).await
        })
    }

    /// Decides whether it may leave at all.
    ///
    /// Errors: `Unscoped`, `Ruled`.
    pub(crate) fn decide(&self) -> Result<(), ApiError> {
        let Wish { model, adapter, effort, tools, output_max } = &self.wish;
        let is_hosted =
            |kind: &ToolKind| matches!(kind, ToolKind::Python | ToolKind::Browser | ToolKind::Mcp);
        if tools.iter().any(|(kind, _)| is_hosted(kind)) {
            self.caller.scopes.meet(Need::Scope(Scope::Tools))?;
        }
        if self.shows_tokens && !self.caller.may_use_tokens {
            return Err(ApiError::Scope { what: "have tokens of a model elsewhere" });
        }
        let Some(bill) = &self.caller.bill else { return Ok(()) };
        let asks: Vec<ToolAsk<'_>> = tools.iter().map(|(kind, name)| ToolAsk { kind: *kind, name }).collect();
        // Whom those ask is decided there.
        let leaves = asks.iter().any(|tool| matches!(tool.kind, ToolKind::Browser | ToolKind::Mcp));
        decided(
            bill,
            &Ask {
                model,
                adapter: adapter.as_deref(),
                effort: effort.filter(|effort| *effort != Effort::Medium),
                tools: &asks,
                hosts: if leaves { &ANY_HOST } else { &[] },
                max_output_tokens: output_max.map(counted),
                ..Ask::default()
            },
        )?;
        match self.refusal {
            Some(reason) => Err(ApiError::Ruled { reason: reason.to_owned() }),
            None => Ok(()),
        }
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
    let known = if kind == "url" {
        // Of Anthropic's list of servers.
        return (ToolKind::Mcp, name.to_owned());
    } else if begins(&["web_search", "web_fetch", "browser"]) {
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
        Dialect::Chat | Dialect::Completions => match body.read("reasoning_effort")? {
            Some(effort) => Some(effort),
            // OpenRouter's form.
            None => body.read("reasoning")?.map(|reasoning| reasoning["effort"].clone()),
        },
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

fn shows_tokens(body: &RawObject) -> Result<bool, ApiError> {
    let is_on = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && *value != 0;
    for field in ["logprobs", "top_logprobs", "prompt_logprobs", "return_token_ids", "echo"] {
        if body.read(field)?.as_ref().is_some_and(is_on) {
            return Ok(true);
        }
    }
    let has_ids = |list: &Vec<Value>| list.iter().any(|value| value.is_u64() || value.is_array());
    Ok(body.read("prompt")?.as_ref().and_then(Value::as_array).is_some_and(has_ids))
}

/// Answers that a body asks for: of each prompt of a list so many.
fn num_answers(body: &RawObject) -> Result<usize, ApiError> {
    let mut num = 1_usize;
    for field in ["n", "best_of"] {
        let said = body.read(field)?.as_ref().and_then(Value::as_u64).unwrap_or(1);
        num = num.max(usize::try_from(said).unwrap_or(usize::MAX));
    }
    let prompts = match body.read("prompt")? {
        Some(Value::Array(list)) if !list.iter().all(Value::is_u64) => list.len().max(1),
        _ => 1,
    };
    Ok(num.saturating_mul(prompts))
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
    let number = |value: Option<Value>| {
        let number = value.as_ref().and_then(Value::as_f64).filter(|number| *number >= 0.0);
        number.map(|number| number.ceil() as u64)
    };
    let mut said = number(body.read(output_field(dialect))?);
    if dialect == Dialect::Chat {
        // The older name of the same; who has both is held to the greater.
        said = said.max(number(body.read("max_tokens")?));
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
        let both = body(&json!({"max_completion_tokens": 2, "max_tokens": 9, "n": 3, "prompt": ["a", "b"]}));
        assert_eq!((output_max(Dialect::Chat, &both), num_answers(&both)), (Ok(Some(9)), Ok(6)));
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
            (json!({"type": "url", "url": "https://h/", "name": "far"}), ToolKind::Mcp, "far"),
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
