//! `gptoss eval score`: recorded answers held to a benchmark's rows, without a model.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use gptoss_eval::programs::Programs;
use gptoss_eval::{
    Conditions, Item, Judgement, Judges, LetterRule, PatchKey, Recipe, Recorded, Row, RunProgram, RunTests,
    Scores, Spec, Suite, SuiteOptions, Task, item_json, judge_all, rows,
};
use gptoss_tools::Interpreter;
use gptoss_tools::cell::{Cell, Launcher};

use super::repository_tests::RepositoryTests;
use super::table;
use crate::args::EvalScoreArgs;
use crate::cells;
use crate::failure::usage;

/// Exit code of a score below `--fail-under`.
pub const EXIT_BELOW: u8 = 3;

/// Runs the command; ends with 3 below `--fail-under`.
pub fn run(args: &EvalScoreArgs) -> Result<ExitCode> {
    let asked = Asked::read(&args.task)?;
    let recorded = Recorded::read(read_rows(&args.responses)?)
        .with_context(|| format!("cannot take {}", args.responses.display()))?;
    let options = SuiteOptions {
        recipe: args.recipe.parse().map_err(|error: gptoss_eval::Error| usage(error.to_string()))?,
        repeats: recorded.repeats(),
        letter_rule: letter_rule(args, &asked)?,
        strict_number: args.strict,
        ..SuiteOptions::default()
    };
    let suite = asked.suite(read_all(&args.data)?, &options).with_context(|| match &args.data[..] {
        [file] => format!("cannot take {}", file.display()),
        _ => "cannot take the data".to_owned(),
    })?;
    let responses =
        recorded.matched(&suite).with_context(|| format!("cannot take {}", args.responses.display()))?;
    let judged = judge_each(args, &suite, &responses)?;
    let scores = Scores::of(&suite, &judged);
    let conditions = Conditions {
        effort: args.effort.map(|effort| effort.name()),
        max_tokens: args.max_tokens,
        temperature: args.temperature,
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        let mut told = scores.to_json(&suite, &conditions);
        told["items"] = judged.iter().map(|(item, judgement)| item_json(item, judgement)).collect();
        writeln!(out, "{told}")?;
    } else {
        table::write(&mut out, &suite, &scores, &conditions)?;
    }
    out.flush()?;
    let score = scores.all.score.map_or(0.0, |score| score.value);
    match args.fail_under {
        Some(least) if score < least => {
            eprintln!("error: the score, {score:.4}, is below {least}, which --fail-under asks for");
            Ok(ExitCode::from(EXIT_BELOW))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A benchmark by its name, or one of the user's own.
pub enum Asked {
    /// By its name.
    Named(Task),
    /// Of the user's own.
    Own(Box<Spec>),
}

impl Asked {
    /// What a command line names.
    ///
    /// Errors: no such task, a specification that cannot be read.
    pub fn read(task: &str) -> Result<Asked> {
        if Path::new(task).extension().is_some_and(|extension| extension == "toml") {
            let toml = fs::read_to_string(task).with_context(|| format!("cannot read {task}"))?;
            let spec = Spec::parse(&toml).with_context(|| format!("{task} is no specification"))?;
            return Ok(Asked::Own(Box::new(spec)));
        }
        let message = |error: gptoss_eval::Error| usage(format!("{error}, and specifications in FILE.toml"));
        task.parse().map(Asked::Named).map_err(message)
    }

    /// Its questions.
    ///
    /// Errors: a row lacks what it needs.
    pub fn suite(&self, rows: Vec<Row>, options: &SuiteOptions) -> Result<Suite, gptoss_eval::Error> {
        match self {
            Asked::Named(task) => Suite::new(*task, rows, options),
            Asked::Own(spec) => Suite::own(spec, rows, options),
        }
    }
}

fn letter_rule(args: &EvalScoreArgs, asked: &Asked) -> Result<Option<LetterRule>> {
    if let Some(name) = &args.letter_rule {
        return name.parse().map(Some).map_err(|error: gptoss_eval::Error| usage(error.to_string()));
    }
    let is_abcd = matches!(asked, Asked::Named(Task::Gpqa)) && args.recipe == Recipe::GptOss.name();
    Ok((args.strict && is_abcd).then_some(LetterRule::AbcdStrict))
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for file in files {
        all.append(&mut read_rows(file)?);
    }
    Ok(all)
}

fn read_rows(file: &Path) -> Result<Vec<Row>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    rows(&bytes).with_context(|| format!("cannot take {}", file.display()))
}

fn judge_each<'a>(
    args: &EvalScoreArgs,
    suite: &'a Suite,
    responses: &[gptoss_eval::Response],
) -> Result<Vec<(&'a Item, Judgement)>> {
    let items: std::collections::HashMap<(&str, u32), &Item> =
        suite.items.iter().map(|item| ((item.id.as_str(), item.repeat), item)).collect();
    let mut answers = Vec::with_capacity(responses.len());
    for response in responses {
        let Some(item) = items.get(&(response.id.as_str(), response.repeat)) else {
            bail!("item `{}` has no repeat {}", response.id, response.repeat);
        };
        answers.push((*item, response));
    }
    let programs = (suite.task == Task::HumanEval).then(programs).transpose()?;
    let run = programs.as_ref().map(|programs| |program: &str, seconds: u32| programs.run(program, seconds));
    let tests =
        (suite.task == Task::SweBench).then(|| RepositoryTests::open(&args.repositories)).transpose()?;
    let test = tests.as_ref().map(|tests| |key: &PatchKey, patch: &str| tests.run(key, patch));
    let judges = Judges {
        run: run.as_ref().map(|run| run as &RunProgram<'_>),
        test: test.as_ref().map(|test| test as &RunTests<'_>),
        ..Judges::default()
    };
    let judgements = judge_all(&answers, &judges);
    Ok(answers.into_iter().map(|(item, _)| item).zip(judgements).collect())
}

/// The walls around programs and the Python within them.
///
/// Errors: this machine has no walls, or no Python.
pub fn programs() -> Result<Programs> {
    let cell = Cell::stand(Launcher::own()).context("programs of a model are run in a cell alone")?;
    Ok(Programs::new(cell, Interpreter::find(&cells::programs())?))
}
