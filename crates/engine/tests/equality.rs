//! A request gives the same tokens and log-probabilities, bit for bit, whatever happens around it.
//!
//! Each test runs a request alone on a fresh engine that keeps nothing, and then in some other way.

mod adapted;
mod device;

use std::path::Path;
use std::sync::Arc;

use adapted::adapter;
use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{
    AdapterId, Constraint, Engine, EngineOptions, Event, EventStream, FinishReason, Mask, Request,
    SamplingParams, Speculation, Tenant, Usage, channel,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

const CONTEXT: usize = 320;

fn folder(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if name == "demo" { root.join("demo/model") } else { root.join("testdata").join(name) }
}

fn load(name: &str, threads: usize, chunk_tokens: usize) -> Arc<Model> {
    let checkpoint = Checkpoint::open(&folder(name)).expect("opens");
    let model = device::load(&checkpoint, Precision::Fast, Pool::new(threads));
    Arc::new(model.with_chunk_tokens(chunk_tokens))
}

fn options() -> EngineOptions {
    EngineOptions { max_sequences: 33, speculation: Speculation::Off, ..EngineOptions::new(CONTEXT) }
}

/// The n-th of many requests: lengths, seeds, temperatures and beginnings differ.
fn request(n: usize) -> Request {
    let len = 1 + (n * 37 + 11) % 150;
    let stem = n % 3 * 7;
    Request {
        prompt: (0..len).map(|i| ((i * i + stem * i + if i > 20 { n } else { 0 }) % 300) as u32).collect(),
        sampling: SamplingParams {
            seed: n as u64,
            temperature: 0.5 + (n % 4) as f32 / 3.0,
            ..Default::default()
        },
        stop_ids: vec![17],
        max_new_tokens: 10 + n % 13,
        top_logprobs: Some(3),
        cache_points: vec![len / 2],
        ..Request::default()
    }
}

/// What came of a request, to the bit.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    tokens: Vec<(u32, u64)>,
    tops: Vec<(u32, u64)>,
    end: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Told {
    fn of(events: &[Event]) -> Told {
        let mut told = Told { tokens: vec![], tops: vec![], end: None, usage: None };
        for event in events {
            match event {
                Event::Prefill { .. } => {}
                Event::Token(token) => {
                    told.tokens.push((token.id, token.logprob.to_bits()));
                    told.tops.extend(token.top.iter().map(|top| (top.id, top.logprob.to_bits())));
                }
                Event::Finished { reason, usage } => {
                    assert!(told.end.is_none(), "two endings");
                    (told.end, told.usage) = (Some(*reason), Some(*usage));
                }
                Event::Failed(failure) => panic!("{failure}"),
            }
        }
        told
    }

    fn cached(&self) -> usize {
        self.usage.map_or(0, |usage| usage.cached_tokens)
    }

    fn same(&self, other: &Told) -> bool {
        (&self.tokens, &self.tops, self.end) == (&other.tokens, &other.tops, other.end)
    }
}

/// Requests that come at given steps, and something that is done between steps.
fn drive(
    engine: &mut Engine,
    arrivals: Vec<(usize, Request)>,
    between: &mut dyn FnMut(&mut Engine, usize, &[EventStream]),
) -> Vec<Told> {
    let (handle, mut inbox) = channel(engine.limits());
    let mut arrivals: Vec<_> = arrivals.into_iter().rev().collect();
    let mut tickets = Vec::new();
    for step in 0.. {
        while arrivals.last().is_some_and(|(at, _)| *at <= step) {
            let (_, request) = arrivals.pop().expect("is there");
            tickets.push(handle.submit(request).expect("room"));
            engine.accept(inbox.try_recv().expect("was submitted"));
        }
        let worked = engine.step();
        engine.check().expect("adds up");
        between(engine, step, &tickets);
        if !worked && arrivals.is_empty() {
            break;
        }
    }
    assert!(engine.is_idle());
    tickets
        .iter_mut()
        .map(|ticket| Told::of(&std::iter::from_fn(|| ticket.next_event()).collect::<Vec<_>>()))
        .collect()
}

fn nothing(_: &mut Engine, _: usize, _: &[EventStream]) {}

/// Alone, on an engine that keeps nothing and was never used.
fn alone(model: &Arc<Model>, request: Request) -> Told {
    let options = EngineOptions { max_sequences: 1, prefix_snapshots: Some(0), ..options() };
    let mut engine = Engine::with_options(Arc::clone(model), options).expect("fits");
    drive(&mut engine, vec![(0, request)], &mut nothing).remove(0)
}

fn fresh(model: &Arc<Model>) -> Engine {
    Engine::with_options(Arc::clone(model), options()).expect("fits")
}

#[test]
fn neighbors_change_nothing() {
    let model = load("tiny-yarn", 2, 64);
    let counts: Vec<usize> = [17, 2, 5, 33].into_iter().step_by(device::case_step()).collect();
    let most = counts.iter().copied().max().unwrap_or(0);
    let expected: Vec<Told> = (0..most).map(|n| alone(&model, request(n))).collect();
    for count in counts {
        let arrivals = (0..count).map(|n| (n * 7 % 5, request(n)));
        let mut arrivals: Vec<_> = arrivals.collect();
        arrivals.sort_by_key(|(at, request)| (*at, request.sampling.seed));
        let order: Vec<u64> = arrivals.iter().map(|(_, request)| request.sampling.seed).collect();
        let told = drive(&mut fresh(&model), arrivals, &mut nothing);
        for (told, n) in told.iter().zip(order) {
            assert!(told.same(&expected[n as usize]), "request {n} among {count}");
        }
    }
}

#[test]
fn chunks_threads_and_checkpoints() {
    for name in ["tiny-yarn", "tiny", "demo"].into_iter().step_by(device::case_step()) {
        let expected: Vec<Told> = (0..4).map(|n| alone(&load(name, 1, 512), request(n))).collect();
        for chunk_tokens in [1, 7, 64] {
            for threads in [1, 2].into_iter().step_by(device::case_step()) {
                let model = load(name, threads, chunk_tokens);
                let arrivals = (0..4).map(|n| (n * 2, request(n))).collect();
                let told = drive(&mut fresh(&model), arrivals, &mut nothing);
                for n in 0..4 {
                    assert!(told[n].same(&expected[n]), "{name}, chunks of {chunk_tokens}, request {n}");
                }
            }
        }
    }
}

#[test]
fn a_prefix_that_is_kept_gives_what_computing_it_gives() {
    let model = load("tiny-yarn", 2, 64);
    for n in [3, 5, 9] {
        let expected = alone(&model, request(n));
        let mut engine = fresh(&model);
        // The same, one that parts from it, one of somebody else.
        let parts = || {
            let mut parting = request(n);
            let half = parting.prompt.len() / 2;
            parting.prompt[half..].iter_mut().for_each(|token| *token = (*token + 1) % 300);
            parting
        };
        let told = drive(&mut engine, vec![(0, parts()), (50, request(n)), (100, request(n))], &mut nothing);
        assert!(told[1].same(&expected) && told[2].same(&expected));
        assert_eq!(told[1].cached(), request(n).prompt.len() / 2, "up to the boundary");
        assert_eq!(told[2].cached(), request(n).prompt.len() - 1);
        let other = Request { tenant: Tenant("other".into()), ..request(n) };
        let told = drive(&mut engine, vec![(0, other)], &mut nothing);
        assert!(told[0].same(&expected) && told[0].cached() == 0, "tenants share nothing");
    }
}

fn on_the_processor(threads: usize) -> Model {
    let checkpoint = Checkpoint::open(&folder("tiny-yarn")).expect("opens");
    Model::load(&checkpoint, Precision::Fast, Pool::new(threads), &mut |_, _| {}).expect("loads")
}

/// A model with two adapters beside its weights; the n-th request has none, or one of them. Adapters run on
/// the processor alone, whatever device the other tests are for.
fn load_adapted(threads: usize, chunk_tokens: usize) -> (Arc<Model>, [Option<AdapterId>; 3]) {
    let checkpoint = Checkpoint::open(&folder("tiny-yarn")).expect("opens");
    let model = on_the_processor(threads);
    let [a, b] = [1, 2].map(|seed| model.load_adapter(adapter(checkpoint.config(), seed)).expect("fits"));
    (Arc::new(model.with_chunk_tokens(chunk_tokens)), [None, Some(a), Some(b)])
}

#[test]
fn adapters_beside_each_other_change_nothing() {
    let (lone, ids) = load_adapted(1, 512);
    let of = |n: usize| Request { adapter: ids[n % 3], ..request(n) };
    let expected: Vec<Told> = (0..12).map(|n| alone(&lone, of(n))).collect();
    let bare = Arc::new(on_the_processor(1));
    assert!((0..12).step_by(3).all(|n| alone(&bare, request(n)).same(&expected[n])), "the base is as it was");
    assert!((0..12).filter(|n| n % 3 > 0).any(|n| !alone(&bare, request(n)).same(&expected[n])));
    for (threads, chunk_tokens) in [(1, 7), (2, 64)] {
        let (model, _) = load_adapted(threads, chunk_tokens);
        let always = EngineOptions { speculation: Speculation::Always, ..options() };
        for options in [options(), always] {
            let mut engine = Engine::with_options(Arc::clone(&model), options).expect("fits");
            let arrivals = (0..12).map(|n| (n / 5, of(n))).collect();
            let told = drive(&mut engine, arrivals, &mut |engine, step, _| {
                if step % 9 == 5 {
                    engine.preempt_all();
                }
            });
            for (n, (told, expected)) in told.iter().zip(&expected).enumerate() {
                assert!(told.same(expected), "request {n}, chunks of {chunk_tokens}");
            }
        }
    }
}

/// One prompt under each adapter and none, over and over: what was kept for one was never another's.
#[test]
fn a_prefix_is_an_adapters_own() {
    let (model, ids) = load_adapted(2, 64);
    let of = |id: usize| Request { adapter: ids[id], ..request(9) };
    let expected: Vec<Told> = (0..3).map(|id| alone(&model, of(id))).collect();
    assert!(!expected[0].same(&expected[1]) && !expected[1].same(&expected[2]));
    let mut engine = fresh(&model);
    for cached in [0, request(9).prompt.len() - 1] {
        for (id, expected) in expected.iter().enumerate() {
            let told = drive(&mut engine, vec![(0, of(id))], &mut nothing).remove(0);
            assert!(told.same(expected), "adapter {id}");
            assert_eq!(told.cached(), cached, "adapter {id}");
        }
    }
    // At once: nobody waits for another's.
    let told = drive(&mut fresh(&model), (0..3).map(|id| (0, of(id))).collect(), &mut nothing);
    assert!((0..3).all(|id| told[id].same(&expected[id]) && told[id].cached() == 0));
}

/// A request whose adapter is gone fails alone.
#[test]
fn who_names_an_unknown_adapter_fails_alone() {
    let (model, ids) = load_adapted(1, 64);
    let expected = alone(&model, request(4));
    assert!(model.unload_adapter(ids[1].expect("an adapter")));
    let mut engine = fresh(&model);
    let (handle, mut inbox) = channel(engine.limits());
    let requests = [request(4), Request { adapter: ids[1], ..request(5) }];
    let mut tickets = requests.map(|request| handle.submit(request).expect("room"));
    while let Some(accepted) = inbox.try_recv() {
        engine.accept(accepted);
    }
    while engine.step() {}
    let mut events =
        tickets.each_mut().map(|ticket| std::iter::from_fn(|| ticket.next_event()).collect::<Vec<_>>());
    assert!(Told::of(&events[0]).same(&expected));
    let failed = events[1].pop();
    assert!(
        matches!(&failed, Some(Event::Failed(failure)) if failure.to_string().contains("not loaded")),
        "{failed:?}"
    );
}

#[test]
fn several_choices_share_their_prompt() {
    let model = load("tiny-yarn", 2, 16);
    let choice = |seed| {
        let mut request = request(9);
        request.sampling.seed = seed;
        request
    };
    let expected: Vec<Told> = (0..4).map(|seed| alone(&model, choice(seed))).collect();
    let told = drive(&mut fresh(&model), (0..4).map(|seed| (0, choice(seed))).collect(), &mut nothing);
    for seed in 0..4 {
        assert!(told[seed].same(&expected[seed]));
        let shared = if seed == 0 { 0 } else { choice(0).prompt.len() - 1 };
        assert_eq!(told[seed].cached(), shared, "the prompt is computed once, for choice {seed}");
    }
}

#[test]
fn preemption_at_every_step_changes_nothing() {
    let model = load("tiny-yarn", 1, 64);
    let expected: Vec<Told> = (3..6).map(|n| alone(&model, request(n))).collect();
    let arrivals = || (3..6).map(|n| (0, request(n))).collect::<Vec<_>>();
    let same = |told: &[Told]| (0..3).all(|n| told[n].same(&expected[n]));
    let mut steps = 0;
    drive(&mut fresh(&model), arrivals(), &mut |_, step, _| steps = step);
    for at in (0..steps).step_by(device::case_step()) {
        let mut engine = fresh(&model);
        let told = drive(&mut engine, arrivals(), &mut |engine, step, _| {
            if step == at {
                engine.preempt_all();
            }
        });
        assert!(same(&told), "preempted after step {at} of {steps}");
    }
    // After each step: with chunks as long as the context everybody still advances by a token.
    let model = load("tiny-yarn", 1, 512);
    let told = drive(&mut fresh(&model), arrivals(), &mut |engine, _, _| engine.preempt_all());
    assert!(same(&told), "preempted after every step");
}

#[test]
fn cancelled_neighbors_change_nothing() {
    let model = load("tiny-yarn", 2, 32);
    let expected = alone(&model, request(5));
    for at in (0..12).step_by(device::case_step()) {
        let arrivals = (3..8).map(|n| (0, request(n))).collect();
        let told = drive(&mut fresh(&model), arrivals, &mut |_, step, tickets| {
            if step == at {
                (0..5).filter(|&n| n != 2).for_each(|n| tickets[n].cancel());
            }
        });
        assert!(told[2].same(&expected), "neighbors cancelled after step {at}");
        for (n, told) in told.iter().enumerate().filter(|&(n, _)| n != 2) {
            let ends = [Some(FinishReason::Cancelled), Some(FinishReason::Length), Some(FinishReason::Stop)];
            assert!(ends.contains(&told.end), "neighbor {n}");
        }
    }
}

/// One tenant's requests took every place, and another's waited until one of them came to its end.
#[test]
fn a_tenant_gets_its_share_of_the_places() {
    let model = load("tiny-yarn", 2, 64);
    let of = |tenant: &str, n| Request {
        tenant: Tenant(tenant.into()),
        stop_ids: vec![],
        max_new_tokens: if tenant == "a" { 90 } else { 5 },
        ..request(n)
    };
    let options = EngineOptions { max_sequences: 4, ..options() };
    let mut engine = Engine::with_options(Arc::clone(&model), options).expect("fits");
    let arrivals = (0..8).map(|n| (0, of("a", n))).chain([(10, of("b", 8)), (10, of("b", 9))]).collect();
    let mut both_ended = None;
    let told = drive(&mut engine, arrivals, &mut |engine, step, _| {
        if engine.stats().ended_length == 2 {
            both_ended.get_or_insert(step);
        }
    });
    assert!(both_ended.is_some_and(|step| step < 40), "{both_ended:?}");
    assert_eq!(engine.stats().preemptions, 2, "no more than it takes");
    for (n, told) in told.iter().enumerate() {
        assert!(told.same(&alone(&model, of(if n < 8 { "a" } else { "b" }, n))), "request {n}");
    }
}

/// Allows six tokens in turn, so that every guess is right; one that `strays` allows another one now and
/// then, so that some are wrong.
struct Turns {
    strays: bool,
    next: u32,
    words: [u32; 2],
}

impl Constraint for Turns {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        let stray = u32::from(self.strays && self.next.is_multiple_of(5)) << 20;
        self.words = [0, 1 << (self.next % 6 + 8) | stray];
        Ok(Mask::Only(&self.words))
    }

    fn commit(&mut self, _: u32) -> Result<(), String> {
        self.next += 1;
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

#[test]
fn guesses_change_nothing() {
    let model = load("tiny-yarn", 2, 64);
    // A prompt that repeats itself, and requests that go on as it began; every second one strays from it.
    let repeating = |seed: u64| {
        let prompt = (0..90).map(|i| i % 6 + 40).collect();
        let sampling = SamplingParams { seed, temperature: 1.0, ..Default::default() };
        let constraint = Turns { strays: !seed.is_multiple_of(2), next: 0, words: [0; 2] };
        Request {
            prompt,
            sampling,
            constraint: Some(Box::new(constraint)),
            max_new_tokens: 60,
            top_logprobs: Some(2),
            ..Request::default()
        }
    };
    let always = EngineOptions { speculation: Speculation::Always, ..options() };
    let mut engine = Engine::with_options(Arc::clone(&model), always).expect("fits");
    let arrivals = (0..4).map(|seed| (seed as usize * 3, repeating(seed))).collect();
    let told = drive(&mut engine, arrivals, &mut nothing);
    for seed in 0..4 {
        assert!(told[seed as usize].same(&alone(&model, repeating(seed))), "seed {seed}");
    }
    let stats = engine.stats();
    assert!(stats.accepted_drafts > 80 && stats.accepted_drafts < stats.drafted_tokens, "{stats:?}");
}

/// Five tokens in turn that it leaves no choice about, then two that it does, like the keys and values of a
/// form.
#[derive(Clone)]
struct Form {
    num_committed: u32,
    words: [u32; 2],
}

impl Form {
    fn only(position: u32) -> Option<u32> {
        (position % 7 < 5).then_some(position % 7 + 40)
    }
}

impl Constraint for Form {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        self.words = match Form::only(self.num_committed) {
            Some(token) => [0, 1 << (token - 32)],
            None => [0xffff_0000, 0xff],
        };
        Ok(Mask::Only(&self.words))
    }

    fn forced(&mut self, max: usize) -> Vec<u32> {
        (self.num_committed..).map_while(Form::only).take(max).collect()
    }

    fn commit(&mut self, _: u32) -> Result<(), String> {
        self.num_committed += 1;
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// Forced tokens took a step each, though nothing but them could come. Now they take none, and not a bit is
/// different.
#[test]
fn forced_tokens_change_nothing_and_take_no_steps() {
    let model = load("tiny-yarn", 2, 64);
    let form = |n: usize| Request {
        constraint: Some(Box::new(Form { num_committed: 0, words: [0; 2] })),
        stop_ids: vec![],
        max_new_tokens: 50 + n % 9,
        ..request(n)
    };
    let run = |forced_drafts, speculation, between: &mut dyn FnMut(&mut Engine, usize, &[EventStream])| {
        let options = EngineOptions { forced_drafts, speculation, ..options() };
        let mut engine = Engine::with_options(Arc::clone(&model), options).expect("fits");
        let told = drive(&mut engine, (0..6).map(|n| (n * 2, form(n))).collect(), between);
        (told, engine.stats())
    };
    let (expected, plain) = run(false, Speculation::Off, &mut nothing);
    assert_eq!((plain.forced_drafts, plain.drafted_tokens), (0, 0));
    for speculation in [Speculation::Off, Speculation::Always] {
        let (told, stats) = run(true, speculation, &mut nothing);
        assert!(told.iter().zip(&expected).all(|(told, expected)| told.same(expected)));
        assert!(stats.steps * 2 < plain.steps, "{} steps, {} without drafts", stats.steps, plain.steps);
        assert!(stats.forced_drafts > 150 && stats.accepted_drafts >= stats.forced_drafts, "{stats:?}");
    }
    let (told, _) = run(true, Speculation::Always, &mut |engine, step, _| {
        if step % 7 == 3 {
            engine.preempt_all();
        }
    });
    assert!(told.iter().zip(&expected).all(|(told, expected)| told.same(expected)), "preempted");
}

/// A pool that holds one long sequence: the others wait or are preempted, and all come out right.
#[test]
fn a_tiny_pool_changes_nothing() {
    let model = load("tiny-yarn", 2, 16);
    let plenty = Engine::with_options(Arc::clone(&model), options()).expect("fits").kv_plan().clone();
    let fixed: u64 = plenty.terms[1..].iter().map(|term| term.bytes).sum();
    let block = plenty.terms[0].bytes / plenty.sizes.blocks as u64;
    let kv_bytes = Some(fixed + block * (CONTEXT as u64 / 32 + 2));
    let mut engine =
        Engine::with_options(Arc::clone(&model), EngineOptions { kv_bytes, ..options() }).expect("fits");
    let long = |n| Request { max_new_tokens: 120, stop_ids: vec![], ..request(n) };
    let expected: Vec<Told> = (0..6).map(|n| alone(&model, long(n))).collect();
    let told = drive(&mut engine, (0..6).map(|n| (n, long(n))).collect(), &mut nothing);
    for n in 0..6 {
        assert!(told[n].same(&expected[n]), "request {n}");
    }
    let stats = engine.stats();
    assert!(stats.preemptions > 0 && stats.prefix.evictions > 0, "{stats:?}");
    let too_little = EngineOptions { kv_bytes: Some(fixed), ..options() };
    assert!(Engine::with_options(model, too_little).is_err());
}
