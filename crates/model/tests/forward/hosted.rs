//! A card that holds only some experts: the bits of one that holds all, alone and batched, with any number of
//! slots; what is counted, what is planned, and what is refused.

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_gpu::{Device, Place};
use gptoss_kernels::Pool;
use gptoss_model::{
    Batch, Error, ExpertHome, KvFormat, LoadOptions, LogitRows, Model, ModelConfig, StoreSizes, card_bytes,
    plan_card,
};

use crate::card::{CARD, FAST, FAST_Q8, decode, on, on_every_device, open};
use crate::golden::golden;
use crate::segments::{CONTEXT, Sequence, run, sizes};
use crate::written::{Layout, write};

fn with_slots(device: &Device, checkpoint: &Checkpoint, options: LoadOptions, slots: usize) -> Model {
    on(device, checkpoint, LoadOptions { expert_slots: Some(slots), ..options })
}

/// All rows of logits: a prompt longer than a pass, then token by token.
fn rows(model: &Model) -> Vec<f32> {
    let tokens: Vec<u32> = (0..90).map(|i| (i * i + 3 * i) % 77).collect();
    let mut cache = model.new_cache(CONTEXT);
    let mut step =
        |tokens| model.forward(&Batch { tokens, logits: LogitRows::All }, &mut cache).expect("runs").rows;
    let mut found = step(&tokens[..80]);
    tokens[80..].iter().for_each(|token| found.extend(step(std::slice::from_ref(token))));
    found
}

#[test]
fn any_number_of_experts_on_the_card_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &CARD, Layout::HuggingFace);
    let checkpoints = [
        ("mixture", Checkpoint::open(folder.path()).expect("opens"), vec![3, 4, 8]),
        // A quarter, three for two layers, a half, and all but one.
        ("tiny", open("tiny"), vec![8, 16, 31]),
        ("tiny-yarn", open("tiny-yarn"), vec![2, 3, 4, 7]),
        ("synthetic", Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset"), vec![4, 17]),
        ("bf16.gguf", open("tiny-yarn-bf16.gguf"), vec![2, 5]),
        ("demo", open("../demo/model"), vec![8, 16, 24]),
    ];
    on_every_device(|device| {
        for (name, checkpoint, slots) in &checkpoints {
            let expected = rows(&on(device, checkpoint, FAST));
            let all = checkpoint.config().num_hidden_layers * checkpoint.config().num_local_experts;
            for slots in slots.iter().copied().chain([all]) {
                let model = with_slots(device, checkpoint, FAST, slots);
                assert!(rows(&model) == expected, "{name} with {slots} of {all}");
                let Some(traffic) = model.expert_traffic() else {
                    assert_eq!(slots, all, "{name}");
                    continue;
                };
                println!("{name}, {slots} of {all}: {traffic:?}");
                assert_eq!((traffic.slots, traffic.experts, traffic.home), (slots, all, ExpertHome::Host));
                assert!(traffic.misses > 0 && traffic.bytes_read > 0, "{name}: {traffic:?}");
                assert_eq!(traffic.bytes_read % traffic.misses, 0, "whole experts, and none twice");
            }
        }
    });
}

#[test]
fn alone_or_batched_the_bits_are_those_of_a_card_that_holds_all() {
    let text = golden("tiny-yarn").tokens;
    on_every_device(|device| {
        for kv_format in [KvFormat::Bf16, KvFormat::Q8] {
            let checkpoint = open("tiny-yarn");
            let made = |model: Model| model.with_chunk_tokens(70).with_kv_format(kv_format);
            let whole = made(on(device, &checkpoint, FAST_Q8));
            let model = made(with_slots(device, &checkpoint, FAST_Q8, 3));
            let mut store = model.new_store(sizes(4), CONTEXT);
            let lengths = [150, 17, 80, 1];
            let mut sequences: Vec<Sequence> =
                (0..4).map(|n| Sequence::new(&text[n * 20..][..lengths[n]], n as u32, 4)).collect();
            run(&model, &mut store, &mut sequences, |n, step| [1, 0, 70, 7, 1, 33][(n + step) % 6]);
            for sequence in &sequences {
                let batch = Batch { tokens: &sequence.tokens, logits: LogitRows::All };
                let alone = whole.forward(&batch, &mut whole.new_cache(CONTEXT)).expect("runs").rows;
                assert!(sequence.rows == alone, "{kv_format:?}");
            }
        }
    });
}

/// Of a token's experts in each layer, those in the slots are hits and the others misses; rows of a pass that
/// are nobody's ask for nothing.
#[test]
fn each_expert_that_a_layer_asks_for_is_counted_once() {
    on_every_device(|device| {
        let checkpoint = open("tiny");
        let model = with_slots(device, &checkpoint, FAST, 31);
        let mut cache = model.new_cache(CONTEXT);
        // Three rows of four.
        let batch = Batch { tokens: &[7, 7, 7], logits: LogitRows::Last };
        model.forward(&batch, &mut cache).expect("runs");
        let first = model.expert_traffic().expect("counted");
        let asked = first.hits + first.misses;
        // Four layers in which three tokens take four of eight experts each.
        assert!((16..=32).contains(&asked), "{first:?}");
        let cache = &mut model.new_cache(CONTEXT);
        model.forward(&Batch { tokens: &[7], logits: LogitRows::Last }, cache).expect("runs");
        let one = model.expert_traffic().expect("counted").since(&first);
        assert_eq!(one.hits + one.misses, 16, "{one:?}");
        assert_eq!(one.bytes_read, one.misses * (first.bytes_read / first.misses.max(1)), "{one:?}");
    });
}

