//! Which method of which service a call is, and what answers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{Stream, StreamExt};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::caller_deadline::caller_deadline;
use crate::control;
use crate::error::{Error, cut};
use crate::generation::Generation;
use crate::health;
use crate::limits::{ABORT_BYTES_MAX, MESSAGE_BYTES_MAX, QUESTION_BYTES_MAX, WORDS_BYTES_MAX};
use crate::message_body::TimedBody;
use crate::parse::{has_form, parse};
use crate::peer::Peer;
use crate::reading::Place;
use crate::running::Phase;
use crate::wire::Opaque;
use crate::wire::control::{AbortRequest, IsPausedResponse, IsSleepingResponse};
use crate::wire::health::HealthCheckRequest;
use crate::wire::inference::GenerateRequest;
use crate::worker::Worker;

/// An answer that is still to come.
type Coming<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
/// Messages of an answer.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A call whose message has a time to come in.
type Call = hyper::Request<TimedBody>;
/// A response that is still to come.
type Answering = Pin<Box<dyn Future<Output = hyper::Response<Body>> + Send>>;

/// Answers a call of a peer. Whatever a call says, the words of its status are bounded.
pub(crate) fn answer(worker: &Arc<Worker>, peer: &Peer, call: hyper::Request<Incoming>) -> Answering {
    let answering = dispatched(worker, peer, call);
    Box::pin(async move {
        let response = answering.await;
        let words = response.headers().get(Status::GRPC_MESSAGE);
        if words.is_none_or(|words| words.len() <= WORDS_BYTES_MAX) {
            return response;
        }
        match Status::from_header_map(response.headers()) {
            Some(status) => cut(status).into_http(),
            None => response,
        }
    })
}

fn dispatched(worker: &Arc<Worker>, peer: &Peer, call: hyper::Request<Incoming>) -> Answering {
    let owner = Arc::clone(worker);
    let patience = worker.limits.message_time;
    match call.uri().path() {
        "/vllm.Inference/GenerateStream" => entered(owner, peer, call, |call, entry| {
            streaming(call, MESSAGE_BYTES_MAX, |request| async move {
                Ok(entry.generation(request).await?.stream())
            })
        }),
        "/vllm.Inference/Generate" => {
            entered(owner, peer, call, |call, entry| {
                unary(call, MESSAGE_BYTES_MAX, |request| async move {
                    entry.generation(request).await?.whole().await
                })
            })
        }
        _ => told(worker, peer, call.map(|body| TimedBody::new(body, patience))),
    }
}

/// Answers a call that begins no request.
fn told(worker: &Arc<Worker>, peer: &Peer, call: Call) -> Answering {
    let owner = Arc::clone(worker);
    match call.uri().path() {
        "/vllm.Control/Abort" => {
            let tenant = peer.tenant.clone();
            unary(call, ABORT_BYTES_MAX, |request: AbortRequest| async move {
                request.request_ids.iter().for_each(|id| owner.running.abort(&tenant, id));
                Ok(Opaque {})
            })
        }
        "/vllm.Control/GetServerInfo" => known(call, Ok(control::server_info(worker))),
        "/vllm.Control/GetModelInfo" => known(call, Ok(control::model_info(worker))),
        "/vllm.Control/GetKvEventSources" => known(call, Ok(control::kv_event_sources(worker, peer.reached))),
        "/vllm.Control/ListLoras" => known(call, Ok(control::loras(worker))),
        "/vllm.Control/IsPaused" => known(call, Ok(IsPausedResponse { paused: false })),
        "/vllm.Control/IsSleeping" => known(call, Ok(IsSleepingResponse { sleeping: false })),
        "/vllm.Control/Shutdown" => known::<Opaque>(call, Err(control::shutdown())),
        "/grpc.health.v1.Health/Watch" => {
            let watch =
                |request: HealthCheckRequest| async move { Ok(health::watch(&owner, &request.service)) };
            streaming(call, QUESTION_BYTES_MAX, watch)
        }
        "/grpc.health.v1.Health/Check" => {
            let check = |request: HealthCheckRequest| async move { health::check(&owner, &request.service) };
            unary(call, QUESTION_BYTES_MAX, check)
        }
        other => {
            let status = Status::unimplemented(format!("{other} is not offered here"));
            Box::pin(async { status.into_http() })
        }
    }
}

/// A request that may be received now, and is to be begun.
struct Entry {
    worker: Arc<Worker>,
    peer: Peer,
    /// When its caller stops waiting.
    until: Option<Instant>,
    place: Place,
}

