//! HumanEval: a function's body, run with its tests.
//!
//! An answer is read as the official script reads it, as what follows the prompt; or, where it has a block of
//! Python, as simple-evals reads it, whose cut is kept: of the block's text what follows the first signature.

use crate::{Judgement, Judges, Outcome, ProgramEnd, ProgramKey, Response};

/// How long a completion's program may run, as the official script has it. Units: seconds.
pub const COMPLETION_SECONDS_MAX: u32 = 3;
/// The same of a block, as simple-evals has it. Units: seconds.
pub const BLOCK_SECONDS_MAX: u32 = 120;
/// What an answer's first block begins with.
const FENCE: &str = "```python\n";

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The whole answer follows the prompt.
    Completion,
    /// Of the first block of Python, what follows the first signature.
    Block,
}

impl Reading {
    fn name(self) -> &'static str {
        match self {
            Reading::Completion => "completion",
            Reading::Block => "python block",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Reading::Completion => COMPLETION_SECONDS_MAX,
            Reading::Block => BLOCK_SECONDS_MAX,
        }
    }
}

/// What of an answer follows the prompt, and by which reading.
pub fn completion(answer: &str) -> (Reading, &str) {
    let block = answer.split_once(FENCE).and_then(|(_, rest)| rest.split_once("```"));
    let Some((block, _)) = block else {
        return (Reading::Completion, answer);
    };
    // Without a signature the reference loses the first character.
    let from = match block.find(":\n    ") {
        Some(at) => at + 2,
        None => block.chars().next().map_or(0, char::len_utf8),
    };
    (Reading::Block, &block[from..])
}

/// The program that passes when an answer is right.
pub fn program(key: &ProgramKey, completion: &str) -> String {
    format!("{}{completion}\n{}\ncheck({})", key.prompt, key.test, key.entry_point)
}

/// Runs an answer with its tests.
pub fn judge(key: &ProgramKey, response: &Response, judges: &Judges<'_>) -> Judgement {
    let Some(run) = judges.run else {
        return Judgement::error("programs are not run here");
    };
    if response.response.trim().is_empty() {
        return Judgement::without(Outcome::NoAnswer);
    }
    let (reading, completion) = completion(&response.response);
    let found = |is_right| Judgement::found(completion, is_right, reading.name());
    match run(&program(key, completion), reading.seconds()) {
        ProgramEnd::Passed => found(true),
        ProgramEnd::Failed(why) => Judgement { detail: Some(why), ..found(false) },
        ProgramEnd::TimedOut => {
            Judgement { detail: Some(format!("it ran longer than {} s", reading.seconds())), ..found(false) }
        }
        ProgramEnd::NotRun(why) => Judgement::error(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ProgramKey {
        let text = str::to_owned;
        ProgramKey { prompt: text("def f(x):\n"), test: text("def check(f): f"), entry_point: text("f") }
    }

    #[test]
    fn an_answer_is_a_completion_or_a_block() {
        for (answer, reading, expect) in [
            ("    return x", Reading::Completion, "    return x"),
            ("So:\n```python\ndef f(x):\n    return x\n```\nDone.", Reading::Block, "    return x\n"),
            ("```python\nreturn x\n```", Reading::Block, "eturn x\n"),
            ("```python\n```", Reading::Block, ""),
            ("```\nreturn x\n```", Reading::Completion, "```\nreturn x\n```"),
            ("```python\nnot closed", Reading::Completion, "```python\nnot closed"),
            ("```python\na:\n    b:\n    c\n``` ```python\nd:\n    e```", Reading::Block, "    b:\n    c\n"),
        ] {
            assert_eq!(completion(answer), (reading, expect), "{answer}");
        }
        let expect = "def f(x):\n    return x\ndef check(f): f\ncheck(f)";
        assert_eq!(program(&key(), "    return x"), expect);
    }

    #[test]
    fn each_end_has_its_column() {
        let judged = |text: &str, end: ProgramEnd| {
            let response = Response { response: text.to_owned(), ..Response::default() };
            let run = |_: &str, _: u32| end.clone();
            let judgement = judge(&key(), &response, &Judges { run: Some(&run), ..Judges::default() });
            (judgement.outcome, judgement.detail)
        };
        assert_eq!(judged("a", ProgramEnd::Passed), (Outcome::Correct, None));
        assert_eq!(judged("a", ProgramEnd::Failed("b".into())), (Outcome::Wrong, Some("b".into())));
        assert_eq!(
            judged("a", ProgramEnd::TimedOut),
            (Outcome::Wrong, Some("it ran longer than 3 s".into()))
        );
        assert_eq!(judged("a", ProgramEnd::NotRun("c".into())), (Outcome::Error, Some("c".into())));
        assert_eq!(judged(" ", ProgramEnd::Passed), (Outcome::NoAnswer, None));
        let response = Response { response: "a".into(), ..Response::default() };
        assert_eq!(judge(&key(), &response, &Judges::default()).outcome, Outcome::Error);
    }
}
