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
use gptoss_turn::{Outcome, TurnEnd};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::failure::usage;
use crate::generation::{self, ConversationHead, Session};
use crate::input::{self, Source};
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress};
use crate::memory_budget;
use crate::printer::{Printer, Shown};

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let prompt = prompt(&args.prompt, "gptoss run")?;
    let (session, head) = generation::prepare(&args.generation)?;
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let conversation = head.conversation(&[Message::user(prompt)]);
    let mut printer = Printer::new(Shown {
        reasoning: args.show_reasoning && !args.hide_reasoning,
        said: !args.json,
        calls: !args.json,
    });
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

/// What was asked: the words of a command, or what is piped into it.
///
/// Errors: there is nothing.
pub fn prompt(words: &[String], command: &str) -> Result<String> {
    // Words without quotes are a prompt too.
    let text = match words.join(" ").as_str() {
        "-" => Source::Stdin.read_text()?,
        text if !words.is_empty() => text.to_owned(),
        _ if io::stdin().is_terminal() => {
            return Err(usage(format!("there is no prompt\nwrite {command} \"...\", or pipe the prompt in")));
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
        TurnEnd::NoAnswer | TurnEnd::Filtered => bail!(
            "the model stopped after {written} tokens without an answer\n\
             --show-reasoning shows what it wrote; another --seed may do better"
        ),
    }
    Ok(ExitCode::SUCCESS)
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
