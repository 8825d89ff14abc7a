//! `gptoss train`: a model tuned on a file of rows.
//!
//! [`Rows`] are what is learned and what is tested with, [`Recipe`] is everything that decides the numbers,
//! [`estimate`] says before the start what it would take, [`course`] goes step by step and keeps states, and
//! [`finish`] writes what came of it and holds it against the base, and [`gate`] has it write without a
//! grammar. Where a run can be interrupted, the folder holds a whole state, from which `--resume` goes on to
//! the same bytes. `served.rs` trains the jobs of a server.

mod course;
mod estimate;
mod finish;
mod gate;
mod lesson;
mod log;
mod plot;
mod recipe;
mod rows;
mod run_folder;
mod served;
mod share;
mod verdict;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Error, Result};
use gptoss_kernels::{Pool, keep_freed_memory};
use gptoss_train::{Tuning, Weights};

use crate::args::TrainArgs;
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::machine;
use crate::model_source::Opened;
use course::Ended;
use finish::{Finish, Written};
use gate::Gate;
pub use gate::Judged;
use lesson::Lesson;
use recipe::Recipe;
use rows::Rows;
use run_folder::RunFolder;
pub use served::JobRunner;
pub use share::{Share, Z};
pub use verdict::flaw;

/// Runs the command; ends with 1 when a number was not finite or the gate is not passed, and with 130 after
/// Ctrl-C.
pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let opened = Opened::from_argument(&args.model)?;
    let vocab = opened.vocab()?;
    let rows = Rows::read(args, &opened, &vocab)?;
    rows.tell(args, &vocab)?;
    if args.lint_only {
        return Ok(ExitCode::SUCCESS);
    }
    let recipe = Recipe::of(args, &rows, &opened, &vocab)?;
    keep_freed_memory(true);
    let pool = Pool::new(machine::threads(args.threads));
    let plan = estimate::Plan::of(args, &opened, &recipe, &rows);
    if args.estimate {
        estimate::tell(args, &opened, &recipe, &rows, &plan, &pool)?;
        return Ok(ExitCode::SUCCESS);
    }
    plan.refuse_too_large(args)?;
    let out = args.out.as_deref().context("--out DIR says where the result goes")?;
    let folder = RunFolder::open(out, args.resume)?;
    let identity = recipe.identity(&rows, &opened)?;
    let finish = Finish {
        args,
        opened: &opened,
        vocab: &vocab,
        recipe: &recipe,
        rows: &rows,
        identity: &identity,
        folder: &folder,
        pool: &pool,
        planned_bytes: plan.bytes(),
    };
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let Some(written) = learn(&finish, &interrupt)? else { return Ok(ExitCode::from(EXIT_INTERRUPTED)) };
    pass_gate(&finish, &interrupt, written)
}

/// Takes the steps and writes what came of them; `None` after Ctrl-C. What training holds in memory is given
/// back.
fn learn(task: &Finish<'_>, interrupt: &Interrupt) -> Result<Option<Written>> {
    let Finish { args, opened, recipe, rows, folder, identity, .. } = *task;
    let weights = Weights::open(&opened.checkpoint, None)
        .with_context(|| format!("cannot open {}", opened.source.name()))?;
    let (network, trained) = recipe.network(&weights);
    let mut trainer = recipe.trainer(task.pool, &network, trained);
    // Before a state is taken up: what the base makes of the rows is part of the lesson.
    let lesson =
        interrupt.stoppable(|cancel| Lesson::of(rows, recipe, &trainer, || !cancel.load(Ordering::SeqCst)));
    let Some(lesson) = lesson else {
        writeln!(io::stderr(), "stopped before any step; the same command with --resume goes on")?;
        return Ok(None);
    };
    let base = lesson.base(&trainer);
    if args.resume && !trainer.restore(&folder.states(), identity)? {
        let out = folder.path().display();
        writeln!(io::stderr(), "{out}: there is no state yet: from the beginning")?;
    }
    let run = course::Run { args, recipe, lesson: &lesson, folder, identity };
    let (ended, log) = interrupt.stoppable(|cancel| run.go(&mut trainer, cancel))?;
    if let Ended::Interrupted = ended {
        let step = trainer.steps();
        writeln!(io::stderr(), "stopped after step {step}; the same command with --resume goes on")?;
        return Ok(None);
    }
    task.write(&network, trainer, (&lesson, base), &log, ended).map(Some)
}

/// Has the tuned model write, where there is anything to write, and tells what came of the run.
fn pass_gate(task: &Finish<'_>, interrupt: &Interrupt, mut written: Written) -> Result<ExitCode> {
    let (args, out) = (task.args, task.folder.path());
    let gate = match written.ended {
        Ended::NotFinite(_) => None,
        Ended::Done | Ended::Interrupted => Gate::of(task.rows, task.vocab, args.gate_turns, args.threads),
    };
    let Some(gate) = gate else {
        task.tell(&written, None)?;
        let Ended::NotFinite(error) = written.ended else { return Ok(ExitCode::SUCCESS) };
        return Err(Error::from(error).context(format!("{}: what was trained before is kept", out.display())));
    };
    let source = &task.opened.source;
    let outcome = interrupt.stoppable(|cancel| match task.recipe.tuning {
        Tuning::Full => gate.of_model(source, out, cancel),
        Tuning::LowRank(_) => gate.of_adapter(source, out, cancel),
    })?;
    let Some(outcome) = outcome else {
        writeln!(io::stderr(), "the gate was stopped; the same command with --resume has it again")?;
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    written.record["gate"] = outcome.to_json();
    task.write_record(&written.record)?;
    task.tell(&written, Some(&outcome))?;
    outcome.check(out)?;
    Ok(ExitCode::SUCCESS)
}
