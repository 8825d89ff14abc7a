//! Runs over checkpoints: layouts, states on disk, what stops a run, what comes of it.

use std::fs;
use std::path::Path;

use gptoss_checkpoint::{Checkpoint, Preset, SynthRequest, WriteLayout, write_synthetic};
use gptoss_kernels::Pool;
use gptoss_train::{
    Course, Error, LowRankTuning, Network, OptimizerSettings, Rounding, RunIdentity, Text, Trained, Trainer,
    Tuning, Weights, base_checksum, data_checksum, has_state, write_folder,
};
use serde_json::{Value, json};

const SETTINGS: OptimizerSettings =
    OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
const RATE: f64 = 1e-2;
const STEPS: u64 = 6;

/// Texts of a few tokens; the first two weigh nothing.
struct Data(Vec<(Vec<u32>, Vec<f32>)>);

impl Data {
    fn new(count: u32) -> Data {
        let text = |n: u32| {
            let tokens: Vec<u32> = (0..6 + n % 5).map(|i| (n * 37 + i * 11) % 500).collect();
            let weights = (0..tokens.len()).map(|i| if i < 2 { 0.0 } else { 1.0 }).collect();
            (tokens, weights)
        };
        Data((0..count).map(text).collect())
    }

    fn texts(&self) -> Vec<Text<'_>> {
        self.0.iter().map(|(tokens, weights)| Text { tokens, weights }).collect()
    }
}

fn tiny() -> Checkpoint {
    Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset")
}

fn low_rank() -> Tuning {
    Tuning::LowRank(LowRankTuning {
        attention_rank: Some(2),
        expert_rank: Some(1),
        scale: 2.0,
        tokens: vec![3, 37, 74],
    })
}

fn identity(data: &Data) -> RunIdentity {
    let recipe = json!({"learning_rate": RATE}).as_object().cloned().expect("an object");
    let base = base_checksum(&tiny()).expect("a checksum");
    RunIdentity { data: data_checksum(data.texts()), base, recipe }
}

fn trainer<'a>(pool: &'a Pool, network: &'a Network<'a>, trained: &Trained) -> Trainer<'a> {
    Trainer::new(pool, network, trained.clone(), SETTINGS, 16)
}

/// Goes on until `steps`, with a state every second step.
fn go(trainer: &mut Trainer<'_>, data: &Data, steps: u64, folder: &Path) -> Vec<f64> {
    let texts = data.texts();
    let course = Course { texts: vec![1; texts.len()], epochs: 9, batch: 4, seed: 1, steps_max: STEPS };
    let mut losses = Vec::new();
    while trainer.steps() < steps {
        let chosen: Vec<Text<'_>> =
            course.texts_of(trainer.steps()).into_iter().map(|text| texts[text]).collect();
        losses.push(trainer.step(&chosen, RATE).expect("finite").loss);
        if trainer.steps().is_multiple_of(2) {
            trainer.save(folder, &identity(data)).expect("saves");
        }
    }
    losses
}

fn state(folder: &Path, step: u64) -> Vec<u8> {
    fs::read(folder.join(format!("step-{step:08}/state.safetensors"))).expect("a state")
}

#[test]
fn a_run_that_goes_on_ends_with_the_same_bytes() {
    let (checkpoint, data, pool) = (tiny(), Data::new(7), Pool::new(2));
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, begin) = weights.network(&low_rank(), 1);
    let whole = tempfile::tempdir().expect("a folder");
    let losses = go(&mut trainer(&pool, &network, &begin), &data, STEPS, whole.path());
    assert!(losses[5] < losses[0], "{losses:?}");
    let mut kept: Vec<_> =
        fs::read_dir(whole.path()).expect("a folder").map(|e| e.expect("one").file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["step-00000004", "step-00000006"]);
    for killed in 0..STEPS {
        let folder = tempfile::tempdir().expect("a folder");
        go(&mut trainer(&pool, &network, &begin), &data, killed, folder.path());
        // What a kill in the middle of a save leaves.
        fs::create_dir_all(folder.path().join("step-00000006.partial")).expect("a folder");
        let mut again = trainer(&pool, &network, &begin);
        let there = again.restore(folder.path(), &identity(&data)).expect("restores");
        assert_eq!((there, again.steps()), (killed >= 2, killed / 2 * 2), "killed after {killed}");
        go(&mut again, &data, STEPS, folder.path());
        assert_eq!(state(folder.path(), STEPS), state(whole.path(), STEPS), "killed after {killed}");
    }
}

