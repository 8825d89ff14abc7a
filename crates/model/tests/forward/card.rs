//! The twin on a card, on a device that runs in software: against the CPU, against the official
//! logits, and against itself, bit for bit.
//!
//! The first device that `GPTOSS_GPU_TEST_DEVICES` names must be there: kernels are proved on all of them,
//! and SwiftShader takes many minutes for a model. Without names those of software are taken, and where there
//! is none the tests say that they are skipped.

use gptoss_checkpoint::{Adapter, Checkpoint, Preset};
use gptoss_gpu::{Device, Place};
use gptoss_kernels::Pool;
use gptoss_model::{
    BLOCK_TOKENS, Batch, DenseMode, Error, KvFormat, KvMove, KvStore, LoadOptions, LogitRows, Model,
    Precision, Segment, SegmentLogits, SequenceKv, StoreSizes, Term, argmax, card_memory, log_sum_exp,
    most_probable,
};

use crate::devices::{one_at_a_time, opened};
use crate::equality::mean_kl;
use crate::golden::{TOLERANCE, golden, testdata};
use crate::segments::{CONTEXT, Sequence, run, sizes};
use crate::tunes::{quantized, tied, wide_parts};
use crate::written::{Layout, SMALL, Shape, write, write_zeros};

pub const FAST: LoadOptions =
    LoadOptions { precision: Precision::Fast, dense: DenseMode::AsStored, expert_slots: None };
pub const FAST_Q8: LoadOptions = LoadOptions { dense: DenseMode::Q8, ..FAST };
pub const EXACT: LoadOptions = LoadOptions { precision: Precision::Exact, ..FAST };
/// Keys and values in every format, and every form of products with them.
pub const MODES: [(LoadOptions, KvFormat); 5] = [
    (EXACT, KvFormat::F32),
    (FAST, KvFormat::F32),
    (FAST, KvFormat::Bf16),
    (FAST, KvFormat::Q8),
    (FAST_Q8, KvFormat::Bf16),
];
/// A shape that the kernels take, with heads that are not whole blocks.
pub const CARD: Shape = Shape { head_dim: 12, window: 7, ..SMALL };

/// Runs a test on every device, each opened for it alone, and no other test beside it.
pub fn on_every_device(test: impl Fn(&Device)) {
    let _alone = one_at_a_time();
    for device in opened(1) {
        eprintln!("on {device:?}");
        test(&device);
    }
}

pub fn on(device: &Device, checkpoint: &Checkpoint, options: LoadOptions) -> Model {
    Model::load_on(device, checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads")
}

pub fn on_cpu(checkpoint: &Checkpoint, options: LoadOptions) -> Model {
    Model::load_with(checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads")
}

pub fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&testdata(name)).expect("opens")
}

pub fn rows(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let batch = Batch { tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(tokens.len().max(CONTEXT))).expect("runs").rows
}

/// Largest difference of a logit.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Tokens of the goldens that are computed here: the drivers are slow. Rings wrap after 191.
const NUM_TOKENS: usize = 230;

/// The processor's own bound. Measured on lavapipe, which rounds a multiply-add twice: 1.2e-5, 3.0e-5 and
/// 8.1e-5.
#[test]
fn exact_logits_are_the_official_ones() {
    on_every_device(|device| {
        for name in ["tiny", "tiny-yarn", "tiny-steep"] {
            let begun = std::time::Instant::now();
            let golden = golden(name);
            let found = rows(&on(device, &open(name), EXACT), &golden.tokens);
            let apart = difference(&found, &golden.logits);
            println!(
                "{name}: largest difference {apart:e}, {} tokens, {:?}",
                golden.tokens.len(),
                begun.elapsed()
            );
            assert!(apart <= TOLERANCE, "{name}: largest difference {apart}");
        }
    });
}

