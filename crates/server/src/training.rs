//! Who trains: the seam between this room, which knows jobs, and whoever knows weights.
//!
//! A [`TrainingRunner`] is given files and numbers and leaves adapters in folders; what a client sees of it
//! is made here, of what it tells the [`TrainingSeat`] on which it sits. It may be told to stop at any time,
//! saves what it has then, and goes on from there when it is started again in the same folder: pausing, the
//! end of the server and a kill are the same to it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use gptoss_api::fine_tuning::hyperparameters::TrainingNumbers;
use gptoss_api::wire::fine_tuning::{TuningMetrics, TuningOptions};

/// Between two looks at whether requests still run.
const GIVE_WAY_PAUSE: Duration = Duration::from_millis(20);

/// What rows of a training are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingMethod {
    /// Examples of what is to be said.
    Supervised,
    /// Pairs of answers of which one is better.
    Dpo,
}

/// The files of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingData {
    /// The name of the model that learns.
    pub base: String,
    /// What is learned, a row a line.
    pub training: PathBuf,
    /// What is not learned.
    pub validation: Option<PathBuf>,
    /// What the rows are.
    pub method: TrainingMethod,
    /// What is trained of the model.
    pub options: TuningOptions,
}

/// Which of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFile {
    /// What is learned.
    Training,
    /// What is not learned.
    Validation,
}

/// A row that nothing is learned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataProblem {
    /// Where it is.
    pub file: DataFile,
    /// From 1.
    pub line: usize,
    /// Why, without a word of the row.
    pub why: String,
    /// Whether the row is wrong, and so the file; otherwise it is left out.
    pub is_wrong: bool,
}

/// What was seen in the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataReport {
    /// Examples that can be learned.
    pub num_examples: u64,
    /// Examples of the validation file.
    pub num_validation_examples: u64,
    /// Rows that are left out.
    pub problems: Vec<DataProblem>,
}

/// A training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingOrder {
    /// The files.
    pub data: TrainingData,
    /// How much is learned at a time, how far, and how often.
    pub numbers: TrainingNumbers,
    /// The same seed, files and numbers give the same bytes.
    pub seed: u32,
    /// For the state to go on from: deleted when the training has ended.
    pub work: PathBuf,
    /// For adapters, a folder each: kept until their models are deleted.
    pub adapters: PathBuf,
}

/// What a training tells.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingReport {
    /// A step has been taken. One that was told before a kill may be told again.
    Step {
        /// How well it went.
        metrics: TuningMetrics,
        /// How many there will be.
        num_steps: u64,
    },
    /// An adapter is there.
    Checkpoint {
        /// How well it does, and behind which step it was made.
        metrics: TuningMetrics,
        /// The name of its folder in that of adapters.
        adapter: String,
    },
    /// Something that people should know.
    Note {
        /// Whether it should be looked at.
        is_warning: bool,
        /// A sentence, without a word of the data.
        message: String,
    },
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainingEnd {
    /// All steps are taken.
    Finished {
        /// The name of its folder in that of adapters.
        adapter: String,
        /// Tokens that were read to learn.
        trained_tokens: u64,
    },
    /// It was told to stop, and has saved what it has.
    Stopped,
    /// It cannot go on.
    Failed {
        /// Why, for the client.
        message: String,
    },
}

/// Whoever trains. Its functions take their time, on threads that may wait.
pub trait TrainingRunner: Send + Sync {
    /// Looks through the files.
    ///
    /// Errors: why they cannot be looked through, for the client.
    fn check(&self, data: &TrainingData) -> Result<DataReport, String>;

    /// Trains, or goes on where it stopped. It asks the seat before each piece of work whether it may.
    fn train(&self, order: &TrainingOrder, seat: &TrainingSeat) -> TrainingEnd;
}

/// What a training may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingTurn {
    /// Its next piece of work.
    Go,
    /// Nothing: requests run.
    GiveWay,
    /// Save, and return.
    Stop,
}

/// Where a training sits: how it hears and is heard.
pub struct TrainingSeat {
    turn: Box<dyn Fn() -> TrainingTurn + Send + Sync>,
    tell: Box<dyn Fn(TrainingReport) + Send + Sync>,
}

impl TrainingSeat {
    /// Of what says what comes next, and who listens.
    pub fn new(
        turn: impl Fn() -> TrainingTurn + Send + Sync + 'static,
        tell: impl Fn(TrainingReport) + Send + Sync + 'static,
    ) -> TrainingSeat {
        TrainingSeat { turn: Box::new(turn), tell: Box::new(tell) }
    }

    /// Waits while requests run. False: it has to save what it has, and to return.
    pub fn goes_on(&self) -> bool {
        loop {
            match (self.turn)() {
                TrainingTurn::Go => return true,
                TrainingTurn::GiveWay => thread::sleep(GIVE_WAY_PAUSE),
                TrainingTurn::Stop => return false,
            }
        }
    }

    /// Tells what has happened; it is kept when this returns.
    pub fn tell(&self, report: TrainingReport) {
        (self.tell)(report);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_seat_waits_while_requests_run() {
        let turns = Mutex::new(vec![
            TrainingTurn::Stop,
            TrainingTurn::GiveWay,
            TrainingTurn::Go,
            TrainingTurn::GiveWay,
        ]);
        let seat = TrainingSeat::new(move || turns.lock().unwrap().pop().unwrap(), |_| {});
        assert!(seat.goes_on());
        assert!(!seat.goes_on());
    }
}
