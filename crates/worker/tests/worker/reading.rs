//! What is bounded before the engine's queue: connections that begin, messages, forms; and whose share it is.

use std::time::Duration;

use gptoss_engine::{Sharing, Token};
use gptoss_worker::Limits;
use tokio::net::TcpStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use vllm_proto::decoding_parameters::StructuredOutput;
use vllm_proto::{DecodingParameters, GenerateRequest, GenerateResponse, KvCacheParameters};

use crate::fixture::{Served, at_once, played, played_model, request, serve};

/// Nobody was asked for the first bytes in time: as many silent connections as there are places kept all
/// others out for ever.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_hold_no_places() {
    let (model, _inbox) = played_model(8);
    let limits =
        Limits { connections: 1, arrivals: 3, arrival_time: Duration::from_millis(200), ..at_once() };
    let served = serve(model, limits).await;
    let address = served.address.strip_prefix("http://").expect("an address");
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.expect("connects"));
    }
    let status = served.stream(request(Vec::new(), 5)).await.expect_err("an empty prompt");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    drop(silent);
}

/// A call whose message never comes.
async fn withheld(served: &Served) -> tonic::Status {
    let endpoint = tonic::transport::Endpoint::new(served.address.clone()).expect("an address");
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("connects"));
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static("/vllm.Inference/GenerateStream");
    let codec = ProstCodec::<GenerateRequest, GenerateResponse>::default();
    let nothing = Request::new(futures_util::stream::pending());
    match client.streaming(nothing, path, codec).await {
        Ok(_) => panic!("a call without a message is answered"),
        Err(status) => status,
    }
}

/// Messages were received, and forms compiled, for as many requests as clients sent.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_read_in_places() {
    let (model, _inbox) = played_model(8);
    let limits = Limits {
        reading: 1,
        reading_wait: Duration::ZERO,
        message_time: Duration::from_secs(3),
        ..at_once()
    };
    let served = serve(model, limits).await;
    let wrong = async || served.stream(request(Vec::new(), 5)).await.expect_err("an empty prompt");
    assert_eq!(wrong().await.code(), Code::InvalidArgument);
    let full = async {
        loop {
            let status = wrong().await;
            if status.code() == Code::Unavailable {
                return status;
            }
        }
    };
    let (late, full) = tokio::join!(withheld(&served), full);
    assert!(full.message().contains("1 requests of this router"), "{full}");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    assert!(late.message().contains("after 3 s"), "{late}");
    // Its place is free again.
    assert_eq!(wrong().await.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_have_places_of_their_own() {
    let (model, _inbox) = played_model(8);
    let served = serve(model, Limits { compiling: 0, reading: 1, ..at_once() }).await;
    let decoding = DecodingParameters {
        structured_output: Some(StructuredOutput::JsonObject(true)),
        ..Default::default()
    };
    for _ in 0..2 {
        let asked = GenerateRequest { decoding: Some(decoding.clone()), ..request(vec![1], 5) };
        let status = served.stream(asked).await.expect_err("no place");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().contains("forms"), "{status}");
        // It has given the other back.
        let plain = served.stream(request(Vec::new(), 5)).await.expect_err("an empty prompt");
        assert_eq!(plain.code(), Code::InvalidArgument, "{plain}");
    }
}

/// Each salt was a tenant, with a share of the machine and of the compiler of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_salt_is_no_share() {
    let (served, mut inbox) = played(8, Duration::ZERO).await;
    let mut tenants = Vec::new();
    for (salt, bypass_prefix_cache, expect) in [
        ("a", false, Sharing::Salt("a".into())),
        ("b", false, Sharing::Salt("b".into())),
        ("", false, Sharing::Salt("".into())),
        ("a", true, Sharing::Nobody),
    ] {
        let kv = KvCacheParameters { cache_salt: salt.into(), bypass_prefix_cache, ..Default::default() };
        let asked = GenerateRequest { kv: Some(kv), ..request(vec![1], 5) };
        let stream = served.inference().await.generate_stream(asked).await.expect("begins");
        let queued = inbox.try_recv().expect("it was handed in");
        assert_eq!(queued.request.sharing, expect);
        tenants.push(queued.request.tenant);
        drop(stream);
    }
    tenants.dedup();
    assert_eq!(tenants.len(), 1, "{tenants:?}");
    assert_ne!(&*tenants[0].0, "", "none of the other APIs'");
}

/// The words of a refusal had no bound, and a client that got 100 KB of them in a head ended its connection
/// with all streams.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_refusal_leaves_other_streams_alone() {
    let (served, mut inbox) = played(8, Duration::ZERO).await;
    let mut client = served.inference().await;
    let mut stream = client.generate_stream(request(vec![1], 5)).await.expect("begins").into_inner();
    let mut queued = inbox.try_recv().expect("it was handed in");
    queued.events.begin();
    let schema = format!(r##"{{"$ref": "#/{}"}}"##, "x".repeat(100_000));
    let decoding =
        DecodingParameters { structured_output: Some(StructuredOutput::Json(schema)), ..Default::default() };
    let asked = GenerateRequest { decoding: Some(decoding), ..request(served.asked("Hi"), 5) };
    let refused = client.generate_stream(asked).await.expect_err("no such place");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().len() <= 2048, "{}", refused.message().len());
    let named = GenerateRequest { model: "m".repeat(5000), ..request(vec![1], 5) };
    let refused = client.generate_stream(named).await.expect_err("a long name");
    assert!(refused.message().starts_with("model: 5000 bytes"), "{refused}");
    let token = Token { id: 65, logprob: -1.0, is_stop: false, top: Vec::new(), masked: None };
    queued.events.token(token).expect("a reader");
    let told = stream.message().await.expect("the connection is there").expect("one");
    assert_eq!(told.outputs.expect("outputs").token_ids, [65]);
}

/// Lists of ids were read up to 4 MiB, by as many calls as there were streams.
#[tokio::test(flavor = "multi_thread")]
async fn what_begins_no_request_is_short() {
    let (served, _inbox) = played(8, Duration::ZERO).await;
    let mut control = served.control().await;
    let abort = |bytes| vllm_proto::AbortRequest { request_ids: vec!["x".repeat(bytes)] };
    control.abort(abort(60 << 10)).await.expect("done");
    let status = control.abort(abort(65 << 10)).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let endpoint = tonic::transport::Endpoint::new(served.address.clone()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("connects"));
    let asked = |bytes: usize| HealthCheckRequest { service: "€".repeat(bytes / 3) };
    let status = health.check(asked(3000)).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound, "{status}");
    assert!((2040..=2048).contains(&status.message().len()), "{}", status.message().len());
    let status = health.check(asked(5000)).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}
