//! An engine that says what it is told to: the other side of the seam, for tests of everything above it.
//!
//! [`Script`] holds texts in harmony's notation, control tokens spelled out, one per request in order and
//! from the beginning again after the last. The tokens go through the same channel as a real engine's, so
//! stop tokens, limits, cancelling and ends are as they would be.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gptoss_engine::{
    ChannelLimits, EngineHandle, Failure, FinishReason, Priority, QueuedRequest, Token, TokenLogprob, Usage,
    channel,
};
use gptoss_harmony::{Control, Vocab};

/// Tokens of a whole conversation with the scripted engine.
pub const MAX_CONTEXT: usize = 65_536;

/// The text of a request that fails.
pub const FAILS: &str = "fails";
/// The text of a request whose numbers are not finite, as with damaged weights.
pub const NOT_FINITE: &str = "not finite";
/// The text of a request whose grammar leads nowhere.
pub const EXHAUSTED: &str = "exhausted";

/// What an engine is to say.
#[derive(Debug, Clone)]
pub struct Script {
    /// One a request, in order.
    pub texts: Vec<String>,
    /// Waited before each token.
    pub pause: Duration,
    /// Whether the text is chosen by the calls that stand in the prompt instead of by the requests before:
    /// then a client may ask again, or several at a time.
    pub follows_calls: bool,
    /// While it is true nothing begins: what is asked waits in the queue.
    pub is_busy: Arc<AtomicBool>,
    /// Counts the requests that came with the lowest priority.
    pub num_background: Arc<AtomicUsize>,
}

impl Script {
    /// Without pauses.
    pub fn new(texts: &[&str]) -> Script {
        Script {
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            pause: Duration::ZERO,
            follows_calls: false,
            is_busy: Arc::default(),
            num_background: Arc::default(),
        }
    }
}

/// The prompts that a scripted engine was given.
pub type Prompts = Arc<Mutex<Vec<Vec<u32>>>>;

/// Starts an engine that follows `script`.
pub fn start(vocab: &Arc<Vocab>, script: Script) -> (EngineHandle, Prompts) {
    let (handle, mut inbox) = channel(ChannelLimits::new(vocab.len(), MAX_CONTEXT));
    let prompts = Prompts::default();
    let (vocab, seen) = (Arc::clone(vocab), Arc::clone(&prompts));
    thread::spawn(move || {
        let mut number = 0;
        while script.is_busy.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        while let Some(accepted) = inbox.recv() {
            seen.lock().unwrap().push(accepted.request.prompt.clone());
            if accepted.request.priority == Priority::Background {
                script.num_background.fetch_add(1, Ordering::Relaxed);
            }
            if script.follows_calls {
                let call = vocab.control(Control::Call);
                number = accepted.request.prompt.iter().filter(|&&token| token == call).count();
            }
            let text = script.texts[number % script.texts.len()].clone();
            number += 1;
            let (vocab, pause) = (Arc::clone(&vocab), script.pause);
            thread::spawn(move || play(&vocab, accepted, &text, pause));
        }
    });
    (handle, prompts)
}

/// Has a request said `text`, and waits `pause` between its tokens.
pub fn play(vocab: &Vocab, accepted: QueuedRequest, text: &str, pause: Duration) {
    let QueuedRequest { request, mut events, .. } = accepted;
    if text == FAILS {
        // Events that are dropped without an end are a failure.
        return;
    }
    events.begin();
    match text {
        NOT_FINITE => return events.fail(Failure::NotFinite { position: 1 }),
        EXHAUSTED => return events.fail(Failure::Constraint { message: "no token may follow".into() }),
        _ => {}
    }
    let total = request.prompt.len();
    let mut usage = Usage { prompt_tokens: total, ..Usage::default() };
    // Nothing was kept of earlier prompts.
    let _ = events.prefill(0, total);
    for id in tokens(vocab, text) {
        thread::sleep(pause);
        if events.is_cancelled() {
            return events.finish(FinishReason::Cancelled, usage);
        }
        usage.completion_tokens += 1;
        let is_stop = request.stop_ids.contains(&id);
        let top = match request.top_logprobs {
            Some(count) => (0..count as u32)
                .map(|rank| TokenLogprob { id: id.saturating_sub(rank), logprob: -0.5 - f64::from(rank) })
                .collect(),
            None => Vec::new(),
        };
        if events.token(Token { id, logprob: -0.5, is_stop, top, masked: None }).is_err() || is_stop {
            return events.finish(FinishReason::Stop, usage);
        }
        if usage.completion_tokens >= request.max_new_tokens {
            return events.finish(FinishReason::Length, usage);
        }
    }
    events.finish(FinishReason::Stop, usage);
}

/// Tokens of a text in which control tokens are spelled out.
pub fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        ids.extend(vocab.encode_ids(&rest[..at]));
        rest = &rest[at..];
        let control = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal()));
        let control = control.expect("a control token");
        ids.push(vocab.control(control));
        rest = &rest[control.literal().len()..];
    }
    ids.extend(vocab.encode_ids(rest));
    ids
}
