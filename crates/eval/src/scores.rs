//! The columns of an evaluation: judgements counted, never folded into each other.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::interval::{Estimate, clustered, pass_at};
use crate::official::{Conditions, official, why_not_comparable};
use crate::{Item, Judgement, Outcome, Suite, Task};

/// Numbers of tries that `pass@k` is told for.
const PASS_AT: [usize; 6] = [1, 2, 5, 10, 50, 100];

/// How many answers ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns {
    /// Answers that there are, errors among them.
    pub n: usize,
    /// Answers that are right.
    pub correct: usize,
    /// Answers that are not.
    pub wrong: usize,
    /// Responses without an answer.
    pub no_answer: usize,
    /// Responses that ended at a limit of tokens and are not right.
    pub cut: usize,
    /// Responses that are not there or could not be judged.
    pub error: usize,
}

impl Columns {
    /// Responses in which an answer was found.
    pub fn answered(&self) -> usize {
        self.correct + self.wrong
    }

    fn add(&mut self, outcome: Outcome) {
        self.n += 1;
        *match outcome {
            Outcome::Correct => &mut self.correct,
            Outcome::Wrong => &mut self.wrong,
            Outcome::NoAnswer => &mut self.no_answer,
            Outcome::Cut => &mut self.cut,
            Outcome::Error => &mut self.error,
        } += 1;
    }

    fn to_json(self) -> Map<String, Value> {
        let columns = [
            ("n", self.n),
            ("answered", self.answered()),
            ("correct", self.correct),
            ("wrong", self.wrong),
            ("no_answer", self.no_answer),
            ("cut", self.cut),
            ("error", self.error),
        ];
        columns.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    }
}

/// The columns of a group with its score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// How many ended how.
    pub columns: Columns,
    /// The mean score of what is no error; none where there is nothing.
    pub score: Option<Estimate>,
}

/// What came of an evaluation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// Of all answers.
    pub all: Tally,
    /// Items of the suite that no answer was given to.
    pub missing: usize,
    /// By the items' groups, where there are any.
    pub groups: BTreeMap<String, Tally>,
    /// Further figures by their names.
    pub figures: BTreeMap<String, Estimate>,
    /// How many answers each rule found.
    pub rules: BTreeMap<String, usize>,
    /// `pass@k`, and `pass^k` beside, where items were asked more than once.
    pub pass_at: Vec<(usize, f64, f64)>,
}

impl Scores {
    /// Counts judgements of a suite's items.
    pub fn of(suite: &Suite, judged: &[(&Item, Judgement)]) -> Scores {
        let mut scores = Scores { all: tally(suite.task, judged.iter()), ..Scores::default() };
        let answered: std::collections::HashSet<(&str, u32)> =
            judged.iter().map(|(item, _)| (item.id.as_str(), item.repeat)).collect();
        scores.missing = suite.items.len().saturating_sub(answered.len());
        let groups: std::collections::BTreeSet<&String> =
            judged.iter().filter_map(|(item, _)| item.group.as_ref()).collect();
        for group in groups {
            let of_group = judged.iter().filter(|(item, _)| item.group.as_ref() == Some(group));
            scores.groups.insert(group.clone(), tally(suite.task, of_group));
        }
        let mut figures: BTreeMap<&str, Vec<(&str, f64, f64)>> = BTreeMap::new();
        for (item, judgement) in judged {
            for figure in &judgement.figures {
                figures.entry(&figure.name).or_default().push((&item.id, figure.value, figure.of));
            }
            if let Some(rule) = &judgement.rule {
                *scores.rules.entry(rule.to_string()).or_default() += 1;
            }
        }
        for (name, rows) in figures {
            scores.figures.extend(clustered(rows.into_iter()).map(|estimate| (name.to_owned(), estimate)));
        }
        scores.pass_at = pass_at_k(judged);
        scores
    }

