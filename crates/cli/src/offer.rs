//! A model that was not fetched yet, and the question whether to.
//!
//! [`opened`] opens a `--model` value. When it names a repository that is not in the cache and somebody sits
//! at a terminal, they are asked; anywhere else the error says the command.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use crate::args::PullArgs;
use crate::hub;
use crate::model_source::{ModelSource, Opened};
use crate::pull;

/// Opens a model, fetched before if its user says so.
///
/// Errors: those of [`Opened::open`] and of the pull.
pub fn opened(text: &str) -> Result<Opened> {
    let source = ModelSource::parse(text)?;
    if let ModelSource::Repository { name, revision, quantization } = &source
        && !hub::is_pulled(name, revision)?
        && io::stdin().is_terminal()
        && io::stderr().is_terminal()
    {
        let size = hub::released_size(name).map_or(String::new(), |size| format!(" ({size})"));
        if agrees(&format!("{name} is not here yet. Fetch it{size} from the Hugging Face hub?"))? {
            pull::run(&PullArgs {
                repository: match quantization {
                    Some(quantization) => format!("{name}:{quantization}"),
                    None => name.clone(),
                },
                revision: revision.clone(),
                include: Vec::new(),
            })?;
        }
    }
    Opened::open(source)
}

/// Asks a question on the terminal; anything but yes is no.
pub fn agrees(question: &str) -> io::Result<bool> {
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
