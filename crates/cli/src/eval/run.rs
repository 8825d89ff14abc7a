//! `gptoss eval TASK`: a benchmark's questions put to a model, judged, counted.
//!
//! What was answered is in the folder's journals as soon as it ends, so the same command goes on after
//! whatever stopped it: only what has no line is asked. Reports are made of the journals alone.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use gptoss_eval::{Conditions, Item, Key, Outcome, Suite, Task};
use gptoss_harmony::ReasoningEffort;
use serde_json::{Map, Value, json};

use super::address::{Address, Patience};
use super::answerer::Answerer;
use super::digest::sha256;
use super::folder::{NO_EFFORT, effort_names, journal_path};
use super::journal::Journal;
use super::leg::{Leg, expected, score};
use super::manner::Manner;
use super::questions::{Questions, questions};
use super::repairer::Repairer;
use super::repository_tests::RepositoryTests;
use super::run_record::RunRecord;
use super::sample::Sample;
use super::score::{EXIT_BELOW, programs};
use super::walk::{Exam, Slot, walk};
use super::{harness, html, inspect_log, report};
use crate::air_gap;
use crate::args::{
    AnswererArgs, Date, EngineArgs, EvalRunArgs, GenerationArgs, RepositoryArgs, SamplingArgs, SettingsArgs,
};
use crate::engine_start::stamp;
use crate::failure::usage;
use crate::generation;
use crate::input::write_json_line;
use crate::interrupt::{EXIT_INTERRUPTED, stop_flag};
use crate::offer;
use crate::output::Target;
use crate::progress::{Progress, Unit};
use crate::today::today;

/// Prompts that `--dry-run` prints.
const DRY_PROMPTS: usize = 2;
/// Errors in a row after which nobody is there to answer, and the run ends.
const ERRORS_IN_A_ROW_MAX: usize = 50;
/// Characters of a hash that tells runs apart.
const HASH_CHARS: usize = 8;
/// Temperatures are told to six digits: 0.7 is less in `f32`.
const ROUND: f64 = 1e6;
/// Tokens that the published models' context holds: a limit of as many is none.
const WHOLE_CONTEXT: u32 = 131_072;

