//! Names of tuned models, and what is told of a job's course in OpenAI's words.

use crate::wire::fine_tuning::{TuningCheckpoint, TuningEvent, TuningJob, TuningLevel, TuningMetrics};

/// What the names of tuned models begin with.
pub const TUNED: &str = "ft:";

/// The name of the model that a job makes: `ft:BASE:ORGANIZATION:SUFFIX:ID`.
pub fn tuned_name(job: &TuningJob) -> String {
    let TuningJob { model, organization_id, user_provided_suffix, id, .. } = job;
    // Names stand in paths, between colons.
    let plain = |letter: char| if is_plain(letter) { letter } else { '-' };
    let organization: String = organization_id.chars().map(plain).collect();
    let suffix = user_provided_suffix.as_deref().unwrap_or_default();
    let tail = &id[id.len().saturating_sub(8)..];
    format!("{TUNED}{model}:{organization}:{suffix}:{tail}")
}

/// The name of the model that a job had made after `step` steps.
pub fn checkpoint_name(job: &TuningJob, step: u64) -> String {
    format!("{}:ckpt-step-{step}", tuned_name(job))
}

/// Whether a character may stand in a suffix.
pub(super) fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

/// An event without numbers.
pub fn told(id: String, now: u64, level: TuningLevel, message: impl Into<String>) -> TuningEvent {
    TuningEvent {
        id,
        object: "fine_tuning.job.event".to_owned(),
        created_at: now,
        level,
        message: message.into(),
        kind: "message".to_owned(),
        data: None,
    }
}

/// The event of a step.
pub fn stepped(id: String, now: u64, metrics: TuningMetrics, num_steps: u64) -> TuningEvent {
    let mut message = format!("Step {}/{num_steps}", metrics.step);
    let losses = [
        ("training", metrics.train_loss),
        ("validation", metrics.valid_loss),
        ("full validation", metrics.full_valid_loss),
    ];
    let mut mark = ": ";
    for (name, loss) in losses {
        if let Some(loss) = loss {
            message.push_str(&format!("{mark}{name} loss={loss:.4}"));
            mark = ", ";
        }
    }
    let event = told(id, now, TuningLevel::Info, message);
    TuningEvent { kind: "metrics".to_owned(), data: Some(metrics), ..event }
}

/// A checkpoint of a job.
pub fn checkpoint(id: String, now: u64, job: &TuningJob, metrics: TuningMetrics) -> TuningCheckpoint {
    TuningCheckpoint {
        id,
        object: "fine_tuning.job.checkpoint".to_owned(),
        created_at: now,
        fine_tuned_model_checkpoint: checkpoint_name(job, metrics.step),
        fine_tuning_job_id: job.id.clone(),
        metrics,
        step_number: metrics.step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fine_tuning::request::tests::job;

    #[test]
    fn names_say_what_they_are_of() {
        let made = job(&serde_json::json!({"suffix": "lights"})).unwrap();
        assert_eq!(tuned_name(&made), "ft:demo:a-team:lights:89abcdef");
        assert_eq!(checkpoint_name(&made, 12), "ft:demo:a-team:lights:89abcdef:ckpt-step-12");
        let plain = job(&serde_json::json!({})).unwrap();
        assert_eq!(tuned_name(&plain), "ft:demo:a-team::89abcdef");
    }

    #[test]
    fn a_step_tells_the_losses_that_there_are() {
        let metrics = TuningMetrics { step: 3, train_loss: Some(0.51234), ..TuningMetrics::default() };
        let event = stepped("ftevent-1".into(), 5, metrics, 9);
        assert_eq!(
            (event.message.as_str(), event.kind.as_str()),
            ("Step 3/9: training loss=0.5123", "metrics")
        );
        let event = stepped("ftevent-1".into(), 5, TuningMetrics { valid_loss: Some(1.0), ..metrics }, 9);
        assert_eq!(event.message, "Step 3/9: training loss=0.5123, validation loss=1.0000");
    }
}
