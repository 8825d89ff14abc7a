//! The numbers of a job's steps, as lines of CSV.

use crate::wire::fine_tuning::TuningMetrics;

/// The first line.
pub const HEAD: &str = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n";

/// The line of a step. What was not measured is empty; where all of the validation file was, its numbers
/// stand.
pub fn line(metrics: &TuningMetrics) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let TuningMetrics { step, train_loss, train_mean_token_accuracy, .. } = *metrics;
    let valid_loss = metrics.full_valid_loss.or(metrics.valid_loss);
    let valid_accuracy = metrics.full_valid_mean_token_accuracy.or(metrics.valid_mean_token_accuracy);
    let numbers = [train_loss, train_mean_token_accuracy, valid_loss, valid_accuracy].map(number);
    format!("{step},{}\n", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_empty() {
        let metrics = TuningMetrics {
            step: 2,
            train_loss: Some(1.25),
            train_mean_token_accuracy: Some(0.5),
            ..TuningMetrics::default()
        };
        assert_eq!(line(&metrics), "2,1.25,0.5,,\n");
        let valid = TuningMetrics { valid_loss: Some(3.0), full_valid_loss: Some(2.0), ..metrics };
        assert_eq!(line(&valid), "2,1.25,0.5,2,\n");
        assert_eq!(line(&valid).matches(',').count(), HEAD.matches(',').count());
    }
}
