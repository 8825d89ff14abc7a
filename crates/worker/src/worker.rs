//! A model as a router sees it, and the requests that it has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gptoss_constrain::TokenTable;
use gptoss_engine::{AdapterId, EngineHandle, SamplingParams};
use gptoss_harmony::Vocab;

use crate::limits::Limits;
use crate::reading::Reading;
use crate::running::Running;

/// The model and its engine, with what a router has to know of them.
pub struct WorkerModel {
    /// The way to the engine.
    pub engine: EngineHandle,
    /// Made of the model's vocabulary, once.
    pub table: Arc<TokenTable>,
    /// The name that requests ask for.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// A folder in the Hugging Face layout, from which routers take tokenizer and template.
    pub folder: PathBuf,
    /// The adapters that are loaded.
    pub adapters: Vec<WorkerAdapter>,
    /// How tokens are chosen where a request does not say.
    pub sampling: SamplingParams,
    /// Tokens of a block of the cache.
    pub block_tokens: usize,
    /// Blocks of the cache.
    pub num_blocks: usize,
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Prompt tokens of a step.
    pub step_tokens: usize,
    /// Where events of the cache are published, if they are.
    pub kv_events: Option<KvEvents>,
}

/// An adapter of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerAdapter {
    /// Its name.
    pub name: String,
    /// Its number in the model.
    pub id: AdapterId,
    /// Where it lies.
    pub folder: PathBuf,
}

/// Where events of the cache are published in vLLM's format over ZeroMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEvents {
    /// Where they are heard; a router is told the address that it reaches the worker by where this is any.
    pub address: SocketAddr,
    /// Where past events are asked for.
    pub replay: Option<SocketAddr>,
    /// What each message begins with.
    pub topic: String,
    /// Events that are kept for that.
    pub buffer_steps: u32,
    /// Messages that may wait for a subscriber.
    pub hwm: u32,
    /// Events that may wait to be published.
    pub max_queue_size: u32,
}

/// A worker that can be served.
pub struct Worker {
    pub(crate) model: WorkerModel,
    pub(crate) limits: Limits,
    pub(crate) running: Running,
    pub(crate) reading: Reading,
    /// New at each start.
    pub(crate) instance: String,
}

impl Worker {
    /// The worker of a model. Its instance is known by 16 random bytes.
    ///
    /// Errors: the system gives no random bytes.
    pub fn new(model: WorkerModel, limits: Limits) -> Result<Worker, std::io::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        let instance = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Worker { model, limits, running: Running::default(), reading: Reading::new(limits), instance })
    }

    pub(crate) fn vocab(&self) -> &Arc<Vocab> {
        self.model.table.vocab()
    }

    /// Whether requests can be served now.
    pub(crate) fn is_serving(&self) -> bool {
        !self.running.is_stopping() && !self.model.engine.stats().has_no_device
    }
}