#[test]
fn another_run_is_refused_and_a_damaged_state_is_passed_over() {
    let (checkpoint, data, pool) = (tiny(), Data::new(5), Pool::new(1));
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, begin) = weights.network(&low_rank(), 1);
    let folder = tempfile::tempdir().expect("a folder");
    assert!(!has_state(folder.path()).expect("a folder"));
    go(&mut trainer(&pool, &network, &begin), &data, 4, folder.path());
    assert!(has_state(folder.path()).expect("a folder"));
    let restore = |run: &RunIdentity| {
        let mut trainer = trainer(&pool, &network, &begin);
        trainer.restore(folder.path(), run).map(|there| (there, trainer.steps()))
    };
    let mine = identity(&data);
    assert_eq!(restore(&mine).expect("mine"), (true, 4));
    let refused = |run: RunIdentity, words: &[&str]| {
        let error = restore(&run).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(RunIdentity { data: data_checksum(Data::new(4).texts()), ..mine.clone() }, &["another data"]);
    refused(RunIdentity { base: "ab12".to_string(), ..mine.clone() }, &["another base", "ab12"]);
    let mut recipe = mine.recipe.clone();
    recipe.insert("learning_rate".to_string(), json!(0.5));
    refused(
        RunIdentity { recipe, ..mine.clone() },
        &["another recipe", "learning_rate was 0.01, now it is 0.5"],
    );
    let mut recipe = mine.recipe.clone();
    recipe.insert("rank".to_string(), json!(8));
    refused(RunIdentity { recipe, ..mine.clone() }, &["another recipe", "rank was nothing, now it is 8"]);
    let newest = folder.path().join("step-00000004");
    fs::write(newest.join("state.safetensors"), &state(folder.path(), 4)[..1000]).expect("writes");
    assert_eq!(restore(&mine).expect("the one before"), (true, 2));
    for step in [2, 4] {
        let record = folder.path().join(format!("step-{step:08}/state.json"));
        let mut value: Value = serde_json::from_slice(&fs::read(&record).expect("reads")).expect("JSON");
        value["version"] = json!(99);
        fs::write(&record, value.to_string()).expect("writes");
    }
    let error = restore(&mine).expect_err("no state can be read").to_string();
    assert!(error.contains("its version is 99"), "{error}");
}

#[test]
fn a_number_that_is_not_finite_stops_the_run_before_it() {
    let (checkpoint, pool) = (tiny(), Pool::new(1));
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, begin) = weights.network(&low_rank(), 1);
    let good = Data::new(3);
    let mut bad = Data::new(3);
    bad.0[1].1[4] = f32::NAN;
    let mut run = trainer(&pool, &network, &begin);
    run.step(&good.texts(), RATE).expect("finite");
    let loss = run.loss(&good.texts());
    let error = run.step(&bad.texts(), RATE).expect_err("not finite");
    assert!(matches!(error, Error::NotFinite { what: "loss", step: 2 }), "{error}");
    assert_eq!((run.steps(), run.loss(&good.texts()), run.is_finite()), (1, loss, true), "nothing moved");
    let error = run.step(&good.texts(), 1e300).expect_err("not finite");
    assert!(matches!(error, Error::NotFinite { what: "update", .. }), "{error}");
    assert!(!run.is_finite());
}

#[test]
fn every_layout_is_the_same_network() {
    let (data, pool) = (Data::new(4), Pool::new(1));
    let losses = |checkpoint: &Checkpoint| {
        let weights = Weights::open(checkpoint, None).expect("opens");
        let (network, begin) = weights.network(&low_rank(), 1);
        let mut run = trainer(&pool, &network, &begin);
        let first = run.step(&data.texts(), RATE).expect("finite");
        // The loss without a gradient is the same.
        let alone = trainer(&pool, &network, &begin).loss(&data.texts());
        assert_eq!((alone.sum, alone.accuracy()), (first.loss, first.accuracy));
        (first.loss, first.gradient_norm, run.loss(&data.texts()).sum)
    };
    let expected = losses(&tiny());
    for layout in [WriteLayout::Hf, WriteLayout::Original, WriteLayout::Bf16] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("model");
        let request =
            SynthRequest { preset: Preset::Tiny, seed: 5, layers: Some(2), layout, folder: folder.clone() };
        write_synthetic(&request, &mut |_, _| {}).expect("writes");
        assert_eq!(losses(&Checkpoint::open(&folder).expect("opens")), expected, "{layout:?}");
    }
}

