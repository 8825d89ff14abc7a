//! What a look at the machine or at a configuration found: a line with a level and, where something is to be
//! done, what.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::terminal;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and something is to be known.
    Warn,
    /// It will not work.
    Fail,
}

impl Level {
    /// The level in a word.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub about: &'static str,
    /// What was found.
    pub says: String,
    /// What to do, if anything is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// Something as it should be.
    pub fn ok(about: &'static str, says: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, about, says: says.into(), remedy: None }
    }

    /// Something to be known.
    pub fn warn(about: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, about, says: says.into(), remedy: Some(remedy.into()) }
    }

    /// Something that will not work.
    pub fn fail(about: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, about, says: says.into(), remedy: Some(remedy.into()) }
    }

    /// An error of the program as a finding: what follows the first line is what to do.
    pub fn of_error(about: &'static str, error: &anyhow::Error) -> Finding {
        let text = format!("{error:#}");
        match text.split_once('\n') {
            Some((says, remedy)) => Finding::fail(about, says, remedy),
            None => Finding { level: Level::Fail, about, says: text, remedy: None },
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({"level": self.level.word(), "about": self.about, "says": self.says, "remedy": self.remedy})
    }
}

/// Writes findings as lines, what to do below what was found.
pub fn write_lines(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    let width = findings.iter().map(|finding| finding.about.len()).max().unwrap_or(0);
    for finding in findings {
        let (level, about) = (finding.level.word(), finding.about);
        writeln!(out, "{level:<4}  {about:<width$}  {}", terminal::safe(&finding.says))?;
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            writeln!(out, "      {:<width$}  {}", "", terminal::safe(line))?;
        }
    }
    Ok(())
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_the_worst_counts() {
        let findings = [Finding::ok("cpu", "fine"), Finding::warn("memory", "little", "add some\nor not")];
        let mut out = Vec::new();
        write_lines(&mut out, &findings).unwrap();
        let expect =
            "ok    cpu     fine\nwarn  memory  little\n              add some\n              or not\n";
        assert_eq!(String::from_utf8(out).unwrap(), expect);
        assert_eq!((worst(&findings), worst(&[])), (Level::Warn, Level::Ok));
    }
}
