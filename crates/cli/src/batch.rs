//! `gptoss batch`: a file of requests, answered without a server.
//!
//! Lines and results are those of OpenAI's Batch API, and of `/v1/batches` of our own server: the same code
//! answers them. Results are appended line by line, each in one write, so Ctrl-C leaves whole lines; a run on
//! an output that is there asks only what has no result in it. A line that a crash cut off is dropped first.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use gptoss_engine::SEQUENCES_DEFAULT;
use gptoss_server::{App, BatchLine, Keys, Limits, TokenUsage, Validator, answer_lines};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::BatchArgs;
use crate::failure::usage;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::offer;
use crate::progress::{Progress, Unit};
use crate::served_models::{NamedSource, Prepared, Serving, served_name};

/// Wrong lines that are told.
const WRONG_TOLD_MAX: usize = 5;
/// How every result begins.
const RESULT_HEAD: &[u8] = br#"{"id":"batch_req_"#;

/// Runs the command.
pub fn run(args: &BatchArgs) -> Result<ExitCode> {
    args.engine.check()?;
    let text = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let name = args.output.clone().unwrap_or_else(|| beside(&args.file));
    let failed = || format!("cannot write {}", name.display());
    let mut output = Output::open(&name).with_context(failed)?;
    let opened = offer::opened(&args.model)?;
    if let Some(caveat) = opened.source.caveat() {
        writeln!(io::stderr(), "note: {caveat}")?;
    }
    let serving = Serving {
        compute: &args.compute,
        engine: &args.engine,
        context: args.context,
        no_date: args.no_date,
        alias: &args.alias,
        idle: None,
        kv_events: None,
    };
    let source = NamedSource { name: served_name(&opened.source), opened };
    let prepared = Prepared::one(&serving, &source)?;
    let silent = Arc::new(|_: &str| {});
    let app = App::new(prepared.models, Limits::default(), Keys::default(), None, silent)?;
    let lines = lines(&text, &app).with_context(|| format!("{} cannot be answered", args.file.display()))?;
    let num_lines = lines.len();
    let left: Vec<BatchLine> =
        lines.into_iter().filter(|line| !output.done.contains(&line.custom_id)).collect();
    let mut totals = Totals { lines: num_lines, kept: num_lines - left.len(), ..Totals::default() };
    let at_once = args.engine.max_sequences.map_or(SEQUENCES_DEFAULT, usize::from);
    let mut progress = Progress::new("batch", Unit::Requests);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        let kept = answer_lines(app, left, at_once, stop, |result, tokens| {
            output.append(&result.line)?;
            totals.count(result.is_answer(), tokens);
            progress.set(totals.through() as u64, num_lines as u64);
            Ok(())
        });
        kept.await.with_context(failed)
    })?;
    progress.clear();
    output.file.sync_all().with_context(failed)?;
    report(args, &name, &totals)?;
    Ok(match totals {
        Totals { .. } if totals.through() < num_lines => ExitCode::from(EXIT_INTERRUPTED),
        Totals { failed: 0, .. } => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    lines: usize,
    /// Those with a result of an earlier run.
    kept: usize,
    answered: usize,
    failed: usize,
    tokens: TokenUsage,
}

impl Totals {
    fn count(&mut self, is_answer: bool, tokens: TokenUsage) {
        *(if is_answer { &mut self.answered } else { &mut self.failed }) += 1;
        self.tokens.add(tokens);
    }

    fn through(&self) -> usize {
        self.kept + self.answered + self.failed
    }
}

fn report(args: &BatchArgs, name: &Path, totals: &Totals) -> Result<()> {
    let Totals { lines, kept, answered, failed, tokens } = *totals;
    let left = lines - totals.through();
    if args.json {
        let object = json!({
            "lines": lines, "answered": answered, "failed": failed, "kept": kept, "left": left,
            "output": name.display().to_string(), "usage": tokens.response_usage(),
        });
        writeln!(io::stdout(), "{object}")?;
    }
    let name = crate::terminal::safe(&name.display().to_string());
    let mut text = format!("batch: {answered} of {lines} lines answered, {failed} failed");
    for (count, what) in [(kept, "had a result already"), (left, "are left: run the same again to go on")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    Ok(writeln!(io::stderr(), "{text}; results are in {name}")?)
}

/// The output's name when nothing is said.
fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}.output.jsonl"))
}