#[test]
fn a_model_trained_in_full_is_written_and_opened() {
    let (checkpoint, data, pool) = (tiny(), Data::new(4), Pool::new(2));
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, begin) = weights.network(&Tuning::Full, 0);
    let loss_of = |checkpoint: &Checkpoint| {
        let weights = Weights::open(checkpoint, None).expect("opens");
        let (network, begin) = weights.network(&Tuning::Full, 0);
        trainer(&pool, &network, &begin).loss(&data.texts()).sum
    };
    // Nothing was trained: nothing is rounded away.
    let folder = tempfile::tempdir().expect("a folder");
    let rounding = write_folder(folder.path(), &checkpoint, &network, &begin).expect("writes");
    assert_eq!(rounding, Rounding { bf16: 0.0, mxfp4: Some(0.0) });
    let written = Checkpoint::open(folder.path()).expect("opens");
    assert_eq!(loss_of(&written), loss_of(&checkpoint));
    let mut run = trainer(&pool, &network, &begin);
    let losses: Vec<f64> = (0..8).map(|_| run.step(&data.texts(), 2e-3).expect("finite").loss).collect();
    assert!(losses[7] < 0.9 * losses[0], "{losses:?}");
    let (targets, likeliest) = (run.loss(&data.texts()).targets, run.loss(&data.texts()).likeliest);
    let all: usize = data.0.iter().map(|(tokens, _)| tokens.len() - 2).sum();
    assert!(targets == all && 2 * likeliest > all, "{likeliest} of {targets} targets are learned");
    let tuned = run.loss(&data.texts()).sum;
    let folder = tempfile::tempdir().expect("a folder");
    let rounding = write_folder(folder.path(), &checkpoint, &network, &run.into_trained()).expect("writes");
    assert!(rounding.bf16 < 0.002 && rounding.mxfp4.is_some_and(|lost| lost < 0.2), "{rounding:?}");
    let written = loss_of(&Checkpoint::open(folder.path()).expect("opens"));
    assert!((written - tuned).abs() < 0.25 * (losses[0] - tuned), "{written} was {tuned} before rounding");
}

#[test]
fn pairs_become_an_adapter_by_site() {
    use gptoss_checkpoint::AdapterSite;
    let checkpoint = tiny();
    let weights = Weights::open(&checkpoint, None).expect("opens");
    let (network, trained) = weights.network(&low_rank(), 1);
    let adapter = network.adapter(&trained);
    let config = checkpoint.config();
    assert_eq!(adapter.pairs.len(), 2 * (4 + 2 * config.num_local_experts));
    let pair = &adapter.pairs[&AdapterSite::Down { layer: 1, expert: 2 }];
    assert_eq!((pair.rank, pair.scale), (1, 2.0));
    assert_eq!((pair.a.len(), pair.b.len()), (config.intermediate_size, config.hidden_size));
    let bound = 1.0 / (config.intermediate_size as f32).sqrt();
    assert!(pair.a.iter().all(|a| a.abs() <= bound) && pair.a.iter().any(|a| a.abs() > bound / 4.0));
    assert!(adapter.pairs.values().all(|pair| pair.b.iter().all(|b| *b == 0.0)));
    assert_eq!(adapter.rows.tokens, [3, 37, 74]);
    assert_eq!(adapter.rows.embedding.len(), 3 * config.hidden_size);
    // The same seed draws the same pairs, another one others.
    assert_eq!(weights.network(&low_rank(), 1).0.adapter(&trained), adapter);
    let (other, numbers) = weights.network(&low_rank(), 2);
    assert!(other.adapter(&numbers).pairs != adapter.pairs);
}
