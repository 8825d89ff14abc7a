//! `gptoss synth`: a checkpoint of a known shape, with random weights, on disk.
//!
//! For trying things at full size without a download: loading, memory, speed, the layouts. The same preset, seed and layout give the same
//! bytes. The weights are checkpoint's business; here is the command line, the progress bar and, for `tiny` in a Hugging Face layout,
//! the tokenizer of its truncated vocabulary, so that text works with it too.

use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Result;
use gptoss_checkpoint::{Preset, SynthRequest, WriteLayout, write_synthetic};

use crate::args::{LayoutArg, SynthArgs};
use crate::failure::usage;
use crate::model_source::tiny_vocab;
use crate::output;
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
    let mut progress = Progress::new(format!("writing {}", args.folder.display()), Unit::Bytes);
    let mut total_bytes = 0;
    write_synthetic(&request, &mut |done, total| {
        total_bytes = total;
        progress.set(done, total);
    })?;
    progress.clear();
    if preset == Preset::Tiny && layout != WriteLayout::Original {
        let tokenizer = tiny_vocab().to_tokenizer_json();
        output::write_atomically(&args.folder.join("tokenizer.json"), |out| Ok(out.write_all(&tokenizer)?))?;
    }
    let gigabytes = total_bytes as f64 / 1e9;
    writeln!(io::stdout(), "{}: {preset}, seed {}, {gigabytes:.3} GB", args.folder.display(), args.seed)?;
    Ok(ExitCode::SUCCESS)
}
