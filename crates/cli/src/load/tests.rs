//! Measurements of a scripted server under a clock that stands still while anything can run: times are exact,
//! and no test waits.

use std::future::Ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::exchange::{Ask, Server};
use super::figures::{Figures, Time};
use super::level::{self, Due, Ran, Room, Until};
use super::record::{Asked, Fault, Record};
use crate::args::EndpointArg;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Bytes that a pipe holds: more than any script writes at once.
const PIPE_BYTES: usize = 1 << 16;
/// The runtime's timer has this step. Units: milliseconds.
const STEP_MS: f64 = 2.0;

/// What the server does with a request.
#[derive(Debug, Clone)]
enum Step {
    /// Nothing for so many milliseconds.
    Wait(u64),
    /// Nothing for so many milliseconds, and no other request gets past this meanwhile.
    Work(u64),
    /// The head of a stream.
    Head,
    /// An event with this data.
    Event(&'static str),
    /// These bytes, as they are.
    Raw(&'static str),
    /// The end of the stream; the connection stays.
    End,
    /// The end of the connection.
    Hangup,
    /// The end of the connection, if it has brought a request before.
    HangupIfKept,
}
use Step::{End, Event, Hangup, HangupIfKept, Head, Raw, Wait, Work};

const TOKEN: Step = Event(r#"{"choices":[{"delta":{"content":"x"}}]}"#);
const THOUGHT: Step = Event(r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#);
const DONE: Step = Event("[DONE]");

/// Makes connections to a server that follows a script; refuses them without one.
#[derive(Clone)]
struct Script {
    steps: Option<Arc<Vec<Step>>>,
    work: Arc<Mutex<()>>,
}

impl Script {
    fn of(steps: &[Step]) -> Script {
        Script { steps: Some(Arc::new(steps.to_vec())), work: Arc::default() }
    }

    fn server(self, timeout: Duration) -> Server<Script> {
        Server::with_connector(self, "http://scripted/v1", EndpointArg::Chat, None, timeout)
    }

    async fn serve(self, mut pipe: DuplexStream) -> std::io::Result<()> {
        let mut is_kept = false;
        while read_request(&mut pipe).await? {
            for step in self.steps.iter().flat_map(|steps| steps.iter()) {
                match step {
                    Wait(ms) => sleep(Duration::from_millis(*ms)).await,
                    Work(ms) => {
                        let _turn = self.work.lock().await;
                        sleep(Duration::from_millis(*ms)).await;
                    }
                    Head => pipe.write_all(HEAD.as_bytes()).await?,
                    Event(data) => {
                        let event = format!("data: {data}\n\n");
                        pipe.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
                    }
                    Raw(bytes) => pipe.write_all(bytes.as_bytes()).await?,
                    End => pipe.write_all(b"0\r\n\r\n").await?,
                    Hangup => return Ok(()),
                    HangupIfKept if is_kept => return Ok(()),
                    HangupIfKept => {}
                }
            }
            is_kept = true;
        }
        Ok(())
    }
}

/// Reads a request to its end; false when there is no other.
async fn read_request(pipe: &mut DuplexStream) -> std::io::Result<bool> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = pipe.read(&mut part).await?;
        if read == 0 {
            return Ok(false);
        }
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() >= length.parse::<usize>().unwrap() {
            return Ok(true);
        }
    }
}

impl tower_service::Service<Uri> for Script {
    type Response = TokioIo<Pipe>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<TokioIo<Pipe>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        if self.steps.is_none() {
            return std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()));
        }
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(self.clone().serve(far));
        std::future::ready(Ok(TokioIo::new(Pipe(near))))
    }
}

/// The client's end of a connection.
struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

const PATIENCE: Duration = Duration::from_secs(3600);

fn ask() -> Ask {
    Ask { body: Bytes::from_static(b"{}"), asked: Asked { prompt: None, output: 8 } }
}

async fn exchange(steps: &[Step]) -> Record {
    Script::of(steps).server(PATIENCE).exchange(ask(), Instant::now(), None).await
}

