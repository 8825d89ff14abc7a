//! One level of a run: the requests of one rate or of one concurrency.
//!
//! Open loop: a thread of its own sleeps from one time of arrival to the next and hands each request over,
//! whatever the server does; every time is counted from the arrival, so that a server that stalls cannot
//! make its own measurement milder by keeping requests from being sent ("coordinated omission").
//!
//! Closed loop: each request that ends is followed by the next. Requests are tasks of one runtime, as many as
//! there are.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::client::legacy::connect::Connect;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exchange::{Ask, Server};
use super::record::Record;

/// Longest sleep of the pacing thread before it looks whether anybody still listens.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// How many requests a level has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// This many.
    Requests(u32),
    /// Those that are sent within this time.
    Elapsed(Duration),
}

/// What a level gave.
#[derive(Debug)]
pub struct Ran {
    /// The requests that have ended.
    pub records: Vec<Record>,
    /// Those that Ctrl-C has ended.
    pub num_abandoned: usize,
    /// From the level's start to the end of its last request.
    pub elapsed: Duration,
}

/// A request and when it is to be sent.
#[derive(Debug)]
pub struct Due {
    /// When.
    pub at: Instant,
    /// The request.
    pub ask: Ask,
}

/// What a level needs besides its requests.
pub struct Room<'a, C> {
    /// Who is asked.
    pub server: &'a Server<C>,
    /// Becomes true when the run is to end.
    pub stop: watch::Receiver<bool>,
    /// Hears how many requests have ended.
    pub progress: &'a mut dyn FnMut(usize),
}

/// Times of arrival up to the end of the level.
pub fn until(arrivals: impl Iterator<Item = Duration>, until: Until) -> impl Iterator<Item = Duration> {
    let (requests, time) = match until {
        Until::Requests(requests) => (requests as usize, Duration::MAX),
        Until::Elapsed(time) => (usize::MAX, time),
    };
    arrivals.take(requests).take_while(move |at| *at < time)
}

/// Hands over each request at its time, on a thread of its own: a sleeping thread wakes within a tenth of a
/// millisecond, the runtime's timer within one. Requests are made before their time.
///
/// Errors: the system gives no thread.
pub fn pace(
    origin: Instant,
    arrivals: impl Iterator<Item = Duration> + Send + 'static,
    mut ask: impl FnMut(u32) -> Ask + Send + 'static,
) -> Result<mpsc::UnboundedReceiver<Due>> {
    let (due, listener) = mpsc::unbounded_channel();
    let work = move || {
        for (index, at) in (0..).zip(arrivals) {
            let ask = ask(index);
            let Some(at) = origin.checked_add(at) else { return };
            loop {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if due.is_closed() {
                    return;
                }
                std::thread::sleep(left.min(SLEEP_MAX));
            }
            if due.send(Due { at, ask }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("arrivals".to_owned()).spawn(work).context("cannot start a thread")?;
    Ok(listener)
}

/// Sends what becomes due, when it does, and waits for all answers.
pub async fn open<C: Connect + Clone + Send + Sync + 'static>(
    room: Room<'_, C>,
    origin: Instant,
    mut due: mpsc::UnboundedReceiver<Due>,
) -> Ran {
    let Room { server, mut stop, progress } = room;
    let mut running = Running::new(origin);
    let mut is_all_sent = false;
    while !(is_all_sent && running.tasks.is_empty()) {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return running.abandon().await,
            next = due.recv(), if !is_all_sent => match next {
                Some(Due { at, ask }) => running.send(server, ask, Some(at)),
                None => is_all_sent = true,
            },
            Some(ended) = running.tasks.join_next() => running.take(ended, progress),
        }
    }
    running.finish()
}

/// Keeps `concurrency` requests running.
pub async fn closed<C: Connect + Clone + Send + Sync + 'static>(
    room: Room<'_, C>,
    concurrency: u32,
    until: Until,
    mut ask: impl FnMut(u32) -> Ask,
) -> Ran {
    let Room { server, mut stop, progress } = room;
    let origin = Instant::now();
    let mut running = Running::new(origin);
    let mut num_sent = 0;
    loop {
        let is_more = |num_sent: u32| match until {
            Until::Requests(requests) => num_sent < requests,
            Until::Elapsed(time) => origin.elapsed() < time,
        };
        while running.tasks.len() < concurrency as usize && is_more(num_sent) {
            running.send(server, ask(num_sent), None);
            num_sent += 1;
        }
        if running.tasks.is_empty() {
            return running.finish();
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return running.abandon().await,
            Some(ended) = running.tasks.join_next() => running.take(ended, progress),
        }
    }
}

/// Ready when the run is to end.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|is_stopped| *is_stopped).await;
}

/// Requests that run, and those that have ended.
struct Running {
    origin: Instant,
    tasks: JoinSet<Record>,
    records: Vec<Record>,
}

impl Running {
    fn new(origin: Instant) -> Running {
        Running { origin, tasks: JoinSet::new(), records: Vec::new() }
    }

    fn send<C: Connect + Clone + Send + Sync + 'static>(
        &mut self,
        server: &Server<C>,
        ask: Ask,
        due: Option<Instant>,
    ) {
        let (server, origin) = (server.clone(), self.origin);
        self.tasks.spawn(async move { server.exchange(ask, origin, due).await });
    }

    fn take(&mut self, ended: Result<Record, tokio::task::JoinError>, progress: &mut dyn FnMut(usize)) {
        // An exchange does not panic, and nothing cancels one that is waited for.
        if let Ok(record) = ended {
            self.records.push(record);
        }
        progress(self.records.len());
    }

    async fn abandon(mut self) -> Ran {
        let num_abandoned = self.tasks.len();
        self.tasks.shutdown().await;
        let elapsed = self.origin.elapsed();
        Ran { num_abandoned, elapsed, ..self.finish() }
    }

    fn finish(self) -> Ran {
        let elapsed = self.records.iter().map(|record| record.due + record.ended).max().unwrap_or_default();
        Ran { records: self.records, num_abandoned: 0, elapsed }
    }
}
