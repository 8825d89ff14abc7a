//! Progress bars.
//!
//! Progress bars on standard error, and only when that is a terminal: a pipe or a log file gets nothing. A
//! bar appears when the work has lasted long enough to be worth one, so that opening the demo model does not
//! flicker.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// Work that ends sooner shows no bar.
const QUIET: Duration = Duration::from_millis(300);

/// What the numbers of a bar are.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Bytes, shown with binary prefixes.
    Bytes,
    /// Tokens.
    Tokens,
    /// Requests that have ended.
    Requests,
    /// Cases that have been run.
    Cases,
    /// Seconds that have passed.
    Seconds,
    /// Questions that were answered.
    Questions,
    /// Steps of training.
    Steps,
}

/// One bar, drawn lazily, gone when dropped.
#[derive(Debug)]
pub struct Progress {
    label: String,
    unit: Unit,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar that has not been drawn yet.
    pub fn new(label: impl Into<String>, unit: Unit) -> Self {
        Progress { label: terminal::safe(&label.into()), unit, started: Instant::now(), bar: None }
    }

    /// Sets the position; the first call after the quiet time draws the bar.
    pub fn set(&mut self, done: u64, total: u64) {
        if self.bar.is_none() {
            if self.started.elapsed() < QUIET || done >= total || !io::stderr().is_terminal() {
                return;
            }
            self.bar = Some(self.draw(done, total));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Puts another text in front of the bar.
    pub fn tell(&mut self, label: &str) {
        self.label = terminal::safe(label);
        if let Some(bar) = &self.bar {
            bar.set_message(self.label.clone());
        }
    }

    /// Removes the bar from the screen.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&self, done: u64, total: u64) -> ProgressBar {
        let numbers = match self.unit {
            Unit::Bytes => "{bytes}/{total_bytes} {binary_bytes_per_sec}",
            Unit::Tokens => "{pos}/{len} tokens {per_sec}",
            Unit::Cases => "{pos}/{len} cases",
            Unit::Requests => "{pos}/{len} requests {per_sec}",
            Unit::Seconds => "{pos}/{len} s",
            Unit::Questions => "{pos}/{len} answered",
            Unit::Steps => "{pos}/{len} steps",
        };
        let template = format!("{{msg}} [{{bar:30}}] {numbers} {{eta}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_message(self.label.clone());
        // What was done before the bar appeared, perhaps by another run, took no time that the bar has seen:
        // it is no part of the rate.
        bar.set_position(done);
        bar.reset_eta();
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pull that went on at one gigabyte showed gigabytes a second. Nothing here is held against a clock:
    /// no step has been made.
    #[test]
    fn what_was_there_before_is_no_speed() {
        let bar = Progress::new("model\x1b[2J", Unit::Bytes).draw(1 << 30, 1 << 31);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!((bar.position(), bar.per_sec()), (1 << 30, 0.0));
        assert_eq!(bar.message(), "model\u{fffd}[2J");
    }
}
