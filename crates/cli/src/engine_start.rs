//! How is the engine started: how many conversations at a time, with how much memory, and what outlives it on disk?
//!
//! [`EngineArgs`] are the flags that every command with an engine shares; [`start`] plans the memory of keys and values from them, shows
//! the plan when somebody asked for one, and gives the engine its thread, with a watchdog beside it. The engine ends when the last handle
//! is gone.
//!
//! It does not know what is asked of the engine.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use gptoss_engine::{Engine, EngineHandle, EngineOptions, KvPlan, PrefixDisk, watch};
use gptoss_model::Model;

use crate::args::ComputeArgs;
use crate::failure::usage;
use crate::memory_budget::MemorySize;
use crate::model_source::{ModelSource, Opened, dense};

/// How long a step may take before everybody is told that the engine stands still: a chunk of a large model on a slow disk takes minutes.
const STALL_PATIENCE: Duration = Duration::from_secs(900);
/// Bytes of kept prompts on disk, unless the flag says otherwise.
const KV_DISK_BYTES_DEFAULT: u64 = 20_000_000_000;
const GIGABYTE: f64 = 1e9;

/// Flags of the engine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Conversations that are computed at a time [default: 1 at a terminal, 32 when serving]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_sequences: Option<u16>,
    /// Memory for keys and values, such as 4GiB [default: the whole context once, and 4096 tokens for each further conversation]
    #[arg(long, value_name = "SIZE", value_parser = MemorySize::from_str)]
    pub kv_memory: Option<MemorySize>,
    /// Keep prompts that were computed in this folder, so that they come back after a restart
    #[arg(long, value_name = "DIR")]
    pub kv_disk: Option<PathBuf>,
    /// How much that folder may hold, such as 50GB [default: 20GB]
    #[arg(long, value_name = "SIZE", value_parser = MemorySize::from_str, requires = "kv_disk")]
    pub kv_disk_size: Option<MemorySize>,
}

/// An engine on its thread. Dropped, it ends after what runs, and what it still has to write is written.
pub struct RunningEngine {
    /// The way to it.
    pub handle: EngineHandle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for RunningEngine {
    fn drop(&mut self) {
        self.handle.drain();
        if let Some(thread) = self.thread.take() {
            // A panic of the engine was told to everybody whose request it was.
            let _ = thread.join();
        }
    }
}

/// Plans memory, shows the plan when a flag asks for one, and starts the engine's thread.
///
/// Errors: a usage error when the memory does not hold one context; what is wrong with the folder.
pub fn start(
    model: Arc<Model>,
    opened: &Opened,
    context: usize,
    compute: &ComputeArgs,
    args: &EngineArgs,
    default_sequences: usize,
) -> Result<RunningEngine> {
    let options = EngineOptions {
        max_sequences: args.max_sequences.map_or(default_sequences, usize::from),
        kv_bytes: args.kv_memory.map(|size| size.bytes),
        ..EngineOptions::new(context)
    };
    // Everything that changes the bits of keys and values.
    let numbers = (model.precision(), model.kv_format(), dense(compute.dense, compute.precision)?);
    let mut engine = Engine::with_options(model, options).map_err(|error| usage(error.to_string()))?;
    if args.kv_memory.is_some() || args.max_sequences.is_some() {
        io::stderr().write_all(describe(engine.kv_plan()).as_bytes())?;
    }
    if let Some(folder) = &args.kv_disk {
        let bytes = args.kv_disk_size.map_or(KV_DISK_BYTES_DEFAULT, |size| size.bytes);
        let identity = format!("{} {numbers:?}", identity(opened)?);
        let disk = PrefixDisk::open(folder, &identity, bytes)
            .with_context(|| format!("cannot keep prompts in {}", folder.display()))?;
        engine = engine.with_disk(disk);
    }
    let (handle, thread) = engine.spawn().context("cannot start the engine's thread")?;
    let stalled = |ended: usize| {
        // Nobody is left to be told when this cannot be written.
        let _ = writeln!(io::stderr(), "error: the engine stands still; {ended} requests were ended");
    };
    watch(&handle, STALL_PATIENCE, stalled).context("cannot start the engine's watchdog")?;
    Ok(RunningEngine { handle, thread: Some(thread) })
}

/// The plan as lines.
pub fn describe(plan: &KvPlan) -> String {
    let mut text = String::from("memory for keys and values:\n");
    for term in &plan.terms {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:>7.3} GB  {}", term.bytes as f64 / GIGABYTE, term.name);
    }
    text
}

/// What changes whenever the weights or the arithmetic do: the files' names, lengths and times, and the program's own, which holds the
/// demo too.
fn identity(opened: &Opened) -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut identity =
        format!("{} {:?} {}", opened.source.name(), opened.checkpoint.config(), stamp(&program)?);
    let path = match &opened.source {
        ModelSource::Synthetic(..) | ModelSource::Demo => return Ok(identity),
        ModelSource::Gguf(file) => file.clone(),
        ModelSource::Folder(folder) => folder.clone(),
        ModelSource::Repository(..) => opened.folder().map(Path::to_owned).unwrap_or_default(),
    };
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort();
    }
    for file in files {
        let _ = write!(identity, " {}", stamp(&file)?);
    }
    Ok(identity)
}

fn stamp(file: &Path) -> Result<String> {
    let meta = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{} {} {:?}", file.display(), meta.len(), changed))
}
