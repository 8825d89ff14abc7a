//! What is told of kept blocks is what the cache has, and nothing that is private.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{
    Engine, EngineOptions, Event, KvEvent, KvEventReceiver, Request, Speculation, channel, kv_event_channel,
};
use gptoss_kernels::Pool;
use gptoss_model::{BLOCK_TOKENS, Model, Precision};

/// What a reader makes of events.
#[derive(Default)]
struct Reader {
    /// By hash: the block before, and the tokens.
    blocks: HashMap<u64, (Option<u64>, Vec<u32>)>,
    received: u64,
    removed: usize,
}

impl Reader {
    fn read(&mut self, receiver: &KvEventReceiver, batches: u64) {
        while self.received < batches {
            let batch = receiver.recv().expect("an engine is there");
            assert_eq!(batch.number, self.received);
            self.received += 1;
            batch.events.into_iter().for_each(|event| self.take(event));
        }
    }

    fn take(&mut self, event: KvEvent) {
        match event {
            KvEvent::Stored { hashes, mut parent, tokens, .. } => {
                assert_eq!(tokens.len(), hashes.len() * BLOCK_TOKENS);
                assert!(parent.is_none_or(|parent| self.blocks.contains_key(&parent)), "no block before it");
                for (hash, tokens) in hashes.into_iter().zip(tokens.chunks(BLOCK_TOKENS)) {
                    let old = self.blocks.insert(hash, (parent, tokens.to_vec()));
                    assert!(old.is_none(), "told twice");
                    parent = Some(hash);
                }
            }
            KvEvent::Removed { hashes } => {
                self.removed += hashes.len();
                hashes.iter().for_each(|hash| assert!(self.blocks.remove(hash).is_some(), "was not there"));
            }
            KvEvent::Cleared => self.blocks.clear(),
        }
    }

    /// Blocks of a prompt that are there.
    fn found(&self, prompt: &[u32]) -> usize {
        let mut before = None;
        let known = prompt.chunks_exact(BLOCK_TOKENS).take_while(|tokens| {
            let next = self.blocks.iter().find(|(_, block)| block.0 == before && block.1 == **tokens);
            before = next.map(|(hash, _)| *hash);
            next.is_some()
        });
        known.count()
    }
}

#[test]
fn a_reader_knows_what_is_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| {}).expect("loads");
    let options = EngineOptions {
        max_sequences: 2,
        prefix_snapshots: Some(6),
        speculation: Speculation::Off,
        ..EngineOptions::new(400)
    };
    let (sender, receiver) = kv_event_channel();
    let mut engine = Engine::with_options(Arc::new(model), options).expect("fits").with_kv_events(sender);
    let (handle, mut inbox) = channel(engine.limits());
    let mut reader = Reader::default();
    let (mut hits, mut evicted) = (0, 0);
    // Four conversations that grow in turn, more than there are places for; every fifth turn is private.
    let mut texts: [Vec<u32>; 4] = Default::default();
    for turn in 0..60_u32 {
        let place = (turn * turn % 7 % 4) as usize;
        let more = (0..20 + turn % 30).map(|i| 10 + (i * 3 + turn * 17) % 280);
        texts[place].extend(more);
        if texts[place].len() > 380 {
            texts[place].clear();
            continue;
        }
        let is_private = turn % 5 == 4;
        let mut prompt = texts[place].clone();
        if is_private {
            // No other prompt has this token.
            prompt.insert(0, 3);
        }
        let found = reader.found(&prompt);
        let request = Request { prompt: prompt.clone(), max_new_tokens: 1, is_private, ..Request::default() };
        let mut stream = handle.submit(request).expect("room");
        while let Some(accepted) = inbox.try_recv() {
            engine.accept(accepted);
        }
        while engine.step() {}
        let end = std::iter::from_fn(|| stream.next_event()).last();
        let Some(Event::Finished { usage, .. }) = end else { panic!("{end:?}") };
        assert!(is_private || found == usage.cached_tokens / BLOCK_TOKENS, "turn {turn}: {found} {usage:?}");
        hits += usize::from(found > 0);
        evicted += usize::from(found == 0 && texts[place].len() > 2 * BLOCK_TOKENS);
        reader.read(&receiver, engine.stats().kv_events.batches);
        let whole = prompt.len() / BLOCK_TOKENS;
        assert_eq!(reader.found(&prompt), if is_private { 0 } else { whole }, "turn {turn}");
    }
    assert!(hits > 5 && evicted > 5 && reader.removed > 20, "{hits} {evicted} {}", reader.removed);
    assert!(reader.blocks.values().all(|(_, tokens)| !tokens.contains(&3)), "what is private was told");
    assert_eq!(engine.stats().kv_events.lost, 0);
    drop(engine);
    reader.read(&receiver, reader.received + 1);
    assert!(reader.blocks.is_empty());
}
