//! `gptoss safety suite`: one model against the hierarchy's trials, a row for each family.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use gptoss_eval::hierarchy::{Family, Outcome, Trial, Verdict};
use gptoss_harmony::Conversation;
use serde_json::{Value, json};

use super::asked;
use super::sampler::{Reply, Sampler};
use crate::args::{SafetySuiteArgs, TrialArgs};
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::model_source::Opened;
use crate::train::Share;
use crate::{input, offer};

/// The columns of some trials; each counts in one of the first four.
#[derive(Debug, Clone, Copy, Default)]
struct Columns {
    held: usize,
    broken: usize,
    cut: usize,
    no_answer: usize,
    /// Of those in which a string can tell.
    tasks: Share,
}

/// Runs the command.
pub fn run(args: &SafetySuiteArgs) -> Result<ExitCode> {
    let opened = offer::opened(&args.model)?.with_adapter(args.adapter.as_deref())?;
    let trials = asked::trials(&args.trials);
    let conversations: Vec<Conversation> = trials.iter().map(|trial| trial.conversation.clone()).collect();
    let sampler = Sampler::start(&opened, &conversations, &args.trials, &args.compute)?;
    let name = name(&opened, args);
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let replies = interrupt.stoppable(|cancel| sampler.replies(&name, opened.adapter(), cancel))?;
    let Some(replies) = replies else { return Ok(ExitCode::from(EXIT_INTERRUPTED)) };
    let judged: Vec<Judged<'_>> = trials.iter().zip(&replies).map(Judged::of).collect();
    let mut out = io::stdout().lock();
    match args.trials.json {
        true => input::write_json_line(&mut out, &to_json(&name, &args.trials, &judged))?,
        false => tell(&mut out, &name, &args.trials, &judged)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A trial, what was answered, and what became of it.
struct Judged<'a> {
    trial: &'a Trial,
    reply: &'a Reply,
    verdict: Verdict,
}

impl<'a> Judged<'a> {
    fn of((trial, reply): (&'a Trial, &'a Reply)) -> Judged<'a> {
        Judged { trial, reply, verdict: trial.rule.judge(&reply.answer) }
    }
}

fn name(opened: &Opened, args: &SafetySuiteArgs) -> String {
    match &args.adapter {
        Some(folder) => format!("{} with {}", opened.source.name(), folder.display()),
        None => opened.source.name(),
    }
}

impl Columns {
    fn of<'a>(judged: impl Iterator<Item = &'a Judged<'a>>) -> Columns {
        let mut columns = Columns::default();
        for Judged { verdict, .. } in judged {
            *match verdict.outcome {
                Outcome::Held => &mut columns.held,
                Outcome::Broken => &mut columns.broken,
                Outcome::Cut => &mut columns.cut,
                Outcome::NoAnswer => &mut columns.no_answer,
            } += 1;
            if let Some(did_task) = verdict.did_task {
                columns.tasks.count += 1;
                columns.tasks.hits += usize::from(did_task);
            }
        }
        columns
    }

    fn held(self) -> Share {
        Share { hits: self.held, count: self.held + self.broken + self.cut + self.no_answer }
    }

    fn to_json(self) -> Value {
        json!({
            "trials": self.held().count,
            "held": self.held().to_json(),
            "broken": self.broken,
            "cut": self.cut,
            "no_answer": self.no_answer,
            "tasks": self.tasks.to_json(),
        })
    }
}

/// Families with their columns, in their order, and all of them together.
fn rows(judged: &[Judged<'_>]) -> Vec<(Option<Family>, Columns)> {
    let of = |family: Family| Columns::of(judged.iter().filter(|one| one.trial.family == family));
    let tried = |family: &Family| judged.iter().any(|one| one.trial.family == *family);
    let mut rows: Vec<_> =
        Family::ALL.into_iter().filter(tried).map(|family| (Some(family), of(family))).collect();
    rows.push((None, Columns::of(judged.iter())));
    rows
}

/// Turns whose prompt has no tool that the gate does not know.
fn harmony(judged: &[Judged<'_>]) -> Share {
    let counted: Vec<_> = judged.iter().filter(|one| !one.trial.has_builtin_tools()).collect();
    let hits = counted.iter().filter(|one| one.reply.flaw.is_none()).count();
    Share { hits, count: counted.len() }
}

fn tell(out: &mut impl Write, name: &str, how: &TrialArgs, judged: &[Judged<'_>]) -> io::Result<()> {
    let (count, seed, temperature) = (judged.len(), how.seed, how.temperature);
    writeln!(out, "{name}: {count} trials, seed {seed}, temperature {temperature}, without a grammar")?;
    writeln!(
        out,
        "{:<10} {:>6}  {:<26} {:>6} {:>4} {:>9}  did the task",
        "family", "trials", "held, 95 % interval", "broken", "cut", "no answer"
    )?;
    for (family, columns) in rows(judged) {
        let name = family.map_or("all", Family::name);
        let Columns { broken, cut, no_answer, tasks, .. } = columns;
        let held = columns.held();
        let row = format!(
            "{name:<10} {:>6}  {:<26} {broken:>6} {cut:>4} {no_answer:>9}",
            held.count,
            held.to_string()
        );
        writeln!(out, "{row}  {} of {}", tasks.hits, tasks.count)?;
    }
    let harmony = harmony(judged);
    writeln!(out, "well-formed of {} turns: {harmony}", harmony.count)?;
    writeln!(out, "gpt-oss' model card, not comparable (other prompts, other judges):")?;
    for reference in Family::ALL.iter().flat_map(|family| family.references()) {
        let (name, large, small) = (reference.name, reference.gpt_oss_120b, reference.gpt_oss_20b);
        writeln!(out, "  {name}: {large:.3} of gpt-oss-120b, {small:.3} of gpt-oss-20b")?;
    }
    Ok(())
}

fn to_json(name: &str, how: &TrialArgs, judged: &[Judged<'_>]) -> Value {
    let family = |(family, columns): (Option<Family>, Columns)| {
        let mut told = columns.to_json();
        told["family"] = json!(family.map_or("all", Family::name));
        let references = family.map(Family::references).unwrap_or_default().iter();
        told["model_card_not_comparable"] = references
            .map(|one| json!({"name": one.name, "gpt-oss-120b": one.gpt_oss_120b, "gpt-oss-20b": one.gpt_oss_20b}))
            .collect();
        told
    };
    let trial = |one: &Judged<'_>| {
        let outcome = match one.verdict.outcome {
            Outcome::Held => "held",
            Outcome::Broken => "broken",
            Outcome::Cut => "cut",
            Outcome::NoAnswer => "no_answer",
        };
        json!({
            "id": one.trial.id,
            "outcome": outcome,
            "did_task": one.verdict.did_task,
            "answer": one.reply.answer.text,
            "calls": one.reply.answer.calls,
            "flaw": one.reply.flaw,
        })
    };
    json!({
        "model": name,
        "how": how.to_json(),
        "families": rows(judged).into_iter().map(family).collect::<Vec<_>>(),
        "harmony": harmony(judged).to_json(),
        "trials": judged.iter().map(trial).collect::<Vec<_>>(),
    })
}

impl TrialArgs {
    /// What decides the figures, for programs.
    pub fn to_json(&self) -> Value {
        json!({
            "limit": self.limit,
            "seed": self.seed,
            "effort": crate::generation::effort(self.effort).as_str(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        })
    }
}
