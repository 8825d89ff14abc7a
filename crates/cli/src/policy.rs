//! `gptoss policy`: is a file of rules right, and what would it say to a request?

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gptoss_govern::{Ask, ContentRule, Decision, Key, KeyState, Outcome, Rules, ToolAsk, Verdict};
use serde_json::json;

use crate::args::{PolicyArgs, PolicyCheckArgs, PolicyCommand, PolicyExplainArgs};
use crate::finding::{Finding, write_lines};
use crate::{rules_file, terminal};

/// How long before its end a key is warned of. Units: seconds.
const SOON_SECONDS: u64 = 14 * 86_400;
/// Exit code of an explanation of a refusal.
const REFUSED: u8 = 3;

/// Runs the command.
pub fn run(args: &PolicyArgs) -> Result<ExitCode> {
    match &args.command {
        PolicyCommand::Check(args) => check(args),
        PolicyCommand::Explain(args) => explain(args),
    }
}

fn check(args: &PolicyCheckArgs) -> Result<ExitCode> {
    let parsed = Rules::parse(&rules_file::text(&args.file)?);
    let mut out = io::stdout().lock();
    let rules = match parsed {
        Ok(rules) => rules,
        Err(problem) if args.json => {
            let problem = json!({"line": problem.line, "problem": problem.problem});
            writeln!(out, "{:#}", json!({"valid": false, "problem": problem}))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(problem) => return Err(rules_file::wrong(&args.file, &problem)),
    };
    let findings = findings(&rules, now());
    let counts = [
        ("keys", rules.keys().len()),
        ("groups", rules.groups().len()),
        ("policies", rules.policies().len()),
    ];
    if args.json {
        let findings: Vec<_> = findings.iter().map(Finding::to_json).collect();
        let [keys, groups, policies] = counts.map(|(_, count)| count);
        let report = json!({"valid": true, "version": rules.version(), "keys": keys, "groups": groups,
            "policies": policies, "findings": findings});
        writeln!(out, "{report:#}")?;
    } else {
        write_lines(&mut out, &findings)?;
        let counts = counts.map(|(what, count)| format!("{count} {what}")).join(", ");
        writeln!(out, "the rules are valid: version {}, {counts}", rules.version())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Units: seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What is right and should be known.
fn findings(rules: &Rules, now: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in rules.keys() {
        let name = format!("{} ({})", key.name, key.id);
        let Some(at) = key.expires_at.filter(|_| key.revoked_at.is_none()) else { continue };
        let days = at.saturating_sub(now) / 86_400;
        if at <= now {
            findings.push(Finding::warn("keys", format!("{name} has expired"), "rotate it, or revoke it"));
        } else if at - now < SOON_SECONDS {
            findings.push(Finding::warn(
                "keys",
                format!("{name} expires in {days} days"),
                "rotate it in time",
            ));
        }
    }
    for policy in rules.policies() {
        let is_it = |other: Option<&std::sync::Arc<gptoss_govern::Policy>>| {
            other.is_some_and(|other| other.name == policy.name)
        };
        let is_used = rules.keys().iter().any(|key| is_it(key.policy.as_ref()))
            || rules.groups().iter().any(|group| is_it(group.policy.as_ref()));
        if !is_used {
            let says = format!("no key and no group has the policy {:?}", policy.name);
            findings.push(Finding::warn("policies", says, "name it, or take it out"));
        }
    }
    for group in rules.groups() {
        if !rules.keys().iter().any(|key| key.group_name() == Some(&group.name)) {
            let says = format!("no key is in the group {:?}", group.name);
            findings.push(Finding::warn("groups", says, "name it, or take it out"));
        }
    }
    findings
}

fn explain(args: &PolicyExplainArgs) -> Result<ExitCode> {
    let rules = rules_file::read(&args.file)?;
    // Of several keys of a name, the newest: the last in the file.
    let is_it = |key: &&Key| key.name == args.key || key.id == args.key;
    let key = rules.keys().iter().rev().find(is_it);
    let key = key.with_context(|| format!("{} has no key {:?}", args.file.display(), args.key))?;
    let tools: Vec<ToolAsk<'_>> =
        args.tools.iter().map(|tool| ToolAsk { kind: tool.kind, name: &tool.name }).collect();
    let hosts: Vec<&str> = args.hosts.iter().map(String::as_str).collect();
    let ask = Ask {
        model: &args.model,
        adapter: args.adapter.as_deref(),
        effort: args.effort,
        tools: &tools,
        hosts: &hosts,
        max_output_tokens: args.max_output_tokens,
        label: args.label,
    };
    let (mut decision, findings) = (rules.decide(key, &ask), rules.explain(key, &ask));
    if let Some(over) = over(key, now()) {
        (decision.verdict, decision.reason) = (Verdict::Refused, over);
    }
    let content = rules.content(key);
    let mut out = io::stdout().lock();
    let word = |outcome| match outcome {
        Outcome::Passes => "passes",
        Outcome::Refuses => "refuses",
        Outcome::WouldRefuse => "would refuse",
    };
    if args.json {
        let rules_asked: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({"rule": finding.rule, "about": finding.subject.name(), "outcome": word(finding.outcome),
                    "why": finding.why})
            })
            .collect();
        let report = json!({
            "allowed": decision.verdict == Verdict::Allowed,
            "reason": decision.reason,
            "version": rules.version(),
            "shadowed": decision.shadowed,
            "effort_max": decision.effort_max.map(|effort| effort.name()),
            "reasoning": decision.reasoning.name(),
            "max_output_tokens": decision.max_output_tokens,
            "sensitivity": decision.sensitivity.name(),
            "moderation": decision.moderation,
            "audit_content": content.map(|content| {
                json!({"prompt": content.has_prompt, "answer": content.has_answer, "max_bytes": content.max_bytes})
            }),
            "rules": rules_asked,
        });
        writeln!(out, "{report:#}")?;
    } else {
        let verdict = if decision.verdict == Verdict::Allowed { "allowed" } else { "refused" };
        writeln!(out, "{verdict}: {}\n", terminal::safe(&decision.reason))?;
        for finding in &findings {
            writeln!(out, "  {:<12}  {}", word(finding.outcome), terminal::safe(&finding.line()))?;
        }
        bounds(&mut out, &decision, content)?;
    }
    out.flush()?;
    Ok(if decision.verdict == Verdict::Allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Why the key opens nothing, whatever is asked.
fn over(key: &Key, now: u64) -> Option<String> {
    let why = match key.state(now) {
        KeyState::Revoked => "was revoked",
        KeyState::Expired(_) => "has expired",
        KeyState::InForce => return None,
    };
    Some(format!("the key {:?} ({}) {why}", key.name, key.id))
}

/// What holds for the request beside the verdict.
fn bounds(out: &mut dyn Write, decision: &Decision, content: Option<ContentRule>) -> io::Result<()> {
    let kept = content.map(|content| {
        let words = [("prompt", content.has_prompt), ("answer", content.has_answer)];
        let words: Vec<&str> = words.into_iter().filter(|(_, is_it)| *is_it).map(|(word, _)| word).collect();
        format!("{}, {} bytes of each at most", words.join(" and "), content.max_bytes)
    });
    let any = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("effort, at most", any(decision.effort_max.map(|effort| effort.name().to_owned()))),
        ("reasoning", decision.reasoning.name().to_owned()),
        ("tokens of an answer", any(decision.max_output_tokens.map(|tokens| tokens.to_string()))),
        ("may go", decision.sensitivity.name().to_owned()),
        ("moderated by", any(decision.moderation.clone())),
        ("kept in the audit", any(kept)),
    ];
    writeln!(out)?;
    for (name, value) in rows {
        writeln!(out, "  {name:<20}  {}", terminal::safe(&value))?;
    }
    Ok(())
}
