//! The walk over a run's questions: so many at a time, each asked, judged and handed over as it ends.
//!
//! Threads take questions in order and wait for their answers. Once the run is to end they take no more; what
//! a server has not answered by then is left to itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gptoss_eval::programs::Programs;
use gptoss_eval::{Ask, AskGrader, Item, Judges, PatchKey, Response, RunProgram, RunTests, Suite, judge};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::address::{Address, Failure};
use super::answerer::Answerer;
use super::manner::{Manner, Names, body};
use super::repository_tests::RepositoryTests;
use super::sample::Sample;

/// How long the walk waits for an answer before it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// How long questions that were begun are waited for once the walk is to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bits of a seed: as many as a JSON number holds exactly everywhere.
const SEED_BITS: u32 = 53;

/// What all questions of a run share.
pub struct Exam {
    /// Who is asked.
    pub answerer: Answerer,
    /// Who grades what no rule can.
    pub grader: Option<Address>,
    /// Runs the programs that answers hold.
    pub programs: Option<Programs>,
    /// Tries the patches that answers are.
    pub tests: Option<RepositoryTests>,
    /// The questions.
    pub suite: Arc<Suite>,
    /// How they are put, in turn.
    pub manners: Vec<Manner>,
    /// Where each question's seed comes from.
    pub seed: u64,
    /// Raised when the run is to end.
    pub stop: Arc<AtomicBool>,
}

/// A question of a run: an item put in a manner, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Which manner.
    pub manner: usize,
    /// Which item.
    pub item: usize,
}

/// Walks through `slots`, `concurrency` at a time; `on_ended` hears each as it ends.
///
/// Errors: those of `on_ended`, which end the walk; the system gives no thread.
pub fn walk(
    exam: &Arc<Exam>,
    slots: Vec<Slot>,
    concurrency: usize,
    mut on_ended: impl FnMut(Slot, Sample) -> Result<()>,
) -> Result<()> {
    let (ended, answers) = channel();
    let todo = Arc::new((slots, AtomicUsize::new(0)));
    for _ in 0..concurrency.min(todo.0.len()) {
        let (exam, todo, ended) = (Arc::clone(exam), Arc::clone(&todo), ended.clone());
        let work = move || take_questions(&exam, &todo.0, &todo.1, &ended);
        std::thread::Builder::new()
            .name("question".to_owned())
            .spawn(work)
            .context("cannot start a thread")?;
    }
    drop(ended);
    let mut stopped = None;
    loop {
        if exam.stop.load(Ordering::Relaxed)
            && *stopped.get_or_insert_with(Instant::now) + FAREWELL < Instant::now()
        {
            return Ok(());
        }
        match answers.recv_timeout(GLANCE) {
            Ok((slot, sample, kept)) => {
                let told = on_ended(slot, sample);
                if told.is_err() {
                    exam.stop.store(true, Ordering::Relaxed);
                    return told;
                }
                // Who was stopped meanwhile does not wait for it.
                let _ = kept.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// An answer on its way, and whom to tell that it is kept.
type Ended = (Slot, Sample, Sender<()>);

/// Takes questions one after the other, each when the answer before is kept: a kill loses those under way
/// alone.
fn take_questions(exam: &Exam, slots: &[Slot], next: &AtomicUsize, ended: &Sender<Ended>) {
    while !exam.stop.load(Ordering::Relaxed) {
        let Some(&slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
        let Some(sample) = exam.question(slot) else { return };
        let (kept, heard) = channel();
        if ended.send((slot, sample, kept)).is_err() || heard.recv().is_err() {
            return;
        }
    }
}

impl Exam {
    /// Asks and judges; None when the run is to end first.
    fn question(&self, slot: Slot) -> Option<Sample> {
        let (item, how) = (&self.suite.items[slot.item], &self.manners[slot.manner]);
        let begun = Instant::now();
        let answered = self.answerer.answer(item, how, seed(self.seed, item), &self.stop);
        let mut response = match answered {
            Ok(response) => response,
            Err(Failure::Failed(words)) => Response { error: Some(words), ..Response::default() },
            Err(Failure::Stopped) => return None,
        };
        (response.id, response.repeat) = (item.id.clone(), item.repeat);
        let grades: Mutex<Vec<(String, String)>> = Mutex::default();
        let is_stopped = AtomicBool::new(false);
        let grade = |prompt: &str| match self.grade(prompt) {
            Ok(text) => {
                let mut grades = grades.lock().unwrap_or_else(PoisonError::into_inner);
                // Asked again, because it could not be read: the last one counts.
                grades.retain(|(asked, _)| asked != prompt);
                grades.push((prompt.to_owned(), text.clone()));
                Ok(text)
            }
            Err(Failure::Failed(words)) => Err(words),
            Err(Failure::Stopped) => {
                is_stopped.store(true, Ordering::Relaxed);
                Err("the run is to end".to_owned())
            }
        };
        let run = self
            .programs
            .as_ref()
            .map(|programs| |program: &str, seconds: u32| programs.run(program, seconds));
        let test = self.tests.as_ref().map(|tests| |key: &PatchKey, patch: &str| tests.run(key, patch));
        let judges = Judges {
            test: test.as_ref().map(|test| test as &RunTests<'_>),
            run: run.as_ref().map(|run| run as &RunProgram<'_>),
            grade: self.grader.is_some().then_some(&grade as &AskGrader<'_>),
        };
        let judgement = judge(item, &response, &judges);
        if is_stopped.load(Ordering::Relaxed) {
            return None;
        }
        let grades = grades.into_inner().unwrap_or_else(PoisonError::into_inner);
        let grades: Vec<Value> = grades.into_iter().map(|(_, text)| json!(text)).collect();
        response.grades = Some(grades).filter(|grades| !grades.is_empty());
        Some(Sample { response, judgement, seconds: begun.elapsed().as_secs_f64() })
    }

    fn grade(&self, prompt: &str) -> Result<String, Failure> {
        let Some(grader) = &self.grader else { return Err(Failure::Failed("there is no grader".to_owned())) };
        // Graders are any models: what they do not know is not sent.
        let question = body(&Ask::user(prompt), &Names::default(), &Manner::default(), None);
        grader.ask(&question, &self.stop).map(|answer| answer.response)
    }
}

/// The seed of a question: its own, whatever is asked beside it.
fn seed(seed: u64, item: &Item) -> u64 {
    let digest = Sha256::digest(format!("{seed} {} {}", item.repeat, item.id));
    let first: [u8; 8] = std::array::from_fn(|index| digest[index]);
    u64::from_be_bytes(first) >> (u64::BITS - SEED_BITS)
}
