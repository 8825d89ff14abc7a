//! What the rules say to a request, each with its name: pure, the same for `serve` and for `policy explain`.

use crate::ask::{Ask, Effort};
use crate::content::{AuditContent, CONTENT_BYTES, ContentRule};
use crate::key::Key;
use crate::pattern::Patterns;
use crate::policy::{Mode, Policy, Reasoning};
use crate::scope::Scope;
use crate::sensitivity::Sensitivity;

/// What follows of all rules together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may be.
    pub verdict: Verdict,
    /// The rule that refused it and why; or which rules were asked.
    pub reason: String,
    /// What it is refused for; None: it is allowed.
    pub subject: Option<Subject>,
    /// What policies in shadow mode would have refused.
    pub shadowed: Vec<String>,
    /// Most effort that it may take, for a request that does not say one.
    pub effort_max: Option<Effort>,
    /// Most of the reasoning that its client may see.
    pub reasoning: Reasoning,
    /// Most tokens of an answer, for a request that does not say how many.
    pub max_output_tokens: Option<u32>,
    /// Where it may go: the stricter of its own label and of the policies'.
    pub sensitivity: Sensitivity,
    /// The guard's policy that it is judged by.
    pub moderation: Option<String>,
}

/// Whether a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// What the key is for.
    Scope,
    /// The model.
    Model,
    /// The adapter.
    Adapter,
    /// How much the model reasons.
    Effort,
    /// A tool.
    Tool,
    /// A host.
    Host,
    /// Tokens of the answer.
    OutputTokens,
    /// A price that is not known.
    Price,
}

/// One rule, and what it says to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose rule: the key's, the group's or a policy's.
    pub rule: String,
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub outcome: Outcome,
    /// Why.
    pub why: String,
}

/// What one rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It lets the request pass.
    Passes,
    /// It refuses it.
    Refuses,
    /// It would, but its policy is in shadow mode.
    WouldRefuse,
}

impl Subject {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Scope => "scopes",
            Subject::Model => "models",
            Subject::Adapter => "adapters",
            Subject::Effort => "effort_max",
            Subject::Tool => "tools",
            Subject::Host => "hosts",
            Subject::OutputTokens => "max_output_tokens",
            Subject::Price => "prices",
        }
    }
}

impl Finding {
    /// The rule and why, in a line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.rule, self.why)
    }
}

/// Every rule that is about the request, in the order in which they are asked: the key's, its group's, then
/// those of the policies. `has_price` says whether the model's price is known.
pub(crate) fn findings(key: &Key, ask: &Ask<'_>, has_price: bool) -> Vec<Finding> {
    let mut all = Vec::new();
    scopes(key, ask, &mut all);
    let own = format!("the key {:?}", key.name);
    if let Some(models) = &key.models {
        all.push(listed(&own, Subject::Model, "the model", ask.model, models));
    }
    if let Some(group) = key.group.as_deref()
        && let Some(models) = &group.models
    {
        all.push(listed(
            &format!("the group {:?}", group.name),
            Subject::Model,
            "the model",
            ask.model,
            models,
        ));
    }
    if key.is_bounded_by_money() {
        let why = match has_price {
            true => format!("the model {:?} has a price", ask.model),
            false => format!(
                "the model {:?} has no price, and the budget is in USD: add it to [prices]",
                ask.model
            ),
        };
        all.push(Finding { rule: own, subject: Subject::Price, outcome: passes(has_price), why });
    }
    for policy in policies(key) {
        of_policy(policy, ask, &mut all);
    }
    all
}

/// What follows of the findings.
pub(crate) fn decide(key: &Key, ask: &Ask<'_>, has_price: bool) -> Decision {
    let findings = findings(key, ask, has_price);
    let refusal = findings.iter().find(|finding| finding.outcome == Outcome::Refuses);
    let shadowed = findings.iter().filter(|finding| finding.outcome == Outcome::WouldRefuse);
    let enforced = || enforced(key);
    Decision {
        verdict: if refusal.is_some() { Verdict::Refused } else { Verdict::Allowed },
        reason: refusal.map_or_else(|| allowed(key), Finding::line),
        subject: refusal.map(|finding| finding.subject),
        shadowed: shadowed.map(Finding::line).collect(),
        effort_max: enforced().filter_map(|policy| policy.effort_max).min(),
        reasoning: reasoning(key),
        max_output_tokens: enforced().filter_map(|policy| policy.max_output_tokens).min(),
        sensitivity: enforced().map(|policy| policy.sensitivity).max().unwrap_or_default().max(ask.label),
        // A key's and its group's are one and the same where both are said: the file is refused otherwise.
        moderation: enforced().find_map(|policy| policy.moderation.clone()),
    }
}

/// The most of the reasoning that a key may see, whatever is asked.
pub(crate) fn reasoning(key: &Key) -> Reasoning {
    let scope = if key.has(Scope::RawReasoning) { Reasoning::Raw } else { Reasoning::Summary };
    enforced(key).filter_map(|policy| policy.reasoning).fold(scope, Reasoning::min)
}

