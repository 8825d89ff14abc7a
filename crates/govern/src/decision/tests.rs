//! What rules say to requests.

use super::*;
use crate::ask::{ToolAsk, ToolKind};
use crate::rules::Rules;

const RULES: &str = r#"
[policies.narrow]
models = ["gpt-oss-20b"]
adapters = ["triage-*"]
effort_max = "medium"
reasoning = "hidden"
tools = ["function", "mcp:docs*"]
hosts = ["*.example.com"]
max_output_tokens = 4096
sensitivity = "local_only"
moderation = "medical"

[policies.wish]
mode = "shadow"
models = ["none"]
effort_max = "low"
reasoning = "hidden"
max_output_tokens = 1
sensitivity = "local_only"

[policies.group]
effort_max = "low"
reasoning = "summary"
max_output_tokens = 100

[groups.g]
policy = "group"
models = ["gpt-*"]

[prices."gpt-oss-20b"]
input = 1
output = 1
"#;

fn rules(more: &str) -> Rules {
    let hash = crate::digest::Digest::of("s").to_hex();
    Rules::parse(&format!("{RULES}\n[[keys]]\nname = \"k\"\nid = \"k\"\nhash = \"sha256:{hash}\"\n{more}\n"))
        .unwrap()
}

fn decided(more: &str, ask: &Ask<'_>) -> Decision {
    let rules = rules(more);
    rules.decide(rules.identify("s", 0).unwrap(), ask)
}

fn ask() -> Ask<'static> {
    Ask { model: "gpt-oss-20b", ..Ask::default() }
}

fn check(more: &str, ask: Ask<'_>, subject: Subject, expect: &str) {
    let decision = decided(more, &ask);
    assert_eq!((decision.verdict, decision.subject), (Verdict::Refused, Some(subject)), "{decision:?}");
    assert_eq!(decision.reason, expect);
}

#[test]
fn a_refusal_of_a_policy_names_its_rule_and_why() {
    let narrow = "policy = \"narrow\"\nscopes = [\"infer\", \"tools\"]";
    check(
        narrow,
        Ask { model: "gpt-oss-120b", ..ask() },
        Subject::Model,
        "the policy \"narrow\": the model \"gpt-oss-120b\" is not among its models: gpt-oss-20b",
    );
    check(
        narrow,
        Ask { adapter: Some("other"), ..ask() },
        Subject::Adapter,
        "the policy \"narrow\": the adapter \"other\" is not among its adapters: triage-*",
    );
    check(
        narrow,
        Ask { effort: Some(Effort::High), ..ask() },
        Subject::Effort,
        "the policy \"narrow\": the effort \"high\" is above its effort_max \"medium\"",
    );
    check(
        narrow,
        Ask { tools: &[ToolAsk { kind: ToolKind::Python, name: "" }], ..ask() },
        Subject::Tool,
        "the policy \"narrow\": the tool \"python\" is not among its tools: function, mcp:docs*",
    );
    check(
        narrow,
        Ask { tools: &[ToolAsk { kind: ToolKind::Mcp, name: "mail" }], ..ask() },
        Subject::Tool,
        "the policy \"narrow\": the tool \"mcp:mail\" is not among its tools: function, mcp:docs*",
    );
    check(
        narrow,
        Ask { hosts: &["a.example.com", "Example.COM"], ..ask() },
        Subject::Host,
        "the policy \"narrow\": the host \"example.com\" is not among its hosts: *.example.com",
    );
    check(
        narrow,
        Ask { max_output_tokens: Some(4097), ..ask() },
        Subject::OutputTokens,
        "the policy \"narrow\": 4097 tokens of an answer are above its max_output_tokens 4096",
    );
}

#[test]
fn a_refusal_of_a_key_or_of_its_group_names_its_rule_and_why() {
    check(
        "",
        Ask { tools: &[ToolAsk { kind: ToolKind::Browser, name: "" }], ..ask() },
        Subject::Scope,
        "the key \"k\": the tool browser, which the server runs, needs the scope \"tools\", which it has not",
    );
    check(
        "scopes = [\"metrics\"]",
        ask(),
        Subject::Scope,
        "the key \"k\": a request to a model needs the scope \"infer\", which it has not",
    );
    check(
        "models = []",
        ask(),
        Subject::Model,
        "the key \"k\": the model \"gpt-oss-20b\" is not among its models: none",
    );
    check(
        "group = \"g\"",
        Ask { model: "llama", ..ask() },
        Subject::Model,
        "the group \"g\": the model \"llama\" is not among its models: gpt-*",
    );
    check(
        "group = \"g\"",
        Ask { effort: Some(Effort::Medium), ..ask() },
        Subject::Effort,
        "the policy \"group\": the effort \"medium\" is above its effort_max \"low\"",
    );
    check(
        "max_budget = { usd = 1 }",
        Ask { model: "llama", ..ask() },
        Subject::Price,
        "the key \"k\": the model \"llama\" has no price, and the budget is in USD: add it to [prices]",
    );
}

