//! Turns and texts whose work is taken down on the request's bill, also when nobody waits for their end.
//!
//! Dropped before its end, a turn is cancelled and heard to its end in a task of its own, which is a step
//! away: what was computed until then is known exactly, and charged.

use std::sync::Arc;

use gptoss_turn::{EngineUsage, Text, TextEvent, Turn, TurnEvent};
use tokio::runtime::Handle;

use crate::bill::Bill;

/// What the engine writes, and how it ends.
pub(crate) trait Heard: Send + Unpin + 'static {
    /// What comes of it.
    type Event: Send;

    /// The next event; None after the last one.
    fn heard(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;

    /// Asks it to end.
    fn cancelled(&self);

    /// Whether the event is the last, and what was computed until then, if it says so.
    fn last(event: &Self::Event) -> Option<Option<&EngineUsage>>;
}

impl Heard for Turn {
    type Event = TurnEvent;

    async fn heard(&mut self) -> Option<TurnEvent> {
        self.next().await
    }

    fn cancelled(&self) {
        self.cancel();
    }

    fn last(event: &TurnEvent) -> Option<Option<&EngineUsage>> {
        match event {
            TurnEvent::Finished(outcome) => Some(Some(&outcome.usage.engine)),
            TurnEvent::Failed(_) => Some(None),
            _ => None,
        }
    }
}

impl Heard for Text {
    type Event = TextEvent;

    async fn heard(&mut self) -> Option<TextEvent> {
        self.next().await
    }

    fn cancelled(&self) {
        self.cancel();
    }

    fn last(event: &TextEvent) -> Option<Option<&EngineUsage>> {
        match event {
            TextEvent::Finished { usage, .. } => Some(Some(usage)),
            TextEvent::Failed(_) => Some(None),
            _ => None,
        }
    }
}

/// A turn or a text with the bill that it is taken down on.
pub(crate) struct Metered<H: Heard> {
    /// None when it was dropped.
    inner: Option<H>,
    bill: Option<Arc<Bill>>,
    /// Tokens of the prompt that the engine counts as written.
    num_forced: usize,
    is_over: bool,
}

impl<H: Heard> Metered<H> {
    pub(crate) fn new(inner: H, bill: Option<&Arc<Bill>>, num_forced: usize) -> Metered<H> {
        Metered { inner: Some(inner), bill: bill.cloned(), num_forced, is_over: false }
    }

    /// The next event; None after the last one. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<H::Event> {
        let event = match &mut self.inner {
            Some(inner) => inner.heard().await,
            None => None,
        };
        match event.as_ref().map(H::last) {
            Some(None) => {}
            Some(Some(usage)) => {
                self.is_over = true;
                if let (Some(bill), Some(usage)) = (&self.bill, usage) {
                    take_down(bill, usage, self.num_forced);
                }
            }
            None => self.is_over = true,
        }
        event
    }

    /// Asks it to end: within one step, with what there is.
    pub(crate) fn cancel(&self) {
        if let Some(inner) = &self.inner {
            inner.cancelled();
        }
    }
}

impl<H: Heard> Drop for Metered<H> {
    fn drop(&mut self) {
        let (Some(inner), Some(bill)) = (self.inner.take(), self.bill.take()) else { return };
        if self.is_over {
            return;
        }
        inner.cancelled();
        // Without a runtime there is nobody left to hear it; the bill ends with what it knows.
        let Ok(runtime) = Handle::try_current() else { return };
        let (mut inner, num_forced) = (inner, self.num_forced);
        runtime.spawn(async move {
            while let Some(event) = inner.heard().await {
                if let Some(Some(usage)) = H::last(&event) {
                    take_down(&bill, usage, num_forced);
                }
            }
        });
    }
}

fn take_down(bill: &Bill, usage: &EngineUsage, num_forced: usize) {
    let forced = num_forced.min(usage.completion_tokens);
    bill.computed(usage.prompt_tokens + forced, usage.cached_tokens, usage.completion_tokens - forced);
}