/// All requests of a file.
///
/// Errors: what is wrong with the first few lines.
fn lines(text: &[u8], app: &App) -> Result<Vec<BatchLine>> {
    let mut validator = Validator::default();
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = index as u64 + 1;
        match validator.check(line, number, None, &|name| app.serves(name)) {
            Ok(line) => lines.extend(line),
            Err(error) => wrong.push(format!("line {number}: {}", error.message)),
        }
        if wrong.len() >= WRONG_TOLD_MAX {
            break;
        }
    }
    match (wrong.is_empty(), lines.is_empty()) {
        (true, false) => Ok(lines),
        (true, true) => Err(anyhow!("there is no request in it")),
        (false, _) => Err(anyhow!(wrong.join("\n"))),
    }
}

/// The file of results.
struct Output {
    file: File,
    /// Lines that have a result there.
    done: HashSet<String>,
}

impl Output {
    /// Opens or makes it, and drops the end of a line that a crash cut off.
    ///
    /// Errors: the file holds something else, or another run writes it.
    fn open(name: &Path) -> Result<Output> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(usage("another run writes it")),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = text.split_at(whole);
        let done = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(custom_id);
        let done = done.collect::<Result<HashSet<String>>>()?;
        if !RESULT_HEAD.starts_with(rest) && !rest.starts_with(RESULT_HEAD) {
            bail!("it holds something else than results of a batch; give another --output");
        }
        if !rest.is_empty() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        Ok(Output { file, done })
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

/// Whose result a line is.
fn custom_id(line: &[u8]) -> Result<String> {
    let result: Option<Value> = serde_json::from_slice(line).ok();
    let id = result.filter(|result| line.starts_with(RESULT_HEAD) && result.get("response").is_some());
    let id = id.and_then(|result| Some(result.get("custom_id")?.as_str()?.to_owned()));
    id.ok_or_else(|| anyhow!("it holds something else than results of a batch; give another --output"))
}

/// Ready when Ctrl-C or SIGTERM comes.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let failed = "cannot handle signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(content: &str) -> Result<(Vec<String>, String)> {
        let folder = tempfile::tempdir()?;
        let name = folder.path().join("out.jsonl");
        fs::write(&name, content)?;
        let mut output = Output::open(&name)?;
        output.append("x")?;
        let mut done: Vec<String> = output.done.into_iter().collect();
        done.sort();
        Ok((done, fs::read_to_string(&name)?))
    }

    #[test]
    fn an_output_goes_on_behind_its_last_whole_line() {
        let line =
            |id: &str| format!("{{\"id\":\"batch_req_1\",\"custom_id\":\"{id}\",\"response\":{{}}}}\n");
        let check = |content: &str, done: &[&str], kept: &str| {
            let expect: Vec<String> = done.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(open(content).unwrap(), (expect, format!("{kept}x\n")), "{content:?}");
        };
        let both = line("a") + &line("b");
        check("", &[], "");
        check(&both, &["a", "b"], &both);
        for cut in 1..line("c").len() {
            check(&(both.clone() + &line("c")[..cut]), &["a", "b"], &both);
        }
    }

    #[test]
    fn a_file_of_something_else_is_not_written() {
        for content in
            ["notes\n", "notes", "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{}}\n", "{}"]
        {
            assert!(open(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn results_stand_beside_the_requests() {
        assert_eq!(beside(Path::new("a/b.jsonl")), Path::new("a/b.output.jsonl"));
        assert_eq!(beside(Path::new("b")), Path::new("b.output.jsonl"));
    }
}
