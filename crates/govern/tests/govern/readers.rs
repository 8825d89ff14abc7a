//! Whoever reads much keeps nobody waiting who asks.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use gptoss_govern::{Charge, Entry, EntryQuery, Event, Journal, Texts, Used};

use super::{NOW, key, rules};

/// Only what waits for ever takes this long.
const NEVER: Duration = Duration::from_secs(60);

/// A reader that stops at its first byte until it is told to go on.
struct Slow {
    begun: Sender<()>,
    go_on: Receiver<()>,
    bytes: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            self.begun.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A read in the middle of its way held the lock of all that is written: requests waited for it.
#[test]
fn a_long_read_keeps_no_request_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    let rules = rules("", &[("a", "max_budget = { tokens = 1000 }")]);
    journal.record(Entry::new(Event::ServerStarted), NOW).unwrap();
    let ((begun, has_begun), (go_on, waits), (admitted, is_admitted)) = (channel(), channel(), channel());
    thread::scope(|scope| {
        let read = scope.spawn(|| {
            let mut slow = Slow { begun, go_on: waits, bytes: 0 };
            journal.export(&mut slow, 0, Texts::Without).unwrap()
        });
        has_begun.recv_timeout(NEVER).unwrap();
        scope.spawn(|| {
            let ticket = journal.admit(key(&rules, "a"), Charge { tokens: 9, micro_usd: 0 }, NOW).unwrap();
            journal.settle(ticket, Used { output: 9, ..Used::default() }, NOW).unwrap();
            admitted.send(()).unwrap();
        });
        let while_it_reads = is_admitted.recv_timeout(NEVER);
        go_on.send(()).unwrap();
        assert!(while_it_reads.is_ok(), "a request waited for a reader");
        assert_eq!(read.join().unwrap().count, 1, "what is read is of one moment");
    });
    assert_eq!(journal.entries(&EntryQuery::default()).unwrap().len(), 2);
    assert_eq!(journal.verify().unwrap().num_entries, 2);
}
