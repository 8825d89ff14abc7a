//! Whole turns over a real engine with random weights: whatever such a model writes, a turn ends, and says
//! how.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_engine::{Engine, SamplingParams};
use gptoss_harmony::{Control, Conversation, Message, MultiDigit, SystemContent, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{Assistant, Delta, OutputRules, TokenTable, Turn, TurnEnd, TurnEvent, TurnOptions};

/// The vocabulary of `tiny`: 512 ids, nine of them control tokens.
const TINY_RANKS: usize = 503;

struct Fixture {
    assistant: Assistant,
    conversation: Conversation,
}

fn fixture() -> Fixture {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).unwrap();
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).unwrap();
    let vocab = Arc::new(Vocab::truncated(TINY_RANKS, MultiDigit::Keep));
    let conversation =
        Conversation::from_messages([Message::system(SystemContent::default()), Message::user("Hello?")]);
    let (engine, _thread) = Engine::new(Arc::new(model), 1024).spawn().unwrap();
    let assistant = Assistant::new(engine, TokenTable::new(vocab).unwrap()).unwrap();
    Fixture { assistant, conversation }
}

fn options(seed: u64, logit_bias: Vec<(u32, f32)>) -> TurnOptions {
    let sampling = SamplingParams { seed, logit_bias, ..SamplingParams::default() };
    // What is tested is what becomes of disorder.
    TurnOptions { sampling, max_new_tokens: Some(40), rules: OutputRules::None, ..TurnOptions::default() }
}

#[test]
fn random_models_give_turns_that_end() {
    let fixture = fixture();
    for seed in 0..12 {
        // Control tokens are made likely, so that headers, ends and calls occur in every disorder.
        let bias = Control::ALL.map(|control| (fixture.assistant.vocab().control(control), 3.0)).to_vec();
        let (mut events, never) = (Vec::new(), AtomicBool::new(false));
        let outcome = fixture
            .assistant
            .run_turn(&fixture.conversation, &options(seed, bias), &never, &mut |event| events.push(event))
            .unwrap();
        assert!(outcome.usage.engine.completion_tokens <= 40);
        assert!(outcome.usage.reasoning_tokens <= outcome.usage.engine.completion_tokens);
        assert_eq!(outcome.end == TurnEnd::Call, !outcome.calls.is_empty());
        assert_ne!(outcome.end, TurnEnd::Cancelled);
        let warnings =
            events.iter().filter(|event| matches!(event, TurnEvent::Delta(Delta::Warning(_)))).count();
        assert_eq!(warnings, outcome.warnings.len());
        let mut longer = fixture.conversation.clone();
        longer.messages.extend(outcome.messages);
        gptoss_harmony::render(fixture.assistant.vocab(), &longer, Default::default()).unwrap();
    }
}

#[test]
fn cancelling_keeps_what_there_is() {
    let fixture = fixture();
    let cancel = AtomicBool::new(false);
    // Nothing can end the message, so only the flag ends the turn.
    let bias = Control::ALL.map(|control| (fixture.assistant.vocab().control(control), -100.0)).to_vec();
    let mut texts = 0;
    let outcome = fixture
        .assistant
        .run_turn(
            &fixture.conversation,
            &TurnOptions { max_new_tokens: None, ..options(3, bias) },
            &cancel,
            &mut |event| {
                if !matches!(event, TurnEvent::Prefill { .. } | TurnEvent::Delta(Delta::Warning(_))) {
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
    let refused = fixture.assistant.run_turn(
        &fixture.conversation,
        &options(0, Vec::new()),
        &AtomicBool::new(false),
        &mut |_| (),
    );
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("1024") && message.contains("longer context"), "{message}");
}

/// Blocking, async, several choices: one turn, told in three ways.
#[test]
fn choices_differ_by_seed_and_the_first_has_the_given_one() {
    let fixture = fixture();
    let options = TurnOptions { logprobs: Some(3), ..options(5, Vec::new()) };
    let heard = |mut turn: Turn| std::iter::from_fn(move || turn.next_event()).collect::<Vec<_>>();
    let alone = fixture.assistant.start_turn(&fixture.conversation, &options).unwrap();
    let alone = heard(alone);
    let ends = alone.iter().filter(|event| matches!(event, TurnEvent::Finished(_))).count();
    assert_eq!(ends, 1);
    assert!(matches!(alone.last(), Some(TurnEvent::Finished(_))));
    let logprobs = alone.iter().flat_map(|event| match event {
        TurnEvent::Delta(Delta::Text { logprobs, .. }) => &logprobs[..],
        _ => &[],
    });
    assert!(logprobs.into_iter().all(|logprob| logprob.top.len() == 3));
    let turns = fixture.assistant.start_turns(&fixture.conversation, &options, 3).unwrap();
    let told: Vec<_> = turns.into_iter().map(heard).collect();
    let said = |events: &[TurnEvent]| {
        events
            .iter()
            .filter(|event| !matches!(event, TurnEvent::Prefill { .. } | TurnEvent::Finished(_)))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(said(&told[0]), said(&alone));
    assert_ne!(said(&told[1]), said(&told[0]));
    assert_ne!(said(&told[2]), said(&told[1]));
}
