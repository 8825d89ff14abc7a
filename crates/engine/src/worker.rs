//! The one thread around the engine, and what watches it.
//!
//! Entry points: [`Engine::run`] takes requests from an inbox and steps until there will be no more;
//! [`Engine::spawn`] gives it a thread, and [`Engine::spawn_remade`] one that makes the engine again when its
//! device was lost; [`Engine::generate`] is the same for one request and no thread. [`watch`] is the answer
//! to a step that never ends: it tells everybody who waits, since the engine cannot.
//!
//! Requests are taken between steps, so one that comes while a step runs waits for its end. Whenever the
//! engine falls idle its books are checked: a slot that nobody holds and that is not free is a mistake of
//! ours, found at once; all that was kept is then forgotten and the mistake counted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, Failure};
use crate::handle::{EngineHandle, Inbox, channel};
use crate::limits::KV_EVENTS_LOOK;
use crate::request::{Completion, Event, FinishReason, Request, Usage};
use crate::stats::EngineStats;
use crate::stream::TimedRecv;

/// Makes an engine as it was made at first, after its device was lost for a reason that it is told.
///
/// Errors: in words, why it could not.
pub type Remake = Box<dyn FnMut(&Failure) -> Result<Engine, String> + Send>;

/// How often an engine is made again without a request that ended well between.
pub const REMAKES_MAX: usize = 3;
/// How often the watchdog looks.
const WATCH_PERIOD: Duration = Duration::from_millis(200);

impl Engine {
    /// Answers requests until there will be no more: every handle is gone, or they were told to drain or
    /// abort.
    pub fn run(mut self, mut inbox: Inbox) {
        self.answer(&mut inbox, &EngineStats::default(), false);
    }

    /// As [`Engine::run`], but that a lost device ends it too, if `until_lost`: why it is lost. `past` is
    /// what engines before this one did.
    fn answer(&mut self, inbox: &mut Inbox, past: &EngineStats, until_lost: bool) -> Option<Failure> {
        // Who asks before the first request is to see how much room there is.
        inbox.publish(&past.plus(&self.stats()));
        loop {
            if until_lost && let Some(lost) = self.lost() {
                return Some(lost.clone());
            }
            if self.is_idle() {
                // Invariant: whoever held a slot has given it back. If not, nothing kept can be relied on.
                let books = self.check();
                debug_assert_eq!(books, Ok(()), "an idle engine's books");
                if books.is_err() {
                    self.start_afresh();
                }
                self.settle_kv_events(inbox, past);
                match inbox.recv() {
                    Some(accepted) => self.accept(accepted),
                    None => return None,
                }
            }
            while let Some(accepted) = inbox.try_recv() {
                self.accept(accepted);
            }
            if inbox.is_aborting() {
                self.fail_all(&Failure::ShuttingDown);
            }
            self.step();
            inbox.publish(&past.plus(&self.stats()));
        }
    }

    /// Tells anew what was lost of kept blocks, as soon as there is room and as long as nobody has a request:
    /// the steps that would do it may be hours away.
    fn settle_kv_events(&mut self, inbox: &mut Inbox, past: &EngineStats) {
        // A new engine has to say that what the one before kept is gone.
        self.tell_kv_events();
        while self.owes_kv_events() {
            self.tell_kv_events();
            inbox.publish(&past.plus(&self.stats()));
            if self.owes_kv_events() && !inbox.is_quiet_for(KV_EVENTS_LOOK) {
                return;
            }
        }
    }

