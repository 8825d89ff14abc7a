//! A worker on a port of this machine, and requests for it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gptoss_checkpoint::Checkpoint;
use gptoss_constrain::TokenTable;
use gptoss_engine::{ChannelLimits, Engine, EngineHandle, Inbox, SamplingParams, channel};
use gptoss_harmony::{Control, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{BLOCK_TOKENS, Model, Precision};
use gptoss_worker::{Limits, Worker, WorkerModel};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use vllm_proto::control_client::ControlClient;
use vllm_proto::generate_request::Prompt;
use vllm_proto::inference_client::InferenceClient;
use vllm_proto::{
    GenerateRequest, GenerateResponse, RandomSampling, ResponseOptions, StoppingCriteria, TokenIds,
};

pub const CONTEXT: usize = 1024;

/// A worker that is served until it is told to stop.
pub struct Served {
    pub address: String,
    pub engine: EngineHandle,
    pub vocab: Arc<Vocab>,
    pub stop: Option<oneshot::Sender<()>>,
    pub running: JoinHandle<()>,
}

fn table() -> Arc<TokenTable> {
    static TABLE: OnceLock<Arc<TokenTable>> = OnceLock::new();
    Arc::clone(TABLE.get_or_init(|| {
        let file = std::fs::read(folder().join("tokenizer.json")).expect("reads");
        let vocab = Vocab::from_tokenizer_json(&file).expect("a tokenizer");
        TokenTable::new(Arc::new(vocab)).expect("a table")
    }))
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model"))
}

fn model(engine: EngineHandle) -> WorkerModel {
    WorkerModel {
        engine,
        table: table(),
        name: "demo".into(),
        aliases: vec!["other".into()],
        folder: "/models/demo".into(),
        adapters: Vec::new(),
        sampling: SamplingParams::default(),
        block_tokens: BLOCK_TOKENS,
        num_blocks: 100,
        max_sequences: 4,
        step_tokens: 512,
        kv_events: None,
    }
}

/// A worker of a model.
pub async fn serve(model: WorkerModel, limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stops) = oneshot::channel();
    let engine = model.engine.clone();
    let worker = Worker::new(model, limits).expect("a worker");
    let stops = async move { stops.await.unwrap_or_default() };
    let running = tokio::spawn(worker.run(listener, None, Arc::new(|_| {}), stops));
    Served { address, engine, vocab: Arc::clone(table().vocab()), stop: Some(stop), running }
}

/// The limits of a worker that waits for nobody when it stops.
pub fn at_once() -> Limits {
    Limits { drain: Duration::ZERO, ..Limits::default() }
}

/// Over the demo model.
pub async fn demo() -> Served {
    static ENGINE: OnceLock<EngineHandle> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let checkpoint = Checkpoint::open(folder()).expect("opens");
        let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).expect("loads");
        Engine::new(Arc::new(model), CONTEXT).spawn().expect("a thread").0
    });
    serve(model(engine.clone()), at_once()).await
}

/// A model whose engine the test plays.
pub fn played_model(queue_requests_max: usize) -> (WorkerModel, Inbox) {
    let limits = ChannelLimits { queue_requests_max, ..ChannelLimits::new(table().vocab().len(), CONTEXT) };
    let (engine, inbox) = channel(limits);
    (model(engine), inbox)
}

/// Over an engine that the test plays, in which so many requests may wait.
pub async fn played(queue_requests_max: usize, drain: Duration) -> (Served, Inbox) {
    let (model, inbox) = played_model(queue_requests_max);
    (serve(model, Limits { drain, ..Limits::default() }).await, inbox)
}

impl Served {
    pub async fn inference(&self) -> InferenceClient<Channel> {
        InferenceClient::connect(self.address.clone()).await.expect("connects")
    }

    pub async fn control(&self) -> ControlClient<Channel> {
        ControlClient::connect(self.address.clone()).await.expect("connects")
    }

    /// All messages of a stream.
    pub async fn stream(&self, request: GenerateRequest) -> Result<Vec<GenerateResponse>, tonic::Status> {
        let mut stream = self.inference().await.generate_stream(request).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// The tokens of a prompt in which the assistant is to speak.
    pub fn asked(&self, question: &str) -> Vec<u32> {
        let vocab = &self.vocab;
        let control = |control| vec![vocab.control(control)];
        let text = |text: &str| vocab.encode_ids(text);
        let system = "You are ChatGPT, a large language model trained by OpenAI.\n\
                      Knowledge cutoff: 2024-06\n\nReasoning: low\n\n\
                      # Valid channels: analysis, commentary, final. Channel must be included for every message.";
        [
            control(Control::Start),
            text("system"),
            control(Control::Message),
            text(system),
            control(Control::End),
            control(Control::Start),
            text("user"),
            control(Control::Message),
            text(question),
            control(Control::End),
            control(Control::Start),
            text("assistant"),
        ]
        .concat()
    }
}

/// A seeded request for so many tokens.
pub fn request(ids: Vec<u32>, max_new_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        request_id: "r".into(),
        model: "demo".into(),
        prompt: Some(Prompt::TokenIds(TokenIds { ids })),
        temperature: Some(1.0),
        sampling: Some(RandomSampling { num_sequences: 1, seed: Some(7), ..Default::default() }),
        stopping: Some(StoppingCriteria { max_new_tokens, ..Default::default() }),
        response: Some(ResponseOptions {
            output_token_ids: true,
            skip_special_tokens: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Tokens and text of messages together.
pub fn joined(messages: &[GenerateResponse]) -> (Vec<u32>, String) {
    let outputs = || messages.iter().filter_map(|message| message.outputs.as_ref());
    (
        outputs().flat_map(|output| output.token_ids.iter().copied()).collect(),
        outputs().map(|output| output.text.as_str()).collect(),
    )
}
