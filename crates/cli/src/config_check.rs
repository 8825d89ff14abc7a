//! `gptoss config check`: is the configuration right, and what holds with it?
//!
//! Reads the file and the environment as `serve`, `chat` or `run` would, says what is wrong with line and
//! column, looks whether what they name is there, and prints every key with its value and where that comes
//! from. Values of files of keys are never opened to be shown: a key's path is printed, its content is not.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::{Command, ConfigArgs, ConfigCheckArgs, ConfigCommand};
use crate::config::{self, Layers, Origin};
use crate::finding::{Finding, Level, worst, write_lines};
use crate::{checks, terminal};

/// Runs the command.
pub fn run(args: &ConfigArgs) -> Result<ExitCode> {
    let ConfigCommand::Check(args) = &args.command;
    let report = Report::new(args)?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", report.to_json())?,
        false => report.write(&mut out)?,
    }
    out.flush()?;
    Ok(if report.is_valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    command: &'static str,
    layers: Layers,
    values: Vec<config::Value>,
    findings: Vec<Finding>,
}

impl Report {
    fn new(args: &ConfigCheckArgs) -> Result<Report> {
        let layers = Layers::gather(args.file.as_deref())?;
        let command = args.command.name();
        let (mut values, mut findings) = (Vec::new(), Vec::new());
        if layers.problems.is_empty() {
            match config::effective(&layers, command) {
                Err(error) => findings.push(Finding::of_error("flags", &error)),
                Ok((found, cli)) => {
                    values = found;
                    findings = match &cli.command {
                        Command::Serve(args) => checks::of_serve(args),
                        Command::Chat(args) => checks::of_generation(&args.generation),
                        Command::Run(args) => checks::of_generation(&args.generation),
                        Command::Agent(args) => checks::of_generation(&args.generation),
                        _ => Vec::new(),
                    };
                }
            }
        }
        for (name, near) in &layers.unknown_variables {
            let remedy = match near {
                Some(near) => format!("did you mean {near}?"),
                None => "it changes nothing".to_owned(),
            };
            findings.push(Finding::warn("environment", format!("{name} is not a setting"), remedy));
        }
        Ok(Report { command, layers, values, findings })
    }

    fn is_valid(&self) -> bool {
        self.layers.problems.is_empty() && worst(&self.findings) != Level::Fail
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.layers.file {
            Some(file) => writeln!(out, "{}", terminal::safe(&file.display().to_string()))?,
            None => {
                let places = config::usual_files();
                let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
                writeln!(out, "no configuration file (looked for {})", places.join(", "))?;
            }
        }
        for problem in &self.layers.problems {
            writeln!(out, "fail  {}", terminal::safe(&self.layers.describe(problem)))?;
        }
        write_lines(out, &self.findings)?;
        if !self.values.is_empty() {
            writeln!(out, "\nwhat holds for `gptoss {}`:", self.command)?;
        }
        let key_width = self.values.iter().map(|value| value.key.len()).max().unwrap_or(0);
        let texts: Vec<String> = self.values.iter().map(|value| text(&value.values)).collect();
        let text_width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        for (value, text) in self.values.iter().zip(&texts) {
            let origin = self.layers.origin_name(&value.origin);
            writeln!(out, "  {:<key_width$}  {:<text_width$}  {origin}", value.key, terminal::safe(text))?;
        }
        let verdict =
            if self.is_valid() { "the configuration is valid" } else { "the configuration is not valid" };
        writeln!(out, "{}{verdict}", if self.values.is_empty() { "" } else { "\n" })
    }

    fn to_json(&self) -> Value {
        let place = |origin: &Origin| match origin {
            Origin::File(place) => json!({"line": place.line, "column": place.column}),
            _ => Value::Null,
        };
        let value = |value: &config::Value| {
            let origin = match &value.origin {
                Origin::Default => "default",
                Origin::File(_) => "file",
                Origin::Variable(_) => "environment",
                Origin::Flag => "flag",
            };
            json!({
                "key": value.key,
                "values": value.values,
                "origin": origin,
                "place": place(&value.origin),
            })
        };
        let problem = |problem: &config::Problem| {
            let what = self.layers.describe(problem);
            json!({"what": what, "place": place(&problem.origin)})
        };
        json!({
            "valid": self.is_valid(),
            "file": self.layers.file,
            "command": self.command,
            "problems": self.layers.problems.iter().map(problem).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "values": self.values.iter().map(value).collect::<Vec<_>>(),
        })
    }
}

/// A key's values on one line; a dash for none.
fn text(values: &[String]) -> String {
    match values {
        [] => "-".to_owned(),
        values => values.join(", "),
    }
}
