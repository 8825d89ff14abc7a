//! The pool under many jobs: each task once, panics passed on, nothing left behind.
//!
//! Scheduling is left to the system, so these tests repeat short jobs thousands of times; none depends on a
//! time limit, and a deadlock shows as a test that does not end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gptoss_kernels::{Pool, Tier};

fn counts(len: usize) -> Vec<AtomicUsize> {
    (0..len).map(|_| AtomicUsize::new(0)).collect()
}

#[test]
fn every_task_runs_once() {
    for threads in [0, 1, 2, 3, 8] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for round in 0..3000 {
            let counts = counts(round % 19);
            pool.run(counts.len(), |task| {
                counts[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads} {round}");
        }
    }
}

#[test]
fn every_row_is_filled_once_by_its_number() {
    for threads in [1, 3] {
        let pool = Pool::new(threads);
        for num_rows in 0..40 {
            let mut rows = vec![0; num_rows * 3];
            pool.for_each_row(&mut rows, 3, |row, out| {
                for (column, out) in out.iter_mut().enumerate() {
                    *out += row * 3 + column + 1;
                }
            });
            assert!(rows.into_iter().eq(1..=num_rows * 3), "{threads} {num_rows}");
        }
    }
}

#[test]
fn workers_that_slept_take_part_again() {
    let pool = Pool::new(3);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(2));
        let counts = counts(64);
        pool.run(64, |task| {
            std::thread::sleep(Duration::from_micros(20));
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let pool = Pool::new(3);
    for round in 0..200 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(50, |task| assert_ne!(task, round % 50, "task {task} fails"));
        }));
        let payload = outcome.expect_err("the panic is passed on");
        let message = payload.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains("fails"), "{message}");
        let done = AtomicUsize::new(0);
        pool.run(50, |_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 50);
    }
}

#[test]
fn nested_and_concurrent_calls_finish() {
    let pool = Pool::new(2);
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    pool.run(4, |_| {
                        pool.run(4, |_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        }
    });
    assert_eq!(total.load(Ordering::Relaxed), 3 * 200 * 16);
}

#[test]
fn pools_come_and_go() {
    for round in 0..300 {
        let pool = Pool::with_tier(1 + round % 4, Tier::Scalar);
        if round % 3 == 0 {
            continue;
        }
        let sum = AtomicUsize::new(0);
        pool.run(round, |task| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), round * round.saturating_sub(1) / 2);
    }
}