/// The weights of the goldens are random and large: rounding activations to int8 moves single logits by
/// whole units on the CPU too, so the measure is the mean divergence. Measured on lavapipe, in nats, CPU and
/// card from the official logits and card from CPU: tiny 5.8e-3, 4.2e-3, 1.6e-3; tiny-yarn 4.5e-4, 4.5e-4,
/// 3.7e-6; tiny-steep 6.1e-2, 6.1e-2, 0. Bits are those of the device's arithmetic, so the figures stay.
#[test]
fn logits_are_as_near_to_the_official_ones_as_the_processors() {
    on_every_device(|device| {
        for name in ["tiny", "tiny-yarn", "tiny-steep"] {
            let (golden, checkpoint) = (golden(name), open(name));
            let vocab_size = checkpoint.config().vocab_size;
            let tokens = &golden.tokens[..NUM_TOKENS.min(golden.tokens.len())];
            let official = &golden.logits[..tokens.len() * vocab_size];
            let cpu = rows(&on_cpu(&checkpoint, FAST), tokens);
            let card = rows(&on(device, &checkpoint, FAST), tokens);
            let [of_cpu, of_card] = [&cpu, &card].map(|rows| mean_kl(official, rows, vocab_size));
            let apart = mean_kl(&cpu, &card, vocab_size);
            println!("{name}: mean KL of the CPU {of_cpu:e}, of the card {of_card:e}, apart {apart:e} nats");
            println!("{name}: {:e} is the largest difference to the CPU", difference(&card, &cpu));
            assert!(of_card < 1.5 * of_cpu && apart < 4e-3, "{name}: mean KL {of_card} and {apart}");
        }
    });
}

/// Every form of weights: heads that are not whole blocks, dense layers, matrices in Q8_0 and in bf16.
#[test]
fn every_form_of_weights_gives_what_the_processor_gives() {
    let tokens: Vec<u32> = (0..40).map(|i| (i * i + 3 * i) % 77).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let written = |name: &str, shape: &Shape, layout| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).expect("a folder");
        write(&path, shape, layout);
        Checkpoint::open(&path).expect("opens")
    };
    let checkpoints = [
        ("mixture", written("mixture", &CARD, Layout::HuggingFace)),
        ("original", written("original", &CARD, Layout::Original)),
        ("dense", written("dense", &Shape { experts: 0, active: 0, ..CARD }, Layout::HuggingFace)),
        ("synthetic", Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset")),
        ("bf16.gguf", open("tiny-yarn-bf16.gguf")),
        ("q8_0.gguf", open("tiny-yarn-q8_0.gguf")),
    ];
    on_every_device(|device| {
        for (name, checkpoint) in &checkpoints {
            for (options, kv_format) in MODES.into_iter().chain([(FAST_Q8, KvFormat::Q8)]) {
                let cpu = on_cpu(checkpoint, options).with_kv_format(kv_format);
                let card = on(device, checkpoint, options).with_kv_format(kv_format);
                let vocab_size = cpu.config().vocab_size;
                let [expected, found] = [cpu, card].map(|model| rows(&model, &tokens));
                let kl = mean_kl(&expected, &found, vocab_size);
                let apart = difference(&found, &expected);
                println!("{name} {options:?} {kv_format:?}: mean KL {kl:e}, at most {apart:e}");
                let kl_max = if options == EXACT { 1e-8 } else { 1e-3 };
                assert!(kl < kl_max, "{name} {options:?} {kv_format:?}: mean KL {kl}, {apart} apart");
            }
        }
    });
}

fn alone(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let batch = Batch { tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(CONTEXT)).expect("runs").rows
}

#[test]
fn alone_or_batched_whole_or_cut_the_bits_are_the_same() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        for (options, kv_format) in MODES {
            let checkpoint = open("tiny-yarn");
            let model = on(device, &checkpoint, options).with_chunk_tokens(70).with_kv_format(kv_format);
            let mut store = model.new_store(sizes(5), CONTEXT);
            let lengths = [NUM_TOKENS, 17, 130, 1, 90];
            let mut sequences: Vec<Sequence> =
                (0..5).map(|n| Sequence::new(&text[n * 20..][..lengths[n]], n as u32, 5)).collect();
            // Steps of decoding rows beside chunks of prompts, some longer than a pass.
            let pace = |n: usize, step: usize| [1, 0, 70, 7, 1, 33][(n + step) % 6];
            run(&model, &mut store, &mut sequences, pace);
            for sequence in &sequences {
                assert!(sequence.rows == alone(&model, &sequence.tokens), "{options:?} {kv_format:?}");
            }
        }
    });
}

