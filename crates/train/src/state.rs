//! The state of a run on disk, from which it goes on to the same bytes.
//!
//! A folder `step-N` holds `state.safetensors` (what is trained, and both moments, in f32) and `state.json`
//! (the step, and whose run it is). It is written beside its name and renamed, so that there is never half of
//! one; the last two are kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use gptoss_checkpoint::{Dtype, Outline, SafetensorsFile, write_safetensors};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::trainer::Trainer;

/// States that are kept.
const STATES_KEPT: usize = 2;
/// What the layout of these files is called; a newer one is not read.
const VERSION: u64 = 1;
/// The name of the numbers' file.
const NUMBERS: &str = "state.safetensors";
/// The name of the file that says whose they are.
const RECORD: &str = "state.json";

/// Whose run it is: what must be equal for a run to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct RunIdentity {
    /// Checksum of the texts.
    pub data: String,
    /// Checksum of the base's weights.
    pub base: String,
    /// Everything else that decides the numbers, by name.
    pub recipe: Map<String, Value>,
}

impl RunIdentity {
    fn to_json(&self, step: u64) -> Value {
        json!({
            "version": VERSION,
            "step": step,
            "data": self.data,
            "base": self.base,
            "recipe": self.recipe,
        })
    }

    fn same(&self, saved: &Value, path: &Path) -> Result<(), Error> {
        let other = |what, difference| Err(Error::OtherRun { path: path.to_path_buf(), what, difference });
        let text = |value: Option<&Value>| value.map_or("nothing".to_string(), Value::to_string);
        let checksums = [("data", &self.data), ("base", &self.base)];
        for (what, mine) in checksums {
            if saved[what].as_str() != Some(mine) {
                return other(what, format!("its checksum was {}, now it is \"{mine}\"", saved[what]));
            }
        }
        let none = Map::new();
        let recipe = saved["recipe"].as_object().unwrap_or(&none);
        let names = self.recipe.keys().chain(recipe.keys());
        match names.into_iter().find(|name| self.recipe.get(*name) != recipe.get(*name)) {
            None => Ok(()),
            Some(name) => {
                let (then, now) = (text(recipe.get(name)), text(self.recipe.get(name)));
                other("recipe", format!("{name} was {then}, now it is {now}"))
            }
        }
    }
}

impl Trainer<'_> {
    /// Saves the state under `folder`, and removes what is older than the last two.
    ///
    /// Errors: the disk's.
    pub fn save(&self, folder: &Path, run: &RunIdentity) -> Result<(), Error> {
        let step = self.steps();
        let (target, partial) = (folder.join(name(step)), folder.join(format!("{}.partial", name(step))));
        fs::create_dir_all(folder).map_err(io(folder, "make the folder"))?;
        for leftover in [&partial, &target] {
            remove(leftover)?;
        }
        fs::create_dir(&partial).map_err(io(&partial, "make the folder"))?;
        let (first, second, _) = self.optimizer.state();
        let tensors = [("p", self.trained.values()), ("m", first), ("v", second)].map(|(name, values)| {
            let outline = Outline { name: name.to_string(), dtype: Dtype::F32, shape: vec![values.len()] };
            (outline, bytemuck::cast_slice::<f32, u8>(values))
        });
        let file = partial.join(NUMBERS);
        write_safetensors(&file, &tensors, &mut |_, _| {})?;
        File::open(&file).and_then(|file| file.sync_all()).map_err(io(&file, "write the file"))?;
        let file = partial.join(RECORD);
        let record = format!("{:#}\n", run.to_json(step));
        let write = |mut to: File| to.write_all(record.as_bytes()).and_then(|()| to.sync_all());
        File::create(&file).and_then(write).map_err(io(&file, "write the file"))?;
        fs::rename(&partial, &target).map_err(io(&target, "move the state into place"))?;
        let states = states(folder)?;
        states.iter().rev().skip(STATES_KEPT).try_for_each(|(_, old)| remove(old))
    }

    /// Goes on from the newest state under `folder` that can be read; false when there is none.
    ///
    /// Errors: [`Error::OtherRun`], and [`Error::BadState`] when there are states and none can be read.
    pub fn restore(&mut self, folder: &Path, run: &RunIdentity) -> Result<bool, Error> {
        let mut problem = None;
        for (_, state) in states(folder)?.iter().rev() {
            match self.restore_from(state, run) {
                Ok(()) => return Ok(true),
                Err(error @ Error::OtherRun { .. }) => return Err(error),
                // A machine that stopped can leave a file that was never written out; the one before it is
                // whole then. The first problem is told.
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        problem.map_or(Ok(false), Err)
    }

    fn restore_from(&mut self, state: &Path, run: &RunIdentity) -> Result<(), Error> {
        let path = state.join(RECORD);
        let bad = |path: &Path, problem: String| Error::BadState { path: path.to_path_buf(), problem };
        let bytes = fs::read(&path).map_err(io(&path, "read the file"))?;
        let record: Value =
            serde_json::from_slice(&bytes).map_err(|error| bad(&path, format!("it is not JSON: {error}")))?;
        if record["version"] != VERSION {
            let problem = format!("its version is {}, and this program writes {VERSION}", record["version"]);
            return Err(bad(&path, problem));
        }
        run.same(&record, &path)?;
        let step = record["step"].as_u64().and_then(|step| u32::try_from(step).ok());
        let step = step.ok_or_else(|| bad(&path, format!("its step is {}", record["step"])))?;
        let path = state.join(NUMBERS);
        let file = SafetensorsFile::open(&path)?;
        let numbers = |name: &str| -> Result<Vec<f32>, Error> {
            let values = file.tensor(name)?.f32()?.to_vec();
            let (found, needed) = (values.len(), self.trained.len());
            let fits = found == needed;
            fits.then_some(values)
                .ok_or_else(|| bad(&path, format!("{name} has {found} numbers, not {needed}")))
        };
        let (values, first, second) = (numbers("p")?, numbers("m")?, numbers("v")?);
        self.trained.restore(values);
        self.optimizer.restore(first, second, step);
        Ok(())
    }
}

/// Whether there is a state of a run under `folder`.
///
/// Errors: the folder cannot be read.
pub fn has_state(folder: &Path) -> Result<bool, Error> {
    Ok(!states(folder)?.is_empty())
}

/// The whole states, oldest first.
fn states(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder, "list the folder"))? {
        let path = entry.map_err(io(folder, "list the folder"))?.path();
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(step) = file_name.strip_prefix("step-").and_then(|step| step.parse().ok()) {
            found.push((step, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn name(step: u64) -> String {
    format!("step-{step:08}")
}

fn remove(path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(io(path, "remove the folder"))?;
    }
    Ok(())
}

fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, action, source }
}
