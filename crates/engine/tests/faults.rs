//! A card that is lost, full or hangs while requests run: each ends once, and a device that is opened
//! afterwards gives the same bytes.
//!
//! Devices are those of `crates/gpu/tests/devices`, through the loader with faults beside it, and the card of
//! the driver in `crates/gpu/tests/fake_cuda`; where there is none the tests say that they are skipped.

#[path = "../../gpu/tests/devices/mod.rs"]
mod devices;
#[path = "../../gpu/tests/fake_cuda/mod.rs"]
mod fake_cuda;
#[path = "../../gpu/tests/faults/mod.rs"]
mod faults;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{
    Engine, EngineHandle, EngineOptions, Event, EventStream, Failure, Request, SamplingParams, channel,
};
use gptoss_gpu::{Device, Error};
use gptoss_kernels::Pool;
use gptoss_model::{DenseMode, LoadOptions, Model, Precision};

use crate::fake_cuda::FakeCuda;
use crate::faults::Faults;

const CONTEXT: usize = 128;
/// Requests of a day.
const REQUESTS: usize = 8;
/// Between tries to open the device again: time to take the faults away.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a test waits for the device to be back.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device that can fail; clones are the same one.
#[derive(Clone)]
enum Failing {
    Vulkan(Faults, Device),
    Cuda(FakeCuda),
}

impl Failing {
    fn set(&self, lines: &str) {
        match self {
            Failing::Vulkan(faults, _) => faults.set(lines),
            Failing::Cuda(fake) => fake.set(lines),
        }
    }

    fn clear(&self) {
        match self {
            Failing::Vulkan(faults, _) => faults.clear(),
            Failing::Cuda(fake) => fake.clear(),
        }
    }

    /// Days of each kind of fault; each loads the model twice.
    fn days(&self) -> u64 {
        match self {
            Failing::Vulkan(..) => 3,
            Failing::Cuda(_) => 1,
        }
    }

    fn open(&self) -> Result<Device, Error> {
        match self {
            Failing::Vulkan(faults, device) => faults.open(device),
            Failing::Cuda(fake) => fake.open(),
        }
    }
}

/// Runs a test with every device that can fail.
fn with_faults(name: &str, test: impl Fn(&Failing)) {
    let _alone = devices::one_at_a_time();
    let faults = Faults::new(name);
    if faults.is_none() {
        eprintln!("SKIPPED: no Vulkan loader in /usr/lib");
    }
    let by_vulkan = devices::opened(1).into_iter().zip(faults);
    let by_vulkan = by_vulkan.map(|(device, faults)| Failing::Vulkan(faults, device));
    for failing in by_vulkan.chain(FakeCuda::new().map(Failing::Cuda)) {
        test(&failing);
        failing.clear();
    }
}

/// An engine on the device, opened anew.
fn engine(failing: &Failing) -> Result<Engine, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::AsStored, expert_slots: None };
    let device = failing.open().map_err(|error| error.to_string())?;
    let model = Model::load_on(&device, &checkpoint, &options, Pool::new(1), &mut |_, _| {});
    let model = model.map_err(|error| error.to_string())?.with_chunk_tokens(16);
    let options = EngineOptions { max_sequences: 4, ..EngineOptions::new(CONTEXT) };
    Ok(Engine::with_options(Arc::new(model), options).expect("fits"))
}

/// The n-th request: lengths and beginnings differ, and some keep what they begin with.
fn request(n: usize) -> Request {
    let len = 5 + n * 11 % 40;
    Request {
        prompt: (0..len).map(|i| ((i * i + if i > 12 { n } else { 0 }) % 300) as u32).collect(),
        sampling: SamplingParams { seed: n as u64, temperature: 1.0, ..Default::default() },
        max_new_tokens: 4 + n % 5,
        cache_points: vec![len / 2],
        ..Request::default()
    }
}

/// The tokens of a request, to the bit, and how it ended.
#[derive(Debug)]
struct Told {
    tokens: Vec<(u32, u64)>,
    end: Result<(), Failure>,
}