/// A prompt's whole chunk is one pass; a later one is cut by what goes beside it.
#[test]
fn passes_of_many_rows_give_the_bits_of_few() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        let model = on(device, &open("tiny-yarn"), FAST_Q8).with_chunk_tokens(512);
        let mut store = model.new_store(sizes(2), CONTEXT);
        let mut sequences = [Sequence::new(&text[..530], 0, 2), Sequence::new(&text[9..39], 1, 2)];
        run(&model, &mut store, &mut sequences, |n, step| [[512, 0], [18, 8], [1, 7]][step.min(2)][n]);
        for sequence in &sequences {
            // In steps of eight rows, which go no other way than one.
            let mut few = [Sequence::new(&sequence.tokens, 0, 1)];
            let mut store = model.new_store(sizes(1), CONTEXT);
            run(&model, &mut store, &mut few, |_, _| 8);
            assert!(sequence.rows == few[0].rows, "{} tokens", sequence.tokens.len());
        }
    });
}

/// What a card found in a row against the row.
fn check_found(logits: SegmentLogits<'_>, index: usize) {
    let row = logits.row(index);
    let best = most_probable(&row, 30);
    for count in [0, 1, 20, 21] {
        assert_eq!(logits.top(index, count), best[..count]);
    }
    assert_eq!(logits.argmax(index, None), Some(argmax(&row)));
    for place in [0, 7, 19, 20, 28] {
        let mut words = vec![0_u32; row.len().div_ceil(32)];
        for (token, _) in [best[place], best[29]] {
            words[token as usize / 32] |= 1 << (token % 32);
        }
        assert_eq!(logits.argmax(index, Some(&words)), Some(best[place].0), "the best but {place}");
    }
    assert_eq!(logits.argmax(index, Some(&[])), None);
    let apart = (logits.log_sum_exp(index) - log_sum_exp(&row)).abs();
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn the_best_tokens_of_a_row_are_found_wherever_it_stands() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        let model = on(device, &open("tiny-yarn"), FAST);
        let mut store = model.new_store(sizes(1), CONTEXT);
        let blocks: Vec<u32> = (0..CONTEXT.div_ceil(BLOCK_TOKENS) as u32).collect();
        let kv = SequenceKv { blocks: &blocks, ring: 0 };
        let mut work = model.new_workspace();
        let mut sums = Vec::new();
        for chunk in [40, 1] {
            work.clear();
            for (n, tokens) in text[..40].chunks(chunk).enumerate() {
                let first_position = n * chunk;
                let segment = Segment { tokens, first_position, kv, logits: LogitRows::All, adapter: None };
                model.forward_segments(&[segment], &mut store, &mut work).expect("runs");
                let logits = work.logits(n).expect("finite");
                for row in 0..logits.num_rows() {
                    check_found(logits, row);
                    sums.push(logits.log_sum_exp(row).to_bits());
                }
            }
        }
        assert_eq!(sums.len(), 80);
        assert_eq!(sums[..40], sums[40..]);
    });
}

/// Past a span of attention spans are taken apart where rows are few, and in turn where they are many.
#[test]
fn bits_do_not_depend_on_how_attention_takes_its_spans() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        for options in [FAST, EXACT] {
            let model = on(device, &open("tiny-yarn"), options).with_chunk_tokens(64);
            let mut cache = model.new_cache(CONTEXT);
            let mut rows = |tokens: &[u32], logits| {
                let batch = Batch { tokens, logits };
                model.forward(&batch, &mut cache).expect("runs").rows
            };
            rows(&text[..500], LogitRows::None);
            let one_by_one: Vec<f32> =
                text[500..530].chunks(1).flat_map(|token| rows(token, LogitRows::Last)).collect();
            cache.truncate(500).expect("is held");
            let batch = Batch { tokens: &text[500..530], logits: LogitRows::All };
            let at_once = model.forward(&batch, &mut cache).expect("runs").rows;
            assert!(one_by_one == at_once, "{options:?}");
        }
    });
}