#[test]
fn what_is_not_forbidden_is_allowed() {
    let tools = [
        ToolAsk { kind: ToolKind::Function, name: "get_weather" },
        ToolAsk { kind: ToolKind::Mcp, name: "docs-internal" },
    ];
    let whole = Ask {
        adapter: Some("triage-2"),
        effort: Some(Effort::Medium),
        tools: &tools,
        hosts: &["docs.example.com"],
        max_output_tokens: Some(4096),
        ..ask()
    };
    let decision = decided("policy = \"narrow\"\nscopes = [\"infer\", \"tools\"]", &whole);
    assert_eq!(decision.verdict, Verdict::Allowed, "{decision:?}");
    assert_eq!(decision.reason, "the key \"k\" and the policy \"narrow\" pass");
    let free = decided("", &Ask { model: "any", effort: Some(Effort::High), ..Ask::default() });
    assert_eq!(free.reason, "the key \"k\" has no policy, and its own rules pass");
    assert_eq!((free.effort_max, free.max_output_tokens, free.moderation), (None, None, None));
}

#[test]
fn bounds_are_the_strictest_of_all_that_are_enforced() {
    let check = |more: &str, label, expect: (Option<Effort>, Reasoning, Option<u32>, Sensitivity)| {
        let decision = decided(more, &Ask { label, ..ask() });
        let found =
            (decision.effort_max, decision.reasoning, decision.max_output_tokens, decision.sensitivity);
        assert_eq!(found, expect, "{more}");
    };
    use Sensitivity::{Any, LocalOnly};
    check("", Any, (None, Reasoning::Summary, None, Any));
    check("", LocalOnly, (None, Reasoning::Summary, None, LocalOnly));
    check("scopes = [\"infer\", \"raw_reasoning\"]", Any, (None, Reasoning::Raw, None, Any));
    let both = "policy = \"narrow\"\ngroup = \"g\"\nscopes = [\"infer\", \"raw_reasoning\"]";
    check(both, Any, (Some(Effort::Low), Reasoning::Hidden, Some(100), LocalOnly));
    // A shadow policy bounds nothing.
    check("policy = \"wish\"", Any, (None, Reasoning::Summary, None, Any));
    assert_eq!(decided(both, &ask()).moderation.as_deref(), Some("medical"));
}

#[test]
fn a_shadow_policy_says_what_it_would_have_refused() {
    let asked = Ask { effort: Some(Effort::High), max_output_tokens: Some(1), ..ask() };
    let decision = decided("policy = \"wish\"", &asked);
    assert_eq!(decision.verdict, Verdict::Allowed);
    assert_eq!(
        decision.shadowed,
        [
            "the policy \"wish\": the model \"gpt-oss-20b\" is not among its models: none",
            "the policy \"wish\": the effort \"high\" is above its effort_max \"low\""
        ]
    );
}

#[test]
fn an_explanation_has_every_rule_that_was_asked() {
    let rules = rules("policy = \"narrow\"\ngroup = \"g\"");
    let key = rules.identify("s", 0).unwrap();
    let findings = rules.explain(key, &Ask { effort: Some(Effort::Medium), ..ask() });
    let found: Vec<(&str, Subject, Outcome)> =
        findings.iter().map(|finding| (finding.rule.as_str(), finding.subject, finding.outcome)).collect();
    assert_eq!(
        found,
        [
            ("the key \"k\"", Subject::Scope, Outcome::Passes),
            ("the group \"g\"", Subject::Model, Outcome::Passes),
            ("the policy \"narrow\"", Subject::Model, Outcome::Passes),
            ("the policy \"narrow\"", Subject::Effort, Outcome::Passes),
            ("the policy \"group\"", Subject::Effort, Outcome::Refuses),
        ]
    );
}
