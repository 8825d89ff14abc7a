//! The operator's word to read files again: SIGHUP, told to all that have something to read.

use anyhow::{Context, Result};
use gptoss_server::Log;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The word. Whoever subscribes before a word hears it; of several that come while one is followed, one more
/// is heard.
#[derive(Debug, Clone, Default)]
pub struct Reload(watch::Sender<u64>);

impl Reload {
    /// Has something read again at every word, where a disk may keep it waiting, and what came of it logged.
    /// To be called on the runtime.
    pub fn follow(&self, log: &Log, read: impl Fn() -> String + Clone + Send + 'static) {
        let (mut words, log) = (self.0.subscribe(), log.clone());
        tokio::spawn(async move {
            while words.changed().await.is_ok() {
                if let Ok(told) = tokio::task::spawn_blocking(read.clone()).await {
                    log(&told);
                }
            }
        });
    }

    /// Says it, and to how many.
    fn say(&self) -> usize {
        self.0.send_modify(|words| *words += 1);
        self.0.receiver_count()
    }

    /// Says it at every SIGHUP, from now on; a terminal that closes stops nothing. To be called on the
    /// runtime.
    ///
    /// Errors: the system does not let signals be handled.
    pub fn follow_hangups(self, log: Log) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot handle signals")?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                if self.say() == 0 {
                    log("SIGHUP changes nothing; SIGTERM stops the server");
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_listens_hears_it() {
        let reload = Reload::default();
        assert_eq!(reload.say(), 0);
        let (mut one, mut other) = (reload.0.subscribe(), reload.0.subscribe());
        assert!(!one.has_changed().unwrap(), "what was said before is over");
        assert_eq!(reload.say(), 2);
        assert_eq!(reload.say(), 2);
        for heard in [&mut one, &mut other] {
            assert!(heard.has_changed().unwrap());
            heard.mark_unchanged();
            assert!(!heard.has_changed().unwrap(), "two words at once are heard as one");
        }
        drop(one);
        assert_eq!(reload.say(), 1);
    }
}
