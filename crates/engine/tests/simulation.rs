//! The engine without a model takes the steps of the engine with one.

use std::path::Path;
use std::sync::Arc;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{
    Engine, EngineOptions, Request, SimulatedEngine, SimulatedEvent, SimulatedRequest, SimulatedSizes,
    Speculation, channel,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

const CHUNK_TOKENS: usize = 16;

fn engine(options: EngineOptions) -> Engine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| {}).expect("loads");
    Engine::with_options(Arc::new(model.with_chunk_tokens(CHUNK_TOKENS)), options).expect("fits")
}

/// A request that comes before a step: its beginning, the tokens of its prompt and of its answer.
type Ask = (u64, u32, usize, usize);

const ASKS: [Ask; 14] = [
    (0, 1, 100, 6),
    (0, 1, 60, 12),
    (0, 2, 20, 3),
    (3, 1, 130, 5),
    (4, 2, 90, 20),
    (4, 3, 41, 1),
    (9, 3, 80, 9),
    (20, 1, 61, 4),
    (21, 2, 200, 2),
    (40, 3, 44, 30),
    (40, 4, 300, 10),
    (41, 1, 310, 10),
    (42, 2, 320, 10),
    (70, 2, 90, 2),
];

fn prompt((at, beginning, tokens, _): Ask) -> Vec<u32> {
    let token = |place: usize| match place < 40 {
        true => (place as u32 * 5 + beginning) % 300,
        false => (place as u32 * 7 + 11 * at as u32 + tokens as u32) % 300,
    };
    (0..tokens).map(token).collect()
}

/// Steps, tokens computed for prompts, found and chosen, and who runs, after every step.
#[test]
fn steps_are_those_of_an_engine_with_a_model() {
    for (max_sequences, snapshots) in [(1, 12), (3, 4), (4, 0), (8, 32)] {
        let options = EngineOptions {
            max_sequences,
            prefix_snapshots: Some(snapshots),
            speculation: Speculation::Off,
            ..EngineOptions::new(400)
        };
        let mut engine = engine(options);
        let (handle, mut inbox) = channel(engine.limits());
        let sizes = engine.kv_plan().sizes;
        let mut simulated = SimulatedEngine::new(SimulatedSizes {
            blocks: sizes.blocks,
            sequences: sizes.rings,
            snapshots: sizes.snapshots,
            chunk_tokens: CHUNK_TOKENS,
        });
        let (mut streams, mut steps, mut prefilled, mut cached, mut chosen) = (Vec::new(), 0, 0, 0, 0);
        for beat in 0_u64.. {
            for (id, &ask) in (0..).zip(&ASKS).filter(|(_, ask)| ask.0 == beat) {
                let (prompt, output_tokens) = (prompt(ask), ask.3);
                let request = Request {
                    prompt: prompt.clone(),
                    max_new_tokens: output_tokens,
                    cache_points: vec![40],
                    ..Request::default()
                };
                streams.push(handle.submit(request).expect("room"));
                let request = SimulatedRequest { id, prompt, output_tokens, cache_points: vec![40] };
                assert!(simulated.submit(request));
            }
            while let Some(accepted) = inbox.try_recv() {
                engine.accept(accepted);
            }
            engine.step();
            if let Some(step) = simulated.begin_step() {
                steps += u64::from(step.decode_rows + step.prefill_tokens > 0);
                prefilled += step.prefill_tokens as u64;
            }
            for event in simulated.end_step() {
                match event {
                    SimulatedEvent::Begun { cached_tokens, .. } => cached += cached_tokens as u64,
                    SimulatedEvent::Token { .. } => chosen += 1,
                    SimulatedEvent::Ended { .. } => {}
                }
            }
            let stats = engine.stats();
            assert_eq!(
                (steps, cached, chosen, simulated.num_requests() - simulated.num_waiting()),
                (stats.steps, stats.cached_tokens, stats.generated_tokens, stats.running),
                "{max_sequences} sequences, beat {beat}"
            );
            if beat > 70 && engine.is_idle() {
                // The engine counts what it computes again, and the last token of a prompt that was found.
                assert_eq!(prefilled, stats.prefill_tokens, "{max_sequences} sequences");
                assert!(snapshots == 0 || cached > 0);
                break;
            }
        }
        assert_eq!(simulated.num_requests(), 0);
    }
}
