//! Folders of weights in the making: which tensor goes into which file, and the index over them.
//!
//! [`write_checkpoint`] writes a Hugging Face folder whose tensors somebody else makes, one after the other:
//! nothing is held but what is being made. The folder has its name only when it is told so.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::config_json::ConfigForm;
use crate::error::Error;
use crate::names;
use crate::part::{ExpertFormat, Part};
use crate::shards::{INDEX_FILE, SINGLE_FILE};
use crate::write::{Outline, Partial, check_space, write_file};

/// Bytes of tensors in one file of the Hugging Face layouts, as published.
pub(crate) const HF_SHARD_BYTES: usize = 5_000_000_000;

/// One tensor of a folder to be.
#[derive(Clone, Debug)]
pub(crate) struct Planned<T> {
    pub(crate) outline: Outline,
    /// What it is made of.
    pub(crate) content: T,
}

/// A whole checkpoint under another name, removed unless it is finished.
#[derive(Debug)]
pub struct UnfinishedFolder(Partial);

impl UnfinishedFolder {
    /// Where it is until then; it can be opened there.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives it its name.
    ///
    /// Errors: [`Error::Io`], and [`Error::TargetExists`] when somebody was faster.
    pub fn finish(self) -> Result<(), Error> {
        self.0.finish()
    }
}

/// Writes a checkpoint in the Hugging Face layout: `body` is called once for each part, in the order of the
/// published files, and must write exactly its bytes, in its [`part_dtype`](crate::part_dtype). `beside` are
/// small files that go with it, by name.
///
/// Errors: [`Error::TargetExists`], [`Error::DiskFull`], [`Error::Io`]. After an error nothing is left.
pub fn write_checkpoint(
    folder: &Path,
    config: &Config,
    experts: ExpertFormat,
    beside: &[(String, Vec<u8>)],
    body: &mut dyn FnMut(Part, &mut dyn Write) -> io::Result<()>,
) -> Result<UnfinishedFolder, Error> {
    let planned: Vec<Planned<Part>> = names::parts(config, experts)
        .into_iter()
        .map(|part| {
            let (name, shape) = (names::hugging_face(config, part), names::shape(config, part));
            Planned { outline: Outline { name, dtype: names::dtype(part), shape }, content: part }
        })
        .collect();
    check_space(folder, planned.iter().map(|tensor| tensor.outline.num_bytes() as u64).sum())?;
    let is_beside = |name: &str| beside.iter().any(|(known, _)| known == name);
    let partial = Partial::folder(folder, |name| is_written_here(name) || is_beside(name))?;
    write_text(&partial.path().join("config.json"), &config.to_json(ConfigForm::HuggingFace(experts)))?;
    write_text(&partial.path().join("generation_config.json"), &config.generation_json())?;
    for (name, bytes) in beside {
        let path = partial.path().join(name);
        fs::write(&path, bytes).map_err(Error::io(&path, "write the file"))?;
    }
    let shards = shard(planned, shard_name, HF_SHARD_BYTES);
    write_shards(partial.path(), &shards, &mut |part, sink| body(*part, sink))?;
    Ok(UnfinishedFolder(partial))
}

/// Writes the files of weights, and their index where there are several.
pub(crate) fn write_shards<T>(
    folder: &Path,
    shards: &[(String, Vec<Planned<T>>)],
    body: &mut dyn FnMut(&T, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    for (name, tensors) in shards {
        let outlines: Vec<Outline> = tensors.iter().map(|tensor| tensor.outline.clone()).collect();
        write_file(&folder.join(name), &outlines, &mut |index, sink| body(&tensors[index].content, sink))?;
    }
    if shards.len() > 1 { write_index(shards, folder) } else { Ok(()) }
}

/// Groups tensors into files of a name each; a tensor above the limit gets a file of its own.
pub(crate) fn shard<T>(
    planned: Vec<Planned<T>>,
    name: impl Fn(usize, usize) -> String,
    limit: usize,
) -> Vec<(String, Vec<Planned<T>>)> {
    let mut groups: Vec<Vec<Planned<T>>> = Vec::new();
    let mut filled = usize::MAX;
    for tensor in planned {
        let num_bytes = tensor.outline.num_bytes();
        if filled.saturating_add(num_bytes) > limit {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += num_bytes;
        if let Some(group) = groups.last_mut() {
            group.push(tensor);
        }
    }
    let count = groups.len();
    groups.into_iter().enumerate().map(|(index, group)| (name(index, count), group)).collect()
}

/// The published convention: zero-based, with "of" one less than the count.
pub(crate) fn shard_name(index: usize, count: usize) -> String {
    match count {
        1 => SINGLE_FILE.to_string(),
        _ => format!("model-{index:05}-of-{:05}.safetensors", count - 1),
    }
}

/// Whether a file of this name can be a leftover of an interrupted run.
pub(crate) fn is_written_here(name: &str) -> bool {
    let known = ["config.json", "generation_config.json", "dtypes.json", INDEX_FILE];
    known.contains(&name) || (name.starts_with("model") && name.ends_with(".safetensors"))
}

fn write_index<T>(shards: &[(String, Vec<Planned<T>>)], folder: &Path) -> Result<(), Error> {
    let (mut weight_map, mut total) = (Map::new(), 0);
    for (file, tensors) in shards {
        for tensor in tensors {
            weight_map.insert(tensor.outline.name.clone(), Value::from(file.as_str()));
            total += tensor.outline.num_bytes();
        }
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
    write_text(&folder.join(INDEX_FILE), &format!("{index:#}\n"))
}

pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(path, "write the file"))
}
