//! Steps that break, and requests that wait for the disk: what they do to the others.

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_kernels::Pool;
use gptoss_model::Precision;

use super::*;
use crate::constraint::{Constraint, Mask};
use crate::error::Class;
use crate::handle::{EventStream, channel};
use crate::kv_events::{KvEvent, channel_of};
use crate::request::{Event, KeptFor, Request, Sharing, Tenant};
use crate::stream::TimedRecv;

const POISON: u32 = 77;

fn engine() -> Engine {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).expect("makes");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| {}).expect("loads");
    let options = EngineOptions { max_sequences: 8, ..EngineOptions::new(300) };
    let mut engine = Engine::with_options(Arc::new(model), options).expect("fits");
    engine.poison = Some(POISON);
    engine
}

fn request(prompt: Vec<u32>) -> Request {
    let mut request = Request { prompt, max_new_tokens: 12, ..Request::default() };
    // The poison is never chosen.
    request.sampling.logit_bias = vec![(POISON, -100.0)];
    request
}

fn run(engine: &mut Engine, requests: Vec<Request>) -> Vec<Vec<Event>> {
    let (handle, mut inbox) = channel(engine.limits());
    let mut tickets: Vec<EventStream> =
        requests.into_iter().map(|request| handle.submit(request).expect("room")).collect();
    while let Some(accepted) = inbox.try_recv() {
        engine.accept(accepted);
    }
    while engine.step() {}
    engine.check().expect("adds up");
    tickets.iter_mut().map(|ticket| std::iter::from_fn(|| ticket.next_event()).collect()).collect()
}

fn tokens(events: &[Event]) -> Vec<(u32, u64)> {
    let tokens = events.iter().filter_map(|event| match event {
        Event::Token(token) => Some((token.id, token.logprob.to_bits())),
        _ => None,
    });
    tokens.collect()
}

#[test]
fn a_panic_fails_the_request_it_belongs_to_and_no_other() {
    let good = |n: u32| request((0..40 + n).map(|i| (i * 3 + n) % 70).collect());
    let expected: Vec<_> = (0..3).map(|n| tokens(&run(&mut engine(), vec![good(n)])[0])).collect();
    let mut engine = engine();
    let bad = request([&[5; 30][..], &[POISON], &[6; 9]].concat());
    let told = run(&mut engine, vec![good(0), bad, good(1), good(2)]);
    assert!(
        matches!(told[1].last(), Some(Event::Failed(Failure::Panicked { message })) if message.contains("poisoned"))
    );
    for (n, events) in [&told[0], &told[2], &told[3]].into_iter().enumerate() {
        assert_eq!(tokens(events), expected[n]);
        assert!(matches!(events.last(), Some(Event::Finished { reason: FinishReason::Length, .. })));
    }
    assert_eq!((engine.stats().ended_failed, engine.stats().ended_length), (1, 3));
}

/// A constraint that breaks after three tokens, in one of three ways.
struct Breaks {
    way: u32,
    committed: u32,
}

impl Constraint for Breaks {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        match (self.committed, self.way) {
            (0..3, _) => Ok(Mask::Any),
            (_, 0) => Err("out of fuel".to_owned()),
            (_, 1) => Ok(Mask::Only(&[])),
            _ => panic!("a mistake"),
        }
    }

    fn commit(&mut self, _: u32) -> Result<(), String> {
        self.committed += 1;
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

#[test]
fn a_constraint_that_breaks_fails_its_request_alone() {
    let good = || request((0..50).collect());
    let expected = tokens(&run(&mut engine(), vec![good()])[0]);
    let broken = |way| Request { constraint: Some(Box::new(Breaks { way, committed: 0 })), ..good() };
    let told = run(&mut engine(), vec![broken(0), good(), broken(1), broken(2)]);
    assert_eq!(tokens(&told[1]), expected);
    for (events, words) in
        [(&told[0], "out of fuel"), (&told[2], "forbids every token"), (&told[3], "a mistake")]
    {
        assert_eq!(tokens(events), expected[..3]);
        let Some(Event::Failed(failure)) = events.last() else { panic!("it fails") };
        assert!(failure.to_string().contains(words), "{failure}");
        // A client's grammar that nothing can follow was told as a fault of the server, which clients try
        // again.
        let class = if words == "a mistake" { Class::Ours } else { Class::Caller };
        assert_eq!(failure.class(), class, "{failure}");
    }
}

/// An engine whose disk holds what `request(long())` begins with, and what that request says when it is
/// computed.
fn with_kept_prompt(folder: &std::path::Path) -> (Engine, Vec<(u32, u64)>) {
    let on_disk = || engine().with_disk(PrefixDisk::open(folder, "m", 1 << 30).expect("a folder"));
    let expected = tokens(&run(&mut on_disk(), vec![request(long())])[0]);
    (on_disk(), expected)
}

fn long() -> Vec<u32> {
    (0..280).map(|i| (i * i + 3 * i) % 70).collect()
}

fn submit(engine: &mut Engine, requests: Vec<Request>) -> Vec<EventStream> {
    let (handle, mut inbox) = channel(engine.limits());
    let tickets = requests.into_iter().map(|request| handle.submit(request).expect("room")).collect();
    while let Some(accepted) = inbox.try_recv() {
        engine.accept(accepted);
    }
    tickets
}

fn events(ticket: &mut EventStream) -> Vec<Event> {
    std::iter::from_fn(|| ticket.next_event()).collect()
}

/// Reading a kept prompt stopped the engine's thread: everybody waited for the files.
#[test]
fn others_step_while_a_prompt_is_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut engine, expected) = with_kept_prompt(folder.path());
    let other = || request((0..50).collect());
    let alone = tokens(&run(&mut self::engine(), vec![other()])[0]);
    let disk = engine.disk.as_ref().expect("a disk");
    disk.pause_reading(true);
    let mut tickets = submit(&mut engine, vec![request(long()), other()]);
    while engine.stats().ended_length == 0 {
        assert!(engine.step());
    }
    assert_eq!(tokens(&events(&mut tickets[1])), alone, "the other has come to its end");
    assert_eq!(
        tickets[0].next_event_within(Duration::ZERO),
        TimedRecv::Nothing,
        "and the first has not begun"
    );
    engine.check().expect("adds up");
    engine.disk.as_ref().expect("a disk").pause_reading(false);
    while engine.step() {}
    let events = events(&mut tickets[0]);
    assert_eq!(tokens(&events), expected);
    let Some(Event::Finished { usage, .. }) = events.last() else { panic!("it ends well: {events:?}") };
    assert_eq!(usage.cached_tokens, 279);
    engine.check().expect("adds up");
}

