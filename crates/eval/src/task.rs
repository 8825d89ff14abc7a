//! The benchmarks that are known by name.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A benchmark: which rows it takes, what it asks of them, and how it scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// 57 subjects, four choices.
    Mmlu,
    /// 14 categories, up to ten choices.
    MmluPro,
    /// Questions of graduates, four choices in a permutation.
    Gpqa,
    /// Competition mathematics, integers of up to three digits.
    Aime,
    /// Word problems of grade school.
    Gsm8k,
    /// Bodies of Python functions, which are run.
    HumanEval,
    /// Instructions that a program can check.
    IfEval,
    /// Short facts, graded by a model.
    SimpleQa,
    /// Conversations about health, graded by a model against rubrics.
    HealthBench,
    /// Function calls.
    Bfcl,
    /// Safe prompts that look unsafe, and unsafe ones.
    XsTest,
    /// Patches of repositories.
    SweBench,
    /// A specification of one's own.
    Own,
}

impl Task {
    /// All of them, but [`Task::Own`], which has no name of its own.
    pub const NAMED: [Task; 12] = [
        Task::Mmlu,
        Task::MmluPro,
        Task::Gpqa,
        Task::Aime,
        Task::Gsm8k,
        Task::HumanEval,
        Task::IfEval,
        Task::SimpleQa,
        Task::HealthBench,
        Task::Bfcl,
        Task::XsTest,
        Task::SweBench,
    ];

    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::Mmlu => "mmlu",
            Task::MmluPro => "mmlu-pro",
            Task::Gpqa => "gpqa",
            Task::Aime => "aime",
            Task::Gsm8k => "gsm8k",
            Task::HumanEval => "humaneval",
            Task::IfEval => "ifeval",
            Task::SimpleQa => "simpleqa",
            Task::HealthBench => "healthbench",
            Task::Bfcl => "bfcl",
            Task::XsTest => "xstest",
            Task::SweBench => "swe-bench",
            Task::Own => "own",
        }
    }

    /// The names, for a message.
    pub fn names() -> String {
        Task::NAMED.map(Task::name).join(", ")
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Task, Error> {
        let bare = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
        let found = Task::NAMED.into_iter().find(|task| bare(task.name()) == bare(name));
        found.ok_or_else(|| Error::NoTask { name: name.to_owned(), known: Task::names() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_however_its_hyphens_stand() {
        for task in Task::NAMED {
            assert_eq!(task.name().parse(), Ok(task));
        }
        assert_eq!("MMLU_Pro".parse(), Ok(Task::MmluPro));
        assert_eq!("swebench".parse(), Ok(Task::SweBench));
        let message = "mmmlu".parse::<Task>().unwrap_err().to_string();
        assert!(message.starts_with("there is no task `mmmlu`; there are mmlu, mmlu-pro"), "{message}");
    }
}