/// The bytes of a kept place, in another store.
fn moved(model: &Model, from: &KvStore, first: &Sequence, place: usize) -> (KvStore, Vec<u32>) {
    let mut store = model.new_store(sizes(2), CONTEXT);
    let full = place / BLOCK_TOKENS;
    let blocks: Vec<u32> = (0..CONTEXT.div_ceil(BLOCK_TOKENS) as u32).map(|block| 2 * block).collect();
    for (from_block, to_block) in first.blocks.iter().zip(&blocks).take(full) {
        let bytes = from.block_bytes(*from_block);
        assert!(!bytes.is_empty() && store.set_block(*to_block, &bytes));
        assert!(!store.set_block(*to_block, &bytes[1..]), "a length of something else");
    }
    let bytes = from.place_bytes(1, place, Some(first.blocks[full]));
    assert!(!bytes.is_empty() && store.set_place(0, place, Some(blocks[full]), &bytes));
    store.apply(&[KvMove::RestoreWindow { snapshot: 0, position: place, ring: 1 }]);
    (store, blocks)
}

#[test]
fn a_sequence_goes_on_from_a_kept_place_and_from_its_bytes() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        for kv_format in [KvFormat::F32, KvFormat::Bf16, KvFormat::Q8] {
            let checkpoint = open("tiny-yarn");
            let model = on(device, &checkpoint, FAST).with_chunk_tokens(64).with_kv_format(kv_format);
            for place in [5_usize, 129] {
                let mut store = model.new_store(sizes(2), CONTEXT);
                let mut first = [Sequence::new(&text[..place.next_multiple_of(64)], 0, 2)];
                run(&model, &mut store, &mut first, |_, _| 64);
                store.apply(&[KvMove::SaveWindow { ring: 0, position: place, snapshot: 1 }]);
                let (mut other_store, blocks) = moved(&model, &store, &first[0], place);
                let other: Vec<u32> = [&text[..place], &text[300..340]].concat();
                let expected = alone(&model, &other);
                let full = place / BLOCK_TOKENS;
                let mut second = Sequence::new(&other, 1, 2);
                second.blocks[..full].copy_from_slice(&first[0].blocks[..full]);
                store.apply(&[
                    KvMove::CopyBlock {
                        from: first[0].blocks[full],
                        to: second.blocks[full],
                        rows: place % BLOCK_TOKENS,
                    },
                    KvMove::RestoreWindow { snapshot: 1, position: place, ring: 1 },
                ]);
                let mut third = Sequence::new(&other, 1, 2);
                third.blocks = blocks;
                for (mut sequence, store) in [(second, &mut store), (third, &mut other_store)] {
                    sequence.done = place;
                    let mut sequences = [sequence];
                    run(&model, store, &mut sequences, |_, _| 30);
                    assert!(sequences[0].rows == expected[place * 320..], "{kv_format:?} from {place}");
                }
            }
        }
    });
}

#[test]
fn random_keys_and_values_are_those_that_the_processor_writes() {
    on_every_device(|device| {
        for kv_format in [KvFormat::F32, KvFormat::Bf16, KvFormat::Q8] {
            let checkpoint = open("tiny");
            let models = [on(device, &checkpoint, FAST), on_cpu(&checkpoint, FAST)];
            let [card, cpu] = models.map(|model| {
                let model = model.with_kv_format(kv_format);
                let mut store = model.new_store(sizes(1), CONTEXT);
                let blocks: Vec<u32> = (0..5).collect();
                store.fill_random(&SequenceKv { blocks: &blocks, ring: 0 }, 0..150, 3);
                store.apply(&[KvMove::SaveWindow { ring: 0, position: 150, snapshot: 1 }]);
                (store.block_bytes(2), store.place_bytes(1, 150, Some(4)))
            });
            assert!(card == cpu, "{kv_format:?}");
        }
    });
}