#[test]
fn who_waits_for_the_disk_can_be_cancelled_and_be_late() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut engine, expected) = with_kept_prompt(folder.path());
    engine.disk.as_ref().expect("a disk").pause_reading(true);
    let late = Request { deadline: Some(Instant::now()), ..request(long()) };
    let mut tickets = submit(&mut engine, vec![request(long()), late, request(long())]);
    tickets[0].cancel();
    engine.step();
    for (ticket, reason) in tickets.iter_mut().zip([FinishReason::Cancelled, FinishReason::Deadline]) {
        let ends = matches!(events(ticket)[..], [Event::Finished { reason: found, .. }] if found == reason);
        assert!(ends, "{reason:?}");
    }
    engine.disk.as_ref().expect("a disk").pause_reading(false);
    while engine.step() {}
    assert_eq!(tokens(&events(&mut tickets[2])), expected, "who did not go gets what it waited for");
    engine.check().expect("adds up");
}

/// A disk that did not answer held its request for ever.
#[test]
fn who_waits_too_long_for_the_disk_computes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut engine, expected) = with_kept_prompt(folder.path());
    engine.disk.as_ref().expect("a disk").pause_reading(true);
    engine.fetch_time_max = Duration::ZERO;
    let mut tickets = submit(&mut engine, vec![request(long())]);
    let steps = (0..2_000).take_while(|_| engine.step()).count();
    assert!(steps < 2_000, "the request still waits");
    let events = events(&mut tickets[0]);
    assert_eq!(tokens(&events), expected);
    let Some(Event::Finished { usage, .. }) = events.last() else { panic!("it ends well: {events:?}") };
    assert_eq!(usage.cached_tokens, 0);
    assert!(engine.fetching.is_empty());
    engine.check().expect("adds up");
}

/// What was lost was told anew at the next step, which an engine without requests does not make.
#[test]
fn an_idle_engine_tells_anew_what_was_lost() {
    let (sender, receiver) = channel_of(1);
    let mut engine = engine().with_kv_events(sender);
    // That nothing is kept fills the queue, and what is kept then is lost.
    run(&mut engine, vec![request((0..70).collect())]);
    assert!(engine.owes_kv_events() && engine.stats().kv_events.lost > 0);
    let (handle, thread) = engine.spawn().expect("a thread");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || std::iter::from_fn(|| receiver.recv()).try_for_each(|batch| tell.send(batch)));
    // Nothing else would end the wait.
    let next = || told.recv_timeout(Duration::from_secs(60)).expect("it is told").events;
    assert_eq!(next(), [KvEvent::Cleared]);
    let anew = next();
    assert!(matches!(anew.as_slice(), [KvEvent::Cleared, KvEvent::Stored { .. }, ..]), "{anew:?}");
    drop(handle);
    thread.join().expect("ends");
    assert_eq!(next(), [KvEvent::Cleared]);
}

#[test]
fn a_salt_is_shared_by_tenants_and_is_no_tenant() {
    let (sender, receiver) = channel_of(100);
    let mut engine = engine().with_kv_events(sender);
    let mut cached = |tenant: &str, sharing: Sharing| {
        let tenant = Tenant(tenant.into());
        let asked = Request { tenant, sharing, ..request((0..70).collect()) };
        match run(&mut engine, vec![asked]).remove(0).pop() {
            Some(Event::Finished { usage, .. }) => usage.cached_tokens > 0,
            end => panic!("{end:?}"),
        }
    };
    let salt = |salt: &str| Sharing::Salt(salt.into());
    let asked = [
        ("a", salt("s"), false),
        ("b", salt("s"), true),
        ("b", salt(""), false),
        // A name is no salt.
        ("s", Sharing::Tenant, false),
        ("", Sharing::Tenant, false),
        ("a", Sharing::Nobody, false),
        ("a", Sharing::Nobody, false),
        ("", Sharing::Tenant, true),
    ];
    for (index, (tenant, sharing, is_found)) in asked.into_iter().enumerate() {
        assert_eq!(cached(tenant, sharing), is_found, "{index}");
    }
    drop(engine);
    let told = std::iter::from_fn(|| receiver.recv()).flat_map(|batch| batch.events);
    let mut kept: Vec<KeptFor> = told
        .filter_map(|event| match event {
            KvEvent::Stored { kept_for, parent: None, .. } => Some(kept_for),
            _ => None,
        })
        .collect();
    kept.dedup();
    let tenant = |name: &str| KeptFor::Tenant(Tenant(name.into()));
    let salted = |salt: &str| KeptFor::Salt(salt.into());
    assert_eq!(kept, [salted("s"), salted(""), tenant("s"), tenant("")]);
}
