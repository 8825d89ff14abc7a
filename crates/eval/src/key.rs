//! What an answer is held to: one kind for each kind of scorer.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::Error;

/// What an answer is held to.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// A letter of a choice.
    Letter(LetterKey),
    /// An integer.
    Integer(IntegerKey),
    /// The number of a word problem.
    Number(NumberKey),
    /// A text.
    Text(TextKey),
    /// A pattern.
    Pattern(PatternKey),
    /// A program's tests.
    Program(ProgramKey),
    /// A repository's tests.
    Patch(PatchKey),
    /// Instructions that a program checks.
    Instructions(InstructionsKey),
    /// Function calls.
    Calls(CallsKey),
    /// A grader that reads the answer beside the right one.
    Graded(GradedKey),
    /// A grader that reads the conversation against rubrics.
    Rubric(RubricKey),
    /// Whether the model should refuse.
    Refusal(RefusalKey),
}

/// A letter of a choice.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterKey {
    /// From `A`.
    pub answer: char,
    /// The choices, in the order in which they are asked.
    pub options: Vec<String>,
    /// How the letter is found in a text.
    pub rule: LetterRule,
}

/// How a letter is found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterRule {
    /// `extract_abcd` of `gpt_oss.evals`.
    Abcd,
    /// The same without the two of its patterns that take words for letters.
    AbcdStrict,
    /// simple-evals' `Answer: X` in many languages.
    SimpleEvals,
    /// simple-evals' `Answer: X` in English, after which its GPQA looks.
    SimpleEvalsGpqa,
    /// MMLU-Pro's three patterns, each asked when the one before found nothing.
    MmluPro,
    /// MMLU-Pro's first pattern alone, by which its local runs are scored.
    MmluProFirst,
    /// MLPerf's, over the text of the final channel.
    Mlperf,
}

impl LetterRule {
    /// All of them.
    pub const ALL: [LetterRule; 7] = [
        LetterRule::Abcd,
        LetterRule::AbcdStrict,
        LetterRule::SimpleEvals,
        LetterRule::SimpleEvalsGpqa,
        LetterRule::MmluPro,
        LetterRule::MmluProFirst,
        LetterRule::Mlperf,
    ];

    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            LetterRule::Abcd => "abcd",
            LetterRule::AbcdStrict => "abcd-strict",
            LetterRule::SimpleEvals => "simple-evals",
            LetterRule::SimpleEvalsGpqa => "simple-evals-gpqa",
            LetterRule::MmluPro => "mmlu-pro",
            LetterRule::MmluProFirst => "mmlu-pro-first",
            LetterRule::Mlperf => "mlperf",
        }
    }
}

impl FromStr for LetterRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<LetterRule, Error> {
        let found = LetterRule::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| {
            let known = LetterRule::ALL.map(LetterRule::name).join(", ");
            Error::Spec(format!("there is no rule for letters `{name}`; there are {known}"))
        })
    }
}

/// An integer.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerKey {
    /// As the file has it.
    pub answer: String,
    /// How the integer is found in a text.
    pub rule: IntegerRule,
}

/// How an integer is found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerRule {
    /// `gpt_oss.evals`: the last box, else the last digits.
    GptOss,
    /// MLPerf's: the last box of digits, else the last `Answer: N`.
    Mlperf,
}

/// The number of a word problem.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberKey {
    /// As it stands after `####`, without commas.
    pub answer: String,
    /// Only the official `#### N` counts, no box and no last number.
    pub strict: bool,
}

/// A text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextKey {
    /// Any of them is right.
    pub answers: Vec<String>,
    /// How the answer is found.
    pub rule: TextRule,
    /// Letters of either case are the same.
    pub ignore_case: bool,
}

/// How a text is found in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextRule {
    /// The whole answer without the white space around it.
    Whole,
    /// What the last `\boxed{}` holds.
    Boxed,
    /// The first group of a pattern's last match, or the match.
    Captured(String),
}

/// A pattern that the answer must have somewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternKey {
    /// In the syntax of the crate `fancy-regex`, which is close to Python's.
    pub pattern: String,
}

/// A program's tests.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramKey {
    /// What the answer continues.
    pub prompt: String,
    /// Defines `check(candidate)`.
    pub test: String,
    /// The function that is checked.
    pub entry_point: String,
}

/// A repository's tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatchKey {
    /// `OWNER/NAME`.
    pub repository: String,
    /// What the patch is of.
    pub base_commit: String,
    /// The tests that are added behind it.
    pub test_patch: String,
    /// Tests that a right patch makes pass.
    pub fail_to_pass: Vec<String>,
    /// Tests that pass before it and go on doing so.
    pub pass_to_pass: Vec<String>,
}

/// Instructions that a program checks.
#[derive(Debug, Clone, PartialEq)]
pub struct InstructionsKey {
    /// In the row's order.
    pub instructions: Vec<Instruction>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// Such as `length_constraints:number_words`.
    pub kind: String,
    /// Its arguments; those that the row does not set are not there.
    pub arguments: Map<String, Value>,
}

/// Function calls.
#[derive(Debug, Clone, PartialEq)]
pub struct CallsKey {
    /// The file's category, such as `simple_python` or `live_irrelevance`.
    pub category: String,
    /// The functions as the row describes them.
    pub functions: Vec<Value>,
    /// The row's `ground_truth`; empty where no call is right.
    pub expected: Vec<Value>,
}

/// A grader that reads the answer beside the right one.
#[derive(Debug, Clone, PartialEq)]
pub struct GradedKey {
    /// The right answer.
    pub target: String,
    /// The grader's prompt; `{question}`, `{target}` and `{response}` are filled in.
    pub template: String,
    /// The grader's letters and what they mean.
    pub letters: Vec<(char, GradeMeaning)>,
}

/// What a grader's letter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradeMeaning {
    /// The answer is right.
    Correct,
    /// It is wrong.
    Incorrect,
    /// None was given.
    NotAttempted,
}

/// Rubrics of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct RubricKey {
    /// In the row's order.
    pub rubrics: Vec<RubricItem>,
    /// The row's tags.
    pub tags: Vec<String>,
    /// The grader's prompt; `<<conversation>>` and `<<rubric_item>>` are filled in.
    pub template: String,
}

/// One of the rubrics.
#[derive(Debug, Clone, PartialEq)]
pub struct RubricItem {
    /// What the grader looks for.
    pub criterion: String,
    /// What it is worth; below zero for what should not be there.
    pub points: f64,
    /// Its tags.
    pub tags: Vec<String>,
}

/// Whether the model should refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusalKey {
    /// True for an unsafe prompt.
    pub should_refuse: bool,
}

impl Key {
    /// The right answer in a few words, where there is one.
    pub fn expected(&self) -> Option<String> {
        match self {
            Key::Letter(key) => Some(key.answer.to_string()),
            Key::Integer(key) => Some(key.answer.clone()),
            Key::Number(key) => Some(key.answer.clone()),
            Key::Text(key) => Some(key.answers.join(" / ")),
            Key::Pattern(key) => Some(key.pattern.clone()),
            Key::Graded(key) => Some(key.target.clone()),
            Key::Refusal(key) => Some(if key.should_refuse { "refusal" } else { "compliance" }.to_owned()),
            Key::Program(_) | Key::Patch(_) | Key::Instructions(_) | Key::Calls(_) | Key::Rubric(_) => None,
        }
    }
}
