//! The time that a thread has had of a processor.
//!
//! [`Clock`] is started and read on one thread. What its neighbors do does not move it, where the system
//! tells a thread's own time; elsewhere it is the clock on the wall.

use std::time::Duration;

/// A thread's time since it was started.
pub(crate) struct Clock {
    #[cfg(unix)]
    started: Duration,
    #[cfg(not(unix))]
    started: std::time::Instant,
}

impl Clock {
    #[cfg(unix)]
    pub(crate) fn start() -> Clock {
        Clock { started: thread_time() }
    }

    #[cfg(unix)]
    pub(crate) fn elapsed(&self) -> Duration {
        thread_time().saturating_sub(self.started)
    }

    #[cfg(not(unix))]
    pub(crate) fn start() -> Clock {
        Clock { started: std::time::Instant::now() }
    }

    #[cfg(not(unix))]
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(unix)]
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[cfg(all(test, unix))]
mod tests {
    use super::Clock;
    use std::time::Duration;

    /// A compilation on a busy machine was refused as too slow. A thread that sleeps takes no time, and one
    /// that works does.
    #[test]
    fn waiting_takes_no_time_and_working_does() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(300));
        assert!(clock.elapsed() < Duration::from_millis(200), "{:?}", clock.elapsed());
        let mut number = 1_u64;
        while clock.elapsed() < Duration::from_millis(20) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
