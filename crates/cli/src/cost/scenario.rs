//! The file of a scenario: what is used, what a machine costs, how fast it is, which prices it stands beside.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::compute::{Case, MONTH_HOURS, Machine, Manner, Price, Usage};
use super::measured::{self, Bounds};
use super::{prices, usage};
use crate::today;

/// Days after which a price is told to be old.
const PRICE_DAYS_MAX: i32 = 90;
/// By how much the prompts of a measurement may be longer or shorter beside its answers than those of use.
const RATIO_MAX: f64 = 1.25;
/// Months of a year.
const YEAR_MONTHS: f64 = 12.0;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the money is: all amounts in the file and in the files of prices.
    #[serde(default = "dollars")]
    currency: String,
    usage: UsageTable,
    machine: MachineTable,
    api: ApiTable,
}

/// What is used in a month.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageTable {
    /// Requests of a month; with `file`, what its lines stand for.
    requests: Option<f64>,
    /// Tokens of a prompt, in the mean.
    input_tokens: Option<f64>,
    /// Of these, those that were read before, from 0 to 1.
    cached_share: Option<f64>,
    /// Tokens of an answer with its reasoning, in the mean.
    output_tokens: Option<f64>,
    /// JSON lines of requests, in place of these numbers.
    file: Option<String>,
    /// How many days the lines of the file are of.
    file_days: Option<f64>,
    /// The busiest hour beside the mean of all hours.
    peak_to_mean: f64,
}

/// A machine of one's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineTable {
    /// A file of `gptoss load --json`.
    load: Option<String>,
    /// What 95 of 100 requests are to keep: milliseconds to the first token.
    ttft_p95_ms: Option<f64>,
    /// And between tokens.
    tpot_p95_ms: Option<f64>,
    /// Tokens of answers in a second, in place of the file.
    output_tokens_per_second: Option<f64>,
    /// What an hour of a hired machine costs.
    hourly_price: Option<f64>,
    /// What a machine costs, in place of it.
    capital: Option<f64>,
    /// After how many years it is worth `residual_share` of that.
    life_years: Option<f64>,
    #[serde(default)]
    residual_share: f64,
    /// What it draws. Units: kilowatts.
    #[serde(default)]
    power_kw: f64,
    /// What the room draws for each watt of a machine.
    #[serde(default = "one")]
    pue: f64,
    /// What a kilowatt-hour costs.
    #[serde(default)]
    kwh_price: f64,
    /// Machines beyond those that the busiest hour needs.
    #[serde(default)]
    spare: u32,
    /// Hours of people in a month.
    #[serde(default)]
    staff_hours: f64,
    /// What one costs.
    #[serde(default)]
    staff_hourly: f64,
    /// Place, network and all else, a month.
    #[serde(default)]
    other_monthly: f64,
}

/// What it stands beside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiTable {
    /// A file of prices.
    prices: String,
    /// The day on which the prices were read, where their file does not say it.
    prices_date: Option<String>,
    /// Which of them.
    models: Vec<String>,
    /// Tokens of an answer beside those of one's own model: what the same effort comes to.
    #[serde(default = "one")]
    output_factor: f64,
    /// Requests that are made twice, from 0 to 1.
    #[serde(default)]
    retry_share: f64,
    /// Requests that can wait for a batch, from 0 to 1.
    #[serde(default)]
    batch_share: f64,
}

fn dollars() -> String {
    "USD".to_owned()
}

fn one() -> f64 {
    1.0
}

/// Reads the file.
///
/// Errors: by line, what is not there, wrong or unknown.
pub fn parse(text: &str) -> Result<Scenario> {
    Ok(toml::from_str(text)?)
}

/// The numbers that are computed with, and what is to be known of them; other files are looked for in
/// `folder`.
///
/// Errors: a file cannot be read; numbers that are missing or none.
pub fn case(scenario: &Scenario, folder: &Path) -> Result<(Case, Vec<String>)> {
    let mut notes = Vec::new();
    let usage = usage_of(&scenario.usage, folder, &mut notes)?;
    let machine = machine_of(&scenario.machine, &usage, folder, &mut notes)?;
    let ApiTable { output_factor, retry_share, batch_share, .. } = scenario.api;
    let manner = Manner { output_factor, retry_share, batch_share };
    for (name, number) in [("retry_share", retry_share), ("batch_share", batch_share)] {
        share(&format!("api.{name}"), number)?;
    }
    positive("api.output_factor", output_factor)?;
    let prices = prices_of(&scenario.api, folder, &mut notes)?;
    Ok((Case { currency: scenario.currency.clone(), usage, machine, prices, manner }, notes))
}

