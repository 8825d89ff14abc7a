//! Lines of log that never make the server wait.
//!
//! Standard error may be a pipe that nobody reads; a write to it then blocks. So a thread of its own writes,
//! a bounded queue feeds it, and lines that find the queue full are counted and dropped. The count is written
//! when there is room again.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use gptoss_server::Log;

/// Lines that may wait for the writer.
const LINES_MAX: usize = 4096;

/// The end of a log: its writer has written everything.
pub struct Written(Receiver<()>);

impl Written {
    /// Waits for it, once nothing can write lines any more.
    pub fn wait(self, patience: Duration) {
        // Nothing is ever sent: what comes is the end of the writer, or of the patience.
        let _ = self.0.recv_timeout(patience);
    }
}

/// A log that is written to `out` by a thread of its own.
pub fn start(out: impl Write + Send + 'static) -> (Log, Written) {
    start_with(out, LINES_MAX)
}

fn start_with(out: impl Write + Send + 'static, lines_max: usize) -> (Log, Written) {
    let (sender, receiver): (SyncSender<String>, _) = sync_channel(lines_max);
    let num_dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&num_dropped);
    // Without a thread there is no log, and no reason not to serve.
    let (end, written) = sync_channel(0);
    let work = move || {
        write(out, &receiver, &counted);
        drop(end);
    };
    let _ = thread::Builder::new().name("log".into()).spawn(work);
    let log: Log = Arc::new(move |line| match sender.try_send(line.to_owned()) {
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        Err(TrySendError::Full(_)) => {
            num_dropped.fetch_add(1, Ordering::Relaxed);
        }
    });
    (log, Written(written))
}

/// Writes until nothing more can come. Standard error may be closed; then there is nobody left to tell.
fn write(mut out: impl Write, lines: &Receiver<String>, num_dropped: &AtomicU64) {
    for line in lines {
        let _ = writeln!(out, "{line}");
        let dropped = num_dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(out, "{dropped} lines of log were dropped, because they were not read in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    /// A pipe that nobody reads until it is told to.
    struct Stuck {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error is the end of the wait for ever.
            let _ = self.gate.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log that nobody read stopped every request, because its lines were written on the threads that
    /// serve.
    #[test]
    fn a_log_that_nobody_reads_stops_nobody() {
        let (open, gate) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (log, end) = start_with(Stuck { gate, written: Arc::clone(&written) }, 4);
        // More than the queue holds and the writer has in hand: the test ends, so none of them waited.
        for number in 0..100 {
            log(&format!("line {number}"));
        }
        drop(open);
        drop(log);
        end.wait(Duration::MAX);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n") && text.contains("lines of log were dropped"), "{text}");
    }
}