/// Runs the command. Ends with 3 below `--fail-under`, and with 130 when it was stopped; what there is by
/// then is reported.
///
/// Errors: data that cannot be read, a folder of another run, a model or server that is not there.
pub fn run(args: &EvalRunArgs) -> Result<ExitCode> {
    let Questions { suite, files } = questions(args)?;
    let suite = Arc::new(suite);
    let manners = manners(args, &suite);
    if args.dry_run {
        return dry_run(&suite, &manners[0]);
    }
    if args.grader.grader_url.is_none() && suite.items.iter().any(needs_grader) {
        return Err(usage(format!(
            "{} is graded by a model: give --grader-url and --grader-model",
            suite.name
        )));
    }
    if suite.task == Task::SweBench && args.answerer.base_url.is_some() {
        return Err(usage(
            "swe-bench is worked on by the agent of this program, with a model here: leave --base-url away\n\
             patches of other agents are scored with gptoss eval score swe-bench",
        ));
    }
    let model = model_name(&args.answerer)?;
    let grader = grader(args)?;
    let identity = identity(args, &suite, (&model, grader.as_ref()), &manners, files)?;
    let folder = args.out.clone().unwrap_or_else(|| folder_name(&suite.name, &identity));
    let record = RunRecord::begin_or_resume(&folder, identity)?;
    let mut journals = Vec::new();
    let mut legs = Vec::new();
    for (effort, manner) in effort_names(&record.run).into_iter().zip(&manners) {
        let (journal, lines) = Journal::open(&journal_path(&folder, &effort))?;
        journals.push(journal);
        let (model, conditions) = (model.clone(), conditions(args, manner));
        let samples = samples(&suite.items, lines, args.retry_errors)?;
        legs.push(Leg { suite: &suite, model, effort, conditions, samples });
    }
    let stop = stop_flag()?;
    let slots = slots(&legs);
    if !slots.is_empty() {
        let exam = Arc::new(Exam {
            answerer: answerer(args, model, suite.task)?,
            grader,
            programs: (suite.task == Task::HumanEval).then(programs).transpose()?,
            tests: (suite.task == Task::SweBench)
                .then(|| RepositoryTests::open(&args.repositories))
                .transpose()?,
            suite: Arc::clone(&suite),
            manners,
            seed: args.answerer.seed,
            stop: Arc::clone(&stop),
        });
        ask(&exam, slots, usize::from(args.concurrency), &mut legs, &mut journals)?;
    }
    let report = report::object(&record, &legs);
    write_files(&folder, &record, &legs, &report)?;
    tell(args, &folder, &legs, &report)?;
    Ok(if stop.load(Ordering::Relaxed) {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if is_below(args, &legs) {
        ExitCode::from(EXIT_BELOW)
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether a score is below the bar.
fn is_below(args: &EvalRunArgs, legs: &[Leg]) -> bool {
    args.fail_under.is_some_and(|bar| legs.iter().any(|leg| score(&leg.scores().all).0 < bar))
}

/// How questions are put, one manner an effort. What no flag says is the recipe's where it knows the task.
fn manners(args: &EvalRunArgs, suite: &Suite) -> Vec<Manner> {
    let own = &args.answerer;
    let date = match &own.date {
        None | Some(Date::None) => None,
        Some(Date::Today) => Some(today()),
        Some(Date::Day(day)) => Some(day.clone()),
    };
    let reference = suite.recipe.reference(suite.task);
    let temperature = reference.map(|reference| reference.temperature as f32);
    let max_tokens = reference.map(|reference| reference.max_tokens).filter(|tokens| *tokens < WHOLE_CONTEXT);
    let manner = Manner {
        effort: None,
        temperature: own.temperature.or(temperature),
        top_p: own.top_p,
        max_tokens: own.max_tokens.or(max_tokens),
        date,
    };
    match args.effort.as_slice() {
        [] => vec![manner],
        efforts => {
            let with = |effort| Manner { effort: Some(generation::effort(effort)), ..manner.clone() };
            efforts.iter().copied().map(with).collect()
        }
    }
}

/// What a published figure is compared by.
fn conditions(args: &EvalRunArgs, manner: &Manner) -> Conditions {
    let here = args.answerer.base_url.is_none();
    Conditions {
        effort: manner.effort.or(here.then_some(ReasoningEffort::Medium)).map(ReasoningEffort::as_str),
        max_tokens: manner.max_tokens.or(args.answerer.context.filter(|_| here)),
        temperature: manner.temperature.map(|temperature| (f64::from(temperature) * ROUND).round() / ROUND),
    }
}

/// Everything that could change an answer or its score.
fn identity(
    args: &EvalRunArgs,
    suite: &Suite,
    (model, grader): (&str, Option<&Address>),
    manners: &[Manner],
    files: Value,
) -> Result<Map<String, Value>> {
    let own = &args.answerer;
    let efforts: Vec<&str> = manners.iter().filter_map(|manner| Some(manner.effort?.as_str())).collect();
    let here = own.base_url.is_none().then(|| format!("{:?}", args.compute));
    let work = (suite.task == Task::SweBench).then(|| {
        let RepositoryArgs { tests, test_command, test_time, show, .. } = &args.repositories;
        format!("{:?}", (&args.work, tests, test_command, test_time, show))
    });
    let fields = [
        ("task", json!(suite.name)),
        ("files", files),
        ("recipe", json!(suite.recipe.name())),
        ("repeats", json!(suite.repeats)),
        ("limit", json!(args.limit)),
        ("effort", json!(efforts)),
        ("model", json!(model)),
        ("model_files", json!(model_files(own, model)?)),
        ("base_url", json!(own.base_url)),
        ("adapter", json!(own.adapter)),
        ("extra_body", json!(own.extra_body)),
        ("max_tokens", json!(manners[0].max_tokens)),
        ("temperature", json!(manners[0].temperature)),
        ("top_p", json!(own.top_p)),
        ("seed", json!(own.seed)),
        ("context", json!(own.context)),
        ("date", json!(manners[0].date)),
        ("compute", json!(here)),
        ("work", json!(work)),
        ("grader", json!(grader.map(|grader| [&grader.base, &grader.model]))),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Ok(fields.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What tells the files of a model here from others under the same name: lengths and times of change; and the
/// numbers of its adapter.
fn model_files(args: &AnswererArgs, model: &str) -> Result<Option<String>> {
    if args.base_url.is_some() {
        return Ok(None);
    }
    let opened = offer::opened(model)?.with_adapter(args.adapter.as_deref())?;
    let files = opened.checkpoint.files();
    let mut stamps = files.iter().map(|file| stamp(&file.path)).collect::<Result<Vec<_>>>()?;
    // An adapter is known by its numbers, wherever it lies.
    stamps.extend(opened.adapter().map(|adapter| adapter.short()));
    Ok(Some(hash(&stamps.join(" "))).filter(|_| !stamps.is_empty()))
}

fn hash(text: &str) -> String {
    sha256(text)[..HASH_CHARS].to_owned()
}

/// The folder when none is named: another run has another.
fn folder_name(task: &str, identity: &Map<String, Value>) -> PathBuf {
    PathBuf::from(format!("eval-{task}-{}", hash(&Value::Object(identity.clone()).to_string())))
}

/// Answers by the place of their question; of one that was asked again the last counts.
///
/// Errors: an answer to a question that is not there.
fn samples(items: &[Item], lines: Vec<Sample>, retry_errors: bool) -> Result<BTreeMap<usize, Sample>> {
    let places: BTreeMap<(&str, u32), usize> =
        items.iter().enumerate().map(|(place, item)| ((item.id.as_str(), item.repeat), place)).collect();
    let mut samples = BTreeMap::new();
    for sample in lines {
        let key = (sample.response.id.as_str(), sample.response.repeat);
        let Some(&place) = places.get(&key) else {
            bail!("an answer is to item {}, which the data does not have", sample.response.id);
        };
        samples.insert(place, sample);
    }
    if retry_errors {
        samples.retain(|_, sample| sample.judgement.outcome != Outcome::Error);
    }
    Ok(samples)
}

/// What has no answer yet.
fn slots(legs: &[Leg]) -> Vec<Slot> {
    let of_leg = |(manner, leg): (usize, &Leg)| {
        let left = (0..leg.suite.items.len()).filter(|item| !leg.samples.contains_key(item));
        left.map(|item| Slot { manner, item }).collect::<Vec<_>>()
    };
    legs.iter().enumerate().flat_map(of_leg).collect()
}

/// Asks what is left, and keeps each answer.
fn ask(
    exam: &Arc<Exam>,
    slots: Vec<Slot>,
    concurrency: usize,
    legs: &mut [Leg],
    journals: &mut [Journal],
) -> Result<()> {
    let mut progress = Progress::new("eval", Unit::Questions);
    let total = legs.iter().map(|leg| leg.suite.items.len()).sum::<usize>() as u64;
    let mut errors_in_a_row = 0;
    walk(exam, slots, concurrency, |slot, sample| {
        journals[slot.manner].append(&sample).context("cannot write an answer into the journal")?;
        let detail = sample.judgement.detail.clone();
        errors_in_a_row = if sample.judgement.outcome == Outcome::Error { errors_in_a_row + 1 } else { 0 };
        legs[slot.manner].samples.insert(slot.item, sample);
        progress.tell(&running(&legs[slot.manner]));
        progress.set(legs.iter().map(|leg| leg.samples.len()).sum::<usize>() as u64, total);
        if errors_in_a_row >= ERRORS_IN_A_ROW_MAX {
            bail!(
                "{ERRORS_IN_A_ROW_MAX} questions in a row ended in an error, the last: {}\n\
                 run the same again with --retry-errors once that is mended",
                detail.unwrap_or_default()
            );
        }
        Ok(())
    })
}

/// The score so far, in front of the bar.
fn running(leg: &Leg) -> String {
    let score: f64 = leg.samples.values().map(|sample| sample.judgement.score).sum();
    format!("{} {}: {:.3}", leg.suite.name, leg.effort, score / leg.samples.len().max(1) as f64)
}

/// Writes the reports into the folder.
fn write_files(folder: &Path, record: &RunRecord, legs: &[Leg], report: &Value) -> Result<()> {
    let write = |name: &Path, bytes: &[u8]| {
        if let Some(parent) = name.parent() {
            std::fs::create_dir_all(folder.join(parent))?;
        }
        Target::at(&folder.join(name))?.write(|out| Ok(out.write_all(bytes)?))
    };
    let line = |value: &Value| format!("{value}\n").into_bytes();
    write(Path::new("report.json"), &line(report))?;
    write(Path::new("report.html"), html::page(record, legs)?.as_bytes())?;
    for leg in legs {
        write(Path::new(&inspect_log::name(record, leg)), &inspect_log::archive(record, leg)?)?;
        let [results, samples] = harness::names(record, leg);
        let beside = Path::new("lm-eval").join(&leg.effort);
        write(&beside.join(results), &line(&harness::results(record, leg)))?;
        write(&beside.join(samples), harness::samples(leg).as_bytes())?;
    }
    Ok(())
}

/// Tells what came of it.
fn tell(args: &EvalRunArgs, folder: &Path, legs: &[Leg], report: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    match args.json {
        true => write_json_line(&mut out, report)?,
        false => report::print(&mut out, legs)?,
    }
    let left: usize = legs.iter().map(Leg::num_left).sum();
    let folder = crate::terminal::safe(&folder.display().to_string());
    let mut text = format!("answers and reports are in {folder}");
    if left > 0 {
        text.push_str(&format!("; {left} questions are left: run the same again to go on"));
    }
    Ok(writeln!(io::stderr(), "{text}")?)
}

/// Prints the first prompts as they would be asked.
fn dry_run(suite: &Suite, manner: &Manner) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let effort = manner.effort.map_or(NO_EFFORT, |effort| effort.as_str());
    writeln!(out, "{} questions of {}", suite.items.len(), suite.name)?;
    for item in suite.items.iter().take(DRY_PROMPTS) {
        writeln!(out, "\n--- item {}, effort {effort}, expected: {}", item.id, expected(item))?;
        for message in &item.ask.messages {
            writeln!(out, "[{}]\n{}", message.role.name(), message.text)?;
        }
        for function in &item.ask.functions {
            writeln!(out, "[function]\n{function}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn needs_grader(item: &Item) -> bool {
    matches!(item.key, Key::Graded(_) | Key::Rubric(_))
}

/// How the model is called, before any weight of it is read.
fn model_name(args: &AnswererArgs) -> Result<String> {
    match (&args.model, &args.base_url) {
        (Some(name), _) => Ok(name.clone()),
        (None, None) => Ok("demo".to_owned()),
        (None, Some(url)) => {
            listed(&address(args, url, String::new(), args.api_key_env.as_deref())?, "--model")
        }
    }
}

fn listed(address: &Address, flag: &str) -> Result<String> {
    address.first_model().map_err(|words| {
        anyhow::anyhow!(words).context(format!(
            "{} does not say which models it has\nis it running, and is the address right? Otherwise give {flag}",
            address.base
        ))
    })
}

fn grader(args: &EvalRunArgs) -> Result<Option<Address>> {
    let own = &args.grader;
    let Some(url) = &own.grader_url else { return Ok(None) };
    let named = |name: String| address(&args.answerer, url, name, own.grader_key_env.as_deref());
    let name = match &own.grader_model {
        Some(name) => name.clone(),
        None => listed(&named(String::new())?, "--grader-model")?,
    };
    Ok(Some(named(name)?))
}

fn address(args: &AnswererArgs, url: &str, model: String, key: Option<&str>) -> Result<Address> {
    let is_address = url.starts_with("http://") || url.starts_with("https://");
    if !is_address {
        return Err(usage(format!("`{url}` is not an address: write one such as http://127.0.0.1:8000/v1")));
    }
    air_gap::refused(gptoss_egress::check(format_args!("a model at {url}")))?;
    let key = key.map(|name| {
        std::env::var(name)
            .map_err(|_| usage(format!("{name}: no such variable is set, and it should hold a key")))
    });
    let patience = Patience { timeout: args.timeout, retries: args.retries, pause: args.retry_pause };
    Ok(Address::new(url, model, key.transpose()?, patience))
}

fn answerer(args: &EvalRunArgs, model: String, task: Task) -> Result<Answerer> {
    let own = &args.answerer;
    if let Some(url) = &own.base_url {
        let mut address = address(own, url, model, own.api_key_env.as_deref())?;
        address.extra = own.extra_body.clone().unwrap_or_default();
        return Ok(Answerer::Address(Box::new(address)));
    }
    let generation = GenerationArgs {
        model,
        adapter: own.adapter.clone(),
        effort: crate::args::Effort::Medium,
        instructions: None,
        functions: None,
        date: own.date.clone(),
        max_tokens: own.max_tokens,
        reasoning_budget: None,
        stats: false,
        stop: Vec::new(),
        context: own.context,
        settings: SettingsArgs::default(),
        sampling: SamplingArgs {
            temperature: own.temperature,
            top_p: own.top_p,
            top_k: None,
            min_p: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: None,
            logit_bias: Vec::new(),
            seed: Some(own.seed),
        },
        compute: args.compute.clone(),
        engine: EngineArgs { max_sequences: Some(args.concurrency), ..EngineArgs::default() },
    };
    let session = generation::prepare(&generation)?.0;
    Ok(match task {
        Task::SweBench => {
            Answerer::Repairer(Box::new(Repairer::new(session, &args.repositories, &args.work)?))
        }
        _ => Answerer::Engine(Box::new(session)),
    })
}
