//! The twin on a card by CUDA, on the tests' driver: the processor's bits in every mode, the plan to the
//! byte, and a card that is lost, full or hangs.

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_gpu::{Device, Place};
use gptoss_kernels::Pool;
use gptoss_model::{Batch, Error, KvFormat, LoadOptions, LogitRows, Model, StoreSizes, card_memory};

use crate::card::{EXACT, FAST, FAST_Q8, MODES, decode, on, on_cpu, open, rows};
use crate::fake_cuda::FakeCuda;
use crate::golden::{TOLERANCE, golden};
use crate::segments::CONTEXT;

/// Runs a test on the card, opened for it alone.
fn on_the_card(test: impl Fn(&FakeCuda, &Device)) {
    let _alone = crate::devices::one_at_a_time();
    if let Some(fake) = FakeCuda::new() {
        test(&fake, &fake.open().expect("opens"));
        fake.clear();
    }
}

#[test]
fn exact_logits_are_the_official_ones() {
    on_the_card(|_, device| {
        let golden = golden("tiny-yarn");
        let tokens = &golden.tokens[..200];
        let found = rows(&on(device, &open("tiny-yarn"), EXACT), tokens);
        let official = golden.logits.iter().zip(&found).map(|(a, b)| (a - b).abs());
        let apart = official.fold(0.0, f32::max);
        assert!(apart <= TOLERANCE, "largest difference {apart}");
    });
}

/// A prompt that goes by tiles and one that does not, then tokens one by one.
fn logits(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let mut cache = model.new_cache(CONTEXT);
    let mut all = Vec::new();
    for part in [&tokens[..21], &tokens[21..24], &tokens[24..25], &tokens[25..26]] {
        let batch = Batch { tokens: part, logits: LogitRows::All };
        all.extend(model.forward(&batch, &mut cache).expect("runs").rows);
    }
    all
}

fn same_bits(device: &Device, checkpoint: &Checkpoint, options: LoadOptions, kv_format: KvFormat) {
    let tokens: Vec<u32> = (0..26).map(|i| (i * i + 3 * i) % 77).collect();
    let models = [on(device, checkpoint, options), on_cpu(checkpoint, options)];
    let [found, expected] = models.map(|model| logits(&model.with_kv_format(kv_format), &tokens));
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    assert!(bits(&found) == bits(&expected), "{options:?} {kv_format:?}");
}

/// A card that fuses gives what the processor gives, whatever is asked of it.
#[test]
fn logits_are_the_processors_to_the_bit() {
    on_the_card(|_, device| {
        for (options, kv_format) in MODES.into_iter().chain([(FAST_Q8, KvFormat::Q8)]) {
            same_bits(device, &open("tiny-yarn"), options, kv_format);
        }
        let synthetic = Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset");
        same_bits(device, &synthetic, FAST_Q8, KvFormat::Bf16);
        same_bits(device, &open("tiny-yarn-q8_0.gguf"), FAST, KvFormat::Bf16);
    });
}

#[test]
fn what_is_held_is_what_was_planned_and_decoding_adds_nothing() {
    on_the_card(|_, device| {
        let checkpoint = open("tiny-yarn");
        for (options, kv_format) in [(FAST, KvFormat::Bf16), (FAST_Q8, KvFormat::Q8)] {
            let model = on(device, &checkpoint, options).with_kv_format(kv_format);
            let sizes = StoreSizes { blocks: 30, rings: 2, snapshots: 3 };
            let (mut store, mut work) = (model.new_store(sizes, CONTEXT), model.new_workspace());
            decode(&model, &mut store, &mut work, 0);
            let terms =
                card_memory(model.config(), &checkpoint.part_bytes(), sizes, CONTEXT, kv_format, &options);
            let is_host = |name: &str| name.starts_with("host: ");
            let bytes =
                |host| terms.iter().filter(|t| is_host(&t.name) == host).map(|t| t.bytes).sum::<u64>();
            let held = || [Place::Card, Place::Host].map(|place| device.held(place).bytes);
            assert_eq!(held(), [bytes(false), bytes(true)], "{options:?}: {terms:?}");
            (1..5).for_each(|position| decode(&model, &mut store, &mut work, position));
            assert_eq!(held(), [bytes(false), bytes(true)]);
        }
        assert_eq!(device.held(Place::Card).bytes, 0, "everything has gone");
    });
}

/// The next step of a card that is full runs; one that is lost or hangs gives its reason again and again.
#[test]
fn a_card_that_fails_says_so() {
    on_the_card(|fake, _| {
        let checkpoint = open("tiny-yarn");
        let tokens = [1, 2, 3];
        let step = |model: &Model| {
            let batch = Batch { tokens: &tokens, logits: LogitRows::Last };
            model.forward(&batch, &mut model.new_cache(CONTEXT)).map(|logits| logits.rows)
        };
        let load = || {
            let device = fake.open().expect("opens");
            Model::load_on(&device, &checkpoint, &FAST, Pool::new(1), &mut |_, _| {}).expect("loads")
        };
        let expected = step(&load()).expect("runs");
        for call in ["record", "submit", "allocate"] {
            let model = load();
            fake.set(&format!("{call} full 0"));
            let error = step(&model).expect_err("is full");
            assert!(matches!(&error, Error::Card(_)) && !error.ends_device(), "{error}");
            assert!(error.to_string().contains("has no room left while"), "{error}");
            fake.clear();
            assert_eq!(step(&model).expect("runs"), expected, "{call}");
        }
        for faults in ["submit lost 0", "wait lost 0", "wait hang 0"] {
            let model = load();
            fake.set(faults);
            let error = step(&model).expect_err("is of no use");
            assert!(error.ends_device(), "{error}");
            fake.clear();
            assert_eq!(step(&model).expect_err("stays so").to_string(), error.to_string());
        }
        assert_eq!(step(&load()).expect("runs"), expected);
    });
}
