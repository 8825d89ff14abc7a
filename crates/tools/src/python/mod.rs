//! Python of the model's: one process in a cell for each conversation, which keeps its variables and files.

mod find;
mod inputs;
mod program;
mod session;
#[cfg(feature = "wasm")]
mod wasm;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::error::Elapsed;

use crate::ToolReply;
use crate::cell::{Cell, CellError, End};
use crate::python::session::{Answer, Session};

pub use find::{Interpreter, NoPython, Places};
pub use inputs::{InputFile, Inputs};
pub use program::PythonProgram;
#[cfg(feature = "wasm")]
pub use wasm::{NoWasmPython, WasmPython, run_wasm_python};

/// How long a process waits for the next call of its conversation.
pub const IDLE_MAX: Duration = Duration::from_secs(20 * 60);
/// Processes at once. For a new one leaves the one that has waited longest of whoever has most of them, the
/// new one counted: so nobody's processes push out those of one who has fewer.
pub const SESSIONS_MAX: usize = 16;
/// How long a process may take to end that no longer answers.
const END_MAX: Duration = Duration::from_secs(1);
/// Conversations of which is remembered that they had a process.
const CONVERSATIONS_MAX: usize = 1024;

/// What OpenAI's own tool answers, to the letter: models were trained to read it.
const NOTHING: &str =
    "[WARN] No output available. Use print() to output anything to stdout to receive the output";
const OUT_OF_TIME: &str = "[ERROR] Timed out waiting for Jupyter kernel output.";
/// What is told with the first answer of a new process in the place of an old one.
const ANEW: &str =
    "[WARN] A new Python process was started: the variables and files of earlier calls are gone.\n";

/// The tool.
#[derive(Debug, Clone)]
pub struct Python {
    cell: Cell,
    program: PythonProgram,
    idle: Duration,
    slots: Arc<Mutex<HashMap<Container, Arc<Slot>>>>,
}

/// Which conversation a process belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// Whose conversations share what there may be of them.
    pub owner: String,
    /// Which of the owner's.
    pub name: String,
}

type Slot = tokio::sync::Mutex<State>;

/// What there is of a conversation.
#[derive(Debug)]
struct State {
    session: Option<Session>,
    /// Ids of the files that its process was given.
    given: Vec<String>,
    had_one: bool,
    last_used: Instant,
}

impl Python {
    /// The tool, with walls and the Python within them. The time of the cell's limits is that of one call.
    pub fn new(mut cell: Cell, program: impl Into<PythonProgram>) -> Self {
        let program = program.into();
        cell.binds.extend(program.binds());
        Self { cell, program, idle: IDLE_MAX, slots: Arc::default() }
    }

    /// The same with another time that a process waits for the next call.
    pub fn with_idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Runs code in the process of a conversation, which is started if there is none.
    pub async fn call(&self, container: &Container, code: &str) -> ToolReply {
        self.call_with(container, code, &Inputs::default()).await
    }

    /// The same, with files in its folder.
    pub async fn call_with(&self, container: &Container, code: &str, inputs: &Inputs) -> ToolReply {
        let slot = self.slot(container);
        let mut state = slot.lock().await;
        // Out of the slot until it has answered: a call that is dropped takes its process with it, and the
        // next one does not read the old answer.
        let held = state.session.take();
        let anew = held.is_none() && state.had_one;
        let mut session = match held {
            Some(session) => session,
            None => {
                self.make_room(container);
                state.given.clear();
                let mut cell = self.cell.clone();
                let asked = inputs.memory_bytes.unwrap_or(u64::MAX);
                cell.limits.memory_bytes = cell.limits.memory_bytes.min(asked);
                match Session::start(&cell, &self.program) {
                    Ok(session) => session,
                    Err(error) => return ToolReply::error(format!("[ERROR] {error}")),
                }
            }
        };
        state.had_one = true;
        state.last_used = Instant::now();
        let put = inputs.missing(&state.given);
        let call = session.call(code, &put, &inputs.removed);
        let called = tokio::time::timeout(self.cell.limits.time, call).await;
        let mut reply = match called {
            Ok(Ok(answer)) => {
                state.session = Some(session);
                state.given.extend(put.iter().map(|file| file.id.clone()));
                reply(answer)
            }
            Ok(Err(_)) => {
                let end = tokio::time::timeout(END_MAX, session.end()).await;
                session.kill().await;
                self.ended(end)
            }
            Err(_) => {
                session.kill().await;
                ToolReply::error(OUT_OF_TIME)
            }
        };
        if anew {
            reply.text.insert_str(0, ANEW);
        }
        state.last_used = Instant::now();
        if state.session.is_some() {
            tokio::spawn(expire(Arc::downgrade(&slot), self.idle));
        }
        reply
    }

