//! Whether an adapter is for a model: an adapter that opens has passed, and its loss on rows tells the rest.
//!
//! Two layouts of B have the same names and shapes. On rows like those that the adapter was trained on, the
//! wrong one is a model that knows nothing of them.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use gptoss_checkpoint::{Error, FactorLayout, ReadAdapter, read_adapter};
use serde_json::{Value, json};

use crate::adapter::inspect::{summary, write_summary};
use crate::adapter::losses::HeldOut;
use crate::adapter::{Tuned, layout, pool};
use crate::args::AdapterCheckArgs;
use crate::offer;
use crate::terminal::safe_for_stdout;

/// By how much a layout must be likelier to be taken for the right one. Units: nats.
const MARGIN: f64 = 0.01;

/// What rows say of an adapter.
struct Measured {
    texts: usize,
    targets: usize,
    base: f64,
    /// With the adapter, by layout; `None` where there is one way only.
    tuned: Vec<(Option<FactorLayout>, f64)>,
    /// The layout that is followed, where one is known.
    chosen: Option<FactorLayout>,
}

/// Runs the command.
pub fn run(args: &AdapterCheckArgs) -> Result<ExitCode> {
    let opened = offer::opened(&args.source.model)?;
    let asked = args.source.lora_b_layout.map(layout);
    let (folder, base) = (&args.source.folder, &opened.checkpoint);
    let (read, is_known) = match read_adapter(folder, base, asked) {
        // What is asked for can be measured.
        Err(Error::AmbiguousAdapter { .. }) if args.data.is_some() => {
            (read_adapter(folder, base, Some(FactorLayout::RankMajor))?, false)
        }
        read => (read?, true),
    };
    let other = read.layout.map(|(layout, _)| match layout {
        FactorLayout::RankMajor => FactorLayout::GroupedByExpert,
        FactorLayout::GroupedByExpert => FactorLayout::RankMajor,
    });
    let other = match (&args.data, other) {
        (Some(_), Some(other)) => Some(read_adapter(folder, base, Some(other))?),
        _ => None,
    };
    let mut tuned = Tuned { opened, read };
    let measured = args.data.as_deref().map(|file| -> Result<Measured> {
        let pool = pool();
        let rows = HeldOut::read(file, &tuned.opened, &pool)?;
        let (texts, targets) = rows.counts();
        let base = &tuned.opened.checkpoint;
        let loss = |read: &ReadAdapter| -> Result<_> {
            Ok((read.layout.map(|(layout, _)| layout), rows.loss(base, Some(&read.adapter))?))
        };
        let all = std::iter::once(&tuned.read).chain(&other).map(loss).collect::<Result<_>>()?;
        let chosen = tuned.read.layout.map(|(layout, _)| layout).filter(|_| is_known);
        Ok(Measured { texts, targets, base: rows.loss(base, None)?, tuned: all, chosen })
    });
    let measured = measured.transpose()?;
    if !is_known {
        tuned.read.layout = None;
    }
    let mut out = io::stdout().lock();
    if args.json {
        let mut told = summary(&tuned);
        if let Some(measured) = &measured {
            told["data"] = measured.to_json();
        }
        writeln!(out, "{told}")?;
    } else {
        write_summary(&mut out, &tuned)?;
        writeln!(out, "every tensor fits {}", safe_for_stdout(&tuned.opened.source.name()))?;
        if let Some(measured) = &measured {
            measured.write(&mut out)?;
        }
    }
    measured.map_or(Ok(()), |measured| measured.verdict())?;
    Ok(ExitCode::SUCCESS)
}

impl Measured {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nmean loss of {} targets in {} texts", self.targets, self.texts)?;
        writeln!(out, "  {:<26}{:>9.4}", "without the adapter", self.base)?;
        for (layout, loss) in &self.tuned {
            let name = match layout {
                None => "with it".to_owned(),
                Some(layout) => format!("with it, {}", layout.name()),
            };
            writeln!(out, "  {name:<26}{loss:>9.4}")?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let tuned = self
            .tuned
            .iter()
            .map(|(layout, loss)| json!({"lora_b_layout": layout.map(FactorLayout::name), "loss": loss}));
        json!({
            "texts": self.texts,
            "targets": self.targets,
            "base_loss": self.base,
            "tuned": tuned.collect::<Vec<_>>(),
        })
    }

    /// Errors: the layout that is followed has a higher loss than the other, or none is known.
    fn verdict(&self) -> Result<()> {
        let best = self.tuned.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        // The first is the one that is followed.
        let is_clear = |loss: f64| self.tuned.first().is_some_and(|(_, first)| first - loss > MARGIN);
        match (self.chosen, best) {
            (Some(_), Some((Some(best), loss))) if is_clear(*loss) => Err(anyhow!(
                "these rows are likelier under the other layout of B\ncheck it, or read the adapter with \
                 --lora-b-layout {}",
                best.name().replace('_', "-")
            )),
            (None, Some((Some(best), _))) => Err(anyhow!(
                "nothing says how B is laid out, and these rows are likelier under {}\nread the adapter with \
                 --lora-b-layout {}",
                best.name(),
                best.name().replace('_', "-")
            )),
            _ => Ok(()),
        }
    }
}
