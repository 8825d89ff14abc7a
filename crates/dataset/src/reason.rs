//! Why a row is left out.

/// Why nothing is learned of a row. The same words stand for all rows of a variant in a count of them;
/// nothing that a row says is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's message says what it is")]
pub enum Reason {
    #[error("it is longer than {max} bytes")]
    TooManyBytes { max: usize },
    #[error("it is not JSON: {problem}")]
    NotJson { problem: String },
    #[error("it is no JSON object")]
    NotAnObject,
    #[error("its columns ({found}) are none of those that are known: {known}")]
    UnknownColumns { found: String, known: String },
    #[error("{column} is not {expected}")]
    Column { column: String, expected: &'static str },
    #[error("{message}")]
    Body { message: String },
    #[error(
        "messages[{message}].role is {role:?}, which is none of system, developer, user, assistant and tool"
    )]
    Role { message: usize, role: String },
    #[error("there is no message of the assistant to learn from")]
    NoTurn,
    #[error("messages[{message}]: the assistant speaks before anybody has asked")]
    SpeaksFirst { message: usize },
    #[error("messages[{message}]: the answer is empty")]
    EmptyAnswer { message: usize },
    #[error("messages[{message}]: the assistant goes on after its answer without being asked")]
    SecondAnswer { message: usize },
    #[error(
        "messages[{message}] has more than one call; the format has one at a time, with its result behind it"
    )]
    SeveralCalls { message: usize },
    #[error("messages[{message}] calls {name:?}, which is not among the tools of the row")]
    UndeclaredTool { message: usize, name: String },
    #[error("messages[{message}]: the arguments of the call are not JSON")]
    ArgumentsNotJson { message: usize },
    #[error(
        "messages[{message}] has {literal} in its text: control tokens are written by the renderer alone"
    )]
    ControlText { message: usize, literal: &'static str },
    #[error("label is false: its answer is marked as a bad one")]
    MarkedBad,
    #[error("the pair has no difference: both answers are the same")]
    SamePair,
    #[error(
        "the longer answer of the pair leaves room for less history than the other: both have one prompt"
    )]
    CutApart,
    #[error("it has {tokens} tokens, more than {max}")]
    TooLong { tokens: usize, max: usize },
    #[error("nothing of it is a target")]
    NoTarget,
    #[error("it is the same as line {line}")]
    Duplicate { line: usize },
    #[error("it is in the training data too, line {line}")]
    Overlap { line: usize },
}

impl Reason {
    /// A few words for all rows with such a reason.
    pub fn group(&self) -> &'static str {
        match self {
            Reason::TooManyBytes { .. } => "too many bytes",
            Reason::NotJson { .. } | Reason::NotAnObject => "not a JSON object",
            Reason::UnknownColumns { .. } => "unknown columns",
            Reason::Column { .. } | Reason::Body { .. } | Reason::Role { .. } => {
                "a field that cannot be read"
            }
            Reason::NoTurn | Reason::NoTarget => "nothing to learn",
            Reason::SpeaksFirst { .. } => "the assistant speaks first",
            Reason::EmptyAnswer { .. } => "an empty answer",
            Reason::SecondAnswer { .. } => "two answers in a row",
            Reason::SeveralCalls { .. } => "several calls in one message",
            Reason::UndeclaredTool { .. } => "a call of a tool that is not declared",
            Reason::ArgumentsNotJson { .. } => "arguments that are not JSON",
            Reason::ControlText { .. } => "control tokens in the text",
            Reason::MarkedBad => "an answer marked as bad",
            Reason::SamePair => "a pair of the same answer",
            Reason::TooLong { .. } | Reason::CutApart => "too long",
            Reason::Duplicate { .. } => "a duplicate",
            Reason::Overlap { .. } => "in the training data too",
        }
    }
}
