//! The steps of a run, with what is told and kept on the way.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use gptoss_train::{Error, RunIdentity, Trainer};

use crate::args::TrainArgs;
use crate::output::Target;
use crate::progress::{Progress, Unit};

use super::lesson::Lesson;
use super::log::{Line, Log};
use super::plot;
use super::recipe::Recipe;
use super::run_folder::RunFolder;

/// Most lines that a run without a terminal says.
const LINES_MAX: u64 = 100;

/// How a run ended.
pub enum Ended {
    /// All steps were taken.
    Done,
    /// Ctrl-C; the state is on disk.
    Interrupted,
    /// A number was not finite; the last good state is on disk.
    NotFinite(Error),
}

/// What the steps need to know.
pub struct Run<'a> {
    /// Of the user.
    pub args: &'a TrainArgs,
    /// What decides the numbers.
    pub recipe: &'a Recipe,
    /// What is learned.
    pub lesson: &'a Lesson<'a>,
    /// Where it is kept.
    pub folder: &'a RunFolder,
    /// Whose states they are.
    pub identity: &'a RunIdentity,
}

impl Run<'_> {
    /// Takes the steps that are left.
    ///
    /// Errors: the disk's.
    pub fn go(&self, trainer: &mut Trainer<'_>, cancel: &AtomicBool) -> Result<(Ended, Log)> {
        let course = &self.recipe.course;
        let (total, mut saved) = (course.steps(), trainer.steps());
        let mut log = Log::open(&self.folder.log(), saved)?;
        let mut told = Told::new(total);
        while trainer.steps() < total {
            if cancel.load(Ordering::SeqCst) {
                self.save(trainer, &log)?;
                return Ok((Ended::Interrupted, log));
            }
            let step = trainer.steps();
            let (started, learning_rate) = (Instant::now(), self.recipe.schedule.rate(step));
            let (report, score) = match self.lesson.step(trainer, self.recipe) {
                Ok(taken) => taken,
                Err(error @ Error::NotFinite { .. }) => {
                    return Ok((self.keep_last_good(trainer, &log, error)?, log));
                }
                Err(error) => return Err(error.into()),
            };
            let seconds = started.elapsed().as_secs_f64();
            let valid = if course.ends_epoch(step) { self.lesson.test(trainer) } else { None };
            let (gradient_norm, tokens) = (report.gradient_norm, report.rows);
            let line = Line { step: step + 1, score, learning_rate, gradient_norm, tokens, seconds, valid };
            log.add(line)?;
            told.tell(&line)?;
            if (step + 1).is_multiple_of(u64::from(self.args.steps.save_every)) {
                self.save(trainer, &log)?;
                saved = step + 1;
            }
        }
        if saved < total {
            self.save(trainer, &log)?;
        }
        Ok((Ended::Done, log))
    }

    /// The state before the step that failed, on disk and in memory.
    fn keep_last_good(&self, trainer: &mut Trainer<'_>, log: &Log, error: Error) -> Result<Ended> {
        if trainer.is_finite() {
            self.save(trainer, log)?;
        } else {
            // What the update has spoiled is lost; where nothing was saved, nothing good is left.
            if !trainer.restore(&self.folder.states(), self.identity)? {
                return Err(error.into());
            }
        }
        Ok(Ended::NotFinite(error))
    }

    fn save(&self, trainer: &Trainer<'_>, log: &Log) -> Result<()> {
        trainer.save(&self.folder.states(), self.identity)?;
        plot::write_svg(&Target::at(&self.folder.path().join("loss.svg"))?, log.lines())
    }
}

/// What is said on standard error: a bar at a terminal, some lines elsewhere.
struct Told {
    progress: Option<Progress>,
    total: u64,
    every: u64,
    started: Instant,
    steps: u64,
    tokens: usize,
}

impl Told {
    fn new(total: u64) -> Told {
        let progress = io::stderr().is_terminal().then(|| Progress::new("training", Unit::Steps));
        let every = total.div_ceil(LINES_MAX).max(1);
        Told { progress, total, every, started: Instant::now(), steps: 0, tokens: 0 }
    }

    fn tell(&mut self, line: &Line) -> io::Result<()> {
        self.steps += 1;
        self.tokens += line.tokens;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.tokens as f64 / seconds;
        if let Some(progress) = &mut self.progress {
            progress.tell(&format!("loss {}, {rate:.0} tokens/s", line.score.describe()));
            progress.set(line.step, self.total);
            return Ok(());
        }
        if !line.step.is_multiple_of(self.every) && line.step != self.total {
            return Ok(());
        }
        let left = seconds / self.steps as f64 * (self.total - line.step) as f64;
        let valid = line.valid.map_or(String::new(), |score| format!("; tested {}", score.describe()));
        writeln!(
            io::stderr(),
            "step {} of {}: loss {}{valid}; {rate:.0} tokens/s, {} left",
            line.step,
            self.total,
            line.score.describe(),
            duration(left)
        )
    }
}

/// A time as people say it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
