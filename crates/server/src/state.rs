//! What all handlers share.
//!
//! [`App`] is the models with everything around them: bounds, keys, what is stored, what is remembered, what
//! runs, what is counted. Handlers get it as [`Shared`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use gptoss_api::chat::chunks::ReasoningField;
use gptoss_api::history::RememberedCall;
use gptoss_api::responses::prompt::Prompts;
use gptoss_api::{ApiError, RequestScope};
use gptoss_gateway::{Gateway, Label};
use gptoss_guard::{Guard, Judge};
use tokio::sync::{Semaphore, watch};

use crate::access_log::{AccessLog, Log, LogFormat};
use crate::adapter_root::AdapterRoot;
use crate::asker::Asker;
use crate::batch_tasks::BatchTasks;
use crate::call_cache::CallCache;
pub(crate) use crate::clock::now;
use crate::container_files::ContainerFiles;
use crate::container_registry::ContainerRegistry;
use crate::cors::CorsOrigin;
use crate::error::Error;
use crate::governance::KeyEnded;
use crate::guarding::{AskAddress, Guarding};
use crate::ids;
use crate::keys::{Caller, Keys};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::model::{Models, ServedModel};
use crate::model_host::{Entry, Lease, ModelHost};
use crate::paused_sessions::PausedSessions;
use crate::redactor::{RedactDesk, Redactor};
use crate::response_log::LiveResponses;
use crate::roster::Keep;
use crate::ruling;
use crate::store::Store;
use crate::thinking_key::ThinkingKey;
use crate::tls::Tls;
use crate::tool_host::ToolHost;
use crate::trace::Traces;
use crate::training::TrainingRunner;
use crate::tuning::Tuning;

