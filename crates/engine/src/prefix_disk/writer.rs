//! The thread that writes kept places, so that no step waits for a disk.
//!
//! Entry point: [`Writer`]. What waits to be written is bounded; what does not fit is not written, and will
//! be offered again when its place is kept again. A file is written beside its name and renamed, so a crash
//! leaves no half one under a name that counts. The thread ends with the writer, after what was taken in.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use super::{Index, sealed};

/// Bytes that wait to be written at most.
const WAITING_BYTES_MAX: usize = 512 << 20;

/// A file to write.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) tokens: Vec<u32>,
    pub(super) payload: Vec<u8>,
}

/// The thread's end of the queue, and ours.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    is_writing: bool,
    is_over: bool,
}

impl Writer {
    pub(super) fn start(folder: PathBuf, index: Arc<Mutex<Index>>) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let work = move || {
            while let Some(job) = theirs.take() {
                write(&folder, &index, job);
                theirs.done();
            }
        };
        let thread = thread::Builder::new().name("kv disk".to_owned()).spawn(work)?;
        Ok(Writer { queue, thread: Some(thread) })
    }

    /// Takes a job in, made whole by `payload`, unless it waits already or too much does.
    pub(super) fn offer(&self, mut job: Job, payload: impl FnOnce() -> Vec<u8>) -> bool {
        let state = self.queue.lock();
        if state.jobs.iter().any(|other| other.name == job.name) {
            return true;
        }
        if state.bytes >= WAITING_BYTES_MAX {
            return false;
        }
        drop(state);
        job.payload = payload();
        let mut state = self.queue.lock();
        state.bytes += job.payload.len();
        state.jobs.push_back(job);
        self.queue.changed.notify_all();
        true
    }

    pub(super) fn flush(&self) {
        let mut state = self.queue.lock();
        while state.is_writing || !state.jobs.is_empty() {
            state = self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().is_over = true;
        self.queue.changed.notify_all();
        if let Some(thread) = mem::take(&mut self.thread) {
            // A panic of the writer is its own; everything it had to write is lost and nothing else.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.bytes -= job.payload.len();
                state.is_writing = true;
                return Some(job);
            }
            if state.is_over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.lock().is_writing = false;
        self.changed.notify_all();
    }
}

/// Writes one file; when that fails there is none, and the place will be computed.
fn write(folder: &std::path::Path, index: &Mutex<Index>, job: Job) {
    let file = sealed(&job.tokens, &job.payload);
    let bytes = file.len() as u64;
    let lock = || index.lock().unwrap_or_else(PoisonError::into_inner);
    if !lock().holds(bytes) {
        lock().skipped();
        return;
    }
    for gone in lock().make_room(bytes) {
        let _ = fs::remove_file(folder.join(gone));
    }
    let unfinished = folder.join(format!("{}.part", job.name));
    let is_written =
        fs::write(&unfinished, &file).and_then(|()| fs::rename(&unfinished, folder.join(&job.name)));
    match is_written {
        Ok(()) => lock().written(job.name, bytes),
        Err(_) => {
            let _ = fs::remove_file(&unfinished);
            lock().skipped();
        }
    }
}
