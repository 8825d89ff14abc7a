//! What the operator's rules say to a request that has been read, and the request narrowed to that.
//!
//! What the request says itself and the rules do not allow is refused; what it leaves open is narrowed. Of
//! the words of a client only kinds and counts reach the audit: a function's name stands in the answer to
//! whoever sent it, and nowhere else.

use gptoss_api::ApiError;
use gptoss_api::completions::parse::ParsedCompletionRequest;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::tools::{Kind, Tools};
use gptoss_api::wire::moderations::{ModerationMode, ModerationPolicy, ModerationSettings, ModerationVerb};
use gptoss_govern::{
    Ask, Decision, Effort, Outcome, Scope, Sensitivity, Subject, ToolAsk, ToolKind, Verdict,
};
use gptoss_harmony::{Content, Conversation, ReasoningEffort, SystemContent};

use crate::bill::{Bill, Facts, REFUSED, UNSAID_OUTPUT_MAX};
use crate::keys::{Caller, ruled_visibility};
use crate::model_host::Entry;
use crate::scope::Need;

/// Why a request that is to stay has no tool that asks others.
const STAYS: &str =
    "it is labelled local_only, and the browser and MCP servers may ask others; leave those tools out";
/// What a request that may search the web names as its hosts: any.
pub(crate) const ANY_HOST: [&str; 1] = ["*"];

/// Decides about a request for a turn, and narrows it.
///
/// Errors: `Unscoped`, for tools that run here; `Ruled`.
pub(crate) fn decide(
    caller: &Caller,
    model: &Entry,
    generation: &mut GenerationRequest,
) -> Result<(), ApiError> {
    let hosted = &generation.tools.hosted;
    if !hosted.is_empty() {
        caller.scopes.meet(Need::Scope(Scope::Tools))?;
    }
    let asks_others = hosted.has_browser || !hosted.servers.is_empty();
    if caller.stays {
        stay(generation)?;
    }
    let Some(bill) = &caller.bill else { return Ok(()) };
    let tools = tools(&generation.tools);
    let (name, adapter) = named(model);
    let effort = effort_of(&generation.conversation);
    let ask = Ask {
        model: name,
        adapter,
        // Medium is also what a request asks that says nothing, and is narrowed and not refused.
        effort: effort.filter(|effort| *effort != Effort::Medium),
        tools: &tools,
        hosts: if generation.tools.hosted.has_browser { &ANY_HOST } else { &[] },
        max_output_tokens: generation.max_new_tokens.map(counted),
        ..Ask::default()
    };
    let decision = decided(bill, &ask)?;
    if decision.sensitivity == Sensitivity::LocalOnly && asks_others {
        bill.decided(Facts {
            decision: REFUSED,
            reason: "sensitivity: tools that ask others".to_owned(),
            ..facts(name, adapter)
        });
        return Err(ApiError::Ruled { reason: STAYS.to_owned() });
    }
    if let (Some(max), Some(effort)) = (decision.effort_max, effort)
        && effort > max
    {
        set_effort(&mut generation.conversation, max);
    }
    generation.visibility = generation.visibility.min(ruled_visibility(decision.reasoning));
    generation.max_new_tokens = narrowed(bill, generation.max_new_tokens, decision.max_output_tokens);
    if let Some(policy) = decision.moderation {
        generation.moderation = Some(judged(policy));
    }
    Ok(())
}

/// Decides about a request whose words or files are to stay.
///
/// Errors: `Ruled`, when it has tools that ask others.
pub(crate) fn stay(generation: &GenerationRequest) -> Result<(), ApiError> {
    let hosted = &generation.tools.hosted;
    match hosted.has_browser || !hosted.servers.is_empty() {
        true => Err(ApiError::Ruled { reason: STAYS.to_owned() }),
        false => Ok(()),
    }
}

/// Decides about a request for the text that follows, and narrows it.
///
/// Errors: `Ruled`.
pub(crate) fn decide_text(
    caller: &Caller,
    model: &Entry,
    parsed: &mut ParsedCompletionRequest,
) -> Result<(), ApiError> {
    let Some(bill) = &caller.bill else { return Ok(()) };
    let (name, adapter) = named(model);
    let max_output_tokens = parsed.max_new_tokens.map(counted);
    let decision = decided(bill, &Ask { model: name, adapter, max_output_tokens, ..Ask::default() })?;
    if decision.moderation.is_some() {
        let reason =
            "the policy's moderation judges turns, and there are none in a text; use Chat Completions";
        bill.decided(Facts {
            decision: REFUSED,
            reason: "moderation: of a text".to_owned(),
            ..facts(name, adapter)
        });
        return Err(ApiError::Ruled { reason: reason.to_owned() });
    }
    parsed.max_new_tokens = narrowed(bill, parsed.max_new_tokens, decision.max_output_tokens);
    Ok(())
}

/// Whether a key may use a model at all, before it is brought to memory for it.
///
/// Errors: `Ruled`.
pub(crate) fn may_use(caller: &Caller, model: &Entry) -> Result<(), ApiError> {
    let Some(bill) = &caller.bill else { return Ok(()) };
    let (model, adapter) = named(model);
    let ask = Ask { model, adapter, ..Ask::default() };
    // What it may be asked for is decided where that is known.
    match bill.pass.rules.decide(&bill.pass.key, &ask).subject {
        Some(Subject::Model | Subject::Adapter) => decided(bill, &ask).map(|_| ()),
        _ => Ok(()),
    }
}

