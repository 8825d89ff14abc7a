//! Many sequences in one step are each as if alone, wherever their rows lie.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{
    AdapterId, BLOCK_TOKENS, Batch, Error, KvFormat, KvMove, KvStore, LogitRows, Model, Precision, Segment,
    SequenceKv, StoreSizes, log_sum_exp,
};

use crate::golden::{golden, testdata};

pub const CONTEXT: usize = 600;

fn load(precision: Precision, chunk_tokens: usize) -> Model {
    let checkpoint = Checkpoint::open(&testdata("tiny-yarn")).expect("opens");
    let model = Model::load(&checkpoint, precision, Pool::new(2), &mut |_, _| {}).expect("loads");
    model.with_chunk_tokens(chunk_tokens)
}

/// A sequence with scattered blocks.
pub struct Sequence {
    pub tokens: Vec<u32>,
    pub blocks: Vec<u32>,
    ring: u32,
    pub done: usize,
    pub rows: Vec<f32>,
    adapter: Option<AdapterId>,
}

impl Sequence {
    pub fn new(tokens: &[u32], ring: u32, stride: u32) -> Sequence {
        let blocks = (0..CONTEXT.div_ceil(BLOCK_TOKENS) as u32).map(|block| block * stride + ring).collect();
        Sequence { tokens: tokens.to_vec(), blocks, ring, done: 0, rows: Vec::new(), adapter: None }
    }

    pub fn with_adapter(self, adapter: Option<AdapterId>) -> Sequence {
        Sequence { adapter, ..self }
    }

    fn segment(&self, num_tokens: usize) -> Segment<'_> {
        let end = self.tokens.len().min(self.done + num_tokens);
        Segment {
            tokens: &self.tokens[self.done..end],
            first_position: self.done,
            kv: SequenceKv { blocks: &self.blocks, ring: self.ring },
            logits: LogitRows::All,
            adapter: self.adapter,
        }
    }
}

/// Steps until all are done; the n-th sequence computes `pace(n, step)` tokens in a step.
pub fn run(
    model: &Model,
    store: &mut KvStore,
    sequences: &mut [Sequence],
    pace: impl Fn(usize, usize) -> usize,
) {
    let mut work = model.new_workspace();
    for step in 0.. {
        let open: Vec<usize> = (0..sequences.len())
            .filter(|&n| sequences[n].done < sequences[n].tokens.len() && pace(n, step) > 0)
            .collect();
        let segments: Vec<_> = open.iter().map(|&n| sequences[n].segment(pace(n, step))).collect();
        let counts: Vec<usize> = segments.iter().map(|segment| segment.tokens.len()).collect();
        work.clear();
        model.forward_segments(&segments, store, &mut work).expect("runs");
        for (index, (n, count)) in open.iter().zip(counts).enumerate() {
            let logits = work.logits(index).expect("finite");
            sequences[*n].done += count;
            (0..count).for_each(|row| sequences[*n].rows.extend_from_slice(&logits.row(row)));
        }
        if sequences.iter().all(|sequence| sequence.done == sequence.tokens.len()) {
            return;
        }
    }
}

fn alone(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let batch = Batch { tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(CONTEXT)).expect("runs").rows
}

pub fn sizes(sequences: usize) -> StoreSizes {
    StoreSizes { blocks: sequences * CONTEXT.div_ceil(BLOCK_TOKENS), rings: sequences, snapshots: 2 }
}

#[test]
fn sequences_in_one_step_have_the_bits_they_have_alone() {
    let text = golden("tiny-yarn").tokens;
    let lengths = [300, 17, 130, 1, 220];
    let kinds = [
        (Precision::Exact, KvFormat::F32),
        (Precision::Fast, KvFormat::Bf16),
        (Precision::Fast, KvFormat::Q8),
    ];
    for (precision, kv_format) in kinds {
        for chunk_tokens in [1, 7, 64] {
            let model = load(precision, chunk_tokens).with_kv_format(kv_format);
            let mut store = model.new_store(sizes(5), CONTEXT);
            let mut sequences: Vec<Sequence> = (0..5)
                .map(|n| {
                    Sequence::new(&text[n * 20..n * 20 + lengths[n].min(10 * chunk_tokens + 20)], n as u32, 5)
                })
                .collect();
            let pace = |n: usize, step: usize| ((n + step) % 4 * 5).clamp(1, chunk_tokens);
            run(&model, &mut store, &mut sequences, pace);
            for sequence in &sequences {
                assert!(sequence.rows == alone(&model, &sequence.tokens), "chunks of {chunk_tokens}");
            }
        }
    }
}

/// A second sequence goes on from inside the last chunk of the first: shared blocks, a copied one, a
/// snapshot.
#[test]
fn a_sequence_goes_on_from_a_kept_place() {
    let text = golden("tiny-yarn").tokens;
    for kv_format in [KvFormat::Bf16, KvFormat::Q8] {
        goes_on(&text, &load(Precision::Fast, 64).with_kv_format(kv_format));
    }
}