/// A step of one sequence's next token.
pub fn decode(model: &Model, store: &mut KvStore, work: &mut gptoss_model::Workspace, position: usize) {
    let blocks: Vec<u32> = (0..10).collect();
    let kv = SequenceKv { blocks: &blocks, ring: 0 };
    let logits = LogitRows::Last;
    let segment = Segment { tokens: &[7], first_position: position, kv, logits, adapter: None };
    work.clear();
    model.forward_segments(&[segment], store, work).expect("a legal step");
}

#[test]
fn what_is_held_is_what_was_planned_and_decoding_adds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &CARD, Layout::HuggingFace);
    let tunes = tempfile::tempdir().expect("a folder");
    let checkpoints = [
        Checkpoint::open(folder.path()).expect("opens"),
        Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset"),
        open("tiny-yarn"),
        open("tiny-yarn-q8_0.gguf"),
        wide_parts(&tunes.path().join("wide"), true),
        tied(&tunes.path().join("tied"), true),
        quantized(&tunes.path().join("quantized.gguf")),
    ];
    on_every_device(|device| {
        for checkpoint in &checkpoints {
            for (options, kv_format) in [
                (EXACT, KvFormat::F32),
                (FAST, KvFormat::Bf16),
                (FAST_Q8, KvFormat::Q8),
                (FAST_Q8, KvFormat::Bf16),
            ] {
                let model = on(device, checkpoint, options).with_kv_format(kv_format);
                let sizes = StoreSizes { blocks: 30, rings: 2, snapshots: 3 };
                let mut store = model.new_store(sizes, CONTEXT);
                let mut work = model.new_workspace();
                decode(&model, &mut store, &mut work, 0);
                let parts = checkpoint.part_bytes();
                let terms = card_memory(model.config(), &parts, sizes, CONTEXT, kv_format, &options);
                let (host, card): (Vec<_>, Vec<_>) =
                    terms.iter().partition(|term| term.name.starts_with("host: "));
                let [host, card] = [host, card].map(|terms| terms.iter().map(|term| term.bytes).sum::<u64>());
                assert_eq!(device.held(Place::Card).bytes, card, "{options:?}: {terms:?}");
                assert_eq!(device.held(Place::Host).bytes, host, "{options:?}: {terms:?}");
                (1..40).for_each(|position| decode(&model, &mut store, &mut work, position));
                let after = [Place::Card, Place::Host].map(|place| device.held(place).bytes);
                assert_eq!(after, [card, host]);
            }
        }
        assert_eq!(device.held(Place::Card).bytes, 0, "everything has gone");
    });
}

/// The widths of the published models, with as many layers, experts and ids as a buffer of lavapipe's holds.
const WIDE: Shape = Shape {
    layers: "wf",
    hidden: 2880,
    inner: 2880,
    heads: [64, 8],
    head_dim: 64,
    experts: 8,
    active: 4,
    vocab: 20_000,
    window: 128,
    original_context: 4096,
    ..SMALL
};

/// What `inspect` and `serve` print is what is taken, to the byte, on every driver, also with real widths.
#[test]
fn the_plan_of_real_widths_is_what_is_held() {
    let folder = tempfile::tempdir().expect("a folder");
    write_zeros(folder.path(), &WIDE);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let _alone = one_at_a_time();
    for device in opened(usize::MAX) {
        for (options, kv_format) in [(FAST, KvFormat::Bf16), (FAST_Q8, KvFormat::Q8)] {
            let model = on(&device, &checkpoint, options).with_kv_format(kv_format);
            let (context, sizes) = (4096, StoreSizes { blocks: 300, rings: 3, snapshots: 5 });
            let mut store = model.new_store(sizes, context);
            let mut work = model.new_workspace();
            decode(&model, &mut store, &mut work, 0);
            let parts = checkpoint.part_bytes();
            let terms = card_memory(model.config(), &parts, sizes, context, kv_format, &options);
            let of_host = |term: &&Term| term.name.starts_with("host: ");
            let host: u64 = terms.iter().filter(of_host).map(|term| term.bytes).sum();
            let all: u64 = terms.iter().map(|term| term.bytes).sum();
            let held = [Place::Card, Place::Host].map(|place| device.held(place));
            println!("{device:?}: {} MB held", held[0].bytes / 1_000_000);
            assert_eq!(held.map(|held| held.bytes), [all - host, host], "{options:?}: {terms:?}");
            // What a driver takes beside the buffers' own sizes is little.
            assert!(held[0].reserved_bytes < held[0].bytes + held[0].num_buffers * 65_536, "{held:?}");
        }
        assert_eq!(device.held(Place::Card).bytes, 0, "everything has gone");
    }
}

