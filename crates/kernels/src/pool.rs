//! A few persistent threads that share one op at a time by handing out task numbers.
//!
//! Entry point: [`Pool::run`]. A call opens a job, the caller and the workers take task numbers from one
//! counter until none is left, and the call returns when every task is done. Which thread runs a task is left
//! to chance, so a task must be a function of its number alone; that is what makes results equal for any
//! number of threads.
//!
//! Workers spin for some microseconds after a job, because the next one of a forward pass follows at once,
//! and then sleep: an idle pool costs nothing. A general work-stealing pool was measured at 13 to 30 us per
//! fork-join on two cores, which at some 240 regions a token is a tenth of the time of a fast one.
//!
//! A worker that wakes too late finds the job closed and goes back to sleep; the caller waits only for
//! workers that joined. A panic in a task stops the handing out, and the caller re-raises it when all are
//! back. A nested or concurrent call finds the pool taken and runs its tasks on its own thread.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};

use crate::rows::{RowTasks, SharedRows};
use crate::tier::{Instructions, Tier};

/// Spins of a worker that waits for the next job before it sleeps: about 20 to 40 us.
const IDLE_SPINS: u32 = 1_000;
/// Tasks that a thread finds at least in an op of many rows, so that none waits long for the slowest.
const TASKS_OF_A_THREAD: usize = 8;
/// Spins of a caller that waits for the last workers before it parks.
const JOIN_SPINS: u32 = 2_000;

/// Set in [`Shared::state`] while a job takes workers. Below it: how many joined; above it: the job's number.
const OPEN: u64 = 1 << 31;
const JOINED: u64 = OPEN - 1;
const EPOCH_SHIFT: u32 = 32;

/// A set of threads that run the tasks of one op at a time, and the tier that ops on it use.
pub struct Pool {
    instructions: Instructions,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the call that owns the job slot.
    owner: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the caller among them (so `threads - 1` are started), on the widest tier.
    /// Zero counts as one. A thread that the system refuses to start is done without.
    pub fn new(threads: usize) -> Pool {
        Self::with_tier(threads, Tier::detect())
    }

    /// As [`Pool::new`], with a tier of the caller's choice.
    ///
    /// Panics: when this processor cannot run `tier`.
    pub fn with_tier(threads: usize, tier: Tier) -> Pool {
        let instructions = tier.instructions();
        let shared = Arc::new(Shared::new());
        let workers = (1..threads.max(1))
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                let name = format!("gptoss-worker-{index}");
                thread::Builder::new().name(name).spawn(move || shared.work()).ok()
            })
            .collect();
        Pool { instructions, shared, workers, owner: Mutex::new(()) }
    }

    /// How many threads run tasks, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The instructions that ops on this pool use.
    pub fn tier(&self) -> Tier {
        self.instructions.tier()
    }

    /// The right to use them.
    pub(crate) fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Cuts `n` rows that are read once into tasks of whole units, at most `rows_max` each, and as many tasks
    /// for one thread as for the others. A task that is a long run through memory reads faster than its
    /// parts, each of which waits for its first bytes.
    pub(crate) fn tasks_of_rows(&self, n: usize, unit: usize, rows_max: usize) -> RowTasks {
        let rows = (n / (self.threads() * TASKS_OF_A_THREAD)).clamp(unit, rows_max);
        RowTasks::new(n, unit, n.div_ceil(rows).next_multiple_of(self.threads()))
    }

    /// Cuts `n` rows, each a part of `others` independent tasks: at most `rows_max` together, and fewer, but
    /// not fewer than `rows_min`, where that leaves threads without work.
    pub(crate) fn tasks_beside(&self, others: usize, n: usize, rows_min: usize, rows_max: usize) -> RowTasks {
        let wanted = if self.threads() > 1 { self.threads() * TASKS_OF_A_THREAD } else { 1 };
        let count = n.div_ceil(rows_max).max(wanted.div_ceil(others.max(1)).min(n / rows_min));
        RowTasks::new(n, 1, count)
    }

    /// Calls `task(i)` once for every `i` below `num_tasks` and returns when all are done.
    ///
    /// Panics: when a task panics; the first panic is passed on after every thread has left the job, and
    /// tasks not yet begun are dropped.
    pub fn run(&self, num_tasks: usize, task: impl Fn(usize) + Sync) {
        if self.workers.is_empty() || num_tasks <= 1 {
            return (0..num_tasks).for_each(task);
        }
        match self.owner.try_lock() {
            Ok(guard) => self.run_shared(guard, num_tasks, &task),
            Err(_) => (0..num_tasks).for_each(task),
        }
    }

    /// Calls `fill(row, out)` once for every row of `rows [T, width]`, shared between the threads.
    ///
    /// Panics: when `rows` are not whole rows, or `fill` panics.
    pub fn for_each_row<T: Send>(&self, rows: &mut [T], width: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
        if rows.is_empty() {
            return;
        }
        assert!(width > 0 && rows.len().is_multiple_of(width), "for_each_row: rows are [T, {width}]");
        let num_rows = rows.len() / width;
        let tasks = RowTasks::new(num_rows, 1, self.threads() * TASKS_OF_A_THREAD);
        let shared = SharedRows::new(rows, width);
        self.run(tasks.count(), |task| {
            for row in tasks.rows(task) {
                // SAFETY: the task alone touches its rows.
                fill(row, unsafe { shared.row(row) });
            }
        });
    }

    fn run_shared(&self, guard: MutexGuard<'_, ()>, num_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: the transmute only lengthens a lifetime. Workers reach `task` through the job, only after
        // joining it, and this function does not return before the job is closed and every joined worker
        // left.
        let task: *const (dyn Fn(usize) + Sync + 'static) = unsafe { std::mem::transmute(task) };
        let job = Job { task, num_tasks, caller: thread::current() };
        shared.open(job.clone());
        shared.take_tasks(&job);
        shared.close_and_wait();
        let panic = lock(&shared.panic).take();
        drop(guard);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to learn from its result.
            let _ = worker.join();
        }
    }
}

