//! The demo model in both precisions, on texts that it wrote itself.
//!
//! The bound of 2e-3 nats is the project's contract for fast precision on a trained model. Prompts are those
//! of the demo's tasks; answers are sampled at temperature 1 in exact precision, and every token of them
//! counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{Engine, Request, SamplingParams};
use gptoss_harmony::{Conversation, Message, ReasoningEffort, RenderOptions, SystemContent, Vocab, render};
use gptoss_kernels::Pool;
use gptoss_model::{Batch, Comparison, DenseMode, LoadOptions, LogitRows, Logits, Model, Precision};

/// Of fast precision to exact, in either format of dense matrices. Units: nats.
const MEAN_KL_MAX: f64 = 2e-3;
/// Of quantized dense matrices to those as stored, both in fast precision: what decision 0009 asks for.
/// Units: nats.
const DENSE_MEAN_KL_MAX: f64 = 1e-3;

/// Asked at every effort.
const QUESTIONS: [&str; 12] = [
    "What is 27 + 58?",
    "What is 604 + 387?",
    "What is 834 - 277?",
    "What is 152 - 690?",
    "What is 46 * 31?",
    "What is 7 * 85?",
    "Which is larger, 518 or 581?",
    "Count from 8 to 15.",
    "How many words are there: lamp, river, stone?",
    "Reverse the word: lantern",
    "Who are you?",
    "What is the capital of France?",
];

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

fn model(precision: Precision, dense: DenseMode) -> Arc<Model> {
    let checkpoint = Checkpoint::open(&demo()).expect("opens");
    let options = LoadOptions { precision, dense, expert_slots: None };
    Arc::new(Model::load_with(&checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads"))
}

fn prompts() -> Vec<Vec<u32>> {
    let file = std::fs::read(demo().join("tokenizer.json")).expect("reads");
    let vocab = Vocab::from_tokenizer_json(&file).expect("a tokenizer");
    let efforts = [ReasoningEffort::Low, ReasoningEffort::Medium, ReasoningEffort::High];
    let conversation = |(question, effort): (&str, ReasoningEffort)| {
        let system = SystemContent::default().with_reasoning_effort(effort);
        Conversation::from_messages([Message::system(system), Message::user(question)])
    };
    let pairs = QUESTIONS.into_iter().flat_map(|question| efforts.map(|effort| (question, effort)));
    pairs
        .map(conversation)
        .map(|talk| render(&vocab, &talk, RenderOptions::default()).expect("renders"))
        .collect()
}

fn all_rows(model: &Model, tokens: &[u32]) -> Logits {
    let mut cache = model.new_cache(tokens.len());
    model.forward(&Batch { tokens, logits: LogitRows::All }, &mut cache).expect("runs")
}

#[test]
fn fast_precision_is_near_exact_on_the_demo() {
    let exact = model(Precision::Exact, DenseMode::AsStored);
    let fast = model(Precision::Fast, DenseMode::AsStored);
    let q8 = model(Precision::Fast, DenseMode::Q8);
    let mut engine = Engine::new(exact.clone(), 1024);
    let mut comparisons: [Comparison; 3] = Default::default();
    for (seed, prompt) in prompts().into_iter().enumerate() {
        let sampling = SamplingParams { seed: seed as u64, ..SamplingParams::default() };
        let request = Request { prompt: prompt.clone(), sampling, max_new_tokens: 60, ..Request::default() };
        let completion = engine.generate(request, &AtomicBool::new(false), &mut |_| {}).expect("runs");
        let tokens = [&prompt[..], &completion.tokens].concat();
        let [exact, fast, q8] = [&exact, &fast, &q8].map(|model| all_rows(model, &tokens));
        let answer = prompt.len() - 1..tokens.len();
        let pairs = [(&exact, &fast), (&fast, &q8), (&exact, &q8)];
        for (comparison, (from, to)) in comparisons.iter_mut().zip(pairs) {
            answer.clone().for_each(|index| comparison.add(from.row(index), to.row(index), None));
        }
    }
    let found = comparisons.map(|comparison| comparison.divergence().expect("rows"));
    let (count, [fast, dense, both]) = (found[0].num_rows, found.map(|divergence| divergence.mean));
    println!(
        "demo, {count} tokens: mean KL of fast to exact {fast:e}, of q8 to stored {dense:e}, of both {both:e}"
    );
    assert!(fast < MEAN_KL_MAX && both < MEAN_KL_MAX, "mean KL {fast:e} and {both:e} over {count} tokens");
    assert!(dense < DENSE_MEAN_KL_MAX, "mean KL of q8 dense matrices {dense:e} over {count} tokens");
    assert!(fast > 0.0 && dense > 0.0, "fast precision and q8 round");
}