#[test]
fn what_a_card_cannot_do_is_said_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let [small, bf16] = ["small", "bf16"].map(|name| folder.path().join(name));
    for (path, shape, layout) in [(&small, &SMALL, Layout::HuggingFace), (&bf16, &CARD, Layout::Bf16)] {
        std::fs::create_dir(path).expect("a folder");
        write(path, shape, layout);
    }
    on_every_device(|device| {
        let refusal = |checkpoint: &Checkpoint, options: LoadOptions| match Model::load_on(
            device,
            checkpoint,
            &options,
            Pool::new(1),
            &mut |_, _| {},
        ) {
            Err(error @ Error::NotOnCard { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        };
        let opened = |path| Checkpoint::open(path).expect("opens");
        let check = |found: String, expected: &str| assert!(found.contains(expected), "{found}");
        check(refusal(&opened(&small), FAST), "heads of 10 numbers");
        check(refusal(&opened(&bf16), FAST), "experts in bf16");
        let rounded = LoadOptions { precision: Precision::Exact, ..FAST_Q8 };
        let outcome = Model::load_on(device, &open("tiny"), &rounded, Pool::new(1), &mut |_, _| {});
        assert!(matches!(outcome.map(|_| ()), Err(Error::RoundedExact)));
        // What cannot be refused at once is said by the step.
        let model = on(device, &open("tiny"), FAST);
        let refused = model.load_adapter(Adapter::default()).expect_err("is refused");
        check(refused.to_string(), "adapters run on the CPU for now: --device cpu");
        let sizes = StoreSizes { blocks: 1 << 26, rings: 1, snapshots: 0 };
        let mut store = model.new_store(sizes, CONTEXT);
        assert!(store.block_bytes(0).is_empty() && !store.set_block(0, &[1]));
        let kv = SequenceKv { blocks: &[0], ring: 0 };
        let logits = LogitRows::Last;
        let segment = Segment { tokens: &[7], first_position: 0, kv, logits, adapter: None };
        let mut work = model.new_workspace();
        let outcome = model.forward_segments(&[segment], &mut store, &mut work);
        assert_eq!(work.num_segments(), 0);
        check(outcome.expect_err("is refused").to_string(), "keys has");
    });
}

#[test]
fn stores_and_workspaces_of_the_processor_are_refused() {
    on_every_device(|device| {
        let checkpoint = open("tiny");
        let (card, cpu) = (on(device, &checkpoint, FAST), on_cpu(&checkpoint, FAST));
        let kv = SequenceKv { blocks: &[0], ring: 0 };
        let logits = LogitRows::Last;
        let segment = Segment { tokens: &[7], first_position: 0, kv, logits, adapter: None };
        let [of_card, of_cpu] =
            [&card, &cpu].map(|model| (model.new_store(sizes(1), CONTEXT), model.new_workspace()));
        let (mut card_store, mut card_work) = of_card;
        let (mut cpu_store, mut cpu_work) = of_cpu;
        let check = |model: &Model, store: &mut KvStore, work: &mut gptoss_model::Workspace| {
            let refused = model.forward_segments(&[segment], store, work);
            assert!(matches!(refused, Err(Error::ForeignCache)), "{refused:?}");
        };
        check(&card, &mut cpu_store, &mut card_work);
        check(&card, &mut card_store, &mut cpu_work);
        check(&cpu, &mut card_store, &mut cpu_work);
    });
}
