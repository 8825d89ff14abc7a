//! `gptoss synth`: a checkpoint of a known shape, with random weights, on disk.
//!
//! For trying things at full size without a download: loading, memory, speed, the layouts. The same preset,
//! seed and layout give the same bytes. The weights are checkpoint's business; here are the command line, the
//! progress bar, a note in the folder that says what is in it and, for `tiny` in a Hugging Face layout, the
//! tokenizer of its truncated vocabulary, so that text works with it too.

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use gptoss_checkpoint::{Preset, SynthRequest, WriteLayout, write_synthetic};

use crate::args::{LayoutArg, SynthArgs};
use crate::failure::usage;
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::memory_budget::human;
use crate::model_source::{RANDOM_WEIGHTS_FILE, tiny_vocab};
use crate::output::Target;
use crate::progress::{Progress, Unit};

/// Runs the command.
pub fn run(args: &SynthArgs) -> Result<ExitCode> {
    let preset = Preset::from_str(&args.preset).map_err(|error| usage(error.to_string()))?;
    let layout = match args.layout {
        LayoutArg::Hf => WriteLayout::Hf,
        LayoutArg::Original => WriteLayout::Original,
        LayoutArg::Bf16 => WriteLayout::Bf16,
    };
    let request = SynthRequest {
        preset,
        seed: args.seed,
        layers: args.layers.map(|layers| layers as usize),
        layout,
        folder: args.folder.clone(),
    };
    let was_there = args.folder.is_dir();
    let interrupt = Interrupt::install(SecondPress::Waits)?;
    let Some(total_bytes) = interrupt.stoppable(|cancel| write(&request, cancel))? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    or_nothing(&args.folder, was_there, || {
        let note = format!(
            "Random weights of the shape {preset}, seed {}, by `gptoss synth`: not a model.\n",
            args.seed
        );
        Target::at(&args.folder.join(RANDOM_WEIGHTS_FILE))?
            .write(|out| Ok(out.write_all(note.as_bytes())?))?;
        if preset == Preset::Tiny && layout != WriteLayout::Original {
            let tokenizer = tiny_vocab().to_tokenizer_json();
            let file = args.folder.join("tokenizer.json");
            Target::at(&file)?.write(|out| Ok(out.write_all(&tokenizer)?))?;
        }
        Ok(())
    })?;
    let size = human(total_bytes);
    writeln!(
        io::stdout(),
        "{}: random weights of {preset}, seed {}, {size}",
        args.folder.display(),
        args.seed
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What unwinds from the middle of a file when Ctrl-C was pressed, so that the writer removes what it has
/// begun.
struct Stopped;

/// Writes the weights and gives their bytes; `None` when Ctrl-C stopped it, and then nothing is left.
fn write(request: &SynthRequest, cancel: &AtomicBool) -> Result<Option<u64>> {
    let mut progress = Progress::new(format!("writing {}", request.folder.display()), Unit::Bytes);
    let mut total_bytes = 0;
    let written = catch_unwind(AssertUnwindSafe(|| {
        write_synthetic(request, &mut |done, total| {
            if cancel.load(Ordering::SeqCst) {
                resume_unwind(Box::new(Stopped));
            }
            total_bytes = total;
            progress.set(done, total);
        })
    }));
    match written {
        Ok(written) => written.map(|()| Some(total_bytes)).map_err(Into::into),
        Err(payload) if payload.is::<Stopped>() => Ok(None),
        Err(payload) => resume_unwind(payload),
    }
}

/// Puts the last file into a folder that this run has filled; without it the others are of no use and go as
/// well, and so does the folder unless it was there before.
fn or_nothing(folder: &Path, was_there: bool, add: impl FnOnce() -> Result<()>) -> Result<()> {
    add().inspect_err(|_| {
        // The error that is reported says why; a file that will not go says nothing better.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        if !was_there {
            let _ = fs::remove_dir(folder);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_its_last_file_is_emptied() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tiny");
        for was_there in [true, false] {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("model.safetensors"), "weights").unwrap();
            or_nothing(&folder, was_there, || Ok(())).unwrap();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
            let failed = or_nothing(&folder, was_there, || anyhow::bail!("the disk is full"));
            assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
            let left = fs::read_dir(&folder).map(Iterator::count).ok();
            assert_eq!(left, was_there.then_some(0));
        }
    }
}
