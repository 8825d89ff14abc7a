//! How requests end: cancelled at any step, out of time, drained, aborted, forgotten by their reader. Each
//! once, and nothing is left held.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{
    Engine, EngineOptions, Error, Event, EventStream, Failure, FinishReason, Priority, Request, Speculation,
    Tenant, channel,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

fn engine(max_sequences: usize) -> Engine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| {}).expect("loads");
    let options = EngineOptions {
        max_sequences,
        prefix_snapshots: Some(0),
        speculation: Speculation::Off,
        ..EngineOptions::new(400)
    };
    Engine::with_options(Arc::new(model.with_chunk_tokens(16)), options).expect("fits")
}

fn request(n: u32) -> Request {
    Request { prompt: (0..60).map(|i| (i * 5 + n) % 300).collect(), max_new_tokens: 10, ..Request::default() }
}

fn ending(ticket: &mut EventStream) -> Event {
    let events: Vec<_> = std::iter::from_fn(|| ticket.next_event()).collect();
    let ends =
        events.iter().filter(|event| matches!(event, Event::Finished { .. } | Event::Failed(_))).count();
    assert_eq!(ends, 1);
    events.into_iter().next_back().expect("an end")
}

fn reason(ticket: &mut EventStream) -> FinishReason {
    match ending(ticket) {
        Event::Finished { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// At every step of its life, waiting or running: one step later nothing of it is held.
#[test]
fn a_cancelled_request_is_gone_within_a_step() {
    for at in 0..14 {
        let mut engine = engine(1);
        let (handle, mut inbox) = channel(engine.limits());
        let mut first = handle.submit(request(0)).expect("room");
        let mut second = handle.submit(request(1)).expect("room");
        while let Some(accepted) = inbox.try_recv() {
            engine.accept(accepted);
        }
        for _ in 0..at {
            engine.step();
        }
        first.cancel();
        second.cancel();
        engine.step();
        let stats = engine.stats();
        assert_eq!((stats.running, stats.blocks_free), (0, stats.blocks_total), "cancelled after {at} steps");
        assert!(engine.is_idle() && engine.check().is_ok());
        let ends = [reason(&mut first), reason(&mut second)];
        assert!(ends[0] == FinishReason::Cancelled || at >= 13, "{ends:?} after {at}");
        assert_eq!(ends[1], FinishReason::Cancelled);
    }
}

#[test]
fn a_deadline_ends_a_request_with_what_it_has() {
    let mut engine = engine(2);
    let (handle, mut inbox) = channel(engine.limits());
    let late = Request { deadline: Some(Instant::now()), ..request(0) };
    let mut late = handle.submit(late).expect("room");
    let in_time = Request { deadline: Some(Instant::now() + Duration::from_secs(600)), ..request(1) };
    let mut in_time = handle.submit(in_time).expect("room");
    while let Some(accepted) = inbox.try_recv() {
        engine.accept(accepted);
    }
    while engine.step() {}
    assert_eq!((reason(&mut late), reason(&mut in_time)), (FinishReason::Deadline, FinishReason::Length));
    assert_eq!((engine.stats().ended_deadline, engine.stats().ended_length), (1, 1));
}

#[test]
fn draining_finishes_what_is_there_and_takes_no_more() {
    let (handle, thread) = engine(2).spawn().expect("a thread");
    let mut tickets: Vec<EventStream> = (0..5).map(|n| handle.submit(request(n)).expect("room")).collect();
    handle.drain();
    assert!(matches!(handle.submit(request(9)), Err(Error::ShuttingDown)));
    thread.join().expect("ends by itself");
    assert!(tickets.iter_mut().all(|ticket| reason(ticket) == FinishReason::Length));
    assert!(matches!(handle.submit(request(9)), Err(Error::Stopped)));
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.ended(), stats.running, stats.queued), (5, 5, 0, 0));
}

#[test]
fn aborting_ends_everything_now() {
    let (handle, thread) = engine(2).spawn().expect("a thread");
    let long = |n| Request { max_new_tokens: 300, ..request(n) };
    let mut tickets: Vec<EventStream> = (0..5).map(|n| handle.submit(long(n)).expect("room")).collect();
    handle.abort();
    thread.join().expect("ends by itself");
    assert!(tickets.iter_mut().all(|ticket| ending(ticket) == Event::Failed(Failure::ShuttingDown)));
}

#[test]
fn urgent_requests_go_first_and_tenants_take_turns() {
    let mut engine = engine(1);
    let (handle, mut inbox) = channel(engine.limits());
    let of = |n, tenant: &str, priority| Request { tenant: Tenant(tenant.into()), priority, ..request(n) };
    let wishes = [
        ("a", Priority::Background),
        ("a", Priority::Normal),
        ("a", Priority::Normal),
        ("b", Priority::Normal),
        ("a", Priority::Interactive),
    ];
    let mut tickets: Vec<EventStream> = Vec::new();
    for (n, (tenant, priority)) in wishes.into_iter().enumerate() {
        tickets.push(handle.submit(of(n as u32, tenant, priority)).expect("room"));
        engine.accept(inbox.try_recv().expect("one"));
    }
    let mut order = Vec::new();
    while engine.step() {
        for (n, ticket) in tickets.iter_mut().enumerate() {
            while let gptoss_engine::TimedRecv::Event(event) = ticket.next_event_within(Duration::ZERO) {
                if let Event::Finished { .. } = event {
                    order.push(n);
                }
            }
        }
    }
    assert_eq!(order, [4, 3, 1, 2, 0]);
}

/// Before the first request an engine had no blocks, to whoever asked how full it is.
#[test]
fn an_engine_that_has_done_nothing_says_how_much_room_there_is() {
    let (handle, thread) = engine(2).spawn().expect("a thread");
    let begun = Instant::now();
    while handle.stats().blocks_total == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was told");
        std::thread::sleep(Duration::from_millis(1));
    }
    let stats = handle.stats();
    assert_eq!((stats.sequences_max, stats.blocks_free), (2, stats.blocks_total));
    assert!(stats.block_tokens > 0);
    drop(handle);
    thread.join().expect("ends");
}
