//! A full queue, requests that are called off, and a drain, over an engine that the test plays.

use std::time::Duration;

use gptoss_engine::{EngineStats, Failure, FinishReason, Inbox, QueuedRequest, Token, Usage};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vllm_proto::finish_info::FinishReason as Finish;
use vllm_proto::{AbortRequest, GenerateRequest};

use crate::fixture::{joined, played, request};

/// The next request, on a thread that may wait.
async fn next(mut inbox: Inbox) -> (Inbox, QueuedRequest) {
    let taken = tokio::task::spawn_blocking(move || {
        let queued = inbox.recv().expect("a request");
        (inbox, queued)
    });
    let (inbox, mut queued) = taken.await.expect("a thread");
    queued.events.begin();
    (inbox, queued)
}

fn token(id: u32) -> Token {
    Token { id, logprob: -1.0, is_stop: false, top: Vec::new(), masked: None }
}

/// Ready when the engine is to end it.
async fn called_off(queued: &QueuedRequest) {
    while !queued.events.is_cancelled() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_sends_a_router_elsewhere() {
    let (served, inbox) = played(1, Duration::ZERO).await;
    let mut waiting = served.inference().await;
    let first = tokio::spawn(async move { waiting.generate_stream(request(vec![1], 5)).await });
    while served.engine.stats().queued == 0 {
        tokio::task::yield_now().await;
    }
    let status = served.stream(request(vec![1], 5)).await.expect_err("full");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let (inbox, queued) = next(inbox).await;
    queued.events.fail(Failure::Panicked { message: "m".into() });
    let mut stream = first.await.expect("runs").expect("begins").into_inner();
    assert_eq!(stream.message().await.expect_err("fails").code(), Code::Internal);
    // What another machine may do.
    for (failure, code) in [
        (Failure::Device { message: "lost".into() }, Code::Unavailable),
        (Failure::ShuttingDown, Code::Unavailable),
        (Failure::SlowReader { events: 1 }, Code::ResourceExhausted),
        (Failure::Constraint { message: "m".into() }, Code::InvalidArgument),
    ] {
        assert_eq!(tonic::Status::from(gptoss_worker::Error::Engine(failure.into())).code(), code);
    }
    drop(inbox);
    assert_eq!(served.stream(request(vec![1], 5)).await.expect_err("gone").code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_off_or_goes_ends_the_request() {
    let (served, inbox) = played(8, Duration::ZERO).await;
    let asked = GenerateRequest { request_id: "mine".into(), ..request(vec![1], 5) };
    let mut stream =
        served.inference().await.generate_stream(asked.clone()).await.expect("begins").into_inner();
    let (inbox, queued) = next(inbox).await;
    queued.events.token(token(65)).expect("a reader");
    assert_eq!(joined(&[stream.message().await.expect("tells").expect("one")]).0, [65]);
    let abort = |id: &str| AbortRequest { request_ids: vec![id.into(), "unknown".into()] };
    served.control().await.abort(abort("other")).await.expect("done");
    assert!(!queued.events.is_cancelled());
    served.control().await.abort(abort("mine")).await.expect("done");
    called_off(&queued).await;
    queued.events.finish(FinishReason::Cancelled, Usage::default());
    let last = stream.message().await.expect("tells").expect("one").outputs.expect("outputs");
    let end = last.finish_info.expect("an end");
    assert_eq!((end.finish_reason(), end.num_output_tokens), (Finish::Aborted, 1));
    assert!(stream.message().await.expect("ends").is_none());

    // Nobody can mean all that have none.
    let unnamed = GenerateRequest { request_id: String::new(), ..asked.clone() };
    let stream = served.inference().await.generate_stream(unnamed).await.expect("begins");
    let (inbox, queued) = next(inbox).await;
    served.control().await.abort(abort("")).await.expect("done");
    assert!(!queued.events.is_cancelled());
    drop((stream, queued));

    let stream = served.inference().await.generate_stream(asked).await.expect("begins");
    let (_inbox, queued) = next(inbox).await;
    drop(stream);
    called_off(&queued).await;
}

/// A caller's deadline was not read: its request went on until somebody noticed that the stream was gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_caller_ends_its_request() {
    let (served, inbox) = played(8, Duration::ZERO).await;
    let within = |time: &'static str| {
        let mut asked = tonic::Request::new(request(vec![1], 5));
        asked.metadata_mut().insert("grpc-timeout", time.parse().expect("a value"));
        asked
    };
    let refused = served.inference().await.generate_stream(within("soon")).await.expect_err("no time");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().starts_with("grpc-timeout: "), "{refused}");
    let mut stream =
        served.inference().await.generate_stream(within("10S")).await.expect("begins").into_inner();
    let (_inbox, queued) = next(inbox).await;
    queued.events.token(token(65)).expect("a reader");
    assert_eq!(joined(&[stream.message().await.expect("tells").expect("one")]).0, [65]);
    let end = stream.message().await.expect_err("ends");
    assert_eq!(end.code(), Code::DeadlineExceeded, "{end}");
    assert!(end.message().contains("grpc-timeout"), "{end}");
    called_off(&queued).await;
}