/// What all handlers share.
pub struct App {
    pub(crate) models: ModelHost,
    pub(crate) limits: Limits,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) calls: CallCache,
    pub(crate) paused: PausedSessions,
    pub(crate) container_files: ContainerFiles,
    pub(crate) containers: ContainerRegistry,
    pub(crate) thinking_key: ThinkingKey,
    pub(crate) live: LiveResponses,
    pub(crate) batches: BatchTasks,
    /// None: nothing runs here but the model.
    pub(crate) tools: Option<Arc<dyn ToolHost>>,
    /// None: nothing is judged.
    pub(crate) guard: Option<Arc<Guarding>>,
    /// None: no filter of personal data is here.
    pub(crate) redaction: Option<RedactDesk>,
    /// None: nothing goes to other servers.
    pub(crate) gateway: Option<Arc<Gateway>>,
    /// None: nobody trains.
    pub(crate) tuning: Option<Tuning>,
    /// The folder whose adapters requests may load; None: they may load none.
    pub(crate) adapter_root: Option<AdapterRoot>,
    /// Places of WebSockets, which are half of all connections: they stay open while nobody says a word.
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) log: AccessLog,
    /// Names under which a loopback address may be asked for, besides its own.
    pub(crate) allowed_hosts: Vec<String>,
    /// None: HTTP is spoken in the clear.
    pub(crate) tls: Option<Arc<Tls>>,
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
    /// Errors: `State`, when the state folder cannot be used; `System`.
    pub fn new(
        models: Models,
        limits: Limits,
        keys: Keys,
        state_folder: Option<&std::path::Path>,
        log: Log,
    ) -> Result<App, Error> {
        // The store makes the folder and takes it for this server.
        let store = Store::open(state_folder, &limits)?;
        if let Some(governance) = keys.governance() {
            governance.tell(log.clone());
        }
        let log = AccessLog { log, format: LogFormat::default(), traces: None };
        let patience = limits.load_patience;
        Ok(App {
            store,
            models: ModelHost::start(models, keys.have_several_tenants(), patience, log.clone())?,
            calls: CallCache::new(limits.call_memory),
            paused: PausedSessions::new(limits.call_memory),
            container_files: ContainerFiles::default(),
            containers: ContainerRegistry::default(),
            thinking_key: ThinkingKey::open(state_folder)?,
            live: LiveResponses::new(limits.background_max),
            batches: BatchTasks::new(limits.batch_lines_max),
            tools: None,
            guard: None,
            redaction: None,
            gateway: None,
            tuning: None,
            adapter_root: None,
            sockets: Arc::new(Semaphore::new((limits.connections_max / 2).clamp(1, Semaphore::MAX_PERMITS))),
            metrics: Metrics::default(),
            allowed_hosts: Vec::new(),
            tls: None,
            cors_origins: Vec::new(),
            prompts: Prompts::default(),
            reasoning_field: ReasoningField::default(),
            is_stopping: watch::Sender::new(false),
            log,
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

    /// Over TLS.
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> App {
        App { tls, ..self }
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

    /// With tools that run here.
    pub fn with_tools(self, tools: Arc<dyn ToolHost>) -> App {
        App { tools: Some(tools), ..self }
    }

    /// With policies that texts are judged by; `ask` reaches judges elsewhere.
    ///
    /// Errors: `Guard`, when a policy names a model that is not served.
    pub fn with_guard(self, guard: Guard, ask: AskAddress) -> Result<App, Error> {
        let served = guard.policies().filter_map(|policy| match &policy.judge {
            Judge::Served(Some(name)) => Some((&policy.name, name)),
            Judge::Served(None) | Judge::Elsewhere(_) => None,
        });
        for (policy, model) in served {
            if !self.serves(Some(model)) {
                return Err(Error::Guard { policy: policy.clone(), model: model.clone() });
            }
        }
        Ok(App { guard: Some(Arc::new(Guarding::new(guard, ask))), ..self })
    }

    /// With a filter of personal data.
    pub fn with_redactor(self, redactor: Arc<dyn Redactor>) -> App {
        App { redaction: Some(RedactDesk::new(redactor)), ..self }
    }

    /// With other servers, to which requests may go. Whoever holds it too may put another plan into force.
    pub fn with_gateway(self, gateway: Arc<Gateway>) -> App {
        App { gateway: Some(gateway), ..self }
    }

    /// With somebody who trains, in a folder that is made.
    ///
    /// Errors: `State`, when the folder cannot be made.
    pub fn with_training(
        self,
        runner: Arc<dyn TrainingRunner>,
        folder: &std::path::Path,
    ) -> Result<App, Error> {
        Ok(App { tuning: Some(Tuning::open(runner, folder)?), ..self })
    }

    /// With adapters in a folder, which requests may load and unload.
    pub fn with_adapter_root(self, folder: Option<PathBuf>) -> App {
        App { adapter_root: folder.map(AdapterRoot::new), ..self }
    }

    /// With lines of log of that form.
    pub fn with_log_format(self, format: LogFormat) -> App {
        self.models.set_log_format(format);
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

    /// The model that a request means.
    ///
    /// Errors: `Model`, with the names there are.
    pub(crate) fn model(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Entry>, ApiError> {
        self.models.find(&caller.tenant, name)
    }

    /// The caller by the rules that hold now, for what goes on without a new request: a line of a batch, a
    /// message of a connection.
    ///
    /// Errors: its key does not hold any more.
    pub(crate) fn renewed(&self, caller: &Caller) -> Result<Caller, KeyEnded> {
        let Some(governance) = self.keys.governance() else { return Ok(caller.clone()) };
        let pass = governance.pass_of(&caller.tenant, caller.key_id.as_deref())?;
        let now = Caller::of_pass(pass);
        Ok(Caller {
            visibility: now.visibility.min(caller.visibility),
            may_use_tokens: now.may_use_tokens && caller.may_use_tokens,
            is_background: caller.is_background,
            stays: caller.stays,
            // One that was not noted is still any of the tenant's.
            key_id: caller.key_id.clone(),
            ..now
        })
    }

    /// A model in memory, for as long as the lease is held; waits until it is there.
    ///
    /// Errors: `Ruled`, and as [`ModelHost::lease`].
    pub(crate) async fn lease(&self, caller: &Caller, model: &Arc<Entry>) -> Result<Arc<Lease>, ApiError> {
        ruling::may_use(caller, model)?;
        self.models.lease(model, Asker::of(caller, Keep::Usual)).await
    }

    /// Reads a request of the caller's to `model` with everything that this takes besides its body.
    pub(crate) fn read<T>(
        &self,
        caller: &Caller,
        model: &ServedModel,
        read: impl FnOnce(&RequestScope<'_>) -> T,
    ) -> T {
        let instant = Instant::now();
        self.read_with(caller, model, &|id| self.calls.recall(&caller.tenant, id, instant), read)
    }

    /// The same of a request that leaves for an upstream: with nothing of what has not left before. The label
    /// of what is put into it goes to `raise`.
    pub(crate) fn read_to_leave<T>(
        &self,
        caller: &Caller,
        model: &ServedModel,
        raise: &dyn Fn(Label),
        read: impl FnOnce(&RequestScope<'_>) -> T,
    ) -> T {
        let instant = Instant::now();
        let recall = |id: &str| {
            let (call, label) = self.calls.recall_left(&caller.tenant, id, instant)?;
            raise(label);
            Some(call)
        };
        self.read_with(caller, model, &recall, read)
    }

    fn read_with<T>(
        &self,
        caller: &Caller,
        model: &ServedModel,
        recall: &dyn Fn(&str) -> Option<RememberedCall>,
        read: impl FnOnce(&RequestScope<'_>) -> T,
    ) -> T {
        let date = model.today.map(|today| today());
        read(&RequestScope {
            limits: &self.limits.request,
            tenant: &caller.tenant,
            visibility: caller.visibility,
            reasoning_max: caller.reasoning_max.into_iter().chain(self.limits.reasoning_max).min(),
            date: date.as_deref(),
            is_background: caller.is_background,
            recall,
            new_id: ids::random,
        })
    }

    /// Whether a request that names this model is answered where there are no keys; one that names none is.
    pub fn serves(&self, model: Option<&str>) -> bool {
        self.model(&Caller::local(), model).is_ok()
    }

    /// Whether a key is asked for.
    pub fn asks_for_keys(&self) -> bool {
        self.keys.are_asked_for()
    }
}
