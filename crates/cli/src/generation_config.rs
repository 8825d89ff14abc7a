//! Sampling defaults of a model: its own generation_config.json.
//!
//! A checkpoint folder may hold a `generation_config.json`. What it says about sampling is the default of
//! `chat` and `run`; a flag wins over it. `do_sample: false` means temperature 0, as it does in transformers.
//! The published gpt-oss files say `do_sample: true` and nothing else, so they come out at temperature 1; the
//! demo's says `do_sample: false`, because a small model is right more often when it takes its likeliest
//! token.
//!
//! Ids of end tokens in the same file are the checkpoint room's business.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Sampling defaults; None is "not said".
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GenerationConfig {
    /// 0 when the file says not to sample.
    pub temperature: Option<f32>,
    /// See `--top-p`.
    pub top_p: Option<f32>,
    /// See `--top-k`.
    pub top_k: Option<u32>,
    /// See `--min-p`.
    pub min_p: Option<f32>,
    /// See `--repetition-penalty`.
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads the file of a folder; a folder without one says nothing.
    ///
    /// Errors: the file is there and is not what it should be.
    pub fn in_folder(folder: &Path) -> Result<GenerationConfig> {
        let file = folder.join("generation_config.json");
        let size = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(GenerationConfig::default()),
            other => other.with_context(|| format!("cannot read {}", file.display()))?.len(),
        };
        if size > FILE_BYTES_MAX {
            bail!("{}: {size} bytes are too many for such a file", file.display());
        }
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        GenerationConfig::parse(&bytes, &file)
    }

    /// Reads the text of the file; `file` is for the errors.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<GenerationConfig> {
        let name = file.display();
        let value: Value = serde_json::from_slice(bytes).with_context(|| format!("{name} is not JSON"))?;
        let number = |field: &str, low: f64, high: f64| match value.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(found) => match found.as_f64() {
                Some(number) if (low..=high).contains(&number) => Ok(Some(number)),
                _ => Err(anyhow!("{name}: {field} is {found}, but must be a number from {low} to {high}")),
            },
        };
        let greedy = match value.get("do_sample") {
            None | Some(Value::Null | Value::Bool(true)) => false,
            Some(Value::Bool(false)) => true,
            Some(found) => bail!("{name}: do_sample is {found}, but must be true or false"),
        };
        let temperature = number("temperature", 0.0, 2.0)?;
        Ok(GenerationConfig {
            temperature: if greedy { Some(0.0) } else { temperature.map(|t| t as f32) },
            top_p: number("top_p", 0.0, 1.0)?.map(|p| p as f32),
            top_k: number("top_k", 0.0, f64::from(u32::MAX))?.map(|k| k as u32),
            min_p: number("min_p", 0.0, 1.0)?.map(|p| p as f32),
            repetition_penalty: number("repetition_penalty", 0.01, 10.0)?.map(|x| x as f32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_and_what_it_does_not() {
        let read = |text: &str| GenerationConfig::parse(text.as_bytes(), Path::new("g.json"));
        assert_eq!(read(r#"{"do_sample": true, "eos_token_id": [1]}"#).unwrap(), GenerationConfig::default());
        assert_eq!(read(r#"{"do_sample": false, "temperature": 0.7}"#).unwrap().temperature, Some(0.0));
        let all = read(r#"{"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1}"#).unwrap();
        assert_eq!(
            (all.temperature, all.top_p, all.top_k, all.min_p),
            (Some(0.5), Some(0.9), Some(40), Some(0.1))
        );
        for bad in ["{", r#"{"temperature": -1}"#, r#"{"temperature": "hot"}"#, r#"{"do_sample": 1}"#] {
            assert!(format!("{:#}", read(bad).unwrap_err()).contains("g.json"), "{bad}");
        }
    }
}
