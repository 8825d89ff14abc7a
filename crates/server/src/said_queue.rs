//! How much of what was said waits for the audit's writer, and who waits until there is room for more.
//!
//! Nothing that was said is lost, and whoever ends a request does not wait: it may be the end of a connection
//! that is gone. So the next request waits, before it begins, until what waits is less than a bound. What is
//! under way then may still come on top: that is in memory anyway, for as long as it is under way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gptoss_api::ApiError;
use tokio::sync::Notify;

/// Most bytes of texts that wait when a request begins whose words are kept.
const SAID_WAITING_BYTES_MAX: usize = 64 << 20;
/// Most such texts.
const SAID_WAITING_MAX: usize = 4096;
/// How long a request waits for room before it is refused.
const SAID_PATIENCE: Duration = Duration::from_secs(30);
/// When a client that was refused should ask again. Units: seconds.
const SAID_RETRY_SECONDS: u64 = 5;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct SaidQueue {
    waiting: Mutex<Waiting>,
    room: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    num: usize,
    bytes: usize,
}

/// The place of a text that waits; given back when it is dropped.
pub(crate) struct SaidPlace {
    queue: Arc<SaidQueue>,
    bytes: usize,
}

impl SaidQueue {
    /// Takes a place for a text of so many bytes, whether there is room or not.
    pub(crate) fn place(self: &Arc<Self>, bytes: usize) -> SaidPlace {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.num += 1;
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        SaidPlace { queue: Arc::clone(self), bytes }
    }

    /// Waits until there is room.
    ///
    /// Errors: `Overloaded`, when that takes too long.
    pub(crate) async fn room(&self) -> Result<(), ApiError> {
        self.room_within(SAID_PATIENCE).await
    }

    async fn room_within(&self, patience: Duration) -> Result<(), ApiError> {
        let room = async {
            loop {
                let mut told = std::pin::pin!(self.room.notified());
                // From here on a place that is given back is heard of.
                told.as_mut().enable();
                if self.has_room() {
                    return;
                }
                told.await;
            }
        };
        tokio::time::timeout(patience, room).await.map_err(|_| {
            let what = "what was said in requests before waits for the audit's writer".to_owned();
            ApiError::Overloaded { what, retry_seconds: SAID_RETRY_SECONDS }
        })
    }

    fn has_room(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.num < SAID_WAITING_MAX && waiting.bytes < SAID_WAITING_BYTES_MAX
    }
}

impl Drop for SaidPlace {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.num -= 1;
        waiting.bytes = waiting.bytes.saturating_sub(self.bytes);
        drop(waiting);
        self.queue.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_comes_waits_until_there_is_room() {
        for places in [vec![SAID_WAITING_BYTES_MAX], vec![1; SAID_WAITING_MAX]] {
            let queue = Arc::new(SaidQueue::default());
            assert_eq!(queue.room().now_or_never(), Some(Ok(())));
            let mut held: Vec<SaidPlace> = places.into_iter().map(|bytes| queue.place(bytes)).collect();
            let mut waits = std::pin::pin!(queue.room());
            assert_eq!(waits.as_mut().now_or_never(), None);
            held.pop();
            assert_eq!(waits.as_mut().await, Ok(()));
            drop(held);
            let waiting = queue.waiting.lock().unwrap();
            assert_eq!((waiting.num, waiting.bytes), (0, 0));
        }
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_to_come_again() {
        let queue = Arc::new(SaidQueue::default());
        let _held = queue.place(SAID_WAITING_BYTES_MAX);
        let refused = queue.room_within(Duration::ZERO).await;
        assert!(matches!(refused, Err(ApiError::Overloaded { .. })), "{refused:?}");
    }
}
