//! Allocations of a decode step: none. A test binary of its own, because counting replaces the allocator.

use allocation_counter::measure;
use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_kernels::Pool;
use gptoss_model::{
    BLOCK_TOKENS, KvFormat, KvStore, LogitRows, Model, Precision, Segment, SequenceKv, StoreSizes, Workspace,
};

/// Tokens of the longest sequence.
const CONTEXT: usize = 320;
const SEQUENCES: usize = 3;

/// One step of every sequence, `num_tokens` each from `position` on.
fn step(model: &Model, store: &mut KvStore, work: &mut Workspace, position: usize, num_tokens: usize) {
    let blocks: [[u32; CONTEXT / BLOCK_TOKENS]; SEQUENCES] = std::array::from_fn(|sequence| {
        // Scattered, so that a sequence is many runs.
        std::array::from_fn(|block| (block * SEQUENCES + sequence) as u32)
    });
    let tokens: [u32; 64] = std::array::from_fn(|index| (position + index) as u32 % 500);
    let segments: [Segment<'_>; SEQUENCES] = std::array::from_fn(|sequence| Segment {
        tokens: &tokens[..num_tokens],
        first_position: position,
        kv: SequenceKv { blocks: &blocks[sequence], ring: sequence as u32 },
        logits: LogitRows::Last,
        adapter: None,
    });
    work.clear();
    model.forward_segments(&segments, store, work).expect("runs");
    assert!((0..SEQUENCES).all(|segment| work.logits(segment).is_ok()));
}

/// Every step made its working memory, its routing and its rows of logits anew. All work is done on one
/// thread, whose allocations are counted; the first steps make every buffer as long as the measured ones need
/// it.
#[test]
fn a_decode_step_allocates_nothing() {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
    let modes = [
        (Precision::Exact, KvFormat::F32),
        (Precision::Fast, KvFormat::Bf16),
        (Precision::Fast, KvFormat::Q8),
    ];
    for (precision, kv_format) in modes {
        let model = Model::load(&checkpoint, precision, Pool::new(1), &mut |_, _| {}).expect("loads");
        let model = model.with_kv_format(kv_format);
        let sizes = StoreSizes { blocks: SEQUENCES * CONTEXT / BLOCK_TOKENS, rings: SEQUENCES, snapshots: 0 };
        let mut store = model.new_store(sizes, CONTEXT);
        let mut work = model.new_workspace();
        (0..5).for_each(|chunk| step(&model, &mut store, &mut work, chunk * 64, 64));
        step(&model, &mut store, &mut work, 260, 1);
        let counts = measure(|| {
            (200..210).for_each(|position| step(&model, &mut store, &mut work, position, 1));
        });
        assert_eq!((counts.count_total, counts.bytes_total), (0, 0), "{precision:?}, {kv_format:?}");
    }
}
