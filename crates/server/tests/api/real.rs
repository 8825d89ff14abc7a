//! Models that compute, behind a server: the demo, random weights, and one that goes round in circles.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_engine::{
    ChannelLimits, Engine, EngineHandle, EngineOptions, FinishReason, QueuedRequest, Token, Usage, channel,
};
use gptoss_harmony::{Control, MultiDigit, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_server::{Keys, Limits, LoadedModel, Models, ServedAdapter, ServedModel};
use gptoss_turn::{Assistant, TokenTable};

use crate::adapters::small_adapter;
use crate::scripted::tokens;
use crate::server::{self, Server, model};

/// Tokens of a whole conversation with the demo: enough for every demand, and not more, as at temperature 2
/// it would fill any.
const DEMO_CONTEXT: usize = 1_536;
/// With random weights, whose vocabulary has shorter tokens.
const RANDOM_CONTEXT: usize = 2_048;
/// With one that goes round in circles, in every string to the end of it.
const CIRCLING_CONTEXT: usize = 2_048;
/// Requests that a server computes at a time.
const SEQUENCES: usize = 16;
/// The meaningful ids of the random weights' vocabulary, without the control tokens.
const RANDOM_RANKS: usize = 503;
/// What a model that goes round in circles says over and over.
const PASSAGE: &str = " so it is five, no, wait";

fn demo_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

fn demo_table() -> Arc<TokenTable> {
    let file = std::fs::read(demo_folder().join("tokenizer.json")).unwrap();
    TokenTable::new(Arc::new(Vocab::from_tokenizer_json(&file).unwrap())).unwrap()
}

fn served(engine: EngineHandle, table: Arc<TokenTable>) -> Server {
    let model = ServedModel { max_context: engine.limits().max_context, ..model() };
    Server::of_engine(model, Assistant::new(engine, table).unwrap(), Limits::default())
}

fn computed(checkpoint: &Checkpoint, table: Arc<TokenTable>, context: usize) -> Server {
    let model = Model::load(checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| {}).unwrap();
    let options = EngineOptions { max_sequences: SEQUENCES, ..EngineOptions::new(context) };
    let (engine, _) = Engine::with_options(Arc::new(model), options).unwrap().spawn().unwrap();
    served(engine, table)
}

/// The demo.
pub fn demo() -> Server {
    computed(&Checkpoint::open(&demo_folder()).unwrap(), demo_table(), DEMO_CONTEXT)
}

/// The demo with two adapters beside its weights, `demo:a` and `demo:b`.
pub fn adapted_demo() -> Server {
    let checkpoint = Checkpoint::open(&demo_folder()).unwrap();
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| {}).unwrap();
    let ids = [1, 2].map(|seed| model.load_adapter(small_adapter(checkpoint.config(), seed)).unwrap());
    let options = EngineOptions { max_sequences: SEQUENCES, ..EngineOptions::new(DEMO_CONTEXT) };
    let (engine, _) = Engine::with_options(Arc::new(model), options).unwrap().spawn().unwrap();
    let served = ServedModel { name: "demo".into(), max_context: DEMO_CONTEXT, ..server::model() };
    let assistant = Assistant::new(engine, demo_table()).unwrap();
    let mut models = Models::one(served, LoadedModel { assistant, unload: Box::new(|| {}), adapters: None });
    for (name, id) in ["a", "b"].into_iter().zip(ids) {
        models = models.with_adapter(0, &ServedAdapter { name: name.into(), id }).unwrap();
    }
    Server::of_models(models, Limits::default(), Keys::default())
}

/// Random weights. They end nothing on purpose, and a header takes up to 60 of their tokens.
pub fn random(seed: u64) -> Server {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, seed, None).unwrap();
    let vocab = Arc::new(Vocab::truncated(RANDOM_RANKS, MultiDigit::Keep));
    computed(&checkpoint, TokenTable::new(vocab).unwrap(), RANDOM_CONTEXT)
}

/// A model that reasons in the same words for ever, and does so in every string too: it gets the token that
/// it would like where the rules allow it, and otherwise one that ends something.
pub fn circling() -> Server {
    let table = demo_table();
    let (handle, mut inbox) = channel(ChannelLimits::new(table.vocab().len(), CIRCLING_CONTEXT));
    let vocab = Arc::clone(table.vocab());
    thread::spawn(move || {
        while let Some(accepted) = inbox.recv() {
            circle(&vocab, accepted);
        }
    });
    served(handle, table)
}

fn circle(vocab: &Vocab, accepted: QueuedRequest) {
    let QueuedRequest { request, mut events, .. } = accepted;
    events.begin();
    let mut constraint = request.constraint.expect("rules");
    let header = tokens(vocab, "<|channel|>analysis<|message|>");
    let passage = tokens(vocab, PASSAGE);
    let ends = [Control::Return, Control::Call].map(|control| vocab.control(control));
    let mut usage = Usage { prompt_tokens: request.prompt.len(), ..Usage::default() };
    let room = request.max_new_tokens.min(CIRCLING_CONTEXT - request.prompt.len());
    while usage.completion_tokens < room && !constraint.is_over() {
        let number = usage.completion_tokens;
        let wish = header.get(number).copied().unwrap_or(passage[number % passage.len()]);
        let mask = constraint.mask().expect("no limit is met");
        let mut all = ends.into_iter().chain([wish]).chain(0..vocab.len() as u32);
        let id = all.find(|&token| mask.allows(token)).expect("one is allowed");
        constraint.commit(id).expect("allowed");
        usage.completion_tokens += 1;
        let is_stop = request.stop_ids.contains(&id);
        if events.token(Token { id, logprob: -0.5, is_stop, top: vec![], masked: None }).is_err() {
            break;
        }
    }
    let reason = if constraint.is_over() { FinishReason::Stop } else { FinishReason::Length };
    events.finish(reason, usage);
}
