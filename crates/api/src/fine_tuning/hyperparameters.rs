//! How much is learned at a time, how far, and how often: checked, and chosen where it is `auto`.

use serde_json::Number;

use crate::errors::ApiError;
use crate::limits::{BATCH_SIZES, EPOCHS};
use crate::wire::fine_tuning::{AutoOr, Hyperparameters};

/// The learning rate that a multiplier of 1 means: what most recipes for adapters of gpt-oss take.
const LEARNING_RATE: f64 = 2e-4;
/// What it is multiplied by where pairs of answers are learned, which are told apart early.
const RATE_OF_PAIRS: f64 = 0.1;
/// How near a model stays to its base where pairs are learned, unless a request says otherwise.
const BETA: f64 = 0.1;
/// Largest beta.
const BETA_MAX: f64 = 2.0;
/// Examples of a step, unless a request says otherwise: adapters take large batches badly.
const BATCH_SIZE: u32 = 16;
/// Examples from which one epoch is enough.
const MANY_EXAMPLES: u64 = 1000;
/// Epochs of fewer examples.
const EPOCHS_OF_FEW: u32 = 3;

/// The numbers that a training takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingNumbers {
    /// Examples of a step.
    pub batch_size: u32,
    /// What the usual rate is multiplied by.
    pub learning_rate_multiplier: f64,
    /// How often all examples are learned.
    pub n_epochs: u32,
    /// Where pairs of answers are learned: how near the model stays to its base.
    pub beta: Option<f64>,
}

impl TrainingNumbers {
    /// The highest learning rate.
    pub fn learning_rate(&self) -> f64 {
        let rate = if self.beta.is_some() { RATE_OF_PAIRS * LEARNING_RATE } else { LEARNING_RATE };
        rate * self.learning_rate_multiplier
    }

    /// As they are told.
    pub fn written(&self) -> Hyperparameters {
        let number = |number: Number| Some(AutoOr::Number(number));
        // Both are finite: they were read of JSON, or are those of this file.
        let multiplier = Number::from_f64(self.learning_rate_multiplier);
        let beta = self.beta.and_then(Number::from_f64);
        Hyperparameters {
            batch_size: number(self.batch_size.into()),
            learning_rate_multiplier: multiplier.and_then(number),
            n_epochs: number(self.n_epochs.into()),
            beta: beta.and_then(number),
        }
    }
}

/// Hyperparameters with `auto` for what is not said.
///
/// Errors: a word or a number that there is not, by its name below `at`.
pub fn checked(said: &Hyperparameters, at: &str) -> Result<Hyperparameters, ApiError> {
    whole(said.batch_size.as_ref(), &format!("{at}.batch_size"), BATCH_SIZES)?;
    multiplier(said.learning_rate_multiplier.as_ref(), &format!("{at}.learning_rate_multiplier"))?;
    whole(said.n_epochs.as_ref(), &format!("{at}.n_epochs"), EPOCHS)?;
    beta(said.beta.as_ref(), &format!("{at}.beta"))?;
    let or_auto = |said: &Option<AutoOr>| said.clone().or_else(|| Some(AutoOr::Word("auto".to_owned())));
    Ok(Hyperparameters {
        batch_size: or_auto(&said.batch_size),
        learning_rate_multiplier: or_auto(&said.learning_rate_multiplier),
        n_epochs: or_auto(&said.n_epochs),
        beta: said.beta.clone(),
    })
}

/// The numbers for so many examples.
///
/// Errors: as [`checked`].
pub fn resolved(said: &Hyperparameters, num_examples: u64) -> Result<TrainingNumbers, ApiError> {
    let at = "hyperparameters";
    let all = u32::try_from(num_examples).unwrap_or(u32::MAX).max(1);
    let epochs = if num_examples < MANY_EXAMPLES { EPOCHS_OF_FEW } else { 1 };
    Ok(TrainingNumbers {
        batch_size: whole(said.batch_size.as_ref(), &format!("{at}.batch_size"), BATCH_SIZES)?
            .unwrap_or(BATCH_SIZE.min(all)),
        learning_rate_multiplier: multiplier(
            said.learning_rate_multiplier.as_ref(),
            &format!("{at}.learning_rate_multiplier"),
        )?
        .unwrap_or(1.0),
        n_epochs: whole(said.n_epochs.as_ref(), &format!("{at}.n_epochs"), EPOCHS)?.unwrap_or(epochs),
        beta: match &said.beta {
            None => None,
            Some(_) => Some(beta(said.beta.as_ref(), &format!("{at}.beta"))?.unwrap_or(BETA)),
        },
    })
}

