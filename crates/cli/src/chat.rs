//! `gptoss chat`: a conversation at the terminal.
//!
//! A line is a message, or a command when it begins with a slash. Reasoning streams dimmed and the answer
//! plain; when the model calls a function, the call is shown, its result asked for, and the turn goes on
//! with it. Calls of the tools that `/tools` turns on are answered by them, changes after they were shown
//! and approved of. Ctrl-C stops the answer and keeps what there is of it. The head of the conversation is
//! rendered anew for every turn, so `/effort` and `/instructions` hold from the next message on without
//! losing what was said. Without a terminal the lines come from a pipe and everything else is the same.
//!
//! What is typed is read in `editor.rs`, what the model says is shown in `display.rs`, and commands are
//! understood in `command.rs`.

mod command;
mod display;
mod editor;
mod tools;

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use gptoss_agent::{AgentEnd, AgentEvent, Budget, Ending, Host, Task};
use gptoss_harmony::{Conversation, Message, Role};
use gptoss_turn::Call;

use crate::agent::made_files::{MadeFiles, lines_of};
use crate::agent::{Approver, narrator};
use crate::air_gap;
use crate::args::{ApproveArg, ChatArgs};
use crate::failure;
use crate::generation::{self, ConversationHead, Session};
use crate::input::{self, Source};
use crate::interrupt::{Interrupt, SecondPress, tell_or_cancel};
use crate::output::Target;
use crate::terminal;
use command::Command;
use display::Display;
use editor::{Editor, Typed};
use tools::Tools;

/// What the model is told when the user gives no result.
const NO_RESULT: &str = r#"{"error": "the function failed and gave no result"}"#;

/// Runs the command.
pub fn run(args: &ChatArgs) -> Result<ExitCode> {
    args.browser.as_ref().map_or(Ok(()), air_gap::check_browser)?;
    let (session, head) = generation::prepare(&args.generation)?;
    let mut chat = Chat {
        session,
        head,
        turns: Vec::new(),
        interrupt: Interrupt::install(SecondPress::Waits)?,
        hides_reasoning: args.hide_reasoning,
        shows_stats: args.generation.stats,
        editor: Editor::open(!args.no_history)?,
        tools: Tools::new(args.browser.clone()),
        files: MadeFiles::default(),
        approver: Approver::new(ApproveArg::Ask, true),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the tools cannot be waited for")?,
    };
    chat.greet()?;
    while chat.one_line()? {}
    Ok(ExitCode::SUCCESS)
}

/// A conversation and what it needs.
struct Chat {
    session: Session,
    head: ConversationHead,
    /// Everything after the head.
    turns: Vec<Message>,
    interrupt: Interrupt,
    hides_reasoning: bool,
    shows_stats: bool,
    editor: Editor,
    tools: Tools,
    /// What calls made.
    files: MadeFiles,
    approver: Approver,
    runtime: tokio::runtime::Runtime,
}

impl Chat {
    fn greet(&self) -> io::Result<()> {
        if !io::stdin().is_terminal() {
            return Ok(());
        }
        let model = match self.session.is_demo {
            true => {
                "the embedded demo model, a small one that knows sums, words\nand function calls, and not a released gpt-oss"
                    .to_owned()
            }
            false => self.session.name.clone(),
        };
        writeln!(
            io::stderr(),
            "gptoss chat with {model}\n/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends\n"
        )
    }

