//! The seam alone, with a test in the engine's place: queue, endings, cancels, draining, blocking and async.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gptoss_engine::{
    ChannelLimits, EngineHandle, EngineStats, Error, Event, Failure, FinishReason, Inbox, Request, TimedRecv,
    Token, Usage, channel, limits, watch,
};

fn seam(queue_requests_max: usize) -> (EngineHandle, Inbox) {
    channel(ChannelLimits { vocab_size: 100, max_context: 50, queue_requests_max })
}

fn request() -> Request {
    Request { prompt: vec![1, 2, 3], max_new_tokens: 5, ..Request::default() }
}

fn token(id: u32) -> Token {
    Token { id, logprob: -0.5, is_stop: false, top: vec![], masked: None }
}

fn all(ticket: &mut gptoss_engine::EventStream) -> Vec<Event> {
    std::iter::from_fn(|| ticket.next_event()).collect()
}

#[test]
fn a_scripted_engine_answers() {
    let (handle, mut inbox) = seam(4);
    let mut ticket = handle.clone().submit(request()).expect("room");
    let mut accepted = inbox.try_recv().expect("one");
    assert_eq!((accepted.id, ticket.id(), accepted.request.prompt.len()), (0, 0, 3));
    assert_eq!(handle.stats().queued, 1);
    accepted.events.begin();
    assert_eq!(handle.stats().queued, 0);
    accepted.events.prefill(3, 3).expect("read");
    accepted.events.token(token(7)).expect("read");
    accepted.events.finish(FinishReason::Stop, Usage::default());
    let finished = Event::Finished { reason: FinishReason::Stop, usage: Usage::default() };
    assert_eq!(all(&mut ticket), [Event::Prefill { done: 3, total: 3 }, Event::Token(token(7)), finished]);
    assert_eq!(ticket.next_event(), None, "nothing follows the end");
    inbox.publish(&EngineStats { ended_stop: 1, ..EngineStats::default() });
    assert_eq!((handle.stats().accepted, handle.stats().ended()), (1, 1));
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let (handle, mut inbox) = seam(2);
    let _tickets = [handle.submit(request()).expect("room"), handle.submit(request()).expect("room")];
    assert!(matches!(handle.submit(request()), Err(Error::QueueFull { queued: 2 })));
    // Taken is not begun: the engine may let it wait.
    let mut first = inbox.try_recv().expect("one");
    assert!(handle.submit(request()).is_err());
    first.events.begin();
    let _third = handle.submit(request()).expect("room again");
    drop(inbox.try_recv());
    let _fourth = handle.submit(request()).expect("an ended request leaves the queue too");
    assert_eq!(handle.stats().refused_full, 2);
}

#[test]
fn what_the_engine_forgets_still_ends() {
    let (handle, mut inbox) = seam(4);
    let mut dropped = handle.submit(request()).expect("room");
    drop(inbox.try_recv());
    assert_eq!(all(&mut dropped), [Event::Failed(Failure::Stopped)]);
    let mut waiting = handle.submit(request()).expect("room");
    drop(inbox);
    assert_eq!(all(&mut waiting), [Event::Failed(Failure::Stopped)]);
    assert!(matches!(handle.submit(request()), Err(Error::Stopped)));
}

#[test]
fn dropping_and_cancelling_are_seen() {
    let (handle, mut inbox) = seam(4);
    let ticket = handle.submit(request()).expect("room");
    let first = inbox.try_recv().expect("one");
    assert!(!first.events.is_cancelled());
    drop(ticket);
    assert!(first.events.is_cancelled());
    let ticket = handle.submit(request()).expect("room");
    let second = inbox.try_recv().expect("one");
    ticket.canceller().cancel();
    assert!(second.events.is_cancelled());
}

#[test]
fn draining_ends_the_inbox_after_what_is_there() {
    let (handle, mut inbox) = seam(4);
    let _ticket = handle.submit(request()).expect("room");
    handle.drain();
    assert!(matches!(handle.submit(request()), Err(Error::ShuttingDown)));
    assert!(inbox.recv().is_some() && !inbox.is_aborting());
    assert!(inbox.recv().is_none());
    handle.abort();
    assert!(inbox.is_aborting());
    let (handle, mut inbox) = seam(4);
    let thread = std::thread::spawn(move || inbox.recv().is_none());
    drop(handle);
    assert!(thread.join().expect("ends"), "no handle, no more requests");
}