    /// Ends the process of a conversation, whose next call begins another.
    pub fn end(&self, container: &Container) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = slots.get(container).and_then(|slot| slot.try_lock().ok()).map(|mut state| {
            state.session = None;
        });
        if is_idle.is_none() {
            // Its call goes on apart, and ends with its process.
            slots.remove(container);
        }
    }

    /// Ends the process of a conversation, which is over.
    pub fn forget(&self, container: &Container) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
    }

    fn slot(&self, container: &Container) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CONVERSATIONS_MAX && !slots.contains_key(container) {
            let held =
                slots.iter().map(|(held, slot)| (held, slot.try_lock().ok().map(|state| state.last_used)));
            let leaving = leaving(&container.owner, &held.collect::<Vec<_>>()).cloned();
            if let Some(leaving) = leaving {
                slots.remove(&leaving);
            }
        }
        let new = || {
            let state = State { session: None, given: Vec::new(), had_one: false, last_used: Instant::now() };
            Arc::new(Slot::new(state))
        };
        Arc::clone(slots.entry(container.clone()).or_insert_with(new))
    }

    /// Ends the process that [`leaving`] names, if there are as many as may be. Those at work are let be: as
    /// many calls run at once as callers allow.
    fn make_room(&self, own: &Container) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = Vec::new();
        for (container, slot) in slots.iter().filter(|(container, _)| *container != own) {
            match slot.try_lock() {
                Err(_) => held.push((container, None)),
                Ok(state) if state.session.is_some() => held.push((container, Some(state.last_used))),
                Ok(_) => {}
            }
        }
        if held.len() >= SESSIONS_MAX
            && let Some(slot) = leaving(&own.owner, &held).and_then(|container| slots.get(container))
            && let Ok(mut state) = slot.try_lock()
        {
            state.session = None;
        }
    }

    /// What is said when the process ended under a call.
    fn ended(&self, end: Result<Result<End, CellError>, Elapsed>) -> ToolReply {
        let why = match end {
            Err(_) => "[it broke off its answer]\n".to_owned(),
            Ok(Ok(end)) => match self.cell.limits.exceeded(end) {
                none if none.is_empty() => format!("[it ended by itself: {end:?}]\n"),
                which => which,
            },
            Ok(Err(error)) => format!("[{error}]\n"),
        };
        ToolReply::error(format!("[ERROR] The Python process is gone. {why}"))
    }
}

/// Which leaves for another of this owner's, of those that are held; each with since when it waits, which one
/// at work does not.
fn leaving<'a>(owner: &str, held: &[(&'a Container, Option<Instant>)]) -> Option<&'a Container> {
    let mut num_held: HashMap<&str, usize> = HashMap::from([(owner, 1)]);
    for (container, _) in held {
        *num_held.entry(&container.owner).or_default() += 1;
    }
    let waiting = held.iter().filter_map(|(container, since)| Some((*container, (*since)?)));
    waiting
        .min_by_key(|(container, since)| (Reverse(num_held[container.owner.as_str()]), *since))
        .map(|(container, _)| container)
}

/// Ends a process that has waited too long for another call.
async fn expire(slot: Weak<Slot>, idle: Duration) {
    tokio::time::sleep(idle).await;
    if let Some(slot) = slot.upgrade()
        && let Ok(mut state) = slot.try_lock()
        && state.last_used.elapsed() >= idle
    {
        state.session = None;
    }
}

/// What the model reads of an answer: what was printed, then the errors, as OpenAI's own tool puts them.
fn reply(answer: Answer) -> ToolReply {
    let Answer { stdout, stderr, is_error, files, left_out } = answer;
    let mut text = match (stdout.is_empty(), stderr.is_empty()) {
        (_, true) => stdout,
        (true, false) => stderr,
        (false, false) => format!("{}\n{stderr}", stdout.trim_end()),
    };
    if text.trim().is_empty() {
        text = NOTHING.to_owned();
    }
    if !left_out.is_empty() {
        text.truncate(text.trim_end().len());
    }
    for (path, num_bytes) in left_out {
        text.push_str(&format!(
            "\n[WARN] {path} ({num_bytes} bytes) is not handed out: files of a call are 16 MiB and 32 at most."
        ));
    }
    ToolReply { text, is_error, files }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stdout: &str, stderr: &str, left_out: &[(&str, u64)]) -> String {
        let left_out = left_out.iter().map(|(path, size)| ((*path).to_owned(), *size)).collect();
        let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
        reply(Answer { stdout, stderr, is_error: false, files: Vec::new(), left_out }).text
    }

    #[test]
    fn whoever_has_most_gives_way() {
        let begin = Instant::now();
        let container =
            |(owner, number): (&str, u64)| Container { owner: owner.into(), name: number.to_string() };
        // Numbers are seconds since which they wait; 0 is at work.
        let check = |owner: &str, held: &[(&str, u64)], expected: Option<(&str, u64)>| {
            let containers: Vec<Container> = held.iter().copied().map(container).collect();
            let since =
                |&(_, number): &(&str, u64)| (number > 0).then(|| begin + Duration::from_secs(number));
            let held: Vec<_> = containers.iter().zip(held.iter().map(since)).collect();
            assert_eq!(leaving(owner, &held), expected.map(container).as_ref(), "{owner} {held:?}");
        };
        check("a", &[("a", 2), ("a", 3), ("b", 1)], Some(("a", 2)));
        check("b", &[("a", 3), ("a", 2), ("a", 4), ("b", 1)], Some(("a", 2)));
        // Its own new one is counted.
        check("b", &[("a", 1), ("a", 2), ("b", 3), ("b", 4)], Some(("b", 3)));
        check("c", &[("a", 2), ("b", 1)], Some(("b", 1)));
        // Those at work stay, and who has most of them has no other.
        check("b", &[("a", 0), ("a", 0), ("b", 1)], Some(("b", 1)));
        check("a", &[("a", 0)], None);
    }

    #[test]
    fn what_was_printed_stands_before_errors() {
        assert_eq!(text("a\n", "", &[]), "a\n");
        assert_eq!(text("a\n\n", "b\n", &[]), "a\nb\n");
        assert_eq!(text("", "b\n", &[]), "b\n");
        assert_eq!(text(" \n", "", &[]), NOTHING);
        assert!(text("a\n", "", &[("big", 7)]).starts_with("a\n[WARN] big (7 bytes)"));
    }
}