/// Who watched was told of a stop, and not of a card that was lost.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_hears_of_a_lost_card() {
    let (served, mut inbox) = played(8, Duration::ZERO).await;
    let endpoint = tonic::transport::Endpoint::new(served.address.clone()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("connects"));
    let asked = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(asked).await.expect("tells").into_inner();
    let mut status = async || watched.message().await.expect("tells").expect("one").status();
    assert_eq!(status().await, ServingStatus::Serving);
    inbox.publish(&EngineStats { has_no_device: true, ..EngineStats::default() });
    assert_eq!(status().await, ServingStatus::NotServing);
    inbox.publish(&EngineStats::default());
    assert_eq!(status().await, ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_may_end_while_others_are_sent_elsewhere() {
    // Longer than the test takes: it ends when nothing runs any more.
    let (mut served, inbox) = played(8, Duration::from_secs(600)).await;
    let endpoint = tonic::transport::Endpoint::new(served.address.clone()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("connects"));
    let asked = HealthCheckRequest { service: "vllm.Inference".into() };
    let mut watched = health.watch(asked.clone()).await.expect("tells").into_inner();
    let mut status = async || watched.message().await.expect("tells").expect("one").status();
    assert_eq!(status().await, ServingStatus::Serving);
    let mut client = served.inference().await;
    let mut stream = client.generate_stream(request(vec![1], 50)).await.expect("begins").into_inner();
    let (_inbox, queued) = next(inbox).await;
    served.stop.take().expect("once").send(()).expect("runs");
    assert_eq!(status().await, ServingStatus::NotServing);
    assert_eq!(health.check(asked).await.expect("tells").into_inner().status(), ServingStatus::NotServing);
    let refused = client.generate_stream(request(vec![1], 5)).await.expect_err("stops");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    queued.events.token(token(66)).expect("a reader");
    assert_eq!(joined(&[stream.message().await.expect("tells").expect("one")]).0, [66]);
    queued.events.finish(FinishReason::Length, Usage::default());
    let last = stream.message().await.expect("tells").expect("one").outputs.expect("outputs");
    assert_eq!(last.finish_info.expect("an end").finish_reason(), Finish::Length);
    assert!(stream.message().await.expect("ends").is_none());
    served.running.await.expect("ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_what_is_left_so_that_it_goes_on_elsewhere() {
    let (mut served, inbox) = played(8, Duration::ZERO).await;
    let mut stream =
        served.inference().await.generate_stream(request(vec![1], 50)).await.expect("begins").into_inner();
    let (_inbox, queued) = next(inbox).await;
    queued.events.token(token(67)).expect("a reader");
    assert_eq!(joined(&[stream.message().await.expect("tells").expect("one")]).0, [67]);
    // A token whose character is half is not told: it comes again elsewhere.
    let is_half = |&id: &u32| served.vocab.decode(&[id]).is_ok_and(|bytes| bytes == [0xC3]);
    let half = (0..2000).find(is_half).expect("every byte is a token");
    queued.events.token(token(half)).expect("a reader");
    served.stop.take().expect("once").send(()).expect("runs");
    let end = stream.message().await.expect_err("ends");
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    called_off(&queued).await;
    served.running.await.expect("ends");
}
