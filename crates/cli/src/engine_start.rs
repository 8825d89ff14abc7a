//! Starting the engine: how many conversations at a time, with how much memory, and what outlives it on disk.
//!
//! [`plan_kv`] says what memory keys and values will take, so that the weights can be planned around it, and
//! [`start`] gives the engine its thread, with a watchdog beside it; with [`start_lasting`] it outlives the
//! loss of its card. The engine ends when the [`RunningEngine`] is dropped.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use gptoss_engine::{Engine, EngineHandle, EngineOptions, Failure, KvEventSender, KvPlan, PrefixDisk, watch};
use gptoss_gpu::Device;
use gptoss_gpu::prove::class_of;
use gptoss_model::{CHUNK_TOKENS_MAX, Model, ModelConfig};

use crate::args::{ComputeArgs, DeviceArg, EngineArgs};
use crate::failure::usage;
use crate::memory_budget::human;
use crate::model_source::{Opened, dense, kv_format};

/// How long a step may take before everybody is told that the engine stands still: a chunk of a large model
/// on a slow disk takes minutes.
const STALL_PATIENCE: Duration = Duration::from_secs(900);
/// How long a card that could not be opened again is left alone before the next try: a driver that resets one
/// takes seconds.
const REMAKE_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of kept prompts on disk, unless the flag says otherwise.
pub const KV_DISK_BYTES_DEFAULT: u64 = 20_000_000_000;

impl EngineArgs {
    /// The flags for a command that runs so many sequences at a time by default, with contexts of so many
    /// tokens.
    pub fn options(&self, context: usize, default_sequences: usize) -> EngineOptions {
        EngineOptions {
            max_sequences: self.max_sequences.map_or(default_sequences, usize::from),
            kv_bytes: self.kv_memory,
            ..EngineOptions::new(context)
        }
    }

    /// Errors: a usage error for a flag that means nothing without another. Clap would not count another that
    /// comes from the settings.
    pub fn check(&self) -> Result<()> {
        match (&self.kv_disk, self.kv_disk_size) {
            (None, Some(_)) => Err(usage(
                "--kv-disk-size says how much a folder may hold, and there is none\ngive --kv-disk DIR too",
            )),
            _ => Ok(()),
        }
    }

    /// Whether a flag asks for a plan of its own, which is then shown.
    pub fn plans_memory(&self) -> bool {
        self.kv_memory.is_some() || self.max_sequences.is_some()
    }
}

/// The memory of keys and values that an engine will take, before any weight is read.
///
/// Errors: a usage error when the memory does not hold one context.
pub fn plan_kv(opened: &Opened, compute: &ComputeArgs, options: &EngineOptions) -> Result<KvPlan> {
    let config = ModelConfig::from_checkpoint(opened.checkpoint.config())?;
    let plan = KvPlan::new(&config, kv_format(compute), CHUNK_TOKENS_MAX, options);
    plan.map_err(|error| usage(error.to_string()))
}