/// What the rules say, taken down on the bill.
///
/// Errors: `Ruled`.
pub(crate) fn decided(bill: &Bill, ask: &Ask<'_>) -> Result<Decision, ApiError> {
    let (rules, key) = (&bill.pass.rules, &bill.pass.key);
    let decision = rules.decide(key, ask);
    let is_refused = decision.verdict == Verdict::Refused;
    let word = match (is_refused, decision.shadowed.is_empty()) {
        (true, _) => REFUSED,
        (false, false) => "shadowed",
        (false, true) => "allowed",
    };
    let reason = match (is_refused, decision.shadowed.is_empty()) {
        (false, true) => decision.reason.clone(),
        _ => rules_behind(bill, ask),
    };
    bill.decided(Facts { decision: word, reason, ..facts(ask.model, ask.adapter) });
    match is_refused {
        true => Err(ApiError::Ruled { reason: decision.reason }),
        false => Ok(decision),
    }
}

/// A number of tokens as rules have it.
pub(crate) fn counted(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn facts(model: &str, adapter: Option<&str>) -> Facts {
    Facts { model: model.to_owned(), adapter: adapter.map(str::to_owned), ..Facts::default() }
}

/// The rules that refuse, or would, each with what it is about; without the client's words.
fn rules_behind(bill: &Bill, ask: &Ask<'_>) -> String {
    let findings = bill.pass.rules.explain(&bill.pass.key, ask);
    let refusing = findings.iter().filter(|finding| finding.outcome != Outcome::Passes);
    let mut rules: Vec<String> = refusing
        .map(|finding| match finding.subject {
            Subject::Scope | Subject::Tool | Subject::Host => {
                format!("{}: {}", finding.rule, finding.subject.name())
            }
            _ => finding.line(),
        })
        .collect();
    rules.dedup();
    rules.join("; ")
}

/// The model that an entry means, and the adapter.
pub(crate) fn named(model: &Entry) -> (&str, Option<&str>) {
    let name = model.served.name.as_str();
    let Some(parent) = model.served.parent.as_deref() else { return (name, None) };
    let own = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix(':'));
    (parent, Some(own.unwrap_or(name)))
}

/// The tools of a request, in the rules' words.
fn tools(tools: &Tools) -> Vec<ToolAsk<'_>> {
    let own = tools.list.iter().map(|tool| {
        let kind = match &tool.kind {
            Kind::Shell | Kind::LocalShell => ToolKind::Shell,
            Kind::ApplyPatch => ToolKind::ApplyPatch,
            Kind::Function | Kind::OldFunction | Kind::Namespaced { .. } | Kind::Custom => {
                return ToolAsk { kind: ToolKind::Function, name: &tool.harmony_name };
            }
        };
        ToolAsk { kind, name: "" }
    });
    let hosted = &tools.hosted;
    let builtin = |has: bool, kind: ToolKind| has.then_some(ToolAsk { kind, name: "" });
    let servers = hosted.servers.iter().map(|server| ToolAsk { kind: ToolKind::Mcp, name: &server.label });
    own.chain(builtin(hosted.has_browser, ToolKind::Browser))
        .chain(builtin(hosted.has_python, ToolKind::Python))
        .chain(servers)
        .collect()
}

/// Most tokens of an answer: what is asked, what is allowed, and where neither says anything and tokens are
/// counted, as many as can be reserved.
pub(crate) fn narrowed(bill: &Bill, asked: Option<usize>, allowed: Option<u32>) -> Option<usize> {
    let allowed = allowed.map(|max| max as usize);
    let most = asked.into_iter().chain(allowed).min();
    most.or_else(|| bill.is_limited().then_some(UNSAID_OUTPUT_MAX))
}

fn judged(policy: String) -> ModerationSettings {
    let block = || Some(ModerationMode { mode: ModerationVerb::Block });
    let policy_of = ModerationPolicy { input: block(), output: block() };
    ModerationSettings { model: Some(policy), policy: Some(policy_of) }
}

fn system(conversation: &Conversation) -> Option<&SystemContent> {
    conversation.messages.iter().flat_map(|message| &message.content).find_map(|content| match content {
        Content::System(system) => Some(system),
        Content::Text(_) | Content::Developer(_) => None,
    })
}

fn effort_of(conversation: &Conversation) -> Option<Effort> {
    Some(match system(conversation)?.reasoning_effort? {
        ReasoningEffort::Low => Effort::Low,
        ReasoningEffort::Medium => Effort::Medium,
        ReasoningEffort::High => Effort::High,
    })
}

fn set_effort(conversation: &mut Conversation, effort: Effort) {
    let told = match effort {
        Effort::Low => ReasoningEffort::Low,
        Effort::Medium => ReasoningEffort::Medium,
        Effort::High => ReasoningEffort::High,
    };
    for content in conversation.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let Content::System(system) = content {
            system.reasoning_effort = Some(told);
        }
    }
}
