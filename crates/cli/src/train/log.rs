//! `loss.csv`: a line a step, and what a run that goes on knows of the steps before.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::lesson::Score;

const COLUMNS: &str = "step,loss,learning_rate,gradient_norm,tokens,seconds,valid_loss,accuracy,valid_accuracy,\
                       margin,valid_margin,balance";

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// From 1.
    pub step: u64,
    /// What was learned, before it.
    pub score: Score,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients, before the clip.
    pub gradient_norm: f64,
    /// Tokens that went through the model.
    pub tokens: usize,
    /// How long it took.
    pub seconds: f64,
    /// What is tested with, after it, where it was looked at.
    pub valid: Option<Score>,
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
        let mut written = text.lines();
        let columns = written.next().unwrap_or_default().split(',').count();
        let lines = written.filter_map(|line| parse(line, columns));
        let lines: Vec<Line> = lines.filter(|line| line.step <= steps).collect();
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
    let Line { step, score, learning_rate, gradient_norm, tokens, seconds, valid } = line;
    let number = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
    let tested = valid.unwrap_or_default();
    let [valid_loss, accuracy, valid_accuracy] =
        [valid.map(|score| score.loss), score.accuracy, tested.accuracy].map(number);
    let [margin, valid_margin, balance] = [score.margin, tested.margin, score.balance].map(number);
    let loss = score.loss;
    format!(
        "{step},{loss},{learning_rate},{gradient_norm},{tokens},{seconds:.3},{valid_loss},{accuracy},\
         {valid_accuracy},{margin},{valid_margin},{balance}"
    )
}

/// `None` for half a line: one with fewer fields than its file has columns.
fn parse(line: &str, columns: usize) -> Option<Line> {
    let mut fields: Vec<&str> = line.split(',').collect();
    if fields.len() != columns {
        return None;
    }
    // Files of older releases lack the last columns.
    fields.resize(COLUMNS.split(',').count(), "");
    let [step, loss, learning_rate, gradient_norm, tokens, seconds, scores @ ..] = &fields[..] else {
        return None;
    };
    let [valid_loss, accuracy, valid_accuracy, margin, valid_margin, balance]: [Option<f64>; 6] =
        <[&str; 6]>::try_from(scores).ok()?.map(|number| number.parse().ok());
    Some(Line {
        step: step.parse().ok()?,
        score: Score { loss: loss.parse().ok()?, accuracy, margin, balance },
        learning_rate: learning_rate.parse().ok()?,
        gradient_norm: gradient_norm.parse().ok()?,
        tokens: tokens.parse().ok()?,
        seconds: seconds.parse().ok()?,
        valid: valid_loss.map(|loss| Score {
            loss,
            accuracy: valid_accuracy,
            margin: valid_margin,
            balance: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        let of_pairs = Score { loss: 1.25, accuracy: Some(0.5), margin: Some(-0.25), balance: None };
        let valid = step.is_multiple_of(2).then_some(of_pairs);
        let (loss, learning_rate, gradient_norm) = (0.1 + step as f64, 2e-4, 1e-9);
        let score = Score {
            loss,
            ..if step.is_multiple_of(3) { of_pairs } else { Score { balance: Some(1.5), ..Score::default() } }
        };
        Line { step, score, learning_rate, gradient_norm, tokens: 7, seconds: 0.5, valid }
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

    #[test]
    fn a_log_with_fewer_columns_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.csv");
        let columns = "step,loss,learning_rate,gradient_norm,tokens,seconds,valid_loss";
        fs::write(&path, format!("{columns}\n1,2.5,0.1,1,7,0.500,\n2,2.0,0.1,1,7,0.500,3.5\n3,1.5,0.1,1"))
            .unwrap();
        let log = Log::open(&path, 9).unwrap();
        let told: Vec<_> =
            log.lines().iter().map(|line| (line.step, line.valid.map(|score| score.loss))).collect();
        assert_eq!(told, [(1, None), (2, Some(3.5))]);
        assert_eq!(Log::open(&path, 9).unwrap().lines(), log.lines(), "it is written with all columns");
    }
}
