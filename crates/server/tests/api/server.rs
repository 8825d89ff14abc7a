//! A server on a free port, for as long as a test holds it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gptoss_engine::{ChannelLimits, EngineHandle, SamplingParams, channel};
use gptoss_harmony::{Token, Vocab};
use gptoss_server::{App, Keys, Limits, LoadedModel, Models, ServedModel, listen, run};
use gptoss_turn::{Assistant, TokenTable};
use tokio::sync::oneshot;

use crate::scripted::{self, MAX_CONTEXT, Prompts, Script};
use crate::shutdown::eventually;
use crate::trainer::Trainer;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the engine was given.
    pub prompts: Prompts,
    /// Lines of log.
    log: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

/// A model that does not exist.
pub fn model() -> ServedModel {
    ServedModel {
        name: "scripted".into(),
        aliases: vec!["org/scripted".into()],
        is_demo: false,
        max_context: MAX_CONTEXT,
        sampling: SamplingParams::default(),
        today: None,
        fingerprint: "test".into(),
        created: 1,
        weight_bytes: 0,
        parameter_size: "20.9B".into(),
        quantization: "MXFP4",
        parent: None,
    }
}

/// The table takes a while to make, and is the same for all tests.
pub fn assistant(engine: EngineHandle, vocab: &Arc<Vocab>) -> Assistant {
    static TABLE: OnceLock<Arc<TokenTable>> = OnceLock::new();
    let table = TABLE.get_or_init(|| TokenTable::new(Arc::clone(vocab)).unwrap());
    Assistant::new(engine, Arc::clone(table)).unwrap()
}

/// Starts an engine that says what `say` makes of the prompt, control tokens left out.
fn start_by(vocab: &Arc<Vocab>, say: impl Fn(&str) -> String + Send + 'static) -> EngineHandle {
    let (handle, mut inbox) = channel(ChannelLimits::new(vocab.len(), MAX_CONTEXT));
    let vocab = Arc::clone(vocab);
    thread::spawn(move || {
        while let Some(accepted) = inbox.recv() {
            let text = |id: &u32| match vocab.token(*id) {
                Some(Token::Text(token)) => vocab.bytes(token).to_vec(),
                _ => b"\n".to_vec(),
            };
            let bytes: Vec<u8> = accepted.request.prompt.iter().flat_map(text).collect();
            let said = say(&String::from_utf8_lossy(&bytes));
            let vocab = Arc::clone(&vocab);
            thread::spawn(move || scripted::play(&vocab, accepted, &said, Duration::ZERO));
        }
    });
    handle
}

/// A model that stays.
fn one(model: ServedModel, assistant: Assistant) -> Models {
    Models::one(model, LoadedModel { assistant, unload: Box::new(|| {}), adapters: None })
}

impl Server {
    /// Follows a script.
    pub fn start(texts: &[&str]) -> Server {
        Server::with(Script::new(texts), Limits::default(), Keys::default())
    }

    /// Without a state folder.
    pub fn with(script: Script, limits: Limits, keys: Keys) -> Server {
        Server::in_folder(None, script, limits, keys)
    }

    /// With an app that is changed before it is served.
    pub fn changed(change: impl FnOnce(App) -> App, script: Script, limits: Limits, keys: Keys) -> Server {
        Server::of((None, model()), change, script, limits, keys)
    }

    /// Of another model than [`model`].
    pub fn of_model(model: ServedModel, script: Script) -> Server {
        Server::of((None, model), |app| app, script, Limits::default(), Keys::default())
    }

    /// Of several models, or of one that comes and goes.
    pub fn of_models(models: Models, limits: Limits, keys: Keys) -> Server {
        Server::run((None, models, Prompts::default()), |app| app, limits, keys)
    }

    /// With a state folder, or none.
    pub fn in_folder(folder: Option<&Path>, script: Script, limits: Limits, keys: Keys) -> Server {
        Server::of((folder, model()), |app| app, script, limits, keys)
    }

    /// On which somebody trains, with a state folder.
    pub fn training(folder: &Path, trainer: &Trainer, script: Script, keys: Keys) -> Server {
        let runner = Arc::new(trainer.clone());
        let change = |app: App| app.with_training(runner, &folder.join("tuning")).unwrap();
        Server::of((Some(folder), model()), change, script, Limits::default(), keys)
    }

    /// Of an engine that follows no script.
    pub fn of_engine(model: ServedModel, assistant: Assistant, limits: Limits) -> Server {
        Server::of_models(one(model, assistant), limits, Keys::default())
    }

    /// Of an engine that answers by its prompt, with a state folder or none and an app that is changed.
    pub fn by_prompt(
        folder: Option<&Path>,
        change: impl FnOnce(App) -> App,
        say: impl Fn(&str) -> String + Send + 'static,
    ) -> Server {
        Server::by_prompt_for(folder, change, say, Keys::default())
    }

    /// The same, for whoever has one of the keys.
    pub fn by_prompt_for(
        folder: Option<&Path>,
        change: impl FnOnce(App) -> App,
        say: impl Fn(&str) -> String + Send + 'static,
        keys: Keys,
    ) -> Server {
        Server::by_prompt_within((folder, Limits::default()), change, say, keys)
    }

    /// The same, within limits.
    pub fn by_prompt_within(
        (folder, limits): (Option<&Path>, Limits),
        change: impl FnOnce(App) -> App,
        say: impl Fn(&str) -> String + Send + 'static,
        keys: Keys,
    ) -> Server {
        let vocab = Vocab::o200k_harmony();
        let models = one(model(), assistant(start_by(&vocab, say), &vocab));
        Server::run((folder, models, Prompts::default()), change, limits, keys)
    }

    /// With a state folder or none, a model, and an app that is changed before it is served.
    pub fn of(
        (folder, model): (Option<&Path>, ServedModel),
        change: impl FnOnce(App) -> App,
        script: Script,
        limits: Limits,
        keys: Keys,
    ) -> Server {
        let vocab = Vocab::o200k_harmony();
        let (engine, prompts) = scripted::start(&vocab, script);
        Server::run((folder, one(model, assistant(engine, &vocab)), prompts), change, limits, keys)
    }

    /// Of models, with a state folder or none, and an app that is changed before it is served.
    pub fn run(
        (folder, models, prompts): (Option<&Path>, Models, Prompts),
        change: impl FnOnce(App) -> App,
        limits: Limits,
        keys: Keys,
    ) -> Server {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let write = Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
        let app = change(App::new(models, limits, keys, folder, write).unwrap());
        let (stop, stopped) = oneshot::channel::<Duration>();
        let (told, address) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = listen(([127, 0, 0, 1], 0).into(), false).unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                run(listener, app, async {
                    // A server that is dropped without a word stops too.
                    stopped.await.unwrap_or_default()
                })
                .await;
            });
        });
        Server { address: address.recv().unwrap(), prompts, log, stop: Some(stop), thread: Some(thread) }
    }

    /// All lines of log, as soon as one is as `is_line` says: a line may be written after its answer has been
    /// read.
    pub fn logged(&self, is_line: impl Fn(&str) -> bool) -> String {
        let lines = || self.log.lock().unwrap();
        eventually("a line of log", || lines().iter().any(|line| is_line(line)));
        lines().join("\n")
    }

    /// Tells the server to stop, without waiting.
    pub fn tell_to_stop(&mut self) {
        self.tell_to_stop_after(Duration::ZERO);
    }

    /// Tells the server to stop and to answer that it does for a while, without waiting.
    pub fn tell_to_stop_after(&mut self, grace: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(grace);
        }
    }

    /// Waits until it has stopped.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tell_to_stop();
        self.join();
    }
}
