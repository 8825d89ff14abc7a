//! Ctrl-C.
//!
//! While an answer is being written it stops the answer: the turn sees a flag and ends with what there is. At
//! any other time it ends the program with 130, as a shell expects of it. In `run` a second Ctrl-C does not
//! wait for the turn to notice.
//!
//! On a terminal the line editor of `chat` reads Ctrl-C as a key and no signal arrives at all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code of a program that Ctrl-C has ended: 128 and the number of the signal.
pub const EXIT_INTERRUPTED: u8 = 130;

/// What a second Ctrl-C does while an answer is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondPress {
    /// Ends the program at once.
    Ends,
    /// Nothing more.
    Waits,
}

/// The handler, installed once.
#[derive(Debug, Clone)]
pub struct Interrupt {
    is_idle: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handler.
    pub fn install(second: SecondPress) -> Result<Interrupt> {
        let interrupt =
            Interrupt { is_idle: Arc::new(AtomicBool::new(true)), cancel: Arc::new(AtomicBool::new(false)) };
        let exit = i32::from(EXIT_INTERRUPTED);
        let failed = "cannot handle Ctrl-C";
        flag::register_conditional_shutdown(SIGINT, exit, Arc::clone(&interrupt.is_idle)).context(failed)?;
        if second == SecondPress::Ends {
            // Order matters: this looks at the flag before the next line's handler raises it.
            flag::register_conditional_shutdown(SIGINT, exit, Arc::clone(&interrupt.cancel))
                .context(failed)?;
        }
        flag::register(SIGINT, Arc::clone(&interrupt.cancel)).context(failed)?;
        Ok(interrupt)
    }

    /// Does `work`, which Ctrl-C stops by raising the flag it is given.
    pub fn stoppable<T>(&self, work: impl FnOnce(&AtomicBool) -> T) -> T {
        self.cancel.store(false, Ordering::SeqCst);
        self.is_idle.store(false, Ordering::SeqCst);
        let done = work(&self.cancel);
        self.is_idle.store(true, Ordering::SeqCst);
        done
    }
}

/// Tells once more, unless that has failed before. When it fails, nobody is left to speak to, and the flag
/// that [`Interrupt::stoppable`] gave is raised.
pub fn tell_or_cancel(told: &mut io::Result<()>, cancel: &AtomicBool, tell: impl FnOnce() -> io::Result<()>) {
    if told.is_ok() {
        *told = tell();
    }
    if told.is_err() {
        cancel.store(true, Ordering::SeqCst);
    }
}

/// A flag that the first Ctrl-C or SIGTERM raises, for work that ends with what there is; the second ends the
/// program.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let failed = "cannot handle signals";
        // Order matters, as above.
        flag::register_conditional_shutdown(signal, i32::from(EXIT_INTERRUPTED), Arc::clone(&stop))
            .context(failed)?;
        flag::register(signal, Arc::clone(&stop)).context(failed)?;
    }
    Ok(stop)
}