/// Answers a call that begins a request when there is room to read it; nothing of it is received before.
fn entered(
    worker: Arc<Worker>,
    peer: &Peer,
    call: hyper::Request<Incoming>,
    answer: impl FnOnce(Call, Entry) -> Answering + Send + 'static,
) -> Answering {
    let peer = peer.clone();
    Box::pin(async move {
        let entry = async {
            if worker.running.is_stopping() {
                return Err(Error::Stopping);
            }
            let until = caller_deadline(call.headers(), Instant::now())?;
            // Who still waits when the worker stops is sent elsewhere at once.
            let mut phases = worker.running.phases();
            let place = tokio::select! {
                place = worker.reading.enter(&peer.tenant) => place,
                _ = phases.wait_for(|&phase| phase > Phase::Open) => Err(Error::Stopping),
            };
            Ok((until, place?))
        };
        match entry.await {
            Ok((until, place)) => {
                let patience = worker.limits.message_time;
                let call = call.map(|body| TimedBody::new(body, patience));
                answer(call, Entry { worker, peer, until, place }).await
            }
            Err(error) => Status::from(error).into_http(),
        }
    })
}

impl Entry {
    /// Begins what a request asks for. Reading it may take a while, and others wait for this thread.
    ///
    /// Errors: what is wrong with it, or why it is not taken now.
    async fn generation(self, request: GenerateRequest) -> Result<Generation, Status> {
        let Entry { worker, peer, until, mut place } = self;
        if has_form(&request) {
            place = worker.reading.compile(place)?;
        }
        let begin = move || {
            // As long as the work takes, whoever waits for it.
            let _place = place;
            Generation::start(&worker, parse(&worker, &peer, request, Instant::now())?, until)
        };
        let begun = tokio::task::spawn_blocking(begin).await;
        Ok(begun.map_err(|_| Status::internal("reading the request broke off"))??)
    }
}

fn known<A>(call: Call, answer: Result<A, Status>) -> Answering
where
    A: Message + Default + 'static,
{
    unary(call, QUESTION_BYTES_MAX, |_: Opaque| async { answer })
}

fn unary<Q, A, F>(call: Call, bytes_max: usize, method: impl FnOnce(Q) -> F + Send + 'static) -> Answering
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let method: Once<Q, A> = Once(Some(Box::new(move |request| {
        let answer = method(request);
        Box::pin(async move { answer.await.map(Response::new) })
    })));
    Box::pin(async move { grpc::<A, Q>(bytes_max).unary(method, call).await })
}

fn streaming<Q, A, F, S>(
    call: Call,
    bytes_max: usize,
    method: impl FnOnce(Q) -> F + Send + 'static,
) -> Answering
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<S, Status>> + Send + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
{
    let method: Streamed<Q, A> = Streamed(Once(Some(Box::new(move |request| {
        let answer = method(request);
        Box::pin(async move {
            let stream = answer.await?.map(|message| message.map_err(cut));
            Ok(Response::new(Box::pin(stream) as Messages<A>))
        })
    }))));
    Box::pin(async move { grpc::<A, Q>(bytes_max).server_streaming(method, call).await })
}

fn grpc<A, Q>(bytes_max: usize) -> Grpc<ProstCodec<A, Q>>
where
    A: Message + Default + 'static,
    Q: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(bytes_max)
}

/// A method that answers one call.
struct Once<Q, T>(Option<Box<dyn FnOnce(Q) -> Coming<T> + Send>>);

impl<Q, T: 'static> Once<Q, T> {
    fn answer(&mut self, request: Request<Q>) -> Coming<T> {
        match self.0.take() {
            Some(method) => method(request.into_inner()),
            None => Box::pin(async { Err(Status::internal("a method was called twice")) }),
        }
    }
}

impl<Q, A: 'static> UnaryService<Q> for Once<Q, A> {
    type Response = A;
    type Future = Coming<A>;

    fn call(&mut self, request: Request<Q>) -> Coming<A> {
        self.answer(request)
    }
}

/// A method whose answer is several messages.
struct Streamed<Q, A>(Once<Q, Messages<A>>);

impl<Q, A: 'static> ServerStreamingService<Q> for Streamed<Q, A> {
    type Response = A;
    type ResponseStream = Messages<A>;
    type Future = Coming<Messages<A>>;

    fn call(&mut self, request: Request<Q>) -> Coming<Messages<A>> {
        self.0.answer(request)
    }
}
