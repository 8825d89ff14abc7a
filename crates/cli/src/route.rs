//! `gptoss route explain`: where would a request go by a gateway's file, and why?
//!
//! The decision is that of `serve --gateway`, over facts that flags give. Keys are neither read nor asked
//! for, and nothing is sent.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use gptoss_gateway::{
    Decision, Dialect, Facts, LOCAL, Leg, LocalState, Place, Plan, Sources, States, UpstreamState, Verdict,
    decide, title,
};
use serde_json::{Value, json};

use crate::args::{ApiArg, RouteArgs, RouteCommand, RouteExplainArgs};
use crate::failure::usage;

/// Runs the command.
pub fn run(args: &RouteArgs) -> Result<ExitCode> {
    let RouteCommand::Explain(args) = &args.command;
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {path}"))?;
    let plan = Plan::read(&text, &Sources::none()).map_err(|problem| anyhow!("{path}, {problem}"))?;
    let decision = decided(args, &plan)?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", object(&plan, &decision))?,
        false => write(&mut out, &plan, &decision)?,
    }
    out.flush()?;
    Ok(match decision.verdict {
        Verdict::Go(_) | Verdict::NotOurs => ExitCode::SUCCESS,
        Verdict::Refused(_) => ExitCode::FAILURE,
    })
}

/// Errors: a usage error for a name that is nobody's.
fn decided(args: &RouteExplainArgs, plan: &Plan) -> Result<Decision> {
    let is_down = |name: &str| args.down.iter().any(|down| down == name);
    let is_known = |name: &String| name == LOCAL || plan.upstreams.iter().any(|up| up.name == *name);
    if let Some(name) = args.down.iter().find(|name| !is_known(name)) {
        return Err(usage(format!("--down {name}: the file has no upstream of that name")));
    }
    let facts = Facts {
        dialect: dialect(args.api),
        model: &args.model,
        label: args.label,
        has_tools: args.tools,
        effort: args.effort.clone(),
        prompt_tokens: args.prompt_tokens,
        output_tokens: args.output_tokens,
    };
    let local = |name: &str| LocalState {
        serves: args.local.iter().any(|served| served == name),
        is_up: !is_down(LOCAL),
        load: 0.0,
        context_window: None,
    };
    let state = |name: &str| UpstreamState { closed_seconds: is_down(name).then_some(1), in_flight: 0 };
    let upstreams: Vec<UpstreamState> = plan.upstreams.iter().map(|upstream| state(&upstream.name)).collect();
    Ok(decide(plan, &facts, &States { local: &local, upstreams: &upstreams }))
}

fn dialect(api: ApiArg) -> Dialect {
    match api {
        ApiArg::Chat => Dialect::Chat,
        ApiArg::Completions => Dialect::Completions,
        ApiArg::Responses => Dialect::Responses,
        ApiArg::Messages => Dialect::Messages,
    }
}

/// The name that a leg's place has for the model.
fn theirs<'a>(plan: &'a Plan, leg: &'a Leg) -> &'a str {
    match leg.place {
        Place::Local => &leg.model,
        Place::Upstream(index) => plan.upstreams[index].model(&leg.model).unwrap_or(&leg.model),
    }
}

fn write(out: &mut impl Write, plan: &Plan, decision: &Decision) -> io::Result<()> {
    match &decision.verdict {
        Verdict::NotOurs => writeln!(out, "goes to this server's own models, as without a gateway")?,
        Verdict::Refused(error) => writeln!(out, "is refused with {}: {error}", error.row().status)?,
        Verdict::Go(legs) => {
            for (index, leg) in legs.iter().enumerate() {
                let how = if index == 0 { "goes to" } else { "else to" };
                writeln!(out, "{how} {} as {}", title(plan, leg.place), theirs(plan, leg))?;
            }
        }
    }
    writeln!(out, "because: {}", decision.reason)?;
    for (name, why) in &decision.left_out {
        writeln!(out, "not to {name}: {why}")?;
    }
    Ok(())
}

fn object(plan: &Plan, decision: &Decision) -> Value {
    let (verdict, error, legs) = match &decision.verdict {
        Verdict::NotOurs => ("local", None, &[][..]),
        Verdict::Refused(error) => ("refused", Some(error), &[][..]),
        Verdict::Go(legs) => ("goes", None, legs.as_slice()),
    };
    let legs = legs.iter().map(|leg| json!({"to": title(plan, leg.place), "model": theirs(plan, leg)}));
    let left_out = decision.left_out.iter().map(|(name, why)| json!({"name": name, "why": why}));
    json!({
        "verdict": verdict,
        "status": error.map(|error| error.row().status),
        "error": error.map(ToString::to_string),
        "rule": decision.rule,
        "reason": decision.reason,
        "targets": legs.collect::<Vec<_>>(),
        "left_out": left_out.collect::<Vec<_>>(),
    })
}