#[test]
fn a_watchdog_ends_everything_once() {
    let (handle, mut inbox) = seam(4);
    let mut ticket = handle.submit(request()).expect("room");
    let accepted = inbox.recv().expect("one");
    assert!(handle.stalled_for().is_some());
    assert_eq!(handle.fail_all(&Failure::Stalled { seconds: 9 }), 1);
    assert_eq!(handle.fail_all(&Failure::Stalled { seconds: 9 }), 0);
    assert!(accepted.events.is_cancelled());
    accepted.events.finish(FinishReason::Stop, Usage::default());
    assert_eq!(all(&mut ticket), [Event::Failed(Failure::Stalled { seconds: 9 })]);
    assert_eq!(handle.stalled_for(), None, "nothing is there to be stalled");
}

/// A thread that waits for requests comes round when it is knocked at, one that computes at the end of a
/// step, and one that stands still never.
#[test]
fn a_knock_shows_whether_the_thread_turns() {
    let (handle, mut inbox) = seam(4);
    let before = handle.knock();
    assert_eq!(handle.knock(), before, "nobody is there to come round");
    inbox.publish(&EngineStats::default());
    let stepped = handle.knock();
    assert_ne!(stepped, before);
    let thread = std::thread::spawn(move || inbox.recv().is_none());
    // The knock before is answered too: it came while the engine was busy.
    while handle.knock() == stepped {
        std::thread::yield_now();
    }
    handle.drain();
    assert!(thread.join().expect("ends"));
    assert_eq!(handle.knock(), None, "there is no thread any more");
}

#[test]
fn a_reader_who_does_not_come_is_told_in_the_end() {
    let (handle, mut inbox) = seam(4);
    let mut ticket = handle.submit(request()).expect("room");
    let accepted = inbox.recv().expect("one");
    let failure = loop {
        if let Err(failure) = accepted.events.token(token(1)) {
            break failure;
        }
    };
    accepted.events.fail(failure.clone());
    let events = all(&mut ticket);
    assert_eq!(events.len(), limits::EVENTS_QUEUED_MAX + 1);
    assert_eq!(events.last(), Some(&Event::Failed(failure)));
}

#[test]
fn waiting_can_be_bounded_and_async() {
    let (handle, mut inbox) = seam(4);
    let mut ticket = handle.submit(request()).expect("room");
    let accepted = inbox.recv().expect("one");
    assert_eq!(ticket.next_event_within(Duration::from_millis(1)), TimedRecv::Nothing);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut next = pin!(ticket.next());
        assert_eq!(next.as_mut().poll(&mut context), Poll::Pending);
        accepted.events.token(token(4)).expect("read");
        assert_eq!(next.as_mut().poll(&mut context), Poll::Ready(Some(Event::Token(token(4)))));
    }
    drop(accepted);
    assert_eq!(pin!(ticket.next()).poll(&mut context), Poll::Ready(Some(Event::Failed(Failure::Stopped))));
    assert_eq!(pin!(ticket.next()).poll(&mut context), Poll::Ready(None));
    assert_eq!(ticket.next_event_within(Duration::ZERO), TimedRecv::End);
}

#[test]
fn too_many_log_probabilities_are_refused() {
    let (handle, _inbox) = seam(4);
    let error = handle.submit(Request { top_logprobs: Some(21), ..request() }).expect_err("too many");
    assert_eq!(error.to_string(), "top_logprobs is 21, but must be from 0 to 20");
}

#[test]
fn the_watchdog_speaks_when_the_engine_does_not() {
    let (handle, mut inbox) = seam(4);
    let mut ticket = handle.submit(request()).expect("room");
    let accepted = inbox.recv().expect("one");
    let (stalled, hear) = std::sync::mpsc::channel();
    let watchdog = watch(&handle, Duration::from_millis(30), move |ended| {
        let _ = stalled.send(ended);
    });
    let watchdog = watchdog.expect("a thread");
    assert!(matches!(ticket.next_event(), Some(Event::Failed(Failure::Stalled { .. }))));
    assert_eq!(hear.recv(), Ok(1));
    drop((accepted, inbox));
    watchdog.join().expect("ends with the engine");
    // One that makes progress is left alone.
    let (handle, mut inbox) = seam(4);
    let _ticket = handle.submit(request()).expect("room");
    let accepted = inbox.recv().expect("one");
    let watchdog =
        watch(&handle, Duration::from_secs(600), |_| panic!("nothing is wrong")).expect("a thread");
    std::thread::sleep(Duration::from_millis(20));
    inbox.publish(&EngineStats::default());
    assert!(!accepted.events.is_cancelled());
    drop((accepted, inbox));
    watchdog.join().expect("ends with the engine");
}
