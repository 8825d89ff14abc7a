//! Files of prices: LiteLLM's and models.dev's, and one's own TOML.
//!
//! LiteLLM's `model_prices_and_context_window.json` has US dollars a token, models.dev's `api.json` US
//! dollars a million tokens. None is fetched, and each has an age.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use super::compute::{MILLION, Price};

/// Digits of a price behind the point that count.
const DIGITS: f64 = 1e9;
/// Names that are told when one is not there.
const NAMES_TOLD: usize = 8;

/// A file of one's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    /// The day on which the prices were read, `2026-11-29`.
    date: String,
    #[serde(rename = "price")]
    prices: Vec<OwnPrice>,
}

/// Units: money for a million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPrice {
    model: String,
    input: f64,
    output: f64,
    cached_input: Option<f64>,
    batch_factor: Option<f64>,
    /// Where it stands.
    #[serde(rename = "source")]
    _source: String,
}

/// The prices of a file, and the day that it gives itself.
pub struct Prices {
    by_name: BTreeMap<String, Price>,
    /// As it stands in the file.
    pub date: Option<String>,
}

/// Reads a file.
///
/// Errors: it is none of the three.
pub fn parse(text: &str) -> Result<Prices> {
    if !text.trim_start().starts_with('{') {
        return own(text);
    }
    let root: BTreeMap<String, Value> = serde_json::from_str(text)?;
    let mut by_name = BTreeMap::new();
    for (name, value) in &root {
        if let Some(price) = litellm(name, value) {
            by_name.insert(name.clone(), price);
        }
        for (model, value) in value["models"].as_object().into_iter().flatten() {
            let name = format!("{name}/{model}");
            if let Some(price) = models_dev(&name, value) {
                by_name.insert(name, price);
            }
        }
    }
    if by_name.is_empty() {
        bail!(
            "no price in it\nexpected LiteLLM's model_prices_and_context_window.json, models.dev's api.json or a TOML file"
        );
    }
    Ok(Prices { by_name, date: None })
}

fn own(text: &str) -> Result<Prices> {
    let file: OwnFile = toml::from_str(text)?;
    let price = |price: OwnPrice| -> Result<(String, Price)> {
        let OwnPrice { model, input, output, cached_input, batch_factor, .. } = price;
        let cached_input = cached_input.unwrap_or(input);
        if ![input, output, cached_input, batch_factor.unwrap_or(1.0)]
            .iter()
            .all(|it| it.is_finite() && *it >= 0.0)
        {
            bail!("{model}: a price is no number of money");
        }
        Ok((model.clone(), Price { name: model, input, cached_input, output, batch_factor }))
    };
    let by_name = file.prices.into_iter().map(price).collect::<Result<_>>()?;
    Ok(Prices { by_name, date: Some(file.date) })
}

/// An entry of LiteLLM's, if it has a price for tokens.
fn litellm(name: &str, value: &Value) -> Option<Price> {
    // A price of a few decimal digits stays one.
    let price = |field: &str| value[field].as_f64().map(|price| (price * MILLION * DIGITS).round() / DIGITS);
    let (input, output) = (price("input_cost_per_token")?, price("output_cost_per_token")?);
    let batch = price("output_cost_per_token_batches");
    Some(Price {
        name: name.to_owned(),
        input,
        cached_input: price("cache_read_input_token_cost").unwrap_or(input),
        output,
        batch_factor: batch.filter(|_| output > 0.0).map(|batch| batch / output),
    })
}

/// An entry of models.dev's, if it has a price.
fn models_dev(name: &str, value: &Value) -> Option<Price> {
    let price = |field: &str| value["cost"][field].as_f64();
    let (input, output) = (price("input")?, price("output")?);
    let cached_input = price("cache_read").unwrap_or(input);
    Some(Price { name: name.to_owned(), input, cached_input, output, batch_factor: None })
}

impl Prices {
    /// The price of a model.
    ///
    /// Errors: it is not there, with names like it.
    pub fn of(&self, name: &str) -> Result<Price> {
        self.by_name.get(name).cloned().ok_or_else(|| {
            let part = name.rsplit('/').next().unwrap_or(name);
            let alike: Vec<&str> =
                self.by_name.keys().map(String::as_str).filter(|key| key.contains(part)).collect();
            let told =
                if alike.is_empty() { self.by_name.keys().map(String::as_str).collect() } else { alike };
            let told: Vec<&str> = told.into_iter().take(NAMES_TOLD).collect();
            anyhow!("no price of {name:?}\nthere are {}", told.join(", "))
        })
    }
}

/// The days between two days such as `2026-11-29`.
///
/// Errors: one is none.
pub fn days_between(from: &str, to: &str) -> Result<i32> {
    let day = |text: &str| {
        text.parse::<jiff::civil::Date>().with_context(|| format!("{text:?} is no day such as 2026-11-29"))
    };
    Ok(day(to)?.since(day(from)?)?.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read() {
        let litellm = r#"{"sample_spec": {"mode": "one of"}, "groq/openai/gpt-oss-20b": {"input_cost_per_token": 1e-07,
            "output_cost_per_token": 5e-07, "cache_read_input_token_cost": 5e-08, "output_cost_per_token_batches": 2.5e-07}}"#;
        let found = parse(litellm).unwrap().of("groq/openai/gpt-oss-20b").unwrap();
        assert_eq!((found.input, found.cached_input, found.output), (0.1, 0.05, 0.5));
        assert_eq!(found.batch_factor, Some(0.5));
        let models_dev = r#"{"groq": {"id": "groq", "models": {"openai/gpt-oss-20b": {"cost": {"input": 0.1, "output": 0.5}}}}}"#;
        let found = parse(models_dev).unwrap().of("groq/openai/gpt-oss-20b").unwrap();
        assert_eq!((found.input, found.cached_input, found.output), (0.1, 0.1, 0.5));
        let own =
            "date = \"2026-11-29\"\n[[price]]\nmodel = \"a\"\ninput = 1\noutput = 2.5\nsource = \"a page\"\n";
        let prices = parse(own).unwrap();
        assert_eq!((prices.of("a").unwrap().output, prices.date.as_deref()), (2.5, Some("2026-11-29")));
        assert!(prices.of("b").unwrap_err().to_string().contains("there are a"));
        for bad in [
            "{}",
            "{\"a\": {\"b\": 1}}",
            "date = 1",
            "date = \"2026\"\n[[price]]\nmodel = \"a\"\ninput = -1\noutput = 2\nsource = \"s\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(days_between("2026-08-31", "2026-11-29").unwrap(), 90);
        assert!(days_between("yesterday", "2026-11-29").is_err());
    }
}
