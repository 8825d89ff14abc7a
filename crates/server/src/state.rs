//! What all handlers share.
//!
//! [`App`] is the model with everything around it: bounds, keys, what is stored, what is remembered, what
//! runs, what is counted. Handlers get it as [`Shared`].

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gptoss_api::RequestScope;
use gptoss_api::chat::chunks::ReasoningField;
use gptoss_api::responses::prompt::Prompts;
use gptoss_turn::Assistant;
use tokio::sync::{Semaphore, watch};

use crate::access_log::{AccessLog, Log, LogFormat};
use crate::batch_tasks::BatchTasks;
use crate::call_cache::CallCache;
use crate::cors::CorsOrigin;
use crate::engine_health::EngineHealth;
use crate::error::Error;
use crate::ids;
use crate::keys::{Caller, Keys};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::model::ServedModel;
use crate::queue_share::QueueShares;
use crate::response_log::LiveResponses;
use crate::store::Store;
use crate::thinking_key::ThinkingKey;
use crate::trace::Traces;

/// What all handlers share.
pub struct App {
    pub(crate) model: ServedModel,
    pub(crate) assistant: Assistant,
    pub(crate) limits: Limits,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) calls: CallCache,
    pub(crate) thinking_key: ThinkingKey,
    pub(crate) live: LiveResponses,
    pub(crate) batches: BatchTasks,
    /// Places of WebSockets, which are half of all connections: they stay open while nobody says a word.
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) health: Arc<EngineHealth>,
    pub(crate) queue: Arc<QueueShares>,
    pub(crate) metrics: Metrics,
    pub(crate) log: AccessLog,
    /// Names under which a loopback address may be asked for, besides its own.
    pub(crate) allowed_hosts: Vec<String>,
    /// Pages that may use the server.
    pub(crate) cors_origins: Vec<CorsOrigin>,
    /// Prompts that requests may name.
    pub(crate) prompts: Prompts,
    /// What Chat Completions calls the reasoning.
    pub(crate) reasoning_field: ReasoningField,
    /// Whether new requests are refused because the server goes away.
    is_stopping: watch::Sender<bool>,
}

/// The app, as handlers get it.
pub(crate) type Shared = Arc<App>;

impl App {
    /// Everything but the network.
    ///
    /// Errors: `State`, when the state folder cannot be used.
    pub fn new(
        model: ServedModel,
        assistant: Assistant,
        limits: Limits,
        keys: Keys,
        state_folder: Option<&std::path::Path>,
        log: Log,
    ) -> Result<App, Error> {
        let places = keys.have_several_tenants().then(|| assistant.engine().limits().queue_requests_max);
        Ok(App {
            // The store makes the folder and takes it for this server.
            store: Store::open(state_folder, &limits)?,
            calls: CallCache::new(limits.call_memory),
            thinking_key: ThinkingKey::open(state_folder)?,
            live: LiveResponses::new(limits.background_max),
            batches: BatchTasks::new(limits.batch_lines_max),
            sockets: Arc::new(Semaphore::new((limits.connections_max / 2).clamp(1, Semaphore::MAX_PERMITS))),
            health: Arc::default(),
            queue: Arc::new(QueueShares::new(places)),
            metrics: Metrics::default(),
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            prompts: Prompts::default(),
            reasoning_field: ReasoningField::default(),
            is_stopping: watch::Sender::new(false),
            log: AccessLog {
                log,
                format: LogFormat::default(),
                model: Arc::from(model.name.as_str()),
                traces: None,
            },
            model,
            assistant,
            limits,
            keys,
        })
    }
}

impl App {
    /// Also known by these names, which requests may have as their host or origin.
    pub fn with_allowed_hosts(self, allowed_hosts: Vec<String>) -> App {
        App { allowed_hosts, ..self }
    }

    /// Usable by pages of these origins.
    pub fn with_cors_origins(self, cors_origins: Vec<CorsOrigin>) -> App {
        App { cors_origins, ..self }
    }

    /// With prompts that requests may name.
    pub fn with_prompts(self, prompts: Prompts) -> App {
        App { prompts, ..self }
    }

    /// With the reasoning of Chat Completions under that name.
    pub fn with_reasoning_field(self, reasoning_field: ReasoningField) -> App {
        App { reasoning_field, ..self }
    }

    /// With lines of log of that form.
    pub fn with_log_format(self, format: LogFormat) -> App {
        App { log: AccessLog { format, ..self.log }, ..self }
    }

    /// With traces of requests that go there.
    pub fn with_traces(self, traces: Option<Traces>) -> App {
        App { log: AccessLog { traces, ..self.log }, ..self }
    }

    /// New requests are refused from now on.
    pub(crate) fn stop(&self) {
        self.is_stopping.send_replace(true);
    }

    /// Whether they are.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Sees when they are.
    pub(crate) fn watch_stop(&self) -> watch::Receiver<bool> {
        self.is_stopping.subscribe()
    }

    /// Waits until they are.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.is_stopping.subscribe().wait_for(|&is_stopping| is_stopping).await;
    }

    /// Reads a request of the caller's with everything that this takes besides its body.
    pub(crate) fn read<T>(&self, caller: &Caller, read: impl FnOnce(&RequestScope<'_>) -> T) -> T {
        let instant = Instant::now();
        let date = self.model.today.map(|today| today());
        read(&RequestScope {
            limits: &self.limits.request,
            tenant: &caller.tenant,
            visibility: caller.visibility,
            reasoning_max: caller.reasoning_max.into_iter().chain(self.limits.reasoning_max).min(),
            date: date.as_deref(),
            is_background: caller.is_background,
            recall: &|id| self.calls.recall(&caller.tenant, id, instant),
            new_id: ids::random,
        })
    }

    /// Whether a request that names this model is answered; one that names none is.
    pub fn serves(&self, model: Option<&str>) -> bool {
        self.model.is_called(model)
    }

    /// Whether a key is asked for.
    pub fn asks_for_keys(&self) -> bool {
        self.keys.are_asked_for()
    }
}

/// The time. Units: seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