/// A whole number of a range; None is `auto`.
fn whole(
    said: Option<&AutoOr>,
    param: &str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<Option<u32>, ApiError> {
    let Some(said) = number(said) else { return Ok(None) };
    // Clients without whole numbers write 4.0.
    let value = said.filter(|value| value.fract() == 0.0 && *value >= 0.0 && *value <= f64::from(u32::MAX));
    match value.map(|value| value as u32).filter(|value| range.contains(value)) {
        Some(value) => Ok(Some(value)),
        None => {
            let (least, most) = (range.start(), range.end());
            let message = format!("{param} must be 'auto' or a whole number from {least} to {most}");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// A factor; None is `auto`.
fn multiplier(said: Option<&AutoOr>, param: &str) -> Result<Option<f64>, ApiError> {
    let Some(said) = number(said) else { return Ok(None) };
    match said.filter(|value| *value > 0.0 && value.is_finite()) {
        Some(value) => Ok(Some(value)),
        None => Err(ApiError::invalid(param, format!("{param} must be 'auto' or a number above 0"))),
    }
}

/// How near a model stays to its base; None is `auto`.
fn beta(said: Option<&AutoOr>, param: &str) -> Result<Option<f64>, ApiError> {
    let Some(said) = number(said) else { return Ok(None) };
    match said.filter(|value| *value > 0.0 && *value <= BETA_MAX) {
        Some(value) => Ok(Some(value)),
        None => {
            let message = format!("{param} must be 'auto' or a number above 0, at most {BETA_MAX}");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// None is `auto`; Some(None) is another word.
fn number(said: Option<&AutoOr>) -> Option<Option<f64>> {
    match said {
        None => None,
        Some(AutoOr::Word(word)) if word == "auto" => None,
        Some(AutoOr::Word(_)) => Some(None),
        Some(AutoOr::Number(number)) => Some(number.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Hyperparameters {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn auto_depends_on_the_number_of_examples() {
        let check = |said: Value, num_examples, expect: (u32, f64, u32)| {
            let numbers = resolved(&read(said.clone()), num_examples).unwrap();
            let found = (numbers.batch_size, numbers.learning_rate(), numbers.n_epochs);
            assert_eq!(found, expect, "{said} {num_examples}");
        };
        check(json!({}), 999, (16, 2e-4, 3));
        check(json!({"batch_size": "auto", "n_epochs": null}), 1000, (16, 2e-4, 1));
        check(json!({}), 5, (5, 2e-4, 3));
        check(
            json!({"batch_size": 256, "learning_rate_multiplier": 0.5, "n_epochs": 50}),
            5,
            (256, 1e-4, 50),
        );
        check(json!({"batch_size": 4.0, "learning_rate_multiplier": 2}), 1000, (4, 4e-4, 1));
        check(json!({"beta": "auto"}), 5, (5, 2e-5, 3));
        let beta = |said: Value| resolved(&read(json!({"beta": said})), 5).unwrap().beta;
        assert_eq!([beta(json!("auto")), beta(json!(0.5)), beta(Value::Null)], [Some(0.1), Some(0.5), None]);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (field, value, is_right) in [
            ("batch_size", json!(1), true),
            ("batch_size", json!(256), true),
            ("batch_size", json!(0), false),
            ("batch_size", json!(257), false),
            ("batch_size", json!(1.5), false),
            ("batch_size", json!("many"), false),
            ("batch_size", json!(-1), false),
            ("batch_size", json!(4_294_967_297_u64), false),
            ("learning_rate_multiplier", json!(1e-9), true),
            ("learning_rate_multiplier", json!(0), false),
            ("learning_rate_multiplier", json!(-0.1), false),
            ("beta", json!(2), true),
            ("beta", json!("auto"), true),
            ("beta", json!(0), false),
            ("beta", json!(2.1), false),
            ("n_epochs", json!(50), true),
            ("n_epochs", json!(51), false),
            ("n_epochs", json!(0), false),
        ] {
            let found = checked(&read(json!({field: value})), "h");
            assert_eq!(found.is_ok(), is_right, "{field} {value}");
            if let Err(error) = found {
                assert_eq!(error.body().error.param.unwrap(), format!("h.{field}"));
            }
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        let numbers =
            TrainingNumbers { batch_size: 4, learning_rate_multiplier: 0.5, n_epochs: 2, beta: None };
        let of_pairs = TrainingNumbers { beta: Some(0.25), ..numbers };
        assert_eq!(resolved(&of_pairs.written(), 9).unwrap(), of_pairs);
        let written = numbers.written();
        let expect = json!({"batch_size": 4, "learning_rate_multiplier": 0.5, "n_epochs": 2});
        assert_eq!(serde_json::to_value(&written).unwrap(), expect);
        assert_eq!(resolved(&written, 9).unwrap(), numbers);
        let auto = checked(&Hyperparameters::default(), "h").unwrap();
        let expect = json!({"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"});
        assert_eq!(serde_json::to_value(auto).unwrap(), expect);
    }
}