/// The class of devices whose arithmetic a model's numbers are; empty for the processor, where every machine
/// gives the same.
///
/// Errors: a device that does not pass its probes.
pub fn device_class(model: &Model) -> Result<String> {
    let class = model.device().map(class_of).transpose()?;
    Ok(class.map_or(String::new(), |class| class.to_string()))
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

/// Starts the engine's thread, with the folder of kept prompts if a flag names one.
///
/// Errors: a usage error when the memory does not hold one context; what is wrong with the folder.
pub fn start(
    model: Arc<Model>,
    opened: &Opened,
    compute: &ComputeArgs,
    args: &EngineArgs,
    options: EngineOptions,
) -> Result<RunningEngine> {
    let engine = engine(model, opened, compute, args, options)?;
    running(engine.spawn().context("cannot start the engine's thread")?)
}

/// As [`start`], with somebody who is told of kept blocks, if there is one; a model on a card is opened and
/// loaded again when the card was lost, which is said.
///
/// Errors: as [`start`].
pub fn start_lasting(
    model: Arc<Model>,
    opened: &Opened,
    compute: &ComputeArgs,
    args: &EngineArgs,
    options: EngineOptions,
    events: Option<KvEventSender>,
) -> Result<RunningEngine> {
    let telling = |engine: Engine, events: Option<KvEventSender>| match events {
        Some(events) => engine.with_kv_events(events),
        None => engine,
    };
    let Some(card) = model.device().map(|device| device.description().clone()) else {
        let engine = telling(engine(model, opened, compute, args, options)?, events);
        return running(engine.spawn().context("cannot start the engine's thread")?);
    };
    let class = device_class(&model)?;
    let engine = telling(engine(model, opened, compute, args, options)?, events.clone());
    let (source, args) = (opened.source.clone(), args.clone());
    // With `auto` another card or the processor would do, and neither is what was planned for.
    let device = DeviceArg::Card(card.choice());
    let compute = ComputeArgs { device, ..compute.clone() };
    let again = move || {
        let opened = Opened::open(source.clone())?;
        let devices = Device::list(card.way()).context("cannot compute on the device")?;
        let is_there = devices.iter().any(|found| found.index == card.index && found.name == card.name);
        ensure!(is_there, "{} is not there", card.name);
        let kv = plan_kv(&opened, &compute, &options)?;
        let model = opened.load(&compute, options.max_context, Some(&kv))?;
        // Another driver may have come with the reset.
        ensure!(device_class(&model)? == class, "{} is not of class {class} any more", card.name);
        let engine = self::engine(Arc::new(model), &opened, &compute, &args, options)?;
        Ok(telling(engine, events.clone()))
    };
    let remake = move |lost: &Failure| {
        // Nobody is left to be told when these cannot be written.
        let _ = writeln!(io::stderr(), "error: {lost}\nevery request was ended; the model is loaded again");
        let made = again().map_err(|error| format!("{error:#}"));
        let _ = match &made {
            Ok(_) => writeln!(io::stderr(), "the model is back"),
            Err(words) => writeln!(io::stderr(), "error: the model is not back: {words}"),
        };
        made
    };
    running(engine.spawn_remade(REMAKE_PAUSE, Box::new(remake)).context("cannot start the engine's thread")?)
}

fn engine(
    model: Arc<Model>,
    opened: &Opened,
    compute: &ComputeArgs,
    args: &EngineArgs,
    options: EngineOptions,
) -> Result<Engine> {
    // Everything that changes the bits of keys and values.
    let device = device_class(&model)?;
    let numbers = (model.precision(), model.kv_format(), dense(compute.dense, compute.precision)?, device);
    let mut engine = Engine::with_options(model, options).map_err(|error| usage(error.to_string()))?;
    if let Some(folder) = &args.kv_disk {
        let bytes = args.kv_disk_size.unwrap_or(KV_DISK_BYTES_DEFAULT);
        let identity = format!("{} {numbers:?}", identity(opened)?);
        let disk = PrefixDisk::open(folder, &identity, bytes)
            .with_context(|| format!("cannot keep prompts in {}", folder.display()))?;
        engine = engine.with_disk(disk);
    }
    Ok(engine)
}

/// The engine on its thread, watched.
fn running((handle, thread): (EngineHandle, JoinHandle<()>)) -> Result<RunningEngine> {
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
        let _ = writeln!(text, "  {:>9}  {}", human(term.bytes), term.name);
    }
    text
}

/// What changes whenever the weights or the arithmetic do: the files' names, lengths and times, and the
/// program's own, which holds the demo too.
fn identity(opened: &Opened) -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut identity =
        format!("{} {:?} {}", opened.source.name(), opened.checkpoint.config(), stamp(&program)?);
    let mut files: BTreeSet<PathBuf> = opened.checkpoint.files().into_iter().map(|file| file.path).collect();
    if let Some(folder) = opened.folder() {
        for entry in std::fs::read_dir(folder)? {
            files.insert(entry?.path());
        }
    }
    for file in files {
        let _ = write!(identity, " {}", stamp(&file)?);
    }
    Ok(identity)
}

/// What tells a file from another of its name: its length and when it was changed.
pub fn stamp(file: &Path) -> Result<String> {
    let meta = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{} {} {:?}", file.display(), meta.len(), changed))
}
