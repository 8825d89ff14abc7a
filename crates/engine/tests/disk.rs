//! A long prompt is computed once on a machine: what an engine kept comes back to the next one, bit for bit.

mod adapted;
mod device;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{Completion, Engine, PrefixDisk, Request, Tenant};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

fn model(precision: Precision) -> Arc<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    Arc::new(device::load(&checkpoint, precision, Pool::new(2)))
}

fn request() -> Request {
    let prompt = (0..700_u32).map(|i| (i * i + 3 * i) % 311).collect();
    Request { prompt, max_new_tokens: 20, cache_points: vec![400], ..Request::default() }
}

fn run(engine: &mut Engine, request: Request) -> (Vec<u32>, Vec<u64>, usize) {
    let Completion { tokens, logprobs, usage, .. } =
        engine.generate(request, &AtomicBool::new(false), &mut |_| {}).expect("runs");
    (tokens, logprobs.into_iter().map(f64::to_bits).collect(), usage.cached_tokens)
}

#[test]
fn a_prompt_is_computed_once_on_a_machine() {
    for precision in [Precision::Fast, Precision::Exact] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = model(precision);
        let engine = |name: &str| {
            let disk = PrefixDisk::open(folder.path(), name, 1 << 30).expect("a folder");
            Engine::new(Arc::clone(&model), 1024).with_disk(disk)
        };
        let expected = run(&mut Engine::new(Arc::clone(&model), 1024), request());
        // Dropping an engine writes what it still has to write.
        assert_eq!(run(&mut engine("m"), Request { is_private: true, ..request() }), expected);
        assert_eq!(run(&mut engine("m"), request()), expected, "nothing private came back");
        let again = run(&mut engine("m"), request());
        assert_eq!((&again.0, &again.1, again.2), (&expected.0, &expected.1, 699));
        let parted = || {
            let mut request = request();
            request.prompt[500..].fill(9);
            request
        };
        let expected = run(&mut Engine::new(Arc::clone(&model), 1024), parted());
        let part = run(&mut engine("m"), parted());
        assert_eq!((&part.0, &part.1, part.2), (&expected.0, &expected.1, 400), "up to the boundary");
        assert_eq!(run(&mut engine("other"), parted()), expected, "another model's is not found");
        let foreign = Request { tenant: Tenant("b".into()), ..parted() };
        assert_eq!(run(&mut engine("m"), foreign), expected, "nor another tenant's");
    }
}

/// What was kept under an adapter comes back under that one alone.
#[test]
fn a_prompt_on_disk_is_an_adapters_own() {
    let disk = tempfile::tempdir().expect("a folder");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let load = || Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| {}).expect("loads");
    let adapt = |model: &Model, seed| {
        Some(model.load_adapter(adapted::adapter(checkpoint.config(), seed)).expect("fits"))
    };
    let model = Arc::new(load());
    let ids = [None, adapt(&model, 1), adapt(&model, 2)];
    let of = |id: usize| Request { adapter: ids[id], ..request() };
    let expected: Vec<_> = (0..3).map(|id| run(&mut Engine::new(Arc::clone(&model), 1024), of(id))).collect();
    assert!(expected[0].1 != expected[1].1 && expected[1].1 != expected[2].1);
    for cached in [0, 699] {
        for (id, expected) in expected.iter().enumerate() {
            let place = PrefixDisk::open(disk.path(), "m", 1 << 30).expect("a folder");
            let told = run(&mut Engine::new(Arc::clone(&model), 1024).with_disk(place), of(id));
            assert_eq!((&told.0, &told.1, told.2), (&expected.0, &expected.1, cached), "adapter {id}");
        }
    }
}
