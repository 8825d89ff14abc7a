//! What came of the requests to one upstream, counted since the server's start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gptoss_api::usage::TokenUsage;

/// Upper bounds of the buckets of times to an answer. Units: seconds.
pub const TIME_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What can come of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryEnd {
    /// An answer to its end.
    Answered,
    /// A refusal of the request itself.
    Refused,
    /// The upstream has too much to do.
    Limited,
    /// No answer.
    Failed,
    /// An answer that broke off.
    Broken,
    /// Nobody waited for the end.
    Abandoned,
}

impl TryEnd {
    /// All of them.
    pub const ALL: [TryEnd; 6] = [
        TryEnd::Answered,
        TryEnd::Refused,
        TryEnd::Limited,
        TryEnd::Failed,
        TryEnd::Broken,
        TryEnd::Abandoned,
    ];

    /// Its name on the page of metrics.
    pub fn name(self) -> &'static str {
        match self {
            TryEnd::Answered => "answered",
            TryEnd::Refused => "refused",
            TryEnd::Limited => "limited",
            TryEnd::Failed => "failed",
            TryEnd::Broken => "broken",
            TryEnd::Abandoned => "abandoned",
        }
    }
}

/// Counters that any thread may raise.
#[derive(Debug, Default)]
pub struct Tally {
    ends: [AtomicU64; TryEnd::ALL.len()],
    times: [AtomicU64; TIME_BUCKETS.len()],
    num_times: AtomicU64,
    micros: AtomicU64,
    prompt: AtomicU64,
    cached: AtomicU64,
    completion: AtomicU64,
}

/// What they come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// The upstream's name.
    pub name: String,
    /// Requests, in the order of [`TryEnd::ALL`].
    pub ends: [u64; TryEnd::ALL.len()],
    /// How many answers began in at most so long, in the order of [`TIME_BUCKETS`].
    pub times: [u64; TIME_BUCKETS.len()],
    /// All answers that began.
    pub num_times: u64,
    /// What they took to begin, together. Units: seconds.
    pub seconds: f64,
    /// Tokens read, those of them that were cached, and tokens written.
    pub tokens: [u64; 3],
    /// Requests that it is answering.
    pub in_flight: usize,
    /// Whether its circuit is open: nobody is sent there now.
    pub is_open: bool,
}

impl Tally {
    /// A request has ended.
    pub fn ended(&self, end: TryEnd) {
        if let Some(place) = TryEnd::ALL.iter().position(|other| *other == end) {
            self.ends[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An answer has begun, or is there as a whole.
    pub fn began(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        for (bound, count) in TIME_BUCKETS.iter().zip(&self.times) {
            if seconds <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.num_times.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(after.as_micros() as u64, Ordering::Relaxed);
    }

    /// An answer took so much.
    pub fn took(&self, tokens: TokenUsage) {
        self.prompt.fetch_add(tokens.prompt, Ordering::Relaxed);
        self.cached.fetch_add(tokens.cached, Ordering::Relaxed);
        self.completion.fetch_add(tokens.completion, Ordering::Relaxed);
    }

    /// What it comes to so far, of an upstream without a name or a state yet.
    pub fn figures(&self) -> Figures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            ends: std::array::from_fn(|place| load(&self.ends[place])),
            times: std::array::from_fn(|place| load(&self.times[place])),
            num_times: load(&self.num_times),
            seconds: load(&self.micros) as f64 / 1e6,
            tokens: [load(&self.prompt), load(&self.cached), load(&self.completion)],
            ..Figures::default()
        }
    }
}
