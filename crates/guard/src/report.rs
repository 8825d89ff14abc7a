//! What was found in the texts of one stage, added up.

use std::collections::BTreeMap;

use crate::verdict::Verdict;

/// What one check found in one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The check.
    pub name: String,
    /// What it is told as.
    pub category: String,
    /// How probable a violation is, 0 to 1.
    pub score: f64,
    /// Whether that is one.
    pub is_flagged: bool,
    /// What the judge said; None of a filter.
    pub verdict: Option<Verdict>,
}

/// What was found in all texts of a stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The greatest score by category.
    pub scores: BTreeMap<String, f64>,
    /// Whether a category is flagged.
    pub flags: BTreeMap<String, bool>,
    /// What is flagged, each check once.
    pub findings: Vec<Finding>,
    /// Why something was not judged.
    pub errors: Vec<String>,
}

impl Report {
    /// Whether anything is flagged.
    pub fn is_flagged(&self) -> bool {
        self.flags.values().any(|flag| *flag)
    }

    /// Takes a finding in.
    pub fn push(&mut self, finding: Finding) {
        let score = self.scores.entry(finding.category.clone()).or_default();
        *score = score.max(finding.score);
        *self.flags.entry(finding.category.clone()).or_default() |= finding.is_flagged;
        if finding.is_flagged && !self.findings.iter().any(|other| other.name == finding.name) {
            self.findings.push(finding);
        }
    }

    /// Takes in what was found in other texts.
    pub fn add(&mut self, other: Report) {
        for (category, score) in other.scores {
            let greatest = self.scores.entry(category).or_default();
            *greatest = greatest.max(score);
        }
        for (category, flag) in other.flags {
            *self.flags.entry(category).or_default() |= flag;
        }
        other.findings.into_iter().for_each(|finding| self.push(finding));
        self.errors.extend(other.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_score_and_any_flag_count() {
        let finding = |score: f64| Finding {
            name: "p".into(),
            category: "c".into(),
            score,
            is_flagged: score >= 0.5,
            verdict: None,
        };
        let report = |scores: &[f64]| {
            let mut report = Report::default();
            scores.iter().for_each(|score| report.push(finding(*score)));
            report
        };
        let mut whole = report(&[0.9, 0.1]);
        whole.add(report(&[0.7]));
        assert_eq!((whole.scores["c"], whole.flags["c"], whole.findings.len()), (0.9, true, 1));
        assert!(!report(&[0.4]).is_flagged() && whole.is_flagged());
    }
}
