//! Many answers judged at once.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::{Item, Judgement, Judges, Response, judge};

/// Answers judged at once at most: each may run a program with memory of its own.
pub const THREADS_MAX: usize = 16;

/// Holds answers to their items' keys, in their order, with a thread for each processor.
pub fn judge_all(answers: &[(&Item, &Response)], judges: &Judges<'_>) -> Vec<Judgement> {
    let num_threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let next = AtomicUsize::new(0);
    let judged: Vec<OnceLock<Judgement>> = answers.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((item, response)) = answers.get(at) else { return };
            judged[at].get_or_init(|| judge(item, response, judges));
        }
    };
    thread::scope(|scope| {
        for _ in 1..num_threads.min(answers.len()) {
            scope.spawn(work);
        }
        work();
    });
    let lost = || Judgement::error("it was not judged");
    judged.into_iter().map(|judgement| judgement.into_inner().unwrap_or_else(lost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Key, Outcome, ProgramEnd, ProgramKey};

    #[test]
    fn judgements_stand_in_the_order_of_the_answers() {
        let key = ProgramKey { prompt: String::new(), test: String::new(), entry_point: "f".into() };
        let item = Item {
            id: "a".into(),
            repeat: 0,
            group: None,
            question: String::new(),
            ask: Ask::default(),
            key: Key::Program(key),
        };
        let run = |program: &str, _: u32| match program.starts_with("even") {
            true => ProgramEnd::Passed,
            false => ProgramEnd::Failed(program.to_owned()),
        };
        let texts = (0..100).map(|n| if n % 2 == 0 { "even".to_owned() } else { format!("odd {n}") });
        let responses: Vec<Response> =
            texts.map(|response| Response { response, ..Response::default() }).collect();
        let answers: Vec<(&Item, &Response)> = responses.iter().map(|response| (&item, response)).collect();
        let judged = judge_all(&answers, &Judges { run: Some(&run), ..Judges::default() });
        for (n, judgement) in judged.iter().enumerate() {
            let expect = if n % 2 == 0 { Outcome::Correct } else { Outcome::Wrong };
            assert_eq!(judgement.outcome, expect, "{n}");
            assert!(n % 2 == 0 || judgement.extracted.as_deref() == Some(&format!("odd {n}")));
        }
        assert!(judge_all(&[], &Judges::default()).is_empty());
    }
}
