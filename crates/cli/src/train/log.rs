//! `loss.csv`: a line a step, and what a run that goes on knows of the steps before.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const COLUMNS: &str = "step,loss,learning_rate,gradient_norm,tokens,seconds,valid_loss";

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// From 1.
    pub step: u64,
    /// The mean loss of its targets, before it.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients, before the clip.
    pub gradient_norm: f64,
    /// Tokens that went through the model.
    pub tokens: usize,
    /// How long it took.
    pub seconds: f64,
    /// The mean loss of what is tested with, after it, where it was looked at.
    pub valid_loss: Option<f64>,
}

/// The steps of a run, on disk and here.
pub struct Log {
    path: PathBuf,
    file: File,
    lines: Vec<Line>,
}

impl Log {
    /// Goes on behind the first `steps` steps; lines of later ones are of what a kill has taken.
    ///
    /// Errors: the file cannot be read or written.
    pub fn open(path: &Path, steps: u64) -> Result<Log> {
        let failed = || format!("cannot write {}", path.display());
        let text = if path.exists() { fs::read_to_string(path).with_context(failed)? } else { String::new() };
        let lines: Vec<Line> =
            text.lines().skip(1).filter_map(parse).filter(|line| line.step <= steps).collect();
        let mut file = File::create(path).with_context(failed)?;
        let kept: String = lines.iter().map(|line| format!("{}\n", row(line))).collect();
        write!(file, "{COLUMNS}\n{kept}").with_context(failed)?;
        Ok(Log { path: path.to_owned(), file, lines })
    }

    /// Adds a step.
    ///
    /// Errors: the file cannot be written.
    pub fn add(&mut self, line: Line) -> Result<()> {
        writeln!(self.file, "{}", row(&line))
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.lines.push(line);
        Ok(())
    }

    /// All steps.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn row(line: &Line) -> String {
    let Line { step, loss, learning_rate, gradient_norm, tokens, seconds, valid_loss } = line;
    let valid = valid_loss.map_or(String::new(), |loss| loss.to_string());
    format!("{step},{loss},{learning_rate},{gradient_norm},{tokens},{seconds:.3},{valid}")
}

/// `None` for half a line.
fn parse(line: &str) -> Option<Line> {
    let fields: Vec<&str> = line.split(',').collect();
    let [step, loss, learning_rate, gradient_norm, tokens, seconds, valid_loss] = fields[..] else {
        return None;
    };
    Some(Line {
        step: step.parse().ok()?,
        loss: loss.parse().ok()?,
        learning_rate: learning_rate.parse().ok()?,
        gradient_norm: gradient_norm.parse().ok()?,
        tokens: tokens.parse().ok()?,
        seconds: seconds.parse().ok()?,
        valid_loss: valid_loss.parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        let valid_loss = step.is_multiple_of(2).then_some(1.25);
        let (loss, learning_rate, gradient_norm) = (0.1 + step as f64, 2e-4, 1e-9);
        Line { step, loss, learning_rate, gradient_norm, tokens: 7, seconds: 0.5, valid_loss }
    }

    #[test]
    fn a_log_goes_on_where_the_state_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.csv");
        let mut log = Log::open(&path, 0).unwrap();
        (1..=4).for_each(|step| log.add(line(step)).unwrap());
        fs::write(&path, fs::read_to_string(&path).unwrap() + "5,1.0,2e").unwrap();
        let mut log = Log::open(&path, 3).unwrap();
        assert_eq!(log.lines(), [line(1), line(2), line(3)]);
        log.add(line(4)).unwrap();
        assert_eq!(Log::open(&path, 9).unwrap().lines(), [line(1), line(2), line(3), line(4)]);
    }
}
