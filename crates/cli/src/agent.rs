//! `gptoss agent`: a task in a folder, worked on until it is done.
//!
//! The loop is the room `agent`'s; here are what the model is told, who approves, and how it looks. The
//! answer goes to standard output and everything else to standard error: each change as a difference before
//! it is made, then how it went. With `--json` standard output has one event a line, in the words of
//! `codex exec --json`, so that what reads those reads these.

mod approver;
mod events;
pub mod instructions;
pub mod made_files;
pub mod narrator;
pub mod toolbox;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use gptoss_agent::{AgentEnd, Budget, Ending, Host, Task};
use gptoss_harmony::Message;
use gptoss_tools::Workspace;

use crate::args::{AgentArgs, ApproveArg, ToolArg};
use crate::browser;
use crate::cells;
use crate::failure::usage;
use crate::generation::{self, Session};
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, SecondPress, tell_or_cancel};
use crate::run::prompt;
use crate::terminal;
pub use approver::Approver;
use events::Events;
use narrator::{Narrator, cited};
use toolbox::Beside;

/// Runs the command.
pub fn run(args: &AgentArgs) -> Result<ExitCode> {
    if args.undo {
        return undo(args);
    }
    if args.approve == ApproveArg::Ask && !io::stdin().is_terminal() {
        return Err(usage(
            "nobody can be asked: standard input is not a terminal\n\
             --approve auto makes changes without asking, --approve never refuses them",
        ));
    }
    let task = prompt(&args.task, "gptoss agent")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    browser::check(args.browser.as_ref(), args.tools.contains(&ToolArg::Browser))?;
    let python_wasm = cells::check(args.python_wasm.as_deref(), args.tools.contains(&ToolArg::Python))?;
    let beside = Beside { browser: args.browser.as_ref(), mcp: args.mcp.as_deref(), python_wasm };
    let toolbox = runtime.block_on(toolbox::of(&args.tools, &args.workspace, beside))?;
    let (session, head) = generation::prepare(&args.generation)?;
    let mut messages: Vec<Message> = instructions::of_workspace(&args.workspace)?.into_iter().collect();
    messages.push(Message::user(task));
    let mut head = head;
    head.instructions = Some(instructions::with_own(head.instructions.take()));
    let task = Task {
        conversation: head.conversation(&messages),
        options: gptoss_turn::TurnOptions { max_new_tokens: None, ..session.options.clone() },
        rules: session.rules.clone(),
        budget: Budget {
            steps_max: args.max_steps as usize,
            tokens_max: args.generation.max_tokens.map(|tokens| tokens as usize),
            time_max: args.max_time,
        },
    };
    let interrupt = Interrupt::install(SecondPress::Ends)?;
    let mut teller = match args.json {
        true => Teller::Events(Events::begin()?),
        false => Teller::Narrator(Narrator::new(args.show_reasoning)),
    };
    let mut approver = Approver::new(args.approve, !args.json);
    let ended = interrupt.stoppable(|cancel| {
        let mut told = Ok(());
        let on_event = |event| tell_or_cancel(&mut told, cancel, || teller.tell(event));
        let approve = |action: &gptoss_agent::Action| approver.decide(action, &mut ask_stdin);
        let host = Host { cancel, on_event, approve };
        let ended = runtime.block_on(gptoss_agent::run(session.assistant(), &toolbox, task, host));
        told.map(|()| ended)
    })?;
    let ending = match ended {
        Ok(ending) => ending,
        Err(error) => {
            teller.fail(&error.to_string())?;
            return Err(error.into());
        }
    };
    let pages = runtime.block_on(toolbox.pages());
    finish(args, &session, teller, &ending, &pages)
}

/// A line of the person at the terminal; None at the end.
fn ask_stdin(question: &str) -> Option<String> {
    write!(io::stderr(), "{question}").ok()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    Some(line)
}

/// Who hears of it.
enum Teller {
    Events(Events),
    Narrator(Narrator),
}

impl Teller {
    fn tell(&mut self, event: gptoss_agent::AgentEvent) -> io::Result<()> {
        match self {
            Teller::Events(events) => events.tell(event),
            Teller::Narrator(narrator) => narrator.tell(event),
        }
    }

    fn fail(&mut self, message: &str) -> io::Result<()> {
        match self {
            Teller::Events(events) => events.fail(message),
            Teller::Narrator(_) => Ok(()),
        }
    }
}

/// Says how it ended, and with what code the program ends.
fn finish(
    args: &AgentArgs,
    session: &Session,
    teller: Teller,
    ending: &Ending,
    pages: &[(usize, String)],
) -> Result<ExitCode> {
    let failure = failure_of(args, session, ending);
    match teller {
        Teller::Events(mut events) => match &failure {
            None => events.complete(&ending.usage)?,
            Some(failure) => events.fail(failure)?,
        },
        Teller::Narrator(narrator) => {
            narrator.finish()?;
            for line in cited(ending.answer.as_deref().unwrap_or_default(), pages) {
                writeln!(io::stderr(), "{line}")?;
            }
        }
    }
    if args.generation.stats {
        let usage = &ending.usage;
        writeln!(
            io::stderr(),
            "({} turns read {} tokens, {} of them kept, and wrote {})",
            usage.steps,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
        )?;
    }
    match failure {
        _ if ending.end == AgentEnd::Cancelled => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        Some(_) if args.json => Ok(ExitCode::FAILURE),
        Some(failure) => bail!(failure),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Why the task is not done; None when it is.
fn failure_of(args: &AgentArgs, session: &Session, ending: &Ending) -> Option<String> {
    let written = ending.usage.completion_tokens;
    Some(match &ending.end {
        AgentEnd::Answer => return None,
        AgentEnd::Call(call) => format!(
            "the model called {} with {}\nthe agent has no result for functions of --functions; use gptoss chat",
            terminal::safe(&call.name),
            terminal::safe(&call.arguments)
        ),
        AgentEnd::Approval(_) => {
            "stopped before the change; what was changed before stays, --undo takes it back".to_owned()
        }
        AgentEnd::Steps => format!("not done after {} turns\n--max-steps gives it more", args.max_steps),
        AgentEnd::Tokens => format!("not done after {written} tokens\n--max-tokens gives it more"),
        AgentEnd::Time => "not done when the time was over\n--max-time gives it more".to_owned(),
        AgentEnd::Context => {
            format!(
                "not done when the context of {} tokens was full\n--context gives it more",
                session.max_context()
            )
        }
        AgentEnd::Cancelled => "stopped".to_owned(),
        AgentEnd::NoAnswer => format!("the model stopped after {written} tokens without an answer"),
    })
}

fn undo(args: &AgentArgs) -> Result<ExitCode> {
    let Some(paths) = Workspace::open(&args.workspace)?.undo()? else {
        bail!("{}: there is no patch to take back", args.workspace.display());
    };
    for path in paths {
        writeln!(io::stdout(), "{}", terminal::safe_for_stdout(path.as_str()))?;
    }
    Ok(ExitCode::SUCCESS)
}