/// What is kept of a key's requests in their own words: what each of its policies that says anything keeps,
/// and nothing where none does.
pub(crate) fn content(key: &Key) -> Option<ContentRule> {
    let all: Vec<AuditContent> = enforced(key).filter_map(|policy| policy.audit_content).collect();
    let every = |is: fn(AuditContent) -> bool| !all.is_empty() && all.iter().all(|content| is(*content));
    let (has_prompt, has_answer) = (every(AuditContent::has_prompt), every(AuditContent::has_answer));
    let most = enforced(key).filter_map(|policy| policy.audit_content_max_bytes).min();
    // Within 16 MiB, which every address has.
    let max_bytes = most.unwrap_or(CONTENT_BYTES) as usize;
    (has_prompt || has_answer).then_some(ContentRule { has_prompt, has_answer, max_bytes })
}

/// The policies that act.
fn enforced(key: &Key) -> impl Iterator<Item = &Policy> {
    policies(key).filter(|policy| policy.mode == Mode::Enforce)
}

/// The key's policy, and its group's where it is another.
fn policies(key: &Key) -> impl Iterator<Item = &Policy> {
    let own = key.policy.as_deref();
    let group = key.group.as_deref().and_then(|group| group.policy.as_deref());
    let group = group.filter(|policy| own.is_none_or(|own| own.name != policy.name));
    own.into_iter().chain(group)
}

fn allowed(key: &Key) -> String {
    let names: Vec<String> = policies(key).map(|policy| format!("{:?}", policy.name)).collect();
    match names.is_empty() {
        true => format!("the key {:?} has no policy, and its own rules pass", key.name),
        false => format!("the key {:?} and the policy {} pass", key.name, names.join(" and the policy ")),
    }
}

fn passes(is_allowed: bool) -> Outcome {
    if is_allowed { Outcome::Passes } else { Outcome::Refuses }
}

fn scopes(key: &Key, ask: &Ask<'_>, all: &mut Vec<Finding>) {
    let mut finding = |scope: Scope, what: &str| {
        let has = key.has(scope);
        let why = match has {
            true => format!("it has the scope {:?}, which {what} needs", scope.name()),
            false => format!("{what} needs the scope {:?}, which it has not", scope.name()),
        };
        let rule = format!("the key {:?}", key.name);
        all.push(Finding { rule, subject: Subject::Scope, outcome: passes(has), why });
    };
    finding(Scope::Infer, "a request to a model");
    if let Some(tool) = ask.tools.iter().find(|tool| !tool.kind.is_clients()) {
        finding(Scope::Tools, &format!("the tool {tool}, which the server runs,"));
    }
}

fn listed(rule: &str, subject: Subject, what: &str, name: &str, patterns: &Patterns) -> Finding {
    let is_allowed = patterns.fit(name);
    let word = if is_allowed { "is" } else { "is not" };
    let why = format!("{what} {name:?} {word} among its {}: {}", subject.name(), patterns.list());
    Finding { rule: rule.to_owned(), subject, outcome: passes(is_allowed), why }
}

/// What a policy says: a rule of it that is not written says nothing.
fn of_policy(policy: &Policy, ask: &Ask<'_>, all: &mut Vec<Finding>) {
    let rule = format!("the policy {:?}", policy.name);
    let from = all.len();
    let say = |subject, is_allowed: bool, why: String| Finding {
        rule: rule.clone(),
        subject,
        outcome: passes(is_allowed),
        why,
    };
    if let Some(models) = &policy.models {
        all.push(listed(&rule, Subject::Model, "the model", ask.model, models));
    }
    if let (Some(adapters), Some(adapter)) = (&policy.adapters, ask.adapter) {
        all.push(listed(&rule, Subject::Adapter, "the adapter", adapter, adapters));
    }
    if let (Some(max), Some(effort)) = (policy.effort_max, ask.effort) {
        let word = if effort <= max { "within" } else { "above" };
        let why = format!("the effort {:?} is {word} its effort_max {:?}", effort.name(), max.name());
        all.push(say(Subject::Effort, effort <= max, why));
    }
    if let Some(rules) = &policy.tools {
        for tool in ask.tools {
            let is_allowed = rules.iter().any(|rule| rule.fits(tool));
            let list: Vec<String> = rules.iter().map(ToString::to_string).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            let word = if is_allowed { "is" } else { "is not" };
            all.push(say(
                Subject::Tool,
                is_allowed,
                format!("the tool \"{tool}\" {word} among its tools: {list}"),
            ));
        }
    }
    if let Some(hosts) = &policy.hosts {
        for host in ask.hosts {
            all.push(listed(&rule, Subject::Host, "the host", &host.to_ascii_lowercase(), hosts));
        }
    }
    if let (Some(max), Some(tokens)) = (policy.max_output_tokens, ask.max_output_tokens) {
        let word = if tokens <= max { "within" } else { "above" };
        let why = format!("{tokens} tokens of an answer are {word} its max_output_tokens {max}");
        all.push(say(Subject::OutputTokens, tokens <= max, why));
    }
    if policy.mode == Mode::Shadow {
        for finding in &mut all[from..] {
            if finding.outcome == Outcome::Refuses {
                finding.outcome = Outcome::WouldRefuse;
            }
        }
    }
}

#[cfg(test)]
#[path = "decision/tests.rs"]
mod tests;
