//! `gptoss show`: what `inspect` says of a model, and before it where it lies, its files and its license.
//!
//! `gpt-oss-20b` is the model that was pulled, where `inspect` means the shape of that name.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use gptoss_checkpoint::WeightFile;
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::hub;
use crate::inspect::{self, Report};
use crate::memory_budget::human;
use crate::model_source::{ModelSource, Opened};
use crate::terminal;

/// The license that OpenAI published its models under.
const RELEASED_LICENSE: &str = "Apache-2.0, with OpenAI's usage policy";

/// Runs the command.
pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let opened = Opened::open(ModelSource::parse(inspect::name(args))?)?;
    let report = Report::new(&opened, args)?;
    let files = opened.checkpoint.files();
    let license = license(&opened);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        let mut object = report.to_json();
        object["place"] = json!(opened.checkpoint.place());
        object["license"] = json!(license);
        object["files"] = files.iter().map(file_json).collect();
        writeln!(out, "{object:#}")?;
    } else {
        let line = |text: String| terminal::safe(&text);
        writeln!(out, "{}", line(format!("place         {}", opened.checkpoint.place().display())))?;
        writeln!(
            out,
            "{}",
            line(format!("license       {}", license.as_deref().unwrap_or("its files do not say")))
        )?;
        for file in &files {
            let (name, size) = (file_name(&file.path), human(file.num_bytes));
            writeln!(out, "{}", line(format!("file          {name}, {size}, {} tensors", file.num_tensors)))?;
        }
        writeln!(out)?;
        report.write_text(&mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn license(opened: &Opened) -> Option<String> {
    let said = opened.checkpoint.gguf_license().map(str::to_owned);
    said.or_else(|| match &opened.source {
        ModelSource::Demo => Some("Apache-2.0, as this program".to_owned()),
        ModelSource::Repository { name, .. } if hub::released_size(name).is_some() => {
            Some(RELEASED_LICENSE.to_owned())
        }
        ModelSource::Repository { name, .. } => Some(format!("see https://huggingface.co/{name}")),
        _ => None,
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn file_json(file: &WeightFile) -> Value {
    json!({"name": file_name(&file.path), "bytes": file.num_bytes, "tensors": file.num_tensors})
}