    /// As JSON, with the published figures and whether they may be compared.
    pub fn to_json(&self, suite: &Suite, conditions: &Conditions) -> Value {
        let mut told = json!({"task": suite.name, "recipe": suite.recipe.name(), "rows": suite.num_rows, "repeats": suite.repeats});
        let told_map = told.as_object_mut().expect("an object");
        told_map.extend(tally_json(&self.all));
        told_map.insert("missing".to_owned(), self.missing.into());
        if let Some(f1) = self.f1() {
            told_map.insert("f1".to_owned(), f1.into());
        }
        let figures =
            self.figures.iter().map(|(name, estimate)| (name.clone(), estimate_json(Some(estimate))));
        told_map.insert("figures".to_owned(), figures.collect::<Map<_, _>>().into());
        let groups = self.groups.iter().map(|(name, tally)| (name.clone(), tally_json(tally).into()));
        told_map.insert("groups".to_owned(), groups.collect::<Map<_, _>>().into());
        told_map.insert("rules".to_owned(), json!(self.rules));
        let pass = |index: usize| -> Map<String, Value> {
            let of =
                |(k, at, hat): &(usize, f64, f64)| (k.to_string(), json!(if index == 0 { at } else { hat }));
            self.pass_at.iter().map(of).collect()
        };
        if !self.pass_at.is_empty() {
            told_map.insert("pass_at".to_owned(), pass(0).into());
            told_map.insert("pass_hat".to_owned(), pass(1).into());
        }
        let efforts = ["low", "medium", "high"];
        let figure = |figure: &crate::Official| {
            let of = |shares: &[f64; 3]| {
                efforts.iter().zip(shares).map(|(e, s)| (*e, *s)).collect::<BTreeMap<_, _>>()
            };
            json!({"name": figure.name, "rows": figure.rows, "gpt-oss-120b": of(&figure.large), "gpt-oss-20b": of(&figure.small)})
        };
        told_map.insert("official".to_owned(), official(suite.task).iter().map(figure).collect());
        let reasons = self.why_not_comparable(suite, conditions);
        told_map.insert("comparable".to_owned(), reasons.is_empty().into());
        told_map.insert("not_comparable".to_owned(), json!(reasons));
        told_map.insert("notes".to_owned(), json!(suite.notes));
        told
    }

    /// Why the score may not be compared with a published figure.
    pub fn why_not_comparable(&self, suite: &Suite, conditions: &Conditions) -> Vec<String> {
        why_not_comparable(suite, conditions, self.missing + self.all.columns.error)
    }

    /// SimpleQA's harmonic mean of the share that is right and the share of attempts that is.
    pub fn f1(&self) -> Option<f64> {
        let attempted = self.figures.get("accuracy_given_attempted")?.value;
        let correct = self.all.score?.value;
        Some(if attempted + correct > 0.0 { 2.0 * attempted * correct / (attempted + correct) } else { 0.0 })
    }
}

fn tally<'a>(task: Task, judged: impl Iterator<Item = &'a (&'a Item, Judgement)>) -> Tally {
    let mut columns = Columns::default();
    let mut rows = Vec::new();
    for (item, judgement) in judged {
        columns.add(judgement.outcome);
        if judgement.outcome != Outcome::Error {
            rows.push((item.id.as_str(), judgement.score, 1.0));
        }
    }
    let mut score = clustered(rows.into_iter());
    if let (Task::HealthBench, Some(score)) = (task, &mut score) {
        // The reference clips the mean, and not what it is the mean of.
        for value in [&mut score.value, &mut score.low, &mut score.high] {
            *value = value.clamp(0.0, 1.0);
        }
    }
    Tally { columns, score }
}

fn pass_at_k(judged: &[(&Item, Judgement)]) -> Vec<(usize, f64, f64)> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (item, judgement) in judged {
        let (count, right) = counts.entry(&item.id).or_default();
        *count += 1;
        *right += usize::from(judgement.outcome == Outcome::Correct);
    }
    let fewest = counts.values().map(|(count, _)| *count).min().unwrap_or_default();
    if fewest < 2 {
        return Vec::new();
    }
    let mean = |of: &dyn Fn(usize, usize) -> f64| {
        counts.values().map(|(count, right)| of(*count, *right)).sum::<f64>() / counts.len() as f64
    };
    // All of k drawn are right as often as none of k is wrong.
    let hat = |k| mean(&|count, right| 1.0 - pass_at(count, count - right, k));
    let told = PASS_AT.into_iter().filter(|k| *k <= fewest);
    told.map(|k| (k, mean(&|count, right| pass_at(count, right, k)), hat(k))).collect()
}

fn tally_json(tally: &Tally) -> Map<String, Value> {
    let mut told = tally.columns.to_json();
    if let Value::Object(score) = estimate_json(tally.score.as_ref()) {
        told.extend(score.into_iter().map(|(name, value)| match name.as_str() {
            "value" => ("score".to_owned(), value),
            _ => (name, value),
        }));
    }
    told
}

