//! Where things lie in the folder of a run.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// The effort of a run that asks for none.
pub const NO_EFFORT: &str = "default";

/// The answers at an effort.
pub fn journal_path(folder: &Path, effort: &str) -> PathBuf {
    folder.join(format!("samples-{effort}.jsonl"))
}

/// The efforts of a run, as its files are named.
pub fn effort_names(run: &Map<String, Value>) -> Vec<String> {
    let names = run.get("effort").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match names {
        [] => vec![NO_EFFORT.to_owned()],
        names => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}