fn plan(checkpoint: &Checkpoint, sizes: StoreSizes, budget: u64) -> Result<gptoss_model::MemoryPlan, Error> {
    let config = ModelConfig::from_checkpoint(checkpoint.config()).expect("a config");
    plan_card(&config, &checkpoint.part_bytes(), (sizes, CONTEXT), KvFormat::Bf16, &FAST_Q8, budget)
}

#[test]
fn a_plan_takes_as_many_experts_as_fit_and_is_what_is_held() {
    let sizes = StoreSizes { blocks: 30, rings: 2, snapshots: 3 };
    let checkpoints =
        [open("tiny"), open("tiny-yarn"), Checkpoint::synthetic(Preset::Tiny, 0, None).expect("a preset")];
    on_every_device(|device| {
        for checkpoint in &checkpoints {
            let Err(Error::CardTooSmall { smallest, whole, budget: 0 }) = plan(checkpoint, sizes, 0) else {
                panic!("nothing holds nothing")
            };
            assert_eq!(plan(checkpoint, sizes, whole).expect("fits").expert_slots, None);
            assert!(matches!(plan(checkpoint, sizes, smallest - 1), Err(Error::CardTooSmall { .. })));
            let least = plan(checkpoint, sizes, smallest).expect("fits");
            assert_eq!(least.expert_slots, Some(checkpoint.config().num_hidden_layers));
            let mut last = 0;
            for budget in [smallest, smallest.midpoint(whole), whole - 1] {
                let planned = plan(checkpoint, sizes, budget).expect("fits");
                let slots = planned.expert_slots.expect("not all fit");
                assert!(slots > last && card_bytes(&planned.terms) <= budget, "{slots} {planned:?}");
                last = slots;
                let model = with_slots(device, checkpoint, FAST_Q8, slots);
                let mut store = model.new_store(sizes, CONTEXT);
                let mut work = model.new_workspace();
                (0..3).for_each(|position| decode(&model, &mut store, &mut work, position));
                let [card, host] = [Place::Card, Place::Host].map(|place| device.held(place).bytes);
                assert_eq!(card, card_bytes(&planned.terms), "{planned:?}");
                assert_eq!(host, planned.bytes() - card, "{planned:?}");
            }
        }
    });
}

#[test]
fn a_dense_model_is_on_the_card_whole_or_not_at_all() {
    let checkpoint = Checkpoint::synthetic(Preset::GptOss15b, 0, None).expect("a preset");
    let sizes = StoreSizes { blocks: 1, rings: 1, snapshots: 0 };
    let Err(Error::CardTooSmall { smallest, whole, .. }) = plan(&checkpoint, sizes, 1 << 30) else {
        panic!("1 GiB does not hold it")
    };
    assert_eq!(smallest, whole);
}

/// The published models on cards that do not hold them: everything but experts, and no room for one more.
#[test]
fn published_models_fit_cards_that_do_not_hold_them() {
    const EXPERT_BYTES: u64 = 13_253_760;
    for (preset, gigabytes) in
        [(Preset::GptOss20b, 16), (Preset::GptOss20b, 8), (Preset::GptOss120b, 24), (Preset::GptOss120b, 48)]
    {
        let checkpoint = Checkpoint::synthetic(preset, 0, None).expect("a preset");
        let sizes = StoreSizes { blocks: 513, rings: 1, snapshots: 0 };
        let budget = gigabytes * 1_000_000_000;
        let planned = plan(&checkpoint, sizes, budget).expect("fits");
        let bytes = card_bytes(&planned.terms);
        println!("{preset} in {gigabytes} GB: {:?} experts, {bytes} bytes", planned.expert_slots);
        assert!(bytes <= budget, "{preset} in {gigabytes} GB: {bytes}");
        match planned.expert_slots {
            Some(_) => assert!(budget - bytes < EXPERT_BYTES + 96, "{preset} in {gigabytes} GB: {bytes}"),
            None => assert_eq!((preset, gigabytes), (Preset::GptOss20b, 16)),
        }
    }
}

#[test]
fn a_card_that_cannot_hold_one_expert_a_layer_is_refused() {
    on_every_device(|device| {
        let options = LoadOptions { expert_slots: Some(3), ..FAST };
        let refused = Model::load_on(device, &open("tiny"), &options, Pool::new(1), &mut |_, _| {});
        let told = refused.err().expect("is refused").to_string();
        assert!(told.contains("3 experts at a time in 4 layers") && told.contains("--gpu-memory"), "{told}");
    });
}