fn estimate_json(estimate: Option<&Estimate>) -> Value {
    match estimate {
        Some(estimate) => json!({"value": estimate.value, "stderr": estimate.stderr,
            "interval": [estimate.low, estimate.high], "clusters": estimate.clusters}),
        None => json!({"value": null, "stderr": null, "interval": null, "clusters": 0}),
    }
}

/// An item with its judgement, as a line of JSON.
pub fn item_json(item: &Item, judgement: &Judgement) -> Value {
    let mut told = json!({
        "id": item.id,
        "repeat": item.repeat,
        "group": item.group,
        "extracted": judgement.extracted,
        "outcome": judgement.outcome,
        "correct": judgement.outcome == Outcome::Correct,
        "score": judgement.score,
        "rule": judgement.rule,
        "expected": item.key.expected(),
    });
    let map = told.as_object_mut().expect("an object");
    if !judgement.parts.is_empty() {
        map.insert("parts".to_owned(), json!(judgement.parts));
    }
    if let Some(detail) = &judgement.detail {
        map.insert("detail".to_owned(), detail.as_str().into());
    }
    if !judgement.more.is_null() {
        map.insert("more".to_owned(), judgement.more.clone());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Judges, Key, Recipe, Response, SuiteOptions, judge};

    fn suite(repeats: u32) -> Suite {
        let row = |n: usize| json!({"question": format!("{n}?"), "answer": "1", "group": "g"});
        let rows = (0..2).map(|n| row(n).as_object().expect("an object").clone()).collect();
        Suite::new(Task::Gsm8k, rows, &SuiteOptions { repeats, ..SuiteOptions::default() }).expect("rows")
    }

    #[test]
    fn columns_are_never_folded_into_each_other() {
        let suite = suite(3);
        let answer = |text: &str, finish: Option<&str>, error: Option<&str>| Response {
            response: text.to_owned(),
            finish_reason: finish.map(str::to_owned),
            error: error.map(str::to_owned),
            ..Response::default()
        };
        let responses = [
            answer("#### 1", Some("length"), None),
            answer("#### 2", None, None),
            answer("", Some("stop"), None),
            answer("so 7", Some("length"), None),
            answer("", None, Some("HTTP 500")),
        ];
        let judged: Vec<_> = suite
            .items
            .iter()
            .zip(&responses)
            .map(|(item, r)| (item, judge(item, r, &Judges::default())))
            .collect();
        let scores = Scores::of(&suite, &judged);
        let expected = Columns { n: 5, correct: 1, wrong: 1, no_answer: 1, cut: 1, error: 1 };
        assert_eq!((scores.all.columns, scores.missing), (expected, 1));
        assert_eq!(scores.all.score.map(|score| score.value), Some(0.25));
        let told = scores.to_json(&suite, &Conditions::default());
        assert_eq!(
            (&told["answered"], &told["cut"], &told["comparable"]),
            (&json!(2), &json!(1), &json!(false))
        );
        assert_eq!(scores.pass_at.len(), 2);
    }

    #[test]
    fn f1_is_harmonic() {
        let key = crate::GradedKey {
            target: "x".to_owned(),
            template: String::new(),
            letters: crate::graded::ANSWER_LETTERS.to_vec(),
        };
        let item = |n: usize| Item {
            id: n.to_string(),
            repeat: 0,
            group: None,
            question: String::new(),
            ask: Ask::default(),
            key: Key::Graded(key.clone()),
        };
        let items: Vec<Item> = (0..4).map(item).collect();
        let judged: Vec<_> = items
            .iter()
            .zip(["A", "B", "C", "A"])
            .map(|(item, grade)| {
                let grades = Some(vec![grade.into()]);
                let response = Response { response: "y".to_owned(), grades, ..Response::default() };
                (item, judge(item, &response, &Judges::default()))
            })
            .collect();
        let suite = Suite {
            task: Task::SimpleQa,
            name: "simpleqa".to_owned(),
            recipe: Recipe::SimpleEvals,
            num_rows: 4,
            repeats: 1,
            items: Vec::new(),
            notes: Vec::new(),
            file_ids: Vec::new(),
        };
        let f1 = Scores::of(&suite, &judged).f1().expect("figures of a grader");
        // 1/2 right, 2/3 of the attempts.
        assert!((f1 - 4.0 / 7.0).abs() < 1e-12, "{f1}");
    }
}
