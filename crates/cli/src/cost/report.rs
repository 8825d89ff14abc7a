//! What is printed: the verdict first, then a table, then where costs are the same.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::compute::{CHANGE, Case, Compared, swings};

/// Prints for people.
///
/// Errors: the output cannot be written to.
pub fn print(out: &mut dyn Write, case: &Case, compared: &Compared, notes: &[String]) -> Result<()> {
    let money = |amount: f64| format!("{amount:.2} {}", case.currency);
    let own = &compared.own;
    writeln!(out, "{}\n", verdict(case, compared))?;
    writeln!(
        out,
        "{:<44} {:>14} {:>14} {:>18}",
        "a month", case.currency, "per M tokens", "never dearer from"
    )?;
    writeln!(out, "{:<44} {:>14.2} {:>14.3}", own_name(case, compared), own.monthly, own.per_million)?;
    for (price, api) in case.prices.iter().zip(&compared.apis) {
        let even = match api.break_even_requests {
            None => "never".to_owned(),
            Some(requests) => format!("{requests:.0} requests"),
        };
        writeln!(out, "{:<44} {:>14.2} {:>14.3} {even:>18}", price.name, api.monthly, api.per_million)?;
    }
    writeln!(out)?;
    let usage = &case.usage;
    writeln!(
        out,
        "{:.0} requests of {:.0} tokens in ({:.0} % read before) and {:.0} out; the machines are used to {:.1} %.",
        usage.requests,
        usage.input_tokens,
        100.0 * usage.cached_share,
        usage.output_tokens,
        100.0 * own.utilization
    )?;
    for (price, api) in case.prices.iter().zip(&compared.apis) {
        let at = match api.break_even_utilization {
            at if at > 1.0 => "dearer than that even when it is used all the time".to_owned(),
            at => format!("as dear as that when it is used {:.1} % of its time", 100.0 * at),
        };
        writeln!(out, "One machine alone, beside {}: {at}.", price.name)?;
    }
    if let Some(cheapest) = compared.cheapest() {
        writeln!(out, "\nWhat matters most, beside {}: own cost less the API's", case.prices[cheapest].name)?;
        for swing in swings(case, cheapest) {
            let [lower, higher] = swing.differences.map(&money);
            writeln!(out, "  {:<20} {:.0} % lower: {lower}, higher: {higher}", swing.name, 100.0 * CHANGE)?;
        }
    }
    if !notes.is_empty() {
        writeln!(out)?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

fn own_name(case: &Case, compared: &Compared) -> String {
    let machines = compared.own.machines;
    let spare =
        if case.machine.spare > 0.0 { format!(", {} spare", case.machine.spare) } else { String::new() };
    format!("{machines} of one's own{spare}")
}

/// Whether it pays.
fn verdict(case: &Case, compared: &Compared) -> String {
    let Some(cheapest) = compared.cheapest() else { return "There is no price to stand beside.".to_owned() };
    let (price, api) = (&case.prices[cheapest], &compared.apis[cheapest]);
    let difference = compared.own.monthly - api.monthly;
    let amount = format!("{:.2} {} a month", difference.abs(), case.currency);
    match difference {
        difference if difference > 0.0 => format!("Does not pay: {amount} more than {}.", price.name),
        _ => format!("Pays: {amount} less than {}, the cheapest.", price.name),
    }
}

/// Prints for programs.
///
/// Errors: the output cannot be written to.
pub fn json(out: &mut dyn Write, case: &Case, compared: &Compared, notes: &[String]) -> Result<()> {
    let own = &compared.own;
    let apis: Vec<Value> = case
        .prices
        .iter()
        .zip(&compared.apis)
        .map(|(price, api)| {
            json!({
                "model": price.name,
                "monthly": api.monthly,
                "per_million_tokens": api.per_million,
                "break_even_requests": api.break_even_requests,
                "break_even_utilization": api.break_even_utilization,
            })
        })
        .collect();
    let sensitivity: Vec<Value> = compared
        .cheapest()
        .map(|cheapest| swings(case, cheapest))
        .unwrap_or_default()
        .into_iter()
        .map(|swing| json!({"name": swing.name, "lower": swing.differences[0], "higher": swing.differences[1]}))
        .collect();
    let usage = &case.usage;
    let object = json!({
        "verdict": verdict(case, compared),
        "pays": compared.cheapest().is_some_and(|cheapest| own.monthly <= compared.apis[cheapest].monthly),
        "currency": case.currency,
        "usage": {
            "requests": usage.requests,
            "input_tokens": usage.input_tokens,
            "cached_share": usage.cached_share,
            "output_tokens": usage.output_tokens,
            "peak_to_mean": usage.peak_to_mean,
        },
        "own": {
            "machines": own.machines,
            "monthly": own.monthly,
            "per_million_tokens": own.per_million,
            "utilization": own.utilization,
            "output_tokens_per_second": case.machine.output_tokens_per_second,
        },
        "apis": apis,
        "sensitivity": sensitivity,
        "notes": notes,
    });
    writeln!(out, "{object:#}")?;
    Ok(())
}
