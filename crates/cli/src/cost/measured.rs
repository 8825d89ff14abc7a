//! How fast a machine is at the latency that users are to get: a file of `gptoss load --json`.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Tokens of answers in a second.
    pub output_tokens_per_second: f64,
    /// Tokens of prompts for one of answers, where the server counted.
    pub input_to_output: Option<f64>,
    /// How it was asked, to people.
    pub level: String,
}

/// Bounds of which 95 of 100 requests keep each. Units: milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// From the request to the first token.
    pub ttft: Option<f64>,
    /// Between tokens of an answer.
    pub tpot: Option<f64>,
}

/// The level of a file with the most tokens a second that keeps the bounds.
///
/// Errors: it is no such file; no level keeps them.
pub fn best(text: &str, bounds: Bounds) -> Result<Measured> {
    let root: Value = serde_json::from_str(text).context("expected what `gptoss load --json` prints")?;
    if root["tool"] != "gptoss load" {
        bail!("expected what `gptoss load --json` prints");
    }
    let levels = root["levels"].as_array().map_or(&[][..], Vec::as_slice);
    let keeps = |level: &Value, field: &str, bound: Option<f64>| match bound {
        None => true,
        Some(bound) => level[field].as_f64().is_some_and(|time| time <= bound),
    };
    let is_whole = |level: &Value| level["failed"].as_u64() == Some(0);
    let kept = levels.iter().filter(|level| {
        is_whole(level)
            && keeps(level, "p95_ttft_ms", bounds.ttft)
            && keeps(level, "p95_tpot_ms", bounds.tpot)
    });
    let speed = |level: &Value| level["output_throughput"].as_f64().filter(|speed| *speed > 0.0);
    let best = kept.filter_map(|level| Some((level, speed(level)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let (level, speed) = best.ok_or_else(|| {
        anyhow!(
            "no level keeps the bounds without a failed request\nmeasure at lower rates, or allow more time"
        )
    })?;
    let ratio = |level: &Value| {
        Some(
            level["total_input_tokens"].as_f64()?
                / level["total_output_tokens"].as_f64().filter(|n| *n > 0.0)?,
        )
    };
    let name = match (level["request_rate"].as_f64(), level["max_concurrency"].as_u64()) {
        (Some(rate), _) => format!("{rate} requests a second"),
        (None, Some(number)) => format!("{number} requests at a time"),
        (None, None) => "one level".to_owned(),
    };
    Ok(Measured { output_tokens_per_second: speed, input_to_output: ratio(level), level: name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_level_that_keeps_the_bounds_counts() {
        let text = r#"{"tool": "gptoss load", "levels": [
            {"max_concurrency": 1, "failed": 0, "output_throughput": 10.0, "p95_ttft_ms": 50, "p95_tpot_ms": 20,
             "total_input_tokens": 300, "total_output_tokens": 100},
            {"max_concurrency": 8, "failed": 0, "output_throughput": 40.0, "p95_ttft_ms": 400, "p95_tpot_ms": 70},
            {"max_concurrency": 64, "failed": 1, "output_throughput": 90.0, "p95_ttft_ms": 9, "p95_tpot_ms": 9}]}"#;
        let speed =
            |ttft, tpot| best(text, Bounds { ttft, tpot }).map(|found| found.output_tokens_per_second);
        assert_eq!(speed(None, None).unwrap(), 40.0);
        assert_eq!(speed(Some(100.0), None).unwrap(), 10.0);
        assert_eq!(speed(None, Some(70.0)).unwrap(), 40.0);
        assert!(speed(Some(1.0), None).unwrap_err().to_string().contains("no level keeps"));
        let one = best(text, Bounds { ttft: Some(100.0), tpot: None }).unwrap();
        assert_eq!((one.input_to_output, one.level.as_str()), (Some(3.0), "1 requests at a time"));
        assert!(
            best("{\"tool\": \"other\"}", Bounds::default()).is_err() && best("", Bounds::default()).is_err()
        );
    }
}
