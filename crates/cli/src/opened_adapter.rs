//! `--adapter`: folders of adapters, held against the model that they are for.
//!
//! [`OpenedAdapter::open`] reads one and forgets its numbers, so that what does not fit is told before any
//! weight is read and its bytes are planned; [`OpenedAdapter::load`] reads it again and puts it beside the
//! weights. [`assign`] says which of several models an adapter of `serve` is for.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gptoss_checkpoint::{Adapter, Checkpoint, read_adapter};
use gptoss_model::{AdapterId, Model, ModelConfig, adapter_bytes};

use crate::failure::usage;

/// An adapter whose files fit its model.
#[derive(Debug, Clone)]
pub struct OpenedAdapter {
    /// The name for clients; empty where there are none.
    pub name: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// What it is known by.
    pub id: AdapterId,
    /// What it takes in memory. Units: bytes.
    pub bytes: u64,
}

impl OpenedAdapter {
    /// Reads an adapter for a model.
    ///
    /// Errors: what is wrong with its files, or does not fit the model.
    pub fn open(name: &str, folder: &Path, checkpoint: &Checkpoint) -> Result<OpenedAdapter> {
        let adapter = read(folder, checkpoint)?;
        if let Some(trained) = adapter.trained_for {
            writeln!(
                io::stderr(),
                "note: {} was trained with --qat: merged (`gptoss adapter merge --format {}`) it is the model that \
                 was trained, beside the weights it is near it",
                folder.display(),
                trained.format.name()
            )?;
        }
        let config = ModelConfig::from_checkpoint(checkpoint.config())?;
        Ok(OpenedAdapter {
            name: name.to_owned(),
            folder: folder.to_owned(),
            id: AdapterId::of(&adapter),
            bytes: adapter_bytes(&adapter, &config),
        })
    }

    /// Puts it beside a model's weights.
    ///
    /// Errors: its files are not what they were; it does not fit.
    pub fn load(&self, model: &Model, checkpoint: &Checkpoint) -> Result<()> {
        let cannot = || format!("cannot use the adapter in {}", self.folder.display());
        let id = model.load_adapter(read(&self.folder, checkpoint)?).with_context(cannot)?;
        let folder = self.folder.display();
        ensure!(id == self.id, "the adapter in {folder} has changed since it was looked at; start again");
        Ok(())
    }
}

/// Puts an adapter that was not planned for beside a model's weights.
///
/// Errors: what is wrong with its files, or does not fit the model.
pub fn load_new(folder: &Path, model: &Model, checkpoint: &Checkpoint) -> Result<AdapterId> {
    let loaded = model.load_adapter(read(folder, checkpoint)?);
    loaded.with_context(|| format!("cannot use the adapter in {}", folder.display()))
}

fn read(folder: &Path, checkpoint: &Checkpoint) -> Result<Adapter> {
    let read = read_adapter(folder, checkpoint, None);
    Ok(read.with_context(|| format!("cannot use the adapter in {}", folder.display()))?.adapter)
}

/// An adapter of `serve`, by its model's place.
#[derive(Debug, PartialEq, Eq)]
pub struct Assigned<'a> {
    /// Which of the models.
    pub model: usize,
    /// What clients call it, behind the model's name and a colon.
    pub name: &'a str,
    /// Where its files are.
    pub folder: &'a Path,
}

/// Reads `[MODEL:]NAME=DIR`. Names of models may have colons of their own.
///
/// Errors: a usage error for a text of another form, or one that does not say which of several models.
pub fn assign<'a>(text: &'a str, models: &[&str]) -> Result<Assigned<'a>> {
    let wrong = |why: &str| usage(format!("--adapter {text}: {why}\nwrite [MODEL:]NAME=DIR"));
    let (label, folder) = text.split_once('=').ok_or_else(|| wrong("there is no name and no `=`"))?;
    let of = |model: &&str| label.strip_prefix(*model)?.strip_prefix(':');
    let named = models.iter().enumerate().find_map(|(index, model)| Some((index, of(model)?)));
    let (model, name) = match (named, models.len()) {
        (Some(named), _) => named,
        (None, 1) => (0, label),
        (None, _) => return Err(wrong("there are several models, and it does not say for which it is")),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(wrong("a name has letters, digits and - _ ."));
    }
    if folder.is_empty() {
        return Err(wrong("it names no folder"));
    }
    Ok(Assigned { model, name, folder: Path::new(folder) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_of_the_one_model_or_of_one_that_it_names() {
        let check = |text, models: &[&str], model, name| {
            let assigned = assign(text, models).unwrap();
            assert_eq!(assigned, Assigned { model, name, folder: Path::new("a=b/c") }, "{text}");
        };
        check("sql=a=b/c", &["demo"], 0, "sql");
        check("demo:sql=a=b/c", &["demo"], 0, "sql");
        check("gpt-oss:20b:fr=a=b/c", &["demo", "gpt-oss:20b"], 1, "fr");
        for text in ["sql", "=dir", "a b=dir", "demo:=dir", "other:sql=dir", "sql="] {
            assert!(assign(text, &["demo"]).is_err(), "{text}");
        }
        assert!(assign("sql=dir", &["a", "b"]).unwrap_err().to_string().contains("several models"));
    }
}