pub fn goes_on(text: &[u32], model: &Model) {
    for place in [5_usize, 127, 129, 230, 250] {
        let mut store = model.new_store(sizes(2), CONTEXT);
        let mut first = [Sequence::new(&text[..260], 0, 2)];
        let last_chunk = place.next_multiple_of(64).min(260);
        first[0].tokens.truncate(last_chunk);
        run(model, &mut store, &mut first, |_, _| 64);
        store.apply(&[KvMove::SaveWindow { ring: 0, position: place, snapshot: 1 }]);
        // The first goes on and its ring moves away.
        first[0].tokens = text[..400].to_vec();
        run(model, &mut store, &mut first, |_, _| 64);
        assert!(first[0].rows == alone(model, &text[..400]));
        let other: Vec<u32> = [&text[..place], &text[300..380]].concat();
        let mut second = Sequence::new(&other, 1, 2);
        let full = place / BLOCK_TOKENS;
        second.blocks[..full].copy_from_slice(&first[0].blocks[..full]);
        store.apply(&[
            KvMove::CopyBlock {
                from: first[0].blocks[full],
                to: second.blocks[full],
                rows: place % BLOCK_TOKENS,
            },
            KvMove::RestoreWindow { snapshot: 1, position: place, ring: 1 },
        ]);
        second.done = place;
        let mut second = [second];
        run(model, &mut store, &mut second, |_, _| 50);
        let expected = alone(model, &other);
        assert!(second[0].rows == expected[place * 320..], "from {place}");
    }
}

#[test]
fn what_is_wrong_with_a_step_is_said_before_it_runs() {
    let model = load(Precision::Fast, 8);
    let mut store = model.new_store(sizes(2), CONTEXT);
    let blocks = [0, 1];
    let good = Segment {
        tokens: &[1, 2, 3],
        first_position: 0,
        kv: SequenceKv { blocks: &blocks, ring: 0 },
        logits: LogitRows::Last,
        adapter: None,
    };
    let mut work = model.new_workspace();
    let mut refusal =
        |segment| model.forward_segments(&[good, segment], &mut store, &mut work).expect_err("is refused");
    let long = [1; 9];
    assert!(matches!(
        refusal(Segment { tokens: &long, ..good }),
        Error::SegmentLength { index: 1, num_tokens: 9, .. }
    ));
    assert!(matches!(refusal(Segment { tokens: &[], ..good }), Error::SegmentLength { .. }));
    assert!(matches!(
        refusal(Segment { first_position: 62, ..good }),
        Error::SegmentPlace { index: 1, blocks: 2, needed: 3 }
    ));
    let outside = SequenceKv { blocks: &[900], ring: 0 };
    assert!(matches!(refusal(Segment { kv: outside, ..good }), Error::SegmentPlace { .. }));
    let outside = SequenceKv { blocks: &blocks, ring: 2 };
    assert!(matches!(refusal(Segment { kv: outside, ..good }), Error::SegmentPlace { .. }));
    assert!(matches!(refusal(Segment { tokens: &[320], ..good }), Error::TokenOutsideVocabulary { .. }));
    let mut foreign = load(Precision::Exact, 8).new_store(sizes(2), CONTEXT);
    let mut work = model.new_workspace();
    assert!(matches!(model.forward_segments(&[good], &mut foreign, &mut work), Err(Error::ForeignCache)));
}

/// int8 keys and values are near bf16 ones: the mean divergence of the golden text. Measured 2026-11-23:
/// 6.4e-3 nats in fast precision and 5.9e-3 in exact, where int8 dense matrices have 3e-2 on the same
/// weights, which are eight times larger than a trained model's. The sums have a fixed order, so the figure
/// does not move; the bound is twice it.
#[test]
fn int8_keys_and_values_are_near_bf16() {
    let text = golden("tiny-yarn").tokens;
    let rows = |kv_format| {
        let model = load(Precision::Fast, 64).with_kv_format(kv_format);
        let batch = Batch { tokens: &text, logits: LogitRows::All };
        model.forward(&batch, &mut model.new_cache(CONTEXT)).expect("runs")
    };
    let (bf16, q8) = (rows(KvFormat::Bf16), rows(KvFormat::Q8));
    let divergence = |index: usize| -> f64 {
        let sums = [log_sum_exp(bf16.row(index)), log_sum_exp(q8.row(index))];
        let terms = bf16.row(index).iter().zip(q8.row(index)).map(|(&p, &q)| {
            let log_p = f64::from(p) - sums[0];
            log_p.exp() * (log_p - (f64::from(q) - sums[1]))
        });
        terms.sum()
    };
    let mean = (0..text.len()).map(divergence).sum::<f64>() / text.len() as f64;
    println!("tiny-yarn: mean KL of q8 keys and values to bf16 {mean:e} nats");
    assert!(mean > 0.0 && mean < 1.3e-2, "{mean}");
}