/// Requests at equal distances, as the pacing thread hands them over.
fn paced(origin: Instant, gap_ms: u64, number: u32) -> mpsc::UnboundedReceiver<Due> {
    let (due, listener) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for index in 0..number {
            let at = origin + Duration::from_millis(gap_ms) * index;
            sleep_until(at).await;
            if due.send(Due { at, ask: ask() }).is_err() {
                return;
            }
        }
    });
    listener
}

async fn open(script: Script, gap_ms: u64, number: u32) -> Ran {
    let (_stop, stop) = watch::channel(false);
    let server = script.server(PATIENCE);
    let origin = Instant::now();
    let room = Room { server: &server, stop, progress: &mut |_| {} };
    level::open(room, origin, paced(origin, gap_ms, number)).await
}

async fn closed(script: Script, concurrency: u32, until: Until) -> Ran {
    let (_stop, stop) = watch::channel(false);
    let server = script.server(PATIENCE);
    let room = Room { server: &server, stop, progress: &mut |_| {} };
    level::closed(room, concurrency, until, |_| ask()).await
}

#[track_caller]
fn near(found: Option<f64>, expect: f64) {
    assert!(found.is_some_and(|found| (found - expect).abs() <= STEP_MS), "{found:?} is not {expect}");
}

fn ms(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64() * 1e3)
}

