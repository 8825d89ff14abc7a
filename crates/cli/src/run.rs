//! `gptoss run`: one prompt, one answer.
//!
//! The answer streams to standard output and nothing else does, so that the command can stand in a pipe;
//! reasoning goes to standard error when asked for, preambles and warnings always. A call that the model
//! makes instead of answering is the result then: its name and its arguments on one line. `--json` prints
//! everything there is about the turn as one object when it is over.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use gptoss_harmony::Message;
use gptoss_turn::{Channel, Delta, Outcome, TurnEnd, TurnEvent};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::failure::usage;
use crate::generation::{self, ConversationHead, Session};
use crate::input::{self, Source};
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::memory_budget;
use crate::progress::{Progress, Unit};
use crate::terminal::{self, Style};

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let prompt = prompt(args)?;
    let (session, head) = generation::prepare(&args.generation)?;
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let conversation = head.conversation(&[Message::user(prompt)]);
    let mut printer = Printer::new(args);
    let outcome = interrupt
        .stoppable(|cancel| session.take_turn(&conversation, cancel, &mut |event| printer.show(event)))?;
    printer.finish()?;
    if args.json {
        let object = report(&session, &head, &outcome);
        input::write_json_line(&mut io::stdout().lock(), &object)?;
    } else if let Some(traffic) = session.expert_traffic() {
        writeln!(io::stderr(), "{}", memory_budget::traffic_line(&traffic))?;
    }
    if args.generation.stats {
        writeln!(io::stderr(), "{}", Session::stats(&outcome))?;
    }
    ending(args, &outcome)
}

fn prompt(args: &RunArgs) -> Result<String> {
    // Words without quotes are a prompt too.
    let text = match args.prompt.join(" ").as_str() {
        "-" => Source::Stdin.read_text()?,
        text if !args.prompt.is_empty() => text.to_owned(),
        _ if io::stdin().is_terminal() => {
            return Err(usage("there is no prompt\nwrite gptoss run \"...\", or pipe the prompt in"));
        }
        _ => Source::Stdin.read_text()?,
    };
    let text = text.strip_suffix('\n').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        return Err(usage("the prompt is empty"));
    }
    Ok(text)
}

/// What the program says at the end, and with what code it ends.
fn ending(args: &RunArgs, outcome: &Outcome) -> Result<ExitCode> {
    let written = outcome.usage.engine.completion_tokens;
    match outcome.end {
        TurnEnd::Cancelled => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
        _ if args.json => {}
        TurnEnd::Answer | TurnEnd::Call => {}
        TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline if outcome.answer().is_some() => {
            writeln!(io::stderr(), "warning: the answer was cut short after {written} tokens")?;
        }
        TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => bail!(
            "the model wrote {written} tokens and had not come to an answer\n\
             give it more with --max-tokens or --context, or lower --effort; --show-reasoning shows what it wrote"
        ),
        TurnEnd::NoAnswer => bail!(
            "the model stopped after {written} tokens without an answer\n\
             --show-reasoning shows what it wrote; another --seed may do better"
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a turn while it runs.
struct Printer {
    is_json: bool,
    shows_reasoning: bool,
    progress: Progress,
    style: Style,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// Whether reasoning has been shown: without color it begins with a word.
    is_thinking: bool,
    /// Whether the last byte on this stream left a line open.
    open_line: Option<Stream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Printer {
    fn new(args: &RunArgs) -> Printer {
        let stderr_is_terminal = io::stderr().is_terminal();
        Printer {
            is_json: args.json,
            shows_reasoning: args.show_reasoning && !args.hide_reasoning,
            progress: Progress::new("reading the prompt", Unit::Tokens),
            style: Style::of(&io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal,
            is_thinking: false,
            open_line: None,
        }
    }

    fn show(&mut self, event: TurnEvent) -> io::Result<()> {
        let delta = match event {
            TurnEvent::Prefill { done, total } => {
                self.progress.set(done as u64, total as u64);
                return Ok(());
            }
            TurnEvent::Delta(delta) => delta,
            // `run_turn` returns the end and does not tell it.
            TurnEvent::Finished(_) | TurnEvent::Failed(_) => return Ok(()),
        };
        self.progress.clear();
        match delta {
            Delta::Text { channel: Channel::Analysis, text, .. } if self.shows_reasoning => {
                let dim = self.style.dim;
                let label = if self.is_thinking || self.style.has_color() { "" } else { "thinking: " };
                self.is_thinking = true;
                let text = format!("{dim}{label}{}{dim:#}", self.for_stderr(&text));
                self.write(Stream::Err, &text)
            }
            Delta::Text { channel: Channel::Commentary, text, .. } if !self.is_json => {
                let text = self.for_stderr(&text);
                self.write(Stream::Err, &text)
            }
            Delta::Text { channel: Channel::Final, text, .. } if !self.is_json => {
                let text = if self.stdout_is_terminal { terminal::safe(&text) } else { text };
                self.write(Stream::Out, &text)
            }
            Delta::Called(call) if !self.is_json => {
                self.end_line()?;
                let line = format!("call {} {}\n", call.name, call.arguments);
                let line = if self.stdout_is_terminal { terminal::safe(&line) } else { line };
                self.write(Stream::Out, &line)
            }
            Delta::Warning(warning) if !self.is_json => {
                self.end_line()?;
                let line = format!("warning: {}\n", terminal::safe(&warning));
                self.write(Stream::Err, &line)
            }
            _ => Ok(()),
        }
    }

    fn for_stderr(&self, text: &str) -> String {
        if self.stderr_is_terminal { terminal::safe(text) } else { text.to_owned() }
    }

    fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
        if self.open_line.is_some_and(|open| open != stream) {
            self.end_line()?;
        }
        match stream {
            Stream::Out => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()?;
            }
            Stream::Err => io::stderr().write_all(text.as_bytes())?,
        }
        self.open_line = (!text.ends_with('\n')).then_some(stream);
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        match self.open_line.take() {
            None => Ok(()),
            Some(Stream::Out) => writeln!(io::stdout()),
            Some(Stream::Err) => writeln!(io::stderr()),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.progress.clear();
        self.end_line()
    }
}

/// All there is about a turn.
fn report(session: &Session, head: &ConversationHead, outcome: &Outcome) -> Value {
    let usage = &outcome.usage.engine;
    let calls = outcome.calls.iter().map(|call| json!({"name": call.name, "arguments": call.arguments}));
    let sampling = &session.options.sampling;
    let mut object = json!({
        "model": session.name,
        "demo": session.is_demo,
        "effort": head.effort.as_str(),
        "answer": outcome.answer(),
        "reasoning": outcome.reasoning(),
        "preamble": outcome.preamble(),
        "calls": calls.collect::<Vec<_>>(),
        "messages": outcome.messages,
        "warnings": outcome.warnings,
        "finish_reason": outcome.end.finish_reason(),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "reasoning_tokens": outcome.usage.reasoning_tokens,
        },
        "timings": {
            "prefill_seconds": usage.timings.prefill.as_secs_f64(),
            "decode_seconds": usage.timings.decode.as_secs_f64(),
            "prefill_tokens_per_second": usage.prefill_tokens_per_second(),
            "decode_tokens_per_second": usage.decode_tokens_per_second(),
        },
        "disk": memory_budget::traffic_json(session.expert_traffic().as_ref()),
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    });
    if let Some(adapter) = session.adapter {
        object["adapter"] = json!(adapter.short());
    }
    object
}
