//! `viterbi_calibration.json`: what each kind of step on a path of classes is worth.
//!
//! Entry point: [`read_biases`]. The file has one operating point, "default", with six numbers that are added
//! to the log-probabilities of a path; all of them are asked for, so that a misspelled one is not silently
//! zero. A folder without the file has six zeros, which are also the published ones.

use std::path::Path;

use serde_json::Value;

use crate::config::{bad, read_json, shown};
use crate::error::Error;

/// The file's name.
const FILE: &str = "viterbi_calibration.json";
/// The largest number that may stand in it. Units: nats.
const BIAS_MAX: f64 = 1e6;

/// What steps between classes are worth. Units: nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Biases {
    pub(crate) background_stay: f64,
    pub(crate) background_to_start: f64,
    pub(crate) inside_to_continue: f64,
    pub(crate) inside_to_end: f64,
    pub(crate) end_to_background: f64,
    pub(crate) end_to_start: f64,
}

/// The numbers of a model's folder.
///
/// Errors: `Checkpoint` when the file is there and cannot be read; `BadField`.
pub(crate) fn read_biases(folder: &Path) -> Result<Biases, Error> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(Biases::default());
    }
    let file: Value = read_json(&path)?;
    let pointer = "/operating_points/default/biases";
    let found = file.pointer(pointer);
    let Some(biases) = found.and_then(Value::as_object).filter(|biases| biases.len() == 6) else {
        return Err(bad(&path, pointer, shown(found), "an object of the six biases"));
    };
    let number = |name: &str| {
        let field = format!("transition_bias_{name}");
        let found = biases.get(&field);
        let number = found.and_then(Value::as_f64).filter(|number| number.abs() <= BIAS_MAX);
        number.ok_or_else(|| bad(&path, &field, shown(found), format!("from -{BIAS_MAX} to {BIAS_MAX}")))
    };
    Ok(Biases {
        background_stay: number("background_stay")?,
        background_to_start: number("background_to_start")?,
        inside_to_continue: number("inside_to_continue")?,
        inside_to_end: number("inside_to_end")?,
        end_to_background: number("end_to_background")?,
        end_to_start: number("end_to_start")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_six_or_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_biases(folder.path()).unwrap(), Biases::default());
        let mut file = serde_json::json!({"operating_points": {"default": {"biases": {
            "transition_bias_background_stay": 1, "transition_bias_background_to_start": -2.5,
            "transition_bias_inside_to_continue": 3, "transition_bias_inside_to_end": 4,
            "transition_bias_end_to_background": 5, "transition_bias_end_to_start": 6,
        }}}});
        let write = |file: &Value| std::fs::write(folder.path().join(FILE), file.to_string()).unwrap();
        write(&file);
        let biases = read_biases(folder.path()).unwrap();
        assert_eq!((biases.background_to_start, biases.end_to_start), (-2.5, 6.0));
        let all = &mut file["operating_points"]["default"]["biases"];
        let last = all.as_object_mut().unwrap().remove("transition_bias_end_to_start").unwrap();
        write(&file);
        assert!(read_biases(folder.path()).unwrap_err().to_string().contains("six biases"));
        file["operating_points"]["default"]["biases"]["transition_bias_end_to_stat"] = last;
        write(&file);
        assert!(read_biases(folder.path()).unwrap_err().to_string().contains("end_to_start is missing"));
    }
}