#[tokio::test(start_paused = true)]
async fn what_is_measured_is_what_the_server_did() {
    let script =
        [Wait(40), Head, Wait(60), THOUGHT, Wait(50), TOKEN, Wait(30), TOKEN, Wait(500), DONE, Wait(70), End];
    let record = exchange(&script).await;
    assert_eq!(record.failure, None);
    near(ms(record.answer.first_token), 100.0);
    near(ms(record.answer.first_answer), 150.0);
    near(ms(record.answer.last_token), 180.0);
    near(ms(Some(record.ended)), 750.0);
    near(ms(record.answer.gaps.first().copied()), 50.0);
    near(ms(record.answer.gaps.last().copied()), 30.0);
    near(record.answer.tpot().map(|seconds| seconds * 1e3), 40.0);
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_apart() {
    let check = async |steps: &[Step], fault: Fault, detail: &str| {
        let failure = exchange(steps).await.failure.expect("a failure");
        assert!(failure.fault == fault && failure.detail.contains(detail), "{steps:?}: {failure:?}");
    };
    let full =
        "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 28\r\n\r\n{\"error\":{\"message\":\"full\"}}";
    check(&[Raw(full)], Fault::Status(429), "full").await;
    check(&[Raw("HTTP/1.1 500 x\r\ncontent-length: 4\r\n\r\noops")], Fault::Status(500), "oops").await;
    check(&[Hangup], Fault::Cut, "").await;
    check(&[Head, TOKEN, Hangup], Fault::Cut, "").await;
    check(&[Head, TOKEN, End], Fault::Cut, "before the answer did").await;
    check(&[Head, TOKEN, Event("{"), End], Fault::Malformed, "not what it should be").await;
    check(&[Raw("nonsense\r\n\r\n"), Hangup], Fault::Malformed, "").await;
    check(&[Raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")], Fault::Malformed, "no events").await;
    check(&[Head, Event(r#"{"error":{"message":"out of memory"}}"#), End], Fault::Server, "out of memory")
        .await;
    let nobody = Script { steps: None, work: Arc::default() }.server(PATIENCE);
    let refused = nobody.exchange(ask(), Instant::now(), None).await;
    assert_eq!(refused.failure.unwrap().fault, Fault::Refused);
}

/// llama-server closes connections so, and every third request counted as cut.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_when_it_is_taken_again_is_no_failure() {
    let server = Script::of(&[HangupIfKept, Head, TOKEN, DONE, End]).server(PATIENCE);
    for _ in 0..3 {
        let record = server.exchange(ask(), Instant::now(), None).await;
        assert!(record.failure.is_none(), "{:?}", record.failure);
    }
}

/// What came before the time was up is kept with the record, and the request counts as failed.
#[tokio::test(start_paused = true)]
async fn a_request_has_its_time_from_when_it_was_due() {
    let server = Script::of(&[Head, TOKEN, Wait(10_000), DONE, End]).server(Duration::from_secs(2));
    let origin = Instant::now();
    sleep(Duration::from_millis(500)).await;
    let record = server.exchange(ask(), origin, Some(origin)).await;
    assert_eq!(record.failure.unwrap().fault, Fault::Timeout);
    near(ms(Some(record.late)), 500.0);
    near(ms(record.answer.first_token), 500.0);
    near(ms(Some(record.ended)), 2000.0);
}

/// A server that does one request in 100 ms, asked 50 times a second: the open loop sees the queue that
/// forms, the closed loop waits with it and does not. Times from when requests could be sent would hide it.
#[tokio::test(start_paused = true)]
async fn an_open_loop_shows_the_queue_that_a_closed_one_hides() {
    let script = || Script::of(&[Work(100), Head, TOKEN, DONE, End]);
    let ran = open(script(), 20, 20).await;
    let first: Vec<Option<f64>> = ran.records.iter().map(|record| ms(record.answer.first_token)).collect();
    for (number, first) in first.iter().enumerate() {
        near(*first, 100.0 + 80.0 * number as f64);
    }
    let figures = Figures::of(&ran, &[]);
    near(figures.time(Time::Late).map(|late| late.max), 0.0);
    near(Some(figures.duration * 1e3), 2000.0);
    let ran = closed(script(), 1, Until::Requests(20)).await;
    assert_eq!(ran.records.len(), 20);
    near(Figures::of(&ran, &[]).time(Time::Ttft).map(|first| first.max), 100.0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_keeps_its_number_and_its_end() {
    let script = || Script::of(&[Wait(100), Head, TOKEN, DONE, End]);
    let ran = closed(script(), 4, Until::Requests(10)).await;
    // Four at a time, a tenth of a second each: ten are over after three rounds.
    assert_eq!(ran.records.len(), 10);
    near(Some(ran.elapsed.as_secs_f64() * 1e3), 300.0);
    let ran = closed(script(), 3, Until::Elapsed(Duration::from_millis(250))).await;
    assert_eq!(ran.records.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_run_at_a_time() {
    let script = Script::of(&[Wait(1000), Head, TOKEN, Wait(1000), TOKEN, DONE, End]);
    let ran = open(script, 1, 1000).await;
    assert!(ran.records.len() == 1000 && ran.records.iter().all(|record| record.failure.is_none()));
    near(Some(ran.elapsed.as_secs_f64() * 1e3), 2999.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_before_an_interrupt_is_kept() {
    let (sender, stop) = watch::channel(false);
    let server = Script::of(&[Wait(100), Head, TOKEN, DONE, End]).server(PATIENCE);
    let origin = Instant::now();
    tokio::spawn(async move {
        sleep(Duration::from_millis(255)).await;
        sender.send_replace(true);
        std::future::pending::<()>().await;
    });
    let room = Room { server: &server, stop, progress: &mut |_| {} };
    let ran = level::open(room, origin, paced(origin, 20, 1000)).await;
    // Sent at 0, 20, ..., 240; those up to 140 are over.
    assert_eq!((ran.records.len(), ran.num_abandoned), (8, 5));
    near(Some(ran.elapsed.as_secs_f64() * 1e3), 255.0);
}

/// The pacing thread itself, which no clock can be stopped for: all requests come, in order and not early.
#[tokio::test]
async fn requests_are_handed_over_in_order_and_never_early() {
    let origin = Instant::now();
    let arrivals = (0..50).map(Duration::from_millis);
    let mut due = level::pace(origin, arrivals, |_| ask()).unwrap();
    let mut number = 0;
    while let Some(next) = due.recv().await {
        assert!(next.at == origin + Duration::from_millis(number) && Instant::now() >= next.at);
        number += 1;
    }
    assert_eq!(number, 50);
    let arrivals = || (0..10_000).map(Duration::from_millis);
    assert_eq!(level::until(arrivals(), Until::Requests(7)).count(), 7);
    assert_eq!(level::until(arrivals(), Until::Elapsed(Duration::from_millis(9))).count(), 9);
}
