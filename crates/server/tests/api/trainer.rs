//! Somebody who trains nothing and says that it does: the other side of the seam, for tests of everything
//! above it.
//!
//! A step is taken when the test allows it. The state on the disk is the number of steps, saved each second
//! step and when it is stopped; what was saved is gone on from, as the seam wants it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gptoss_server::{
    DataFile, DataProblem, DataReport, TrainingData, TrainingEnd, TrainingOrder, TrainingReport,
    TrainingRunner, TrainingSeat, TuningMetrics,
};
use serde_json::Value;

/// Steps of every training.
pub const STEPS: u64 = 4;
/// The seed of a training that fails behind its second step.
pub const FAILS: u64 = 13;
/// The seed of a training that panics there.
pub const PANICS: u64 = 14;

/// Somebody who trains.
#[derive(Debug, Clone)]
pub struct Trainer {
    /// How many steps may be taken, of all trainings together.
    pub allowed: Arc<AtomicU64>,
    /// How many were.
    pub taken: Arc<AtomicU64>,
    /// What was asked for.
    pub orders: Arc<Mutex<Vec<TrainingOrder>>>,
    /// While it is 0, no files are looked through.
    pub checks: Arc<AtomicU64>,
}

impl Trainer {
    /// Who may take so many steps.
    pub fn allowed(steps: u64) -> Trainer {
        Trainer {
            allowed: Arc::new(AtomicU64::new(steps)),
            taken: Arc::default(),
            orders: Arc::default(),
            checks: Arc::new(AtomicU64::new(1)),
        }
    }
}

fn rows(path: &Path, file: DataFile, problems: &mut Vec<DataProblem>) -> u64 {
    let mut count = 0;
    for (at, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        let why = match serde_json::from_str::<Value>(line) {
            Ok(row) if row.get("messages").is_some() => {
                count += 1;
                continue;
            }
            Ok(row) if row.get("long").is_some() => ("it is too long", false),
            _ => ("it has no messages", true),
        };
        problems.push(DataProblem { file, line: at + 1, why: why.0.to_owned(), is_wrong: why.1 });
    }
    count
}

impl TrainingRunner for Trainer {
    fn check(&self, data: &TrainingData) -> Result<DataReport, String> {
        while self.checks.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let mut problems = Vec::new();
        let num_examples = rows(&data.training, DataFile::Training, &mut problems);
        let validation = data.validation.as_deref();
        let num_validation_examples =
            validation.map_or(0, |path| rows(path, DataFile::Validation, &mut problems));
        if data.options.rank == 99 {
            return Err("no model has the rank 99".to_owned());
        }
        Ok(DataReport { num_examples, num_validation_examples, problems })
    }

    fn train(&self, order: &TrainingOrder, seat: &TrainingSeat) -> TrainingEnd {
        self.orders.lock().unwrap().push(order.clone());
        let state = order.work.join("state");
        let saved = fs::read_to_string(&state).map_or(0, |text| text.parse().unwrap());
        for step in saved + 1..=STEPS {
            loop {
                if !seat.goes_on() {
                    fs::write(&state, (step - 1).to_string()).unwrap();
                    return TrainingEnd::Stopped;
                }
                if self.taken.load(Ordering::Relaxed) < self.allowed.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            let metrics = TuningMetrics {
                step,
                train_loss: Some(1.0 / step as f64),
                train_mean_token_accuracy: Some(0.5),
                ..TuningMetrics::default()
            };
            seat.tell(TrainingReport::Step { metrics, num_steps: STEPS });
            if step % 2 == 0 {
                let adapter = format!("step-{step}");
                fs::create_dir_all(order.adapters.join(&adapter)).unwrap();
                seat.tell(TrainingReport::Checkpoint { metrics, adapter });
                fs::write(&state, step.to_string()).unwrap();
                match u64::from(order.seed) {
                    FAILS => return TrainingEnd::Failed { message: "a number was not finite".to_owned() },
                    PANICS => panic!("the trainer panics, as it was told to"),
                    _ => {}
                }
            }
        }
        let message = "all is well".to_owned();
        seat.tell(TrainingReport::Note { is_warning: false, message });
        fs::create_dir_all(order.adapters.join("final")).unwrap();
        TrainingEnd::Finished { adapter: "final".to_owned(), trained_tokens: 10 * STEPS }
    }
}
