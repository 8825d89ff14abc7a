//! A benchmark's questions, out of the files that the user brings.

use std::path::Path;

use anyhow::{Context, Result};
use gptoss_eval::{Recipe, Row, Suite, SuiteOptions, Task, rows};
use serde_json::{Value, json};

use super::digest::sha256;
use super::score::Asked;
use crate::args::EvalRunArgs;
use crate::failure::usage;

/// A benchmark's questions, and what they are made of.
pub struct Questions {
    /// The questions.
    pub suite: Suite,
    /// The files: each one's name and the hash of what is in it.
    pub files: Value,
}

/// Reads the files and makes the questions.
///
/// Errors: a task or a recipe that is not there, a file that cannot be read, a row that lacks what it needs.
pub fn questions(args: &EvalRunArgs) -> Result<Questions> {
    let name = args.task.as_deref().ok_or_else(|| usage("which task?\nsee gptoss eval --help"))?;
    let asked = Asked::read(name)?;
    if args.data.is_empty() {
        return Err(usage(format!(
            "{name} needs its rows: give --data FILE\nnothing is downloaded; the file is yours"
        )));
    }
    let recipe: Recipe = args.recipe.parse().map_err(|error: gptoss_eval::Error| usage(error.to_string()))?;
    let task = match &asked {
        Asked::Named(task) => *task,
        Asked::Own(_) => Task::Own,
    };
    let mut files = Files::default();
    if task == Task::Own {
        files.take(Path::new(name))?;
    }
    let mut all = Vec::new();
    for path in &args.data {
        all.append(&mut files.rows(path)?);
    }
    let shots = args.shots.as_deref().map(|path| files.rows(path)).transpose()?;
    let grader_prompt = args.grader.grader_prompt.as_deref().map(|path| files.take(path)).transpose()?;
    let grader_prompt = grader_prompt.map(String::from_utf8).transpose();
    let options = SuiteOptions {
        recipe,
        repeats: args.repeats.or(recipe.reference(task).map(|reference| reference.repeats)).unwrap_or(1),
        limit: args.limit.map(|limit| limit as usize),
        shots: shots.unwrap_or_default(),
        grader_prompt: grader_prompt.context("the grader's prompt is not UTF-8")?,
        ..SuiteOptions::default()
    };
    let suite = asked.suite(all, &options).context("cannot take the data")?;
    Ok(Questions { suite, files: Value::Array(files.0) })
}

/// Files that were read.
#[derive(Default)]
struct Files(Vec<Value>);

impl Files {
    fn take(&mut self, path: &Path) -> Result<Vec<u8>> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        self.0.push(json!({"name": name, "sha256": sha256(&bytes)}));
        Ok(bytes)
    }

    fn rows(&mut self, path: &Path) -> Result<Vec<Row>> {
        rows(&self.take(path)?).with_context(|| format!("cannot take {}", path.display()))
    }
}