    /// As [`Engine::run`]; when the device was lost and everybody has been told, the engine goes with all its
    /// memory and `remake` makes it again. What fails is tried again after `pause`, and
    /// [`REMAKES_MAX`] times without a request that ended well between are the last: every request then ends
    /// with the reason.
    pub fn run_remade(mut self, mut inbox: Inbox, pause: Duration, mut remake: Remake) {
        let mut past = EngineStats::default();
        let mut tries = REMAKES_MAX;
        while let Some(lost) = self.answer(&mut inbox, &past, true) {
            let stats = self.stats();
            if stats.ended_stop + stats.ended_length > 0 {
                tries = REMAKES_MAX;
            }
            past = EngineStats { has_no_device: true, ..past.plus(&stats).counters() };
            inbox.publish(&past);
            // Its memory goes first: there may be no room for two.
            drop(self);
            let mut reason = lost.clone();
            self = loop {
                // Nobody is left whom it would be loaded for, or nobody has the time.
                if inbox.is_over() {
                    return;
                }
                if inbox.is_aborting() {
                    return refuse_all(&mut inbox, &past, &Failure::ShuttingDown);
                }
                if tries == 0 {
                    return refuse_all(&mut inbox, &past, &reason);
                }
                tries -= 1;
                match remake(&lost) {
                    Ok(engine) => break engine,
                    Err(words) => {
                        let message = format!("{words}; start the program again, or use the CPU");
                        reason = Failure::Device { message };
                        inbox.pause(if tries > 0 { pause } else { Duration::ZERO });
                    }
                }
            };
            past.has_no_device = false;
        }
    }

    /// Runs on a thread of its own, which ends after the last handle is gone or was told to drain or abort.
    ///
    /// Errors: the system's, when it has no thread to give.
    pub fn spawn(self) -> io::Result<(EngineHandle, JoinHandle<()>)> {
        let (handle, inbox) = channel(self.limits());
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(move || self.run(inbox))?;
        Ok((handle, thread))
    }

    /// As [`Engine::spawn`], with [`Engine::run_remade`] on the thread.
    ///
    /// Errors: the system's, when it has no thread to give.
    pub fn spawn_remade(self, pause: Duration, remake: Remake) -> io::Result<(EngineHandle, JoinHandle<()>)> {
        let (handle, inbox) = channel(self.limits());
        let thread = thread::Builder::new().name("engine".to_owned());
        let thread = thread.spawn(move || self.run_remade(inbox, pause, remake))?;
        Ok((handle, thread))
    }

    /// Continues a prompt. Events come as they happen, `Finished` last; the completion holds the same.
    ///
    /// A cancelled request is not an error: it ends with what it has and `FinishReason::Cancelled`.
    ///
    /// Errors: those of `submit` before anything is computed, without an event; `Failed` when the forward
    /// pass fails.
    pub fn generate(
        &mut self,
        request: Request,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Completion, Error> {
        let (handle, mut inbox) = channel(self.limits());
        let mut ticket = handle.submit(request)?;
        let mut completion = Completion {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            reason: FinishReason::Cancelled,
            usage: Usage::default(),
        };
        if let Some(accepted) = inbox.try_recv() {
            self.accept(accepted);
        }
        loop {
            if cancel.load(Ordering::Relaxed) {
                ticket.cancel();
            }
            self.step();
            while let TimedRecv::Event(event) = ticket.next_event_within(Duration::ZERO) {
                match &event {
                    Event::Prefill { .. } => {}
                    Event::Token(token) => {
                        completion.tokens.push(token.id);
                        completion.logprobs.push(token.logprob);
                    }
                    Event::Finished { reason, usage } => {
                        (completion.reason, completion.usage) = (*reason, *usage);
                        on_event(event);
                        return Ok(completion);
                    }
                    Event::Failed(failure) => {
                        let failure = failure.clone();
                        on_event(event);
                        return Err(failure.into());
                    }
                }
                on_event(event);
            }
        }
    }
}

/// Ends every request that comes with the reason, until there will be no more.
fn refuse_all(inbox: &mut Inbox, past: &EngineStats, lost: &Failure) {
    let mut stats = *past;
    while let Some(accepted) = inbox.recv() {
        // Counted first: who hears of the end may look at once.
        stats.ended_failed += 1;
        inbox.publish(&stats);
        accepted.events.fail(lost.clone());
    }
}

/// Ends every request when the engine has not finished a step for `patience`, and calls `on_stall` with their
/// number. The watch ends with the engine or when `handle` is the last one.
///
/// Errors: the system's, when it has no thread to give.
pub fn watch(
    handle: &EngineHandle,
    patience: Duration,
    on_stall: impl Fn(usize) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let watched = handle.watched();
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        while let Some(stalled_for) = watched.stalled_for() {
            if stalled_for >= patience {
                let ended = watched.fail_all(&Failure::Stalled { seconds: stalled_for.as_secs() });
                if ended > 0 {
                    on_stall(ended);
                }
            }
            thread::sleep(WATCH_PERIOD.min(patience));
        }
    })
}