fn usage_of(table: &UsageTable, folder: &Path, notes: &mut Vec<String>) -> Result<Usage> {
    let peak_to_mean = positive("usage.peak_to_mean", table.peak_to_mean)?;
    if peak_to_mean < 1.0 {
        bail!("usage.peak_to_mean is {peak_to_mean}: the busiest hour is no less busy than the mean, 1");
    }
    let Some(file) = &table.file else {
        let number = |name: &str, number: Option<f64>| {
            positive(
                &format!("usage.{name}"),
                number.with_context(|| format!("usage.{name} is missing, and so is usage.file"))?,
            )
        };
        return Ok(Usage {
            requests: number("requests", table.requests)?,
            input_tokens: number("input_tokens", table.input_tokens)?,
            cached_share: share("usage.cached_share", table.cached_share.unwrap_or(0.0))?,
            output_tokens: number("output_tokens", table.output_tokens)?,
            peak_to_mean,
        });
    };
    if table.input_tokens.or(table.output_tokens).or(table.cached_share).is_some() {
        bail!(
            "usage.file says how many tokens there are; leave out input_tokens, cached_share and output_tokens"
        );
    }
    let recorded = usage::read(&read(folder, file)?).with_context(|| file.clone())?;
    let requests = match (table.requests, table.file_days) {
        (Some(requests), None) => positive("usage.requests", requests)?,
        (None, Some(days)) => recorded.requests * MONTH_HOURS / (24.0 * positive("usage.file_days", days)?),
        _ => bail!(
            "usage.file needs one of file_days, the days that its lines are of, and requests, those of a month"
        ),
    };
    for (effort, (count, tokens)) in &recorded.efforts {
        notes.push(format!(
            "{:.0} % of the requests at effort {effort}, {:.0} tokens an answer",
            100.0 * count / recorded.requests,
            tokens / count
        ));
    }
    Ok(Usage {
        requests,
        input_tokens: positive("the mean of input tokens", recorded.input_tokens / recorded.requests)?,
        cached_share: recorded.cached_tokens / recorded.input_tokens,
        output_tokens: positive("the mean of output tokens", recorded.output_tokens / recorded.requests)?,
        peak_to_mean,
    })
}

fn machine_of(
    table: &MachineTable,
    usage: &Usage,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Machine> {
    let speed = match (&table.load, table.output_tokens_per_second) {
        (Some(file), None) => {
            let bounds = Bounds { ttft: table.ttft_p95_ms, tpot: table.tpot_p95_ms };
            let found = measured::best(&read(folder, file)?, bounds).with_context(|| file.clone())?;
            notes.push(format!(
                "{:.1} tokens of answers a second, measured at {} ({file})",
                found.output_tokens_per_second, found.level
            ));
            let wanted = usage.input_tokens / usage.output_tokens;
            if let Some(ratio) = found.input_to_output.filter(|it| (it / wanted).max(wanted / it) > RATIO_MAX)
            {
                notes.push(format!(
                    "warning: {ratio:.1} tokens of a prompt for one of an answer were measured, and {wanted:.1} are \
                     used: measure with lengths like yours"
                ));
            }
            found.output_tokens_per_second
        }
        (None, Some(speed)) => {
            notes.push("warning: the speed is not from a measurement (machine.load)".to_owned());
            positive("machine.output_tokens_per_second", speed)?
        }
        _ => bail!("machine needs one of load, a file of `gptoss load --json`, and output_tokens_per_second"),
    };
    let hourly = match (table.hourly_price, table.capital, table.life_years) {
        (Some(price), None, None) => amount("machine.hourly_price", price)?,
        (None, Some(capital), Some(years)) => {
            let lost = amount("machine.capital", capital)?
                * (1.0 - share("machine.residual_share", table.residual_share)?);
            lost / (positive("machine.life_years", years)? * YEAR_MONTHS * MONTH_HOURS)
        }
        _ => bail!("machine needs one of hourly_price, and capital with life_years"),
    };
    let power = amount("machine.power_kw", table.power_kw)? * positive("machine.pue", table.pue)?;
    let staff = amount("machine.staff_hours", table.staff_hours)?
        * amount("machine.staff_hourly", table.staff_hourly)?;
    if staff == 0.0 {
        notes.push("warning: nobody's time is counted (machine.staff_hours, staff_hourly)".to_owned());
    }
    Ok(Machine {
        output_tokens_per_second: speed,
        hourly,
        power_hourly: power * amount("machine.kwh_price", table.kwh_price)?,
        spare: f64::from(table.spare),
        fixed_monthly: staff + amount("machine.other_monthly", table.other_monthly)?,
    })
}

fn prices_of(table: &ApiTable, folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Price>> {
    if table.models.is_empty() {
        bail!("api.models names no model");
    }
    let file = prices::parse(&read(folder, &table.prices)?).with_context(|| table.prices.clone())?;
    match table.prices_date.as_ref().or(file.date.as_ref()) {
        None => notes.push(format!(
            "warning: {} does not say when its prices were read; say it as api.prices_date",
            table.prices
        )),
        Some(date) => {
            let days = prices::days_between(date, &today::today())?;
            let is_old = days > PRICE_DAYS_MAX;
            let old = if is_old { format!("warning: {days} days old: ") } else { String::new() };
            notes.push(format!("{old}prices of {date} ({})", table.prices));
        }
    }
    table.models.iter().map(|name| file.of(name).with_context(|| table.prices.clone())).collect()
}

fn read(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn positive(name: &str, number: f64) -> Result<f64> {
    if number.is_finite() && number > 0.0 {
        return Ok(number);
    }
    bail!("{name} is {number}: expected a number above 0")
}

fn amount(name: &str, number: f64) -> Result<f64> {
    if number.is_finite() && number >= 0.0 {
        return Ok(number);
    }
    bail!("{name} is {number}: expected 0 or more")
}

fn share(name: &str, number: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&number) {
        return Ok(number);
    }
    bail!("{name} is {number}: expected a share from 0 to 1")
}
