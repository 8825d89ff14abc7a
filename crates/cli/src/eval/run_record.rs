//! Which run a folder holds: everything that could change an answer or its score.
//!
//! It is written before the first question. A run that differs in anything is refused by the names of what
//! differs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::usage;
use crate::input;
use crate::output::Target;

/// Version of what a folder holds: another one is not gone on with.
const FORMAT_VERSION: u32 = 1;
/// Its name in the folder.
const FILE_NAME: &str = "run.json";

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of what the folder holds.
    pub gptoss_eval: u32,
    /// When it was begun. Units: seconds of Unix.
    started: i64,
    /// What it is, field by field.
    pub run: Map<String, Value>,
}

impl RunRecord {
    /// The run of a folder, which is begun where there is none.
    ///
    /// Errors: the folder holds another run or something else, or cannot be written.
    pub fn begin_or_resume(folder: &Path, run: Map<String, Value>) -> Result<RunRecord> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(FILE_NAME);
        if !file.exists() {
            refuse_strangers(folder)?;
            let record =
                RunRecord { gptoss_eval: FORMAT_VERSION, started: Timestamp::now().as_second(), run };
            Target::at(&file)?.write(|out| input::write_json_line(out, &serde_json::to_value(&record)?))?;
            return Ok(record);
        }
        let record = RunRecord::of(folder)?;
        let differing = differences(&record.run, &run);
        if differing.is_empty() {
            return Ok(record);
        }
        Err(usage(format!(
            "{} holds another run\n{}\ngive another --out, or remove that folder",
            folder.display(),
            differing.join("\n")
        )))
    }

    /// The names of the files that it reads.
    pub fn data(&self) -> String {
        let files = self.run.get("files").and_then(Value::as_array).into_iter().flatten();
        files.filter_map(|file| file["name"].as_str()).collect::<Vec<_>>().join(", ")
    }

    /// When it was begun, to the second.
    pub fn started(&self) -> Timestamp {
        Timestamp::from_second(self.started).unwrap_or_default()
    }

    /// The run that a folder holds.
    ///
    /// Errors: it holds none, or one of another version.
    pub fn of(folder: &Path) -> Result<RunRecord> {
        let file = folder.join(FILE_NAME);
        let record: RunRecord = input::read_json(input::Source::File(&file), "the record of an evaluation")?;
        if record.gptoss_eval != FORMAT_VERSION {
            bail!("{} is of another version of this program", file.display());
        }
        Ok(record)
    }
}

/// A folder with files in it is somebody's, unless a run is.
fn refuse_strangers(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = entries.filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    // What a kill left while the record was written begins with a dot.
    match names.find(|name| !name.to_string_lossy().starts_with('.')) {
        None => Ok(()),
        Some(name) => Err(usage(format!(
            "{} holds something else than an evaluation, {} for one\ngive another --out",
            folder.display(),
            name.display()
        ))),
    }
}

/// What two runs differ in, a line each.
pub fn differences(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let told = |run: &Map<String, Value>, name: &str| run.get(name).unwrap_or(&Value::Null).clone();
    let mut names: Vec<&String> =
        old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
    names.retain(|name| told(old, name) != told(new, name));
    let line = |name: &String| format!("{name}: {} there, {} now", told(old, name), told(new, name));
    names.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(model: &str) -> Map<String, Value> {
        Map::from_iter([("task".to_owned(), json!("gsm8k")), ("model".to_owned(), json!(model))])
    }

    #[test]
    fn a_folder_holds_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let begin =
            |name: &str, model: &str| RunRecord::begin_or_resume(&folder.path().join(name), run(model));
        let begun = begin("a/b", "m").unwrap();
        assert_eq!(begin("a/b", "m").unwrap().started, begun.started);
        let words = begin("a/b", "n").unwrap_err().to_string();
        assert!(words.contains("model: \"m\" there, \"n\" now") && !words.contains("task"), "{words}");
        std::fs::create_dir(folder.path().join("c")).unwrap();
        std::fs::write(folder.path().join("c/notes"), "mine").unwrap();
        let words = begin("c", "m").unwrap_err().to_string();
        assert!(words.contains("something else") && words.contains("notes"), "{words}");
        std::fs::write(folder.path().join("a/b/run.json"), "{}").unwrap();
        assert!(begin("a/b", "m").is_err());
    }
}