    /// Reads a line and does what it says. False at the end.
    fn one_line(&mut self) -> Result<bool> {
        let line = match self.editor.read("> ")? {
            Typed::End => return Ok(false),
            Typed::Interrupted => {
                note("(Ctrl-D ends)")?;
                return Ok(true);
            }
            Typed::Line(line) => line,
        };
        match Command::parse(&line) {
            None if line.trim().is_empty() => {}
            None => self.say(line)?,
            Some(Ok(Command::Quit)) => return Ok(false),
            Some(Ok(command)) => self.obey(command)?,
            Some(Err(complaint)) => note(&complaint)?,
        }
        Ok(true)
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Effort(None) => note(&format!("the effort is {}", self.head.effort.as_str())),
            Command::Effort(Some(effort)) => {
                self.head.effort = effort;
                note(&format!("the effort is {} from now on", effort.as_str()))
            }
            Command::Instructions(None) => match &self.head.instructions {
                Some(text) => note(&format!("the instructions are: {text}")),
                None => note("there are no instructions"),
            },
            Command::Instructions(Some(text)) => {
                self.head.instructions = (text != command::NONE).then_some(text);
                note("the instructions hold from now on")
            }
            Command::Tools(None) => note(&self.tools.described()),
            Command::Tools(Some(names)) => match self.runtime.block_on(self.tools.turn_on(&names)) {
                Ok(said) => note(&said),
                Err(error) => note(failure::describe(&error).trim_end()),
            },
            Command::Reset => {
                self.turns.clear();
                note("a new conversation; effort, instructions and functions stay")
            }
            Command::Save(file) => match self.save(Path::new(&file)) {
                Ok(true) => note(&format!("saved to {file}, in the place of what was there")),
                Ok(false) => note(&format!("saved to {file}")),
                Err(error) => note(failure::describe(&error).trim_end()),
            },
            Command::Load(file) => match self.load(Path::new(&file)) {
                Ok(()) => {
                    let (count, end) = (self.turns.len(), if self.turns.len() == 1 { "" } else { "s" });
                    note(&format!("{count} message{end} of {file}; effort and instructions stay"))
                }
                Err(error) => note(failure::describe(&error).trim_end()),
            },
            Command::Help => note(command::HELP),
            Command::Quit => Ok(()),
        }
    }

    /// Writes the conversation; true when it took the place of another file.
    fn save(&self, file: &Path) -> Result<bool> {
        let conversation = self.head.conversation(&self.turns);
        let target = Target::at(file)?;
        let was_there = file.exists();
        target.write(|out| {
            serde_json::to_writer_pretty(&mut *out, &conversation)?;
            Ok(writeln!(out)?)
        })?;
        Ok(was_there)
    }

    /// Takes the messages of a saved conversation; its head makes way for the one that holds now.
    fn load(&mut self, file: &Path) -> Result<()> {
        let conversation: Conversation = input::read_json(Source::File(file), "a saved conversation")?;
        let is_head = |message: &Message| matches!(message.author.role, Role::System | Role::Developer);
        self.turns = conversation.messages.into_iter().filter(|message| !is_head(message)).collect();
        Ok(())
    }

    /// Sends a message and goes on until the model has answered, asking for the results of its calls.
    fn say(&mut self, text: String) -> Result<()> {
        let mut kept = self.turns.len();
        self.turns.push(Message::user(text));
        loop {
            let ending = match self.answer() {
                Ok(ending) => ending,
                Err(error) => {
                    // What the turn could not be taken with is taken back; all that was said before stays.
                    self.turns.truncate(kept);
                    return self.complain(error);
                }
            };
            self.turns.extend(ending.messages);
            self.remark(&ending.end, ending.usage.completion_tokens)?;
            let goes_on = match &ending.end {
                AgentEnd::Call(call) => {
                    kept = self.turns.len();
                    self.ask_for_result(call)?
                }
                AgentEnd::Approval(_) => false,
                _ => return Ok(()),
            };
            if !goes_on {
                // A call without a result would be answered by whatever is said next.
                let is_turns = |message: &Message| message.author.role == Role::Assistant;
                let before_call = self.turns.iter().rposition(|message| !is_turns(message));
                self.turns.truncate(before_call.map_or(0, |index| index + 1));
                return note("(the call is dropped)").map_err(Into::into);
            }
        }
    }

    /// Goes on until there is an answer, or somebody else's turn.
    fn answer(&mut self) -> Result<Ending> {
        let task = Task {
            conversation: self.head.conversation(&self.turns),
            options: self.session.options.clone(),
            rules: self.session.rules.clone(),
            budget: Budget::default(),
        };
        let Chat { session, interrupt, tools, files, approver, runtime, .. } = self;
        let (hides_reasoning, shows_stats) = (self.hides_reasoning, self.shows_stats);
        let editor = RefCell::new(&mut self.editor);
        let mut display = None;
        let mut show = |event: AgentEvent| -> io::Result<()> {
            match event {
                AgentEvent::TurnStarted => display = Some(Display::new(hides_reasoning)),
                AgentEvent::Turn(event) => display.as_mut().map_or(Ok(()), |display| display.show(event))?,
                AgentEvent::TurnEnded(outcome) => {
                    display.take().map_or(Ok(()), Display::finish)?;
                    editor.borrow().leave_a_line()?;
                    if shows_stats {
                        note(&Session::stats(&outcome))?;
                    }
                }
                AgentEvent::CallStarted { .. } => {}
                AgentEvent::CallEnded { action, status, reply, .. } => {
                    note(&narrator::how_it_went(&action, status, &reply))?;
                    lines_of(&files.keep(&reply.files)).iter().try_for_each(|line| note(line))?;
                }
            }
            Ok(())
        };
        let mut ask = |question: &str| match editor.borrow_mut().read(question) {
            Ok(Typed::Line(line)) => Some(line),
            Ok(Typed::Interrupted | Typed::End) | Err(_) => None,
        };
        let mut shown = Ok(());
        let ended = interrupt.stoppable(|cancel| {
            let on_event = |event| tell_or_cancel(&mut shown, cancel, || show(event));
            let approve = |action: &gptoss_agent::Action| approver.decide(action, &mut ask);
            let host = Host { cancel, on_event, approve };
            runtime.block_on(gptoss_agent::run(session.assistant(), &tools.toolbox, task, host))
        });
        // A turn that broke off has not ended its line.
        display.take().map_or(Ok(()), Display::finish)?;
        shown?;
        let ending = ended?;
        let pages = runtime.block_on(tools.toolbox.pages());
        narrator::cited(ending.answer.as_deref().unwrap_or_default(), &pages)
            .iter()
            .try_for_each(|line| note(line))?;
        Ok(ending)
    }

    /// Says why there is no answer. A full context gets advice of its own; a closed output ends the program.
    fn complain(&self, error: anyhow::Error) -> Result<()> {
        let full = match error.downcast_ref() {
            Some(gptoss_agent::Error::Turn(gptoss_turn::Error::Engine(
                gptoss_engine::Error::PromptTooLong { prompt_tokens, max_context },
            ))) => {
                format!(
                    "the conversation would have {prompt_tokens} tokens, but the context holds {max_context}\n{ADVICE}"
                )
            }
            Some(_) => failure::describe(&error).trim_end().to_owned(),
            None => return Err(error),
        };
        Ok(note(&full)?)
    }

    /// What an end leaves to be said.
    fn remark(&self, end: &AgentEnd, completion_tokens: usize) -> io::Result<()> {
        match end {
            AgentEnd::Answer | AgentEnd::Call(_) | AgentEnd::Approval(_) => Ok(()),
            AgentEnd::Cancelled => note("(stopped)"),
            AgentEnd::Context => {
                note(&format!("(the context of {} tokens is full)\n{ADVICE}", self.session.max_context()))
            }
            AgentEnd::Tokens => {
                note(&format!("(stopped after {completion_tokens} tokens; --max-tokens sets the limit)"))
            }
            AgentEnd::Steps => note(&format!("(stopped after {} calls)", Budget::STEPS_DEFAULT)),
            AgentEnd::Time => note("(stopped: no time was left)"),
            AgentEnd::NoAnswer => note("(the model stopped without an answer)"),
        }
    }

    /// Puts the user's result behind the call. False when there will be none.
    fn ask_for_result(&mut self, call: &Call) -> Result<bool> {
        let result = match self.editor.read(&result_prompt(&call.name))? {
            Typed::Line(line) if !line.trim().is_empty() => line,
            Typed::Line(_) => NO_RESULT.to_owned(),
            Typed::Interrupted | Typed::End => return Ok(false),
        };
        let mut message = Message::tool_result(call.recipient.clone(), result);
        message.channel = call.channel.clone().or(message.channel);
        self.turns.push(message);
        Ok(true)
    }
}

const ADVICE: &str =
    "/reset begins a new conversation, /save FILE keeps this one; --context N gives more room";

/// The name is the model's own writing and may be anything.
fn result_prompt(name: &str) -> String {
    format!("result of {}> ", terminal::safe(name))
}

/// A line of the program's own, beside the conversation.
fn note(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(result_prompt("add"), "result of add> ");
        assert_eq!(result_prompt("a\x1b[2Jb"), "result of a\u{fffd}[2Jb> ");
    }
}
