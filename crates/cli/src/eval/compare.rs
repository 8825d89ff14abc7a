//! `gptoss eval compare`: two runs of one task, in pairs.
//!
//! Items are matched by their ids; an item's score is the mean over its repeats. Efforts that both runs have
//! are compared with each other; where each has one, they are compared whatever they are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use gptoss_eval::{Outcome, Paired, paired};
use serde_json::{Value, json};

use super::folder::{effort_names, journal_path};
use super::journal;
use super::run_record::{RunRecord, differences};
use super::sample::Sample;
use crate::args::EvalCompareArgs;
use crate::failure::usage;
use crate::input::write_json_line;
use crate::terminal;

/// Exit code when the second run is worse.
const EXIT_WORSE: u8 = 3;

/// One comparison.
struct Compared {
    /// The efforts, as the runs call them.
    efforts: [String; 2],
    paired: Paired,
    /// Items that only one of the runs has, or that ended in an error in one.
    unpaired: usize,
}

/// Runs the command. Ends with 3 when the second run is worse and `--fail-worse` is given.
///
/// Errors: a folder that holds no run, runs of different tasks, nothing to pair.
pub fn run(args: &EvalCompareArgs) -> Result<ExitCode> {
    let records = [RunRecord::of(&args.first)?, RunRecord::of(&args.second)?];
    let task = |record: &RunRecord| record.run.get("task").cloned().unwrap_or_default();
    if task(&records[0]) != task(&records[1]) {
        return Err(usage(format!(
            "these are runs of {} and of {}: only runs of one task can be compared",
            task(&records[0]),
            task(&records[1])
        )));
    }
    let pairs = pairs_of_efforts([&records[0], &records[1]])?;
    let compared: Vec<Compared> = pairs
        .into_iter()
        .map(|efforts| compare([&args.first, &args.second], efforts))
        .collect::<Result<_>>()?;
    let differing = differences(&records[0].run, &records[1].run);
    let mut out = io::stdout().lock();
    match args.json {
        true => write_json_line(&mut out, &object(&task(&records[0]), &differing, &compared))?,
        false => print(&mut out, &differing, &compared)?,
    }
    let is_worse = compared.iter().any(|it| it.paired.high < 0.0);
    Ok(if args.fail_worse && is_worse { ExitCode::from(EXIT_WORSE) } else { ExitCode::SUCCESS })
}

fn pairs_of_efforts(records: [&RunRecord; 2]) -> Result<Vec<[String; 2]>> {
    let [first, second] = records.map(|record| effort_names(&record.run));
    if let ([one], [other]) = (&first[..], &second[..]) {
        return Ok(vec![[one.clone(), other.clone()]]);
    }
    let shared: Vec<[String; 2]> =
        first.iter().filter(|name| second.contains(name)).map(|name| [name.clone(), name.clone()]).collect();
    match shared.is_empty() {
        false => Ok(shared),
        true => {
            Err(usage(format!("no effort is in both runs: {} and {}", first.join(", "), second.join(", "))))
        }
    }
}

fn compare(folders: [&Path; 2], efforts: [String; 2]) -> Result<Compared> {
    let scores = |number: usize| -> Result<BTreeMap<String, f64>> {
        Ok(scores(&journal::look::<Sample>(&journal_path(folders[number], &efforts[number]))?))
    };
    let (first, second) = (scores(0)?, scores(1)?);
    let both: Vec<(f64, f64)> =
        first.iter().filter_map(|(id, score)| Some((*score, *second.get(id)?))).collect();
    let unpaired = first.len() + second.len() - 2 * both.len();
    let paired = paired(&both).context("the runs have no item in common: are they of the same data?")?;
    Ok(Compared { efforts, paired, unpaired })
}

/// Mean scores by item. One that ended in an error, once at least, is nobody's fault and left out.
fn scores(samples: &[Sample]) -> BTreeMap<String, f64> {
    // Of a question that was asked again, the last answer counts.
    let last: BTreeMap<(&str, u32), &Sample> = samples
        .iter()
        .map(|sample| ((sample.response.id.as_str(), sample.response.repeat), sample))
        .collect();
    let mut by_item: BTreeMap<&str, Option<Vec<f64>>> = BTreeMap::new();
    for ((id, _), sample) in last {
        let scores = by_item.entry(id).or_insert_with(|| Some(Vec::new()));
        match sample.judgement.outcome {
            Outcome::Error => *scores = None,
            _ => scores.iter_mut().for_each(|scores| scores.push(sample.judgement.score)),
        }
    }
    let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
    by_item.into_iter().filter_map(|(id, scores)| Some((id.to_owned(), mean(scores?)))).collect()
}

fn object(task: &Value, differing: &[String], compared: &[Compared]) -> Value {
    let one = |it: &Compared| {
        let mut value = serde_json::to_value(it.paired).unwrap_or_default();
        value["efforts"] = json!(it.efforts);
        value["unpaired"] = json!(it.unpaired);
        value
    };
    json!({"task": task, "differ_in": differing, "comparisons": compared.iter().map(one).collect::<Vec<_>>()})
}

fn print(out: &mut dyn Write, differing: &[String], compared: &[Compared]) -> io::Result<()> {
    for line in differing {
        writeln!(out, "{}", terminal::safe(line))?;
    }
    for Compared { efforts, paired, unpaired } in compared {
        let Paired { items, first, second, difference, low, high, better, worse, p_value } = paired;
        let names = if efforts[0] == efforts[1] { efforts[0].clone() } else { efforts.join(" and ") };
        writeln!(
            out,
            "effort {names}: {first:.4} and {second:.4}, difference {difference:+.4} [{low:+.4}, {high:+.4}]\n  \
             {items} items: {better} better, {worse} worse (sign test: p = {p_value:.3}), {unpaired} not paired",
        )?;
    }
    Ok(())
}