#[derive(Clone)]
struct Job {
    task: *const (dyn Fn(usize) + Sync + 'static),
    num_tasks: usize,
    /// Who waits for the job, to be woken by the last worker that leaves.
    caller: Thread,
}

struct Shared {
    /// Job number, [`OPEN`] and the count of joined workers in one word, so that joining is one exchange.
    state: AtomicU64,
    /// Invariant: written only while `state` is closed with nobody joined; read only by joined workers.
    job: UnsafeCell<Option<Job>>,
    next_task: AtomicUsize,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the one field that is not Sync by itself. The invariant on it excludes a write beside any
// other access, and its pointer leads to a closure that is Sync.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only while the call that made it waits; the closure behind it is Sync.
unsafe impl Send for Shared {}

impl Shared {
    fn new() -> Shared {
        Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next_task: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Publishes a job. Only the owner of the pool calls it, between jobs.
    fn open(&self, job: Job) {
        let state = self.state.load(Ordering::Acquire);
        debug_assert_eq!(state & (OPEN | JOINED), 0, "a job is still open");
        self.next_task.store(0, Ordering::Relaxed);
        // SAFETY: the job before is closed and nobody is joined, and only the owner opens the next one.
        unsafe { *self.job.get() = Some(job) };
        let epoch = (state >> EPOCH_SHIFT).wrapping_add(1);
        self.state.store(epoch << EPOCH_SHIFT | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake_sleepers();
        }
    }

    /// Lets nobody join any more and waits for those who did.
    fn close_and_wait(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.state.load(Ordering::Acquire) & JOINED != 0 {
            if spins < JOIN_SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::park();
            }
        }
    }

    fn take_tasks(&self, job: &Job) {
        // SAFETY: the caller is the job's owner or has joined it, so the closure is alive (see `run_shared`).
        let task = unsafe { &*job.task };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next_task.fetch_add(1, Ordering::Relaxed);
                if index >= job.num_tasks {
                    break;
                }
                task(index);
            }
        }));
        if let Err(payload) = outcome {
            self.next_task.store(job.num_tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(payload);
        }
    }

    /// The life of a worker.
    fn work(&self) {
        let mut done_epoch = 0;
        while let Some(epoch) = self.join_next(done_epoch) {
            done_epoch = epoch;
            // SAFETY: this worker has joined, so nobody writes the slot until it leaves below.
            let job = unsafe { (*self.job.get()).clone() };
            let Some(job) = job else { unreachable!("an open job has its slot filled") };
            self.take_tasks(&job);
            let before = self.state.fetch_sub(1, Ordering::AcqRel);
            if before & (OPEN | JOINED) == 1 {
                job.caller.unpark();
            }
        }
    }

    /// Waits for a job other than number `done_epoch` and joins it: its number, or `None` when the pool ends.
    fn join_next(&self, done_epoch: u64) -> Option<u64> {
        let mut spins = 0;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            let state = self.state.load(Ordering::SeqCst);
            if is_new(state, done_epoch) {
                let joined =
                    self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
                if joined.is_ok() {
                    return Some(state >> EPOCH_SHIFT);
                }
            } else if spins < IDLE_SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.sleep_until_new(done_epoch);
                spins = 0;
            }
        }
    }

    fn sleep_until_new(&self, done_epoch: u64) {
        let mut guard = lock(&self.sleep);
        // Announced before the check: a caller either sees the sleeper or has its job seen by the check.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !self.stop.load(Ordering::SeqCst) && !is_new(self.state.load(Ordering::SeqCst), done_epoch) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        let _guard = lock(&self.sleep);
        self.wake.notify_all();
    }
}

fn is_new(state: u64, done_epoch: u64) -> bool {
    state & OPEN != 0 && state >> EPOCH_SHIFT != done_epoch
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
