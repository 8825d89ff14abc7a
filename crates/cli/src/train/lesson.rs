//! What a run learns of its rows, as a trainer takes it: texts, or pairs of answers.

use gptoss_kernels::Pool;
use gptoss_train::{Error, Loss, Pair, PairLogProbs, Preference, StepReport, Text, Trainer, Tuned};
use serde_json::{Value, json};

use super::recipe::Recipe;
use super::rows::Rows;

/// What a run learns and is tested with.
pub enum Lesson<'a> {
    /// Texts that become likelier.
    Texts {
        /// What is learned.
        train: Vec<Text<'a>>,
        /// What is tested with.
        valid: Vec<Text<'a>>,
    },
    /// Pairs of which the chosen answer becomes likelier than the rejected one.
    Pairs {
        /// What is learned.
        train: Vec<Pair<'a>>,
        /// What is tested with.
        valid: Vec<Pair<'a>>,
        /// How much a nat counts.
        beta: f64,
    },
}

/// How well something was said.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// The share that is right: of texts, targets than which no other token was likelier; of pairs, those
    /// whose chosen answer has become likelier beside the rejected one than it was with the base.
    pub accuracy: Option<f64>,
    /// Of pairs, by how much, times beta. Units: nats.
    pub margin: Option<f64>,
    /// How unevenly experts were used, where it was looked at: 1 where all are used alike.
    pub balance: Option<f64>,
}

impl<'a> Lesson<'a> {
    /// Of the rows; what the base makes of pairs is computed here, by a trainer that has taken no step, as
    /// many at a time as a step takes. `None` when it does not go on between them.
    pub fn of(
        rows: &'a Rows,
        recipe: &Recipe,
        trainer: &Trainer<'_>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Option<Lesson<'a>> {
        let Some(beta) = recipe.beta else {
            return Some(Lesson::Texts { train: rows.train_texts(), valid: rows.valid_texts() });
        };
        let mut referred = |texts: Vec<Text<'a>>| -> Option<Vec<Pair<'a>>> {
            let pair = |texts: &[Text<'a>; 2]| {
                let [chosen, rejected] = *texts;
                Pair { chosen, rejected, reference: PairLogProbs::default() }
            };
            let mut pairs: Vec<Pair<'a>> = texts.as_chunks().0.iter().map(pair).collect();
            for batch in pairs.chunks_mut(recipe.course.batch.max(1)) {
                if !goes_on() {
                    return None;
                }
                let reference = trainer.log_probs(batch);
                batch.iter_mut().zip(reference).for_each(|(pair, reference)| pair.reference = reference);
            }
            Some(pairs)
        };
        let (train, valid) = (referred(rows.train_texts())?, referred(rows.valid_texts())?);
        Some(Lesson::Pairs { train, valid, beta })
    }

    /// Learns what belongs to the next step.
    ///
    /// Errors: as [`Trainer::step`].
    pub fn step(&self, trainer: &mut Trainer<'_>, recipe: &Recipe) -> Result<(StepReport, Score), Error> {
        let step = trainer.steps();
        let rate = recipe.schedule.rate(step);
        match self {
            Lesson::Texts { train, .. } => {
                let report = trainer.step(&recipe.course.chosen(step, train), rate)?;
                Ok((
                    report,
                    Score {
                        loss: report.loss,
                        accuracy: report.accuracy,
                        balance: report.balance,
                        margin: None,
                    },
                ))
            }
            Lesson::Pairs { train, beta, .. } => {
                let (report, preference) = trainer.prefer(&recipe.course.chosen(step, train), *beta, rate)?;
                Ok((report, preference.into()))
            }
        }
    }

    /// How well is said what is tested with, if there is any.
    pub fn test(&self, trainer: &Trainer<'_>) -> Option<Score> {
        self.score(|texts| trainer.loss(texts), |pairs, beta| trainer.preference(pairs, beta))
    }

    /// The same of the base, by the trainer that has taken no step; what it makes of pairs is in them.
    pub fn base(&self, trainer: &Trainer<'_>) -> Option<Score> {
        self.score(|texts| trainer.loss(texts), Preference::of_reference)
    }

    /// The same of a model that was written and opened.
    pub fn test_written(&self, model: &Tuned<'_>, pool: &Pool, rows_max: usize) -> Option<Score> {
        self.score(
            |texts| model.loss(pool, texts, rows_max),
            |pairs, beta| model.preference(pool, pairs, beta, rows_max),
        )
    }

    fn score(
        &self,
        loss: impl FnOnce(&[Text<'_>]) -> Loss,
        preference: impl FnOnce(&[Pair<'_>], f64) -> Preference,
    ) -> Option<Score> {
        match self {
            Lesson::Texts { valid, .. } => (!valid.is_empty()).then(|| loss(valid).into()),
            Lesson::Pairs { valid, beta, .. } => (!valid.is_empty()).then(|| preference(valid, *beta).into()),
        }
    }
}

impl Score {
    /// For programs.
    pub fn to_json(self) -> Value {
        let Score { loss, accuracy, margin, .. } = self;
        json!({"loss": loss, "accuracy": accuracy, "margin": margin})
    }

    /// What stands beside a loss, for people.
    pub fn describe(self) -> String {
        let Score { loss, accuracy, margin, balance } = self;
        let accuracy = accuracy.map_or(String::new(), |share| format!(", {:.1} % right", 100.0 * share));
        let margin = margin.map_or(String::new(), |margin| format!(", margin {margin:.3}"));
        let balance = balance.map_or(String::new(), |balance| format!(", balance {balance:.3}"));
        format!("{loss:.4}{accuracy}{margin}{balance}")
    }
}

impl From<Loss> for Score {
    fn from(loss: Loss) -> Score {
        Score { loss: loss.sum, accuracy: loss.accuracy(), ..Score::default() }
    }
}

impl From<Preference> for Score {
    fn from(preference: Preference) -> Score {
        let Preference { loss, accuracy, margin } = preference;
        Score { loss, accuracy: Some(accuracy), margin: Some(margin), balance: None }
    }
}