fn told(stream: &mut EventStream) -> Told {
    let (mut tokens, mut ends) = (Vec::new(), Vec::new());
    while let Some(event) = stream.next_event() {
        match event {
            Event::Prefill { .. } => {}
            Event::Token(token) => tokens.push((token.id, token.logprob.to_bits())),
            Event::Finished { .. } => ends.push(Ok(())),
            Event::Failed(failure) => ends.push(Err(failure)),
        }
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
    Told { tokens, end: ends.remove(0) }
}

/// Every request, with one step or more between those that come; `begin` is called when half are there.
fn day(engine: &mut Engine, gaps: &[usize], begin: impl FnOnce()) -> Vec<Told> {
    let (handle, mut inbox) = channel(engine.limits());
    let (mut streams, mut begin) = (Vec::new(), Some(begin));
    for (n, gap) in gaps.iter().enumerate() {
        streams.push(handle.submit(request(n)).expect("room"));
        engine.accept(inbox.try_recv().expect("was submitted"));
        if n == gaps.len() / 2 {
            begin.take().into_iter().for_each(|begin| begin());
        }
        for _ in 0..*gap {
            engine.step();
            engine.check().expect("adds up");
        }
    }
    while engine.step() {
        engine.check().expect("adds up");
    }
    assert!(engine.is_idle());
    streams.iter_mut().map(told).collect()
}

/// What each request says where nothing fails.
fn expected(failing: &Failing) -> Vec<Vec<(u32, u64)>> {
    failing.clear();
    let told = day(&mut engine(failing).expect("opens"), &[1; REQUESTS], || {});
    told.into_iter().map(|told| told.end.map(|()| told.tokens).expect("ends well")).collect()
}

fn no_blocks_are_lost(engine: &Engine) {
    let stats = engine.stats();
    assert_eq!(stats.blocks_free + stats.blocks_cached, stats.blocks_total, "{stats:?}");
    assert_eq!((stats.running, stats.snapshots_used <= stats.snapshots_total), (0, true));
}

#[test]
fn on_random_days_every_request_ends_once_and_the_next_device_gives_the_same() {
    with_faults("days", |failing| {
        let expected = expected(failing);
        let name = failing.open().expect("opens").description().name.clone();
        let mut draw = 0x9E37_79B9_u64;
        let mut random = |below: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % below
        };
        for (fault, ends_device) in [
            ("submit lost", true),
            ("wait lost", true),
            ("wait hang", true),
            ("submit full", false),
            ("record full", false),
        ] {
            for day_number in 0..failing.days() {
                let (well, gaps) = (random(25), [0; REQUESTS].map(|_| random(4) as usize));
                println!("{fault} {well}, day {day_number}, {gaps:?}");
                failing.clear();
                let mut engine = engine(failing).expect("opens");
                let found = day(&mut engine, &gaps, || failing.set(&format!("{fault} {well}")));
                for (told, expected) in found.iter().zip(&expected) {
                    match &told.end {
                        Ok(()) => assert_eq!(&told.tokens, expected),
                        Err(failure) => {
                            assert!(expected.starts_with(&told.tokens));
                            assert_eq!(matches!(failure, Failure::Device { .. }), ends_device, "{failure}");
                            let words = failure.to_string();
                            assert!(
                                words.contains(&name)
                                    && words.contains(" while ") != words.contains(" within "),
                                "{words}"
                            );
                        }
                    }
                }
                no_blocks_are_lost(&engine);
                failing.clear();
                let again = day(&mut engine, &[1; REQUESTS], || {});
                let is_gone = engine.stats().has_no_device;
                assert!(ends_device || !is_gone);
                for (told, expected) in again.iter().zip(&expected) {
                    // A request that comes later has the first one's reason.
                    let lost = found.iter().find_map(|told| told.end.clone().err());
                    match is_gone {
                        true => assert_eq!((told.end.clone().err(), told.tokens.len()), (lost, 0)),
                        false => assert!(told.end == Ok(()) && told.tokens == *expected, "{told:?}"),
                    }
                }
            }
            assert_eq!(self::expected(failing), expected, "{fault}");
        }
    });
}

fn wait_until(handle: &EngineHandle, has_no_device: bool) {
    let begun = Instant::now();
    while handle.stats().has_no_device != has_no_device {
        assert!(begun.elapsed() < PATIENCE, "{:?}", handle.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_engine_is_made_again_and_three_times_in_a_row_are_the_last() {
    with_faults("remade", |failing| {
        let expected = expected(failing);
        let ours = failing.clone();
        let remake = move |lost: &Failure| {
            assert!(matches!(lost, Failure::Device { .. }));
            engine(&ours)
        };
        let engine = engine(failing).expect("opens");
        let (handle, thread) = engine.spawn_remade(PAUSE, Box::new(remake)).expect("a thread");
        let ask = |n: usize| told(&mut handle.submit(request(n)).expect("room"));
        assert_eq!(ask(1).tokens, expected[1]);
        for fault in ["submit lost 3", "wait hang 2"] {
            failing.set(fault);
            // It may fail again while it is loaded again, but only so often.
            assert!(matches!(ask(2).end, Err(Failure::Device { .. })));
            failing.clear();
            wait_until(&handle, false);
            assert_eq!(ask(2).tokens, expected[2], "{fault}");
        }
        assert_eq!(handle.stats().device_losses, 2);
        failing.set("submit lost 0\nopen full 0");
        assert!(matches!(ask(3).end, Err(Failure::Device { .. })));
        wait_until(&handle, true);
        // Those that come while it is tried wait for it.
        for n in 0..3 {
            let words = ask(n).end.expect_err("there is no device").to_string();
            assert!(
                words.contains("opening it failed") && words.contains("start the program again"),
                "{words}"
            );
        }
        let stats = handle.stats();
        assert!(stats.has_no_device && stats.device_losses == 3, "{stats:?}");
        assert_eq!(stats.accepted, stats.ended(), "{stats:?}");
        drop(handle);
        thread.join().expect("ends");
    });
}
