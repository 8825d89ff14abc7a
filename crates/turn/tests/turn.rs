//! Whole turns over a real engine with random weights: whatever such a model writes, a turn ends, and says how.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_engine::{Engine, SamplingParams};
use gptoss_harmony::{Analysis, Control, Conversation, Message, MultiDigit, SystemContent, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{TurnEnd, TurnEvent, TurnOptions, run_turn};

/// The vocabulary of `tiny`: 512 ids, nine of them control tokens.
const TINY_RANKS: usize = 503;

struct Fixture {
    engine: Engine,
    vocab: Arc<Vocab>,
    conversation: Conversation,
}

fn fixture() -> Fixture {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).unwrap();
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).unwrap();
    let vocab = Arc::new(Vocab::truncated(TINY_RANKS, MultiDigit::Keep));
    let conversation =
        Conversation::from_messages([Message::system(SystemContent::default()), Message::user("Hello?")]);
    Fixture { engine: Engine::new(Arc::new(model), 1024), vocab, conversation }
}

fn options(seed: u64, logit_bias: Vec<(u32, f32)>) -> TurnOptions {
    let sampling = SamplingParams { seed, logit_bias, ..SamplingParams::default() };
    TurnOptions { sampling, max_new_tokens: Some(40), analysis: Analysis::DropOld }
}

#[test]
fn random_models_give_turns_that_end() {
    let mut fixture = fixture();
    for seed in 0..12 {
        // Control tokens are made likely, so that headers, ends and calls occur in every disorder.
        let bias = Control::ALL.map(|control| (fixture.vocab.control(control), 3.0)).to_vec();
        let (mut events, never) = (Vec::new(), AtomicBool::new(false));
        let outcome = run_turn(
            &mut fixture.engine,
            &fixture.vocab,
            &fixture.conversation,
            &options(seed, bias),
            &never,
            &mut |event| events.push(event),
        )
        .unwrap();
        assert!(outcome.usage.engine.completion_tokens <= 40);
        assert!(outcome.usage.reasoning_tokens <= outcome.usage.engine.completion_tokens);
        assert_eq!(outcome.end == TurnEnd::Call, !outcome.calls.is_empty());
        assert_ne!(outcome.end, TurnEnd::Cancelled);
        let warnings = events.iter().filter(|event| matches!(event, TurnEvent::Warning(_))).count();
        assert_eq!(warnings, outcome.warnings.len());
        let mut longer = fixture.conversation.clone();
        longer.messages.extend(outcome.messages);
        gptoss_harmony::render(&fixture.vocab, &longer, Default::default()).unwrap();
    }
}

#[test]
fn cancelling_keeps_what_there_is() {
    let mut fixture = fixture();
    let cancel = AtomicBool::new(false);
    // Nothing can end the message, so only the flag ends the turn.
    let bias = Control::ALL.map(|control| (fixture.vocab.control(control), -100.0)).to_vec();
    let mut texts = 0;
    let outcome = run_turn(
        &mut fixture.engine,
        &fixture.vocab,
        &fixture.conversation,
        &TurnOptions { max_new_tokens: None, ..options(3, bias) },
        &cancel,
        &mut |event| {
            if !matches!(event, TurnEvent::Prefill { .. } | TurnEvent::Warning(_)) {
                texts += 1;
                cancel.store(texts >= 3, Ordering::Relaxed);
            }
        },
    )
    .unwrap();
    assert_eq!(outcome.end, TurnEnd::Cancelled);
    assert_eq!(outcome.messages.len(), 1);
    assert!(outcome.answer().is_some());
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let mut fixture = fixture();
    fixture.conversation.messages.push(Message::user("word ".repeat(2000)));
    let refused = run_turn(
        &mut fixture.engine,
        &fixture.vocab,
        &fixture.conversation,
        &options(0, Vec::new()),
        &AtomicBool::new(false),
        &mut |_| (),
    );
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("1024") && message.contains("longer context"), "{message}");
}
