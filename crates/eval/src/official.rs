//! Published figures of gpt-oss, and whether a score may be compared with them.
//!
//! **Source**: the model card of gpt-oss (arXiv 2508.10925), table 3, without tools; MLPerf Inference 6.0.

use crate::{Recipe, Suite, Task};

/// A published figure, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Official {
    /// What it is a figure of.
    pub name: &'static str,
    /// Rows of the file that it was measured on.
    pub rows: usize,
    /// Of gpt-oss-120b at low, medium and high effort.
    pub large: [f64; 3],
    /// Of gpt-oss-20b.
    pub small: [f64; 3],
}

/// How the answers came about, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Conditions {
    /// Effort: `low`, `medium` or `high`.
    pub effort: Option<&'static str>,
    /// Most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// Temperature of the sampling.
    pub temperature: Option<f64>,
}

/// What a recipe's reference measures with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// How often each row is asked.
    pub repeats: u32,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Temperature of the sampling.
    pub temperature: f64,
}

impl Recipe {
    /// What the reference measures a task with; none where it does not know the task.
    pub fn reference(self, task: Task) -> Option<Reference> {
        let repeats = match (self, task) {
            (Recipe::GptOss, Task::Gpqa | Task::Aime | Task::HealthBench) => 8,
            (Recipe::SimpleEvals, Task::Gpqa) => 10,
            (Recipe::SimpleEvals, Task::Mmlu | Task::SimpleQa | Task::HealthBench) => 1,
            (Recipe::SimpleEvals, Task::HumanEval) => 5,
            (Recipe::Mlperf, Task::Gpqa) => 5,
            (Recipe::Mlperf, Task::Aime) => 8,
            _ => return None,
        };
        Some(match self {
            Recipe::GptOss => Reference { repeats, max_tokens: 131_072, temperature: 1.0 },
            Recipe::SimpleEvals => Reference { repeats, max_tokens: 2_048, temperature: 0.5 },
            Recipe::Mlperf => Reference { repeats, max_tokens: 32_768, temperature: 1.0 },
        })
    }
}

/// The published figures of a task.
pub fn official(task: Task) -> &'static [Official] {
    match task {
        Task::Mmlu => &MMLU,
        Task::Gpqa => &GPQA,
        Task::Aime => &AIME,
        Task::HealthBench => &HEALTH_BENCH,
        _ => &[],
    }
}

const MMLU: [Official; 1] =
    [Official { name: "MMLU", rows: 14_042, large: [85.9, 88.0, 90.0], small: [80.4, 84.0, 85.3] }];
const GPQA: [Official; 1] =
    [Official { name: "GPQA Diamond", rows: 198, large: [67.1, 73.1, 80.1], small: [56.8, 66.0, 71.5] }];
const AIME: [Official; 2] = [
    Official { name: "AIME 2024", rows: 30, large: [56.3, 80.4, 95.8], small: [42.1, 80.0, 92.1] },
    Official { name: "AIME 2025", rows: 30, large: [50.4, 80.0, 92.5], small: [37.1, 72.1, 91.7] },
];
const HEALTH_BENCH: [Official; 3] = [
    Official { name: "HealthBench", rows: 5_000, large: [53.0, 55.9, 57.6], small: [40.4, 41.8, 42.5] },
    Official { name: "HealthBench Hard", rows: 1_000, large: [22.8, 26.9, 30.0], small: [9.0, 12.9, 10.8] },
    Official {
        name: "HealthBench Consensus",
        rows: 3_671,
        large: [90.6, 90.8, 89.9],
        small: [84.9, 83.0, 82.6],
    },
];

/// Why a score may not be compared with a published figure; empty where it may.
///
/// `unscored` is the number of answers that are missing or ended in an error.
pub fn why_not_comparable(suite: &Suite, conditions: &Conditions, unscored: usize) -> Vec<String> {
    let figures = official(suite.task);
    let mut reasons = Vec::new();
    if figures.is_empty() {
        reasons.push(format!("no figure of gpt-oss is published for {}", suite.name));
    } else if !figures.iter().any(|figure| figure.rows == suite.num_rows) {
        let rows: Vec<String> = figures.iter().map(|figure| figure.rows.to_string()).collect();
        reasons.push(format!("{} rows, and not {}", suite.num_rows, rows.join(" or ")));
    }
    match suite.recipe.reference(suite.task) {
        None => reasons.push(format!("the recipe {} has no {}", suite.recipe, suite.task)),
        Some(reference) => {
            let mut differs = |what: &str, have: Option<String>, want: String| match have {
                None => reasons.push(format!("{what} is not known, the recipe's is {want}")),
                Some(have) if have != want => {
                    reasons.push(format!("{what} is {have}, the recipe's is {want}"))
                }
                Some(_) => {}
            };
            differs("the number of repeats", Some(suite.repeats.to_string()), reference.repeats.to_string());
            let tokens = conditions.max_tokens.map(|tokens| tokens.to_string());
            differs("the limit of tokens", tokens, reference.max_tokens.to_string());
            let temperature = conditions.temperature.map(|temperature| temperature.to_string());
            differs("the temperature", temperature, reference.temperature.to_string());
        }
    }
    if conditions.effort.is_none() {
        reasons.push("the effort is not known".to_owned());
    }
    if unscored > 0 {
        reasons.push(format!("{unscored} answers are missing or ended in an error"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(num_rows: usize, repeats: u32) -> Suite {
        let (task, recipe) = (Task::Gpqa, Recipe::GptOss);
        Suite {
            task,
            name: "gpqa".to_owned(),
            recipe,
            num_rows,
            repeats,
            items: Vec::new(),
            notes: Vec::new(),
            file_ids: Vec::new(),
        }
    }

    #[test]
    fn a_difference_of_the_recipe_is_named() {
        let same = Conditions { effort: Some("high"), max_tokens: Some(131_072), temperature: Some(1.0) };
        assert_eq!(why_not_comparable(&suite(198, 8), &same, 0), Vec::<String>::new());
        let other = Conditions { max_tokens: Some(4_096), ..same };
        assert_eq!(
            why_not_comparable(&suite(20, 1), &other, 3),
            [
                "20 rows, and not 198",
                "the number of repeats is 1, the recipe's is 8",
                "the limit of tokens is 4096, the recipe's is 131072",
                "3 answers are missing or ended in an error"
            ]
        );
        assert!(
            why_not_comparable(&suite(198, 8), &Conditions::default(), 0)
                .iter()
                .any(|r| r.contains("effort"))
        );
    }
}
